package keys_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.at.Add(d.Microseconds()) }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func ring(t testing.TB, store identity.Store, now func() time.Time) *keys.Ring {
	t.Helper()
	r, err := keys.NewRing(keys.Options{Store: store, Box: box(t, 1), Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ready(t testing.TB, store identity.Store, now func() time.Time) *keys.Ring {
	t.Helper()
	r := ring(t, store, now)
	if err := r.Ensure(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

type claims struct {
	Subject string `json:"sub"`
	Expires int64  `json:"exp"`
}

var someClaims = claims{Subject: "0199c2f0-7a5e-7c3e-9b1a-3c0d6f1e2a4b", Expires: 1795500000}

func sign(t testing.TB, r *keys.Ring, alg, typ string) string {
	t.Helper()
	token, err := r.Sign(alg, typ, someClaims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestSignedTokensVerifyHereAndAtAnybodys(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		r := ready(t, store, newClock().Now)
		if missing := r.Ready(); missing != "" {
			t.Fatalf("no %s key", missing)
		}
		var published jose.JSONWebKeySet
		body, etag := r.JWKS()
		if err := json.Unmarshal(body, &published); err != nil {
			t.Fatal(err)
		}
		if len(published.Keys) != 3 || len(etag) < 10 {
			t.Fatalf("JWKS = %s, %s", body, etag)
		}
		for _, alg := range keys.Algorithms() {
			for _, typ := range []string{"", "at+jwt", "JWT"} {
				token := sign(t, r, alg, typ)
				v, err := r.Verify(token)
				if err != nil {
					t.Fatalf("%s %s: %v", alg, typ, err)
				}
				want := `{"sub":"0199c2f0-7a5e-7c3e-9b1a-3c0d6f1e2a4b","exp":1795500000}`
				if string(v.Payload) != want || v.Type != typ || v.Algorithm != alg || len(v.KeyID) != 8 {
					t.Errorf("Verify = %+v, %s", v, v.Payload)
				}
				jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					t.Fatal(err)
				}
				found := published.Key(v.KeyID)
				if len(found) != 1 || !found[0].IsPublic() || found[0].Use != "sig" || found[0].Algorithm != alg {
					t.Fatalf("published under %s: %+v", v.KeyID, found)
				}
				if _, err := jws.Verify(found[0]); err != nil {
					t.Errorf("%s by the published key: %v", alg, err)
				}
			}
		}
		if once, again := sign(t, r, keys.EdDSA, "JWT"), sign(t, r, keys.EdDSA, "JWT"); once != again {
			t.Error("EdDSA gave two tokens for equal claims")
		}
		if token := sign(t, r, keys.EdDSA, "JWT"); len(token) > 250 {
			t.Errorf("a short token has %d characters: %s", len(token), token)
		}
		if _, err := r.Sign(keys.ES256, `a","alg":"none`, someClaims); err == nil {
			t.Error("signed a type that breaks out of the header")
		}
		if _, err := r.Sign("HS256", "", someClaims); !errors.Is(err, identity.Unavailable) {
			t.Errorf("HS256: %v", err)
		}
		// A second node, and the same one after a restart.
		if v, err := ready(t, store, newClock().Now).Verify(sign(t, r, keys.ES256, "at+jwt")); err != nil || v.Type != "at+jwt" {
			t.Errorf("another node: %+v, %v", v, err)
		}
	})
}

// segment encodes without padding.
func segment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func TestMutantsAreRefused(t *testing.T) {
	r := ready(t, storetest.SQLite(t), newClock().Now)
	refused := func(name, token string) {
		t.Helper()
		if v, err := r.Verify(token); !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("%s: Verify(%q) = %s, %v", name, token, v.Payload, err)
		}
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, alg := range keys.Algorithms() {
		token := sign(t, r, alg, "at+jwt")
		for i := range token {
			for _, c := range "AQ_.=\n\x00é" + string(alphabet[i%64]) {
				if mutant := token[:i] + string(c) + token[i+1:]; mutant != token {
					refused("changed character", mutant)
				}
			}
			refused("cut", token[:i])
			refused("doubled", token[:i]+token[i:i+1]+token[i:])
			refused("line break", token[:i]+"\n"+token[i:])
			refused("carriage return", token[:i]+"\r"+token[i:])
		}
		// Every character in the last place: only one spells the signature.
		for _, c := range alphabet {
			if mutant := token[:len(token)-1] + string(c); mutant != token {
				refused("unused bits", mutant)
			}
		}
		for _, tail := range []string{"=", "==", ".", " ", "\n", ".AAAA", "A"} {
			refused("tail", token+tail)
		}
		for _, front := range []string{" ", ".", "\n", "A", "\ufeff"} {
			refused("front", front+token)
		}

		parts := strings.Split(token, ".")
		raw, _ := base64.RawURLEncoding.DecodeString(parts[0])
		var header struct{ Alg, Kid, Typ string }
		if err := json.Unmarshal(raw, &header); err != nil {
			t.Fatal(err)
		}
		with := func(h string) string { return segment([]byte(h)) + "." + parts[1] + "." + parts[2] }
		for _, other := range []string{"none", "None", "HS256", "RS256", "ES256", "EdDSA", "PS256", "ES384", ""} {
			if other != alg {
				h := fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, other, header.Kid)
				refused("swapped algorithm", with(h))
				refused("unsigned", segment([]byte(h))+"."+parts[1]+".")
			}
		}
		body, _ := r.JWKS()
		// The published key as an HMAC secret: the oldest trick.
		refused("HMAC with the public key", hmacToken(t, body, header.Kid, parts[1]))
		for _, extra := range []string{
			`"crit":["exp"]`, `"b64":false`, `"x5u":"https://evil.test/"`, `"jku":"https://evil.test/jwks"`, `"x5c":[]`,
			`"jwk":{"kty":"oct","k":"AA"}`, `"alg":"none"`, `"kid":"` + header.Kid + `"`, `"zip":"DEF"`, `"cty":"JWT"`,
		} {
			refused("extra member", with(fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt",%s}`, alg, header.Kid, extra)))
		}
		for _, h := range []string{
			`{"alg":"` + alg + `","typ":"at+jwt"}`, `{"alg":"` + alg + `","kid":"","typ":"at+jwt"}`,
			`{"alg":"` + alg + `","kid":"aaaaaaaa","typ":"at+jwt"}`, `{"alg":"` + alg + `","kid":1}`, `{}`, `[]`, `null`, `"x"`, ``, `{`,
			`{"alg":"` + alg + `","kid":"../` + header.Kid + `"}`,
		} {
			refused("header", with(h))
		}
		refused("signed by a stranger with his key in the header", strangersToken(t, header.Kid, parts[1]))
	}
	for _, text := range []string{"", ".", "..", "...", "a.b.c", strings.Repeat("A", 9000), strings.Repeat("A", 4000) + "." + strings.Repeat("A", 4000) + ".AAAA"} {
		refused("not a token", text)
	}
	for range 50 {
		refused("the other ES256 signature", otherS(t, sign(t, r, keys.ES256, "")))
	}
}

func hmacToken(t *testing.T, secret []byte, kid, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: kid}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return serialize(t, signer, payload)
}

func strangersToken(t *testing.T, kid, payload string) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: kid}}, &jose.SignerOptions{EmbedJWK: true})
	if err != nil {
		t.Fatal(err)
	}
	return serialize(t, signer, payload)
}

func serialize(t *testing.T, signer jose.Signer, payload string) string {
	t.Helper()
	plain, _ := base64.RawURLEncoding.DecodeString(payload)
	jws, err := signer.Sign(plain)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// otherS gives the second valid ECDSA signature of the same token, after showing that it is one.
func otherS(t *testing.T, token string) string {
	t.Helper()
	cut := strings.LastIndexByte(token, '.')
	signature, _ := base64.RawURLEncoding.DecodeString(token[cut+1:])
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return token[:cut+1] + segment(signature)
}

func TestRotationNeverRefusesAValidToken(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		const day = 24 * time.Hour
		c := newClock()
		r := ready(t, store, c.Now)
		type live struct {
			token string
			until time.Time
		}
		var tokens []live
		kids := map[string]bool{}
		for range 220 { // days: two rotations of each key
			if err := r.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, before := r.JWKS()
			token := sign(t, r, keys.EdDSA, "")
			if _, after := r.JWKS(); after != before {
				t.Fatal("signing changed the published keys")
			}
			tokens = append(tokens, live{token, c.Now().Add(31 * day)})
			for _, l := range tokens {
				if c.Now().Before(l.until) {
					v, err := r.Verify(l.token)
					if err != nil {
						t.Fatalf("%v: a token until %v: %v", c.Now(), l.until, err)
					}
					kids[v.KeyID] = true
				}
			}
			for _, k := range r.Keys() {
				if !k.ActivatesAt.After(c.Now()) && k.ActivatesAt.Equal(k.CreatedAt) == (k.CreatedAt.After(newClock().Now())) {
					t.Fatalf("key %s was not published before it signed: %+v", k.ID, k)
				}
			}
			c.Advance(day)
		}
		if len(kids) != 3 {
			t.Errorf("%d keys signed in 220 days, want 3", len(kids))
		}
		if _, err := r.Verify(tokens[0].token); !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("a token of a removed key: %v", err)
		}
		if n := len(r.Keys()); n > 6 {
			t.Errorf("%d keys kept", n)
		}
	})
}

func TestManyNodesMakeAndRotateOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := newClock()
		nodes := make([]*keys.Ring, 8)
		for i := range nodes {
			nodes[i] = ring(t, store, c.Now)
		}
		together := func(do func(*keys.Ring) error) {
			t.Helper()
			var wg sync.WaitGroup
			start := make(chan struct{})
			for _, n := range nodes {
				wg.Go(func() {
					<-start
					if err := do(n); err != nil {
						t.Error(err)
					}
				})
			}
			close(start)
			wg.Wait()
		}
		count := func(want int) {
			t.Helper()
			for _, n := range nodes {
				if err := n.Reload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := n.Keys(); len(got) != want {
					t.Fatalf("%d keys, want %d", len(got), want)
				}
			}
		}
		two := func(n *keys.Ring) error { return n.Ensure(t.Context(), keys.ES256, keys.EdDSA) }
		together(two)
		count(2)
		c.Advance(time.Hour)
		together(func(n *keys.Ring) error { _, err := n.Rotate(t.Context(), keys.ES256); return err })
		count(3)
		together(func(n *keys.Ring) error { _, err := n.Rotate(t.Context(), keys.ES256); return err })
		count(3) // its successor waits already
		old := sign(t, nodes[0], keys.ES256, "")
		c.Advance(25 * time.Hour)
		fresh := sign(t, nodes[0], keys.ES256, "")
		a, errA := nodes[1].Verify(old)
		b, errB := nodes[1].Verify(fresh)
		if errA != nil || errB != nil || a.KeyID == b.KeyID {
			t.Errorf("after rotation: %+v %v, %+v %v", a, errA, b, errB)
		}
	})
}

func TestKeysTravelByTheFeed(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := newClock()
		a, b := ready(t, store, c.Now), ready(t, store, c.Now)
		heard := make(chan struct{}, 16)
		store.OnCommit(func(changes []identity.Change) {
			b.Listen(changes)
			heard <- struct{}{}
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		made, err := a.Rotate(t.Context(), keys.EdDSA)
		if err != nil {
			t.Fatal(err)
		}
		<-heard
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(10 * time.Second); ; {
			if body, _ := b.JWKS(); bytes.Contains(body, []byte(made.ID)) {
				break
			}
			select {
			case <-deadline:
				t.Fatal("the other node never heard of the key")
			case <-tick.C:
			}
		}
		stop()
		<-done
	})
}

func TestForeignMasterKeyIsRefused(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		if err := keys.VerifyMaster(t.Context(), store, box(t, 1)); err != nil {
			t.Fatal(err)
		}
		if err := keys.VerifyMaster(t.Context(), store, box(t, 1)); err != nil {
			t.Errorf("the same key again: %v", err)
		}
		if err := keys.VerifyMaster(t.Context(), store, box(t, 2)); err == nil || !strings.Contains(err.Error(), "does not open this store") {
			t.Errorf("another key: %v", err)
		}
		ready(t, store, newClock().Now)
		foreign, err := keys.NewRing(keys.Options{Store: store, Box: box(t, 2), Now: newClock().Now, Rand: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		if err := foreign.Ensure(t.Context()); err == nil {
			t.Error("a ring opened keys that another master key sealed")
		}
	})
}

func TestAForeignPublicKeyInTheStoreIsNotPublished(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := newClock()
		r := ready(t, store, c.Now)
		list := r.Keys()
		err := store.Update(t.Context(), func(tx identity.Tx) error {
			rows, err := tx.SigningKeys(t.Context())
			if err != nil {
				return err
			}
			for _, row := range rows {
				if row.ID == list[0].ID {
					if err := tx.DeleteSigningKey(t.Context(), row.ID); err != nil {
						return err
					}
					row.Public = bytes.Replace(row.Public, []byte(`"x":"`), []byte(`"x":"A`), 1)
					return tx.CreateSigningKey(t.Context(), row)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := r.JWKS()
		if err := r.Reload(t.Context()); err == nil {
			t.Error("loaded")
		}
		if after, _ := r.JWKS(); !bytes.Equal(before, after) {
			t.Error("a failed reload changed the ring")
		}
	})
}

func FuzzVerify(f *testing.F) {
	r := ready(f, storetest.SQLite(f), newClock().Now)
	signed := map[string]bool{}
	for _, alg := range keys.Algorithms() {
		token := sign(f, r, alg, "at+jwt")
		signed[token] = true
		f.Add(token)
	}
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, raw string) {
		if v, err := r.Verify(raw); err == nil && !signed[raw] {
			t.Errorf("accepted %q as %s", raw, v.Payload)
		} else if err != nil && !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("%q: %v", raw, err)
		}
	})
}

// BenchmarkSign compares with the floor: the bare signature over the same number of bytes.
func BenchmarkSign(b *testing.B) {
	r := ready(b, storetest.SQLite(b), time.Now)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("floor ES256", func(b *testing.B) {
		input := make([]byte, 200)
		for b.Loop() {
			sum := sha256.Sum256(input)
			if _, err := private.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, alg := range keys.Algorithms() {
		b.Run(alg, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Sign(alg, "at+jwt", someClaims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	generic, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: "abcdefgh"}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ES256 by the library's generic path", func(b *testing.B) {
		for b.Loop() {
			payload, _ := json.Marshal(someClaims)
			jws, err := generic.Sign(payload)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := jws.CompactSerialize(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	r := ready(b, storetest.SQLite(b), time.Now)
	for _, alg := range keys.Algorithms() {
		token, err := r.Sign(alg, "at+jwt", someClaims)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(alg, func(b *testing.B) {
			for b.Loop() {
				if _, err := r.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
