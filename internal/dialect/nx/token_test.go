package nx

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// printer is a door that can print and read tokens, and no more.
func printer(t testing.TB) *Dialect {
	t.Helper()
	box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return start }
	ring, err := keys.NewRing(keys.Options{Store: storetest.SQLite(t), Box: box, Now: now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ensure(t.Context(), keys.EdDSA, keys.ES256); err != nil {
		t.Fatal(err)
	}
	rules := map[identity.Door]session.Rules{Door: Rules(config.Default().Nx)}
	return &Dialect{Keys: ring, Sessions: &session.Service{Rules: rules}, Now: now}
}

const (
	ada  identity.SubjectID      = "01a06b2e-7a00-7000-8000-0000000000ad"
	acme identity.OrganisationID = "01a06b2e-7a00-7000-8000-000000000acc"
)

func sample(generation int64) identity.Session {
	return identity.Session{
		ID: "01a06b2e-7a00-7abc-9def-0123456789ab", SubjectID: ada, OrganisationID: acme, Door: Door, Generation: generation,
		RefreshedAt: start, ExpiresAt: start.Add(8 * time.Hour),
	}
}

// The public client reads an answer of more than 10 and less than 400 bytes only (nx.md 1.4).
func TestAnswersWithOneTokenAreShort(t *testing.T) {
	d := printer(t)
	for _, organisation := range []identity.OrganisationID{"", acme} {
		for _, generation := range []int64{1, 35, 36, 1 << 20, 1 << 40} {
			for length := range 255 {
				s := sample(generation)
				s.OrganisationID = organisation
				email := strings.Repeat("a", length)
				if length%3 == 0 {
					email = strings.Repeat("ü", length/2) // two bytes each
				}
				if length%5 == 0 {
					email = strings.Repeat("<", length) // six bytes each in JSON
				}
				access, err := d.accessToken(s, identity.Subject{Email: email})
				if err != nil {
					t.Fatal(err)
				}
				refresh, err := d.refreshToken(s)
				if err != nil {
					t.Fatal(err)
				}
				for _, out := range []tokens{{AccessToken: access}, {RefreshToken: refresh}} {
					body, err := json.Marshal(out)
					if err != nil {
						t.Fatal(err)
					}
					if n := len(body) + 1; n <= 10 || n >= 400 { // and a line end
						t.Fatalf("answer of %d bytes for an e-mail of %d, generation %d, organisation %q", n, len(email), generation, organisation)
					}
				}
			}
		}
	}
}

func payload(t testing.TB, raw string) map[string]any {
	t.Helper()
	text, err := compact.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// The claims are those of recorded tokens and one of ours.
func TestClaims(t *testing.T) {
	d := printer(t)
	s := sample(1)
	const mark = "aAaBrLnoAeryd7wEjRWeJqw1" // kind, the session's sixteen bytes, generation
	access, err := d.accessToken(s, identity.Subject{Email: "ada@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	alone := s
	alone.OrganisationID = ""
	private, err := d.accessToken(alone, identity.Subject{Email: "ada@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := d.refreshToken(s)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, raw string
		want      map[string]any
	}{
		{"access in an organisation", access, map[string]any{
			"aud": "user", "sub": string(ada), "exp": float64(start.Add(5 * time.Minute).Unix()), "OrganisationUUID": string(acme), "sid": mark,
		}},
		{"access of nobody's member", private, map[string]any{
			"aud": "user", "sub": string(ada), "exp": float64(start.Add(5 * time.Minute).Unix()), "Email": "ada@example.test", "sid": mark,
		}},
		{"refresh", refresh, map[string]any{
			"aud": "user", "sub": string(ada), "exp": float64(start.Add(8 * time.Hour).Unix()), "sid": "r" + mark[1:],
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(payload(t, tt.raw)); got != fmt.Sprint(tt.want) {
				t.Errorf("claims %v, want %v", got, tt.want)
			}
			header, err := compact.DecodeString(strings.Split(tt.raw, ".")[0])
			if err != nil {
				t.Fatal(err)
			}
			var h struct{ Alg, Kid, Typ string }
			if err := json.Unmarshal(header, &h); err != nil || h.Alg != "EdDSA" || h.Typ != "JWT" || len(h.Kid) != 8 {
				t.Errorf("header %s", header)
			}
		})
	}
}

// An access token never outlives its session.
func TestAccessTokenEndsWithItsSession(t *testing.T) {
	d := printer(t)
	s := sample(1)
	s.ExpiresAt = start.Add(time.Minute)
	raw, err := d.accessToken(s, identity.Subject{})
	if err != nil {
		t.Fatal(err)
	}
	if got := payload(t, raw)["exp"]; got != float64(s.ExpiresAt.Unix()) {
		t.Errorf("exp %v, want %v", got, s.ExpiresAt.Unix())
	}
}

func TestFormReadsWhatTheDoorPrints(t *testing.T) {
	d := printer(t)
	for _, generation := range []int64{1, 2, 35, 36, 1 << 40} {
		s := sample(generation)
		access, err := d.accessToken(s, identity.Subject{})
		if err != nil {
			t.Fatal(err)
		}
		refresh, err := d.refreshToken(s)
		if err != nil {
			t.Fatal(err)
		}
		for raw, kind := range map[string]identity.TokenKind{access: identity.AccessToken, refresh: identity.RefreshToken} {
			if !d.Form().Looks(raw) {
				t.Errorf("Looks(%s) = false", raw)
			}
			facts, err := d.Form().Read(raw)
			if err != nil {
				t.Fatal(err)
			}
			if facts.Kind != kind || facts.SessionID != s.ID || facts.SubjectID != ada || facts.Generation != generation || facts.Door != Door || facts.ID == "" {
				t.Errorf("Read = %+v", facts)
			}
		}
	}
}

func TestFormRefusesOthers(t *testing.T) {
	d := printer(t)
	s := sample(1)
	good := printed(identity.AccessToken, s, s.ExpiresAt)
	with := func(change func(*claims)) claims {
		c := good
		change(&c)
		return c
	}
	tests := []struct {
		name, alg, typ string
		claims         any
	}{
		{"another algorithm of ours", keys.ES256, tokenType, good},
		{"another type", keys.EdDSA, "at+jwt", good},
		{"no type", keys.EdDSA, "", good},
		{"another audience", keys.EdDSA, tokenType, with(func(c *claims) { c.Audience = "service" })},
		{"no mark", keys.EdDSA, tokenType, with(func(c *claims) { c.Mark = "" })},
		{"an unknown kind", keys.EdDSA, tokenType, with(func(c *claims) { c.Mark = "i" + c.Mark[1:] })},
		{"generation 0", keys.EdDSA, tokenType, with(func(c *claims) { c.Mark = c.Mark[:len(c.Mark)-1] + "0" })},
		{"a generation spelt otherwise", keys.EdDSA, tokenType, with(func(c *claims) { c.Mark = c.Mark[:len(c.Mark)-1] + "01" })},
		{"a negative generation", keys.EdDSA, tokenType, with(func(c *claims) { c.Mark = c.Mark[:len(c.Mark)-1] + "-1" })},
		{"a subject that is no id", keys.EdDSA, tokenType, with(func(c *claims) { c.Subject = "ada" })},
		{"a claim that we never print", keys.EdDSA, tokenType, map[string]any{"aud": "user", "exp": 1, "sub": string(ada), "sid": good.Mark, "iss": "x"}},
		{"two audiences", keys.EdDSA, tokenType, map[string]any{"aud": []string{"user"}, "exp": 1, "sub": string(ada), "sid": good.Mark}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := d.Keys.Sign(tt.alg, tt.typ, tt.claims)
			if err != nil {
				t.Fatal(err)
			}
			if facts, err := d.Form().Read(raw); !errors.Is(err, identity.TokenInvalid) {
				t.Errorf("Read = %+v, %v", facts, err)
			}
		})
	}
	for _, raw := range []string{"", ".", "..", "a.b.c", "a.b.c.d", strings.Repeat("a", 1<<16)} {
		if d.Form().Looks(raw) {
			t.Errorf("Looks(%.20q) = true", raw)
		}
		if _, err := d.Form().Read(raw); !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("Read(%.20q) = %v", raw, err)
		}
	}
}

// A mark has one spelling: revoking a token by its id must not leave a twin alive.
func FuzzParseMark(f *testing.F) {
	f.Add(mark{identity.AccessToken, sample(1).ID, 1}.String())
	f.Add(mark{identity.RefreshToken, sample(1).ID, 1 << 62}.String())
	f.Add("aAaBrLnoAerydBwEjRWeJq/1")
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parseMark(text)
		if !ok {
			return
		}
		if m.String() != text || !identity.ValidID(string(m.session)) || m.generation < 1 {
			t.Errorf("parseMark(%q) = %+v", text, m)
		}
	})
}

// Nothing that a stranger writes is a token, and nothing makes reading one fail in another way.
func FuzzFormRead(f *testing.F) {
	d := printer(f)
	raw, err := d.accessToken(sample(1), identity.Subject{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		facts, err := d.Form().Read(text)
		if err == nil && text != raw {
			t.Fatalf("Read(%q) = %+v", text, facts)
		}
		if err != nil && !errors.Is(err, identity.TokenInvalid) {
			t.Fatalf("Read(%q) = %v", text, err)
		}
		if err == nil && !d.Form().Looks(text) {
			t.Errorf("Looks(%q) = false", text)
		}
	})
}
