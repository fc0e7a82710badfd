package licence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
)

const (
	issuer  = "https://id.example.test"
	lic     = "0f4e7c1a-52a7-4c35-9a10-6d1b6f6f7a01"
	camera  = "5a1d9b7e-3b0e-4a49-8d53-8f9f0a2c7c44"
	acme    = "6a6d3e66-7b5b-4f8c-8c43-0a9b8f0d2e11"
	another = "c0d2b0de-7a0a-4f2b-9a55-0d0f4a0f7b12"
)

var (
	private    = ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, ours"))
	issuedAt   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day        = 24 * time.Hour
	jwks       = keySet("k1", private.Public().(ed25519.PublicKey))
	theCamera  = Binding{Device: camera, Organisation: acme}
	rawEncoder = base64.RawURLEncoding
)

func keySet(kid string, key ed25519.PublicKey) string {
	return fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":%q,"use":"sig","alg":"EdDSA","x":%q}]}`, kid, rawEncoder.EncodeToString(key))
}

// claims of a lease of thirty days with seven of grace.
func claims() Claims {
	return Claims{
		Issuer: issuer, ID: "doc-1", Licence: lic, Organisation: acme, OrganisationName: "ACME", Device: camera,
		AgreementKind: "subscription", AgreementName: "Edge Pro", Entitlements: []string{"manager", "inference"},
		IssuedAt: issuedAt, NotBefore: issuedAt, ExpiresAt: issuedAt.Add(30 * day), GraceEndsAt: issuedAt.Add(37 * day),
		RevocationEpoch: 4,
	}
}

// sign is done by another library than the one under test.
func sign(t testing.TB, typ string, payload any) string {
	t.Helper()
	text, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: "k1"}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// signRaw signs any header and payload, for what no library prints.
func signRaw(header, payload string) string {
	input := rawEncoder.EncodeToString([]byte(header)) + "." + rawEncoder.EncodeToString([]byte(payload))
	return input + "." + rawEncoder.EncodeToString(ed25519.Sign(private, []byte(input)))
}

const goodHeader = `{"alg":"EdDSA","kid":"k1","typ":"licence+jwt"}`

func payload(t testing.TB, c Claims) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func keys(t testing.TB) *Keys {
	t.Helper()
	k, err := ParseKeys([]byte(jwks))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func verifier(t testing.TB, at time.Time) *Verifier {
	return &Verifier{Keys: keys(t), Now: func() time.Time { return at }, Issuer: issuer}
}

func TestVerify(t *testing.T) {
	c := claims()
	document := sign(t, Type, c)
	tests := []struct {
		name  string
		at    time.Time
		state State
		err   error
	}{
		{"at its issue", issuedAt, Valid, nil},
		{"in the lease", issuedAt.Add(29 * day), Valid, nil},
		{"a second before the lease's end", c.ExpiresAt.Add(-time.Second), Valid, nil},
		{"at the lease's end", c.ExpiresAt, InGrace, nil},
		{"a second before the grace's end", c.GraceEndsAt.Add(-time.Second), InGrace, nil},
		{"at the grace's end", c.GraceEndsAt, Refused, ErrOver},
		{"years later", c.GraceEndsAt.Add(3650 * day), Refused, ErrOver},
		{"a clock behind the issue", issuedAt.Add(-time.Hour), Refused, ErrRolledBack},
		{"a clock without a battery", time.Unix(0, 0), Refused, ErrRolledBack},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, state, err := verifier(t, tt.at).Verify(document, theCamera)
			if state != tt.state || !errors.Is(err, tt.err) {
				t.Fatalf("Verify = %v, %v, want %v, %v", state, err, tt.state, tt.err)
			}
			want := c
			if tt.err != nil {
				want = Claims{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
	if !c.Has("inference") || c.Has("Inference") || c.Has("") {
		t.Error("Has goes by the exact word")
	}
}

func TestNotYet(t *testing.T) {
	c := claims()
	c.NotBefore = issuedAt.Add(2 * day)
	document := sign(t, Type, c)
	for at, want := range map[time.Duration]error{day: ErrNotYet, 2*day - time.Second: ErrNotYet, 2 * day: nil} {
		if _, _, err := verifier(t, issuedAt.Add(at)).Verify(document, theCamera); !errors.Is(err, want) {
			t.Errorf("after %v: %v, want %v", at, err, want)
		}
	}
	// Issued a moment ago by a clock that is a little ahead of the device's: it is no earlier than the issuer says.
	fresh := sign(t, Type, claims())
	for behind, want := range map[time.Duration]error{time.Minute: nil, 6 * time.Minute: ErrRolledBack} {
		if _, _, err := verifier(t, issuedAt.Add(-behind)).Verify(fresh, theCamera); !errors.Is(err, want) {
			t.Errorf("behind the issuer by %v: %v, want %v", behind, err, want)
		}
	}
}

func TestBinding(t *testing.T) {
	forCamera := claims()
	forAll := claims()
	forAll.Device = ""
	tests := []struct {
		name    string
		claims  Claims
		binding Binding
		err     error
	}{
		{"its device", forCamera, Binding{Device: camera}, nil},
		{"its device in upper case", forCamera, Binding{Device: strings.ToUpper(camera)}, nil},
		{"its device and organisation", forCamera, theCamera, nil},
		{"its device in another organisation", forCamera, Binding{Device: camera, Organisation: another}, ErrOther},
		{"another device", forCamera, Binding{Device: another, Organisation: acme}, ErrOther},
		{"an organisation's device without a name", forCamera, Binding{Organisation: acme}, ErrOther},
		{"nobody", forCamera, Binding{}, ErrOther},
		{"to look at", forCamera, Binding{Anybody: true}, nil},
		{"any device of the organisation", forAll, Binding{Device: another, Organisation: acme}, nil},
		{"the organisation", forAll, Binding{Organisation: acme}, nil},
		{"a device of another organisation", forAll, Binding{Device: camera, Organisation: another}, ErrOther},
		{"a device of no organisation", forAll, Binding{Device: camera}, ErrOther},
		{"nobody, for all", forAll, Binding{}, ErrOther},
		{"to look at, for all", forAll, Binding{Anybody: true}, nil},
	}
	for _, tt := range tests {
		if _, _, err := verifier(t, issuedAt).Verify(sign(t, Type, tt.claims), tt.binding); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
	}
}

// What strangers hand in, and what else the issuer signs.
func TestForgeries(t *testing.T) {
	public := private.Public().(ed25519.PublicKey)
	good := sign(t, Type, claims())
	text := payload(t, claims())
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	raw, err := rawEncoder.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	stranger := ed25519.NewKeyFromSeed(make([]byte, 32))
	with := func(header string) string {
		h := rawEncoder.EncodeToString([]byte(header))
		return h + "." + body + "." + signature
	}
	mac := func(key []byte) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType(Type))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	es256 := func() string {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		input := rawEncoder.EncodeToString([]byte(`{"alg":"ES256","kid":"k1","typ":"licence+jwt"}`)) + "." + body
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 64)
		r.FillBytes(out[:32])
		s.FillBytes(out[32:])
		return input + "." + rawEncoder.EncodeToString(out)
	}
	byStranger := head + "." + body + "." + rawEncoder.EncodeToString(ed25519.Sign(stranger, []byte(head+"."+body)))
	later := claims()
	later.ExpiresAt, later.GraceEndsAt = later.ExpiresAt.Add(3650*day), later.GraceEndsAt.Add(3650*day)
	altered := head + "." + rawEncoder.EncodeToString([]byte(payload(t, later))) + "." + signature
	malleable := func() string { // s + the group's order: the same signature to a careless reader
		order := []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10}
		twin, carry := append([]byte{}, raw...), 0
		for i := range order {
			sum := int(twin[32+i]) + int(order[i]) + carry
			twin[32+i], carry = byte(sum), sum>>8
		}
		return head + "." + body + "." + rawEncoder.EncodeToString(twin)
	}
	// The last character of 64 bytes in base64 has four bits without meaning.
	lax := func() string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, good[len(good)-1])
		return good[:len(good)-1] + string(alphabet[last|1])
	}
	tests := []struct {
		name, document string
		err            error
	}{
		{"nothing", "", ErrMalformed},
		{"a word", "licence", ErrMalformed},
		{"two parts", head + "." + body, ErrMalformed},
		{"four parts", good + ".AAAA", ErrMalformed},
		{"too long", strings.Repeat("A", MaxDocument+1), ErrMalformed},
		{"a line break at the end", good + "\n", ErrMalformed},
		{"a line break inside", head + ".\n" + body + "." + signature, ErrMalformed},
		{"padding", head + "." + body + "." + signature + "==", ErrMalformed},
		{"other bits in base64", lax(), ErrMalformed},
		{"the other alphabet", head + "." + body + "." + base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\xff", 64))), ErrMalformed},
		{"no signature", head + "." + body + ".", ErrMalformed},
		{"half a signature", head + "." + body + "." + rawEncoder.EncodeToString(raw[:32]), ErrMalformed},
		{"a zero signature", head + "." + body + "." + rawEncoder.EncodeToString(make([]byte, 64)), ErrSignature},
		{"a malleable signature", malleable(), ErrSignature},
		{"a stranger's signature", byStranger, ErrSignature},
		{"altered claims", altered, ErrSignature},
		{"altered header", with(`{"kid":"k1","alg":"EdDSA","typ":"licence+jwt"}`), ErrSignature},
		{"alg none", with(`{"alg":"none","kid":"k1","typ":"licence+jwt"}`), ErrAlgorithm},
		{"alg none without a signature", rawEncoder.EncodeToString([]byte(`{"alg":"none","kid":"k1","typ":"licence+jwt"}`)) + "." + body + ".", ErrAlgorithm},
		{"HS256 with the public key", mac(public), ErrAlgorithm},
		{"HS256 with the key set", mac([]byte(jwks)), ErrAlgorithm},
		{"ES256", es256(), ErrAlgorithm},
		{"eddsa", signRaw(`{"alg":"eddsa","kid":"k1","typ":"licence+jwt"}`, text), ErrAlgorithm},
		{"no alg", signRaw(`{"kid":"k1","typ":"licence+jwt"}`, text), ErrAlgorithm},
		{"ALG for alg", signRaw(`{"ALG":"EdDSA","kid":"k1","typ":"licence+jwt"}`, text), ErrAlgorithm},
		{"two algs", signRaw(`{"alg":"EdDSA","alg":"EdDSA","kid":"k1","typ":"licence+jwt"}`, text), ErrMalformed},
		{"no kid", signRaw(`{"alg":"EdDSA","typ":"licence+jwt","x":1}`, text), ErrUnknownKey},
		{"another kid", signRaw(`{"alg":"EdDSA","kid":"k2","typ":"licence+jwt"}`, text), ErrUnknownKey},
		{"a number as kid", signRaw(`{"alg":"EdDSA","kid":1,"typ":"licence+jwt"}`, text), ErrMalformed},
		{"no typ", signRaw(`{"alg":"EdDSA","kid":"k1"}`, text), ErrType},
		{"a JWT", sign(t, "JWT", claims()), ErrType},
		{"an access token", sign(t, "at+jwt", claims()), ErrType},
		{"a revocation list", sign(t, RevocationsType, Revocations{Issuer: issuer, IssuedAt: issuedAt}), ErrType},
		{"the long typ", sign(t, "application/licence+jwt", claims()), ErrType},
		{"crit", signRaw(`{"alg":"EdDSA","crit":["exp"],"exp":1,"kid":"k1","typ":"licence+jwt"}`, text), ErrMalformed},
		{"its own key", signRaw(`{"alg":"EdDSA","jwk":{"kty":"OKP"},"kid":"k1","typ":"licence+jwt"}`, text), ErrMalformed},
		{"b64 false", signRaw(`{"alg":"EdDSA","b64":false,"kid":"k1","typ":"licence+jwt"}`, text), ErrMalformed},
		{"a long header", signRaw(`{"alg":"EdDSA","kid":"k1","typ":"licence+jwt","x":"`+strings.Repeat("x", 1200)+`"}`, text), ErrMalformed},
		{"a header that is a list", signRaw(`["EdDSA"]`, text), ErrMalformed},
		{"a header with a tail", signRaw(goodHeader+"{}", text), ErrMalformed},
		{"another issuer", sign(t, Type, func() Claims { c := claims(); c.Issuer = "https://evil.example.test"; return c }()), ErrIssuer},
	}
	for _, tt := range tests {
		v := verifier(t, issuedAt)
		checks := 0
		v.Keys.verify = func(key ed25519.PublicKey, message, signature []byte) bool {
			checks++
			return ed25519.Verify(key, message, signature)
		}
		c, state, err := v.Verify(tt.document, Binding{Anybody: true})
		if !errors.Is(err, tt.err) || state != Refused || c.Licence != "" {
			t.Errorf("%s: %v, %v, want %v", tt.name, state, err, tt.err)
		}
		if checks > 1 {
			t.Errorf("%s: %d signature checks", tt.name, checks)
		}
		if (errors.Is(err, ErrMalformed) || errors.Is(err, ErrType) || errors.Is(err, ErrAlgorithm) || errors.Is(err, ErrUnknownKey)) && checks != 0 {
			t.Errorf("%s: cost a signature check", tt.name)
		}
	}
}

// Signed by the issuer, and yet not what a document says.
func TestPayloads(t *testing.T) {
	good := payload(t, claims())
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not in %s", old, good)
		}
		return strings.Replace(good, old, new, 1)
	}
	bad := map[string]string{
		"not JSON":                  "licence",
		"nothing":                   " ",
		"a list":                    "[" + good + "]",
		"a tail":                    good + "{}",
		"cut":                       good[:len(good)-1],
		"a member twice":            swap(`"iat":`, `"iat":1772366400,"iat":`),
		"an escaped member twice":   swap(`"iat":`, `"i\u0061t":1772366400,"iat":`),
		"twice inside":              swap(`{"kind":`, `{"kind":"x","kind":`),
		"twice in what is unknown":  swap(`{"iss"`, `{"new":{"a":1,"a":2},"iss"`),
		"deep":                      swap(`{"iss"`, `{"new":`+strings.Repeat("[", 50)+strings.Repeat("]", 50)+`,"iss"`),
		"another case":              swap(`"exp":`, `"EXP":`),
		"broken UTF-8":              swap("ACME", "AC\xffME"),
		"no entitlements":           swap(`"entitlements":["manager","inference"],`, ``),
		"null entitlements":         swap(`["manager","inference"]`, `null`),
		"a null entitlement":        swap(`["manager","inference"]`, `[null]`),
		"numbers as entitlements":   swap(`["manager","inference"]`, `[1]`),
		"an empty device":           swap(camera, ""),
		"a null device":             swap(`"`+camera+`"`, "null"),
		"a device that is no UUID":  swap(camera, "camera-1"),
		"a licence in upper case":   swap(lic, strings.ToUpper(lic)),
		"no licence":                swap(`"licence":"`+lic+`",`, ``),
		"a fraction of a second":    swap(`"exp":`, `"exp":0.5,"x":`),
		"a time in words":           swap(`"exp":`, `"exp":"2026-01-01","x":`),
		"a time past all":           swap(`"grace_end":`, `"grace_end":99999999999999,"x":`),
		"a time past int64":         swap(`"grace_end":`, `"grace_end":99999999999999999999,"x":`),
		"a time before all":         swap(`"nbf":`, `"nbf":-1,"x":`),
		"an end before the start":   swap(`"exp":`, `"exp":1,"x":`),
		"a grace before the end":    swap(`"grace_end":`, `"grace_end":1772366401,"x":`),
		"no iat":                    swap(`"iat":`, `"x":`),
		"no epoch":                  swap(`,"revocation_epoch":4`, ``),
		"an epoch below zero":       swap(`"revocation_epoch":4`, `"revocation_epoch":-4`),
		"an agreement that is text": swap(`{"kind":"subscription","name":"Edge Pro"}`, `"Edge Pro"`),
		"a null agreement":          swap(`{"kind":"subscription","name":"Edge Pro"}`, `null`),
	}
	for name, text := range bad {
		if _, state, err := verifier(t, issuedAt).Verify(signRaw(goodHeader, text), theCamera); !errors.Is(err, ErrMalformed) || state != Refused {
			t.Errorf("%s: %v, %v, want ErrMalformed", name, state, err)
		}
	}
	// A later issuer may say more; what is said is held to all the same.
	if _, state, err := verifier(t, issuedAt).Verify(signRaw(goodHeader, swap(`{"iss"`, `{"new":{"a":[1,{"b":null}]},"iss"`)), theCamera); err != nil || state != Valid {
		t.Errorf("an unknown member: %v, %v", state, err)
	}
}

func TestClaimsThatDoNotMarshal(t *testing.T) {
	for name, change := range map[string]func(*Claims){
		"no issuer":             func(c *Claims) { c.Issuer = "" },
		"no id":                 func(c *Claims) { c.ID = "" },
		"a device of words":     func(c *Claims) { c.Device = "camera" },
		"no organisation":       func(c *Claims) { c.Organisation = "" },
		"no agreement":          func(c *Claims) { c.AgreementName = "" },
		"a long name":           func(c *Claims) { c.AgreementName = strings.Repeat("x", maxName+1) },
		"broken UTF-8":          func(c *Claims) { c.OrganisationName = "\xff" },
		"an empty entitlement":  func(c *Claims) { c.Entitlements = []string{""} },
		"too many entitlements": func(c *Claims) { c.Entitlements = make([]string, MaxEntitlements+1) },
		"entitlements too large": func(c *Claims) {
			c.Entitlements = strings.Split(strings.Repeat(strings.Repeat("x", 100)+" ", 60), " ")[:60]
		},
		"no lease":            func(c *Claims) { c.ExpiresAt = c.NotBefore },
		"less than a second":  func(c *Claims) { c.ExpiresAt = c.NotBefore.Add(time.Millisecond) },
		"no grace end":        func(c *Claims) { c.GraceEndsAt = time.Time{} },
		"an epoch below zero": func(c *Claims) { c.RevocationEpoch = -1 },
	} {
		c := claims()
		change(&c)
		if out, err := json.Marshal(c); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	// The greatest claims that marshal fit into a document, whatever the key's id.
	c := claims()
	for len(payload(t, c)) < maxPayload-maxWord-3 {
		c.Entitlements = append(c.Entitlements, strings.Repeat("x", maxWord))
	}
	longest := signRaw(fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"typ":"licence+jwt"}`, strings.Repeat("k", maxWord)), payload(t, c))
	if len(longest) > MaxDocument {
		t.Errorf("a document of %d bytes can be signed and not be read", len(longest))
	}
	if _, state, err := verifier(t, issuedAt).Verify(sign(t, Type, c), theCamera); err != nil || state != Valid {
		t.Errorf("the longest document: %v, %v", state, err)
	}
}

// One document costs one signature check, which is most of what it costs: see BenchmarkVerify.
func TestOneSignatureCheck(t *testing.T) {
	var set []string
	for i := range maxKeys {
		set = append(set, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"k%d","x":%q}`, i, rawEncoder.EncodeToString(private.Public().(ed25519.PublicKey))))
	}
	k, err := ParseKeys([]byte(`{"keys":[` + strings.Join(set, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	checks := 0
	k.verify = func(key ed25519.PublicKey, message, signature []byte) bool {
		checks++
		return ed25519.Verify(key, message, signature)
	}
	v := &Verifier{Keys: k, Now: func() time.Time { return issuedAt }}
	if _, _, err := v.Verify(sign(t, Type, claims()), theCamera); err != nil || checks != 1 {
		t.Errorf("%d signature checks, %v", checks, err)
	}
}

func TestParseKeys(t *testing.T) {
	x := rawEncoder.EncodeToString(private.Public().(ed25519.PublicKey))
	ec := `{"kty":"EC","crv":"P-256","kid":"e","x":"AA","y":"AA"}`
	rsa := `{"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB"}`
	ed := `{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"` + x + `"}`
	for name, tt := range map[string]struct {
		set string
		ok  bool
	}{
		"alone":                      {`{"keys":[` + ed + `]}`, true},
		"among others":               {`{"keys":[` + ec + `,` + rsa + `,` + ed + `,{"kty":"OKP","crv":"X25519","kid":"x","x":"AA"},{"kty":"new","kid":7}]}`, true},
		"alg Ed25519":                {`{"keys":[` + strings.Replace(ed, `"kid"`, `"alg":"Ed25519","kid"`, 1) + `]}`, true},
		"with more members":          {`{"more":[],"keys":[` + ed + `]}`, true},
		"none of ours":               {`{"keys":[` + ec + `,` + rsa + `]}`, false},
		"none":                       {`{"keys":[]}`, false},
		"for encryption":             {`{"keys":[` + strings.Replace(ed, `"kid"`, `"use":"enc","kid"`, 1) + `]}`, false},
		"for signing only":           {`{"keys":[` + strings.Replace(ed, `"kid"`, `"key_ops":["sign"],"kid"`, 1) + `]}`, false},
		"without a kid":              {`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"` + x + `"}]}`, false},
		"twice":                      {`{"keys":[` + ed + `,` + ed + `]}`, false},
		"a private key":              {`{"keys":[` + strings.Replace(ed, `"kid"`, `"d":"AA","kid"`, 1) + `]}`, false},
		"somebody's private key":     {`{"keys":[` + ed + `,` + strings.Replace(ec, `"kid"`, `"d":"AA","kid"`, 1) + `]}`, false},
		"a shared key":               {`{"keys":[` + ed + `,{"kty":"oct","kid":"s","k":"AA"}]}`, false},
		"a short key":                {`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"AAAA"}]}`, false},
		"a padded key":               {`{"keys":[` + strings.Replace(ed, x, x+"=", 1) + `]}`, false},
		"a key of the wrong type":    {`{"keys":[` + strings.Replace(ed, `"`+x+`"`, "7", 1) + `]}`, false},
		"kid twice":                  {`{"keys":[` + strings.Replace(ed, `"kid"`, `"kid":"a","kid"`, 1) + `]}`, false},
		"keys twice":                 {`{"keys":[],"keys":[` + ed + `]}`, false},
		"KEYS":                       {`{"KEYS":[` + ed + `]}`, false},
		"keys that are an object":    {`{"keys":{}}`, false},
		"a bare key":                 {ed, false},
		"nothing":                    {``, false},
		"a web page":                 {`<html>`, false},
		"too long":                   {`{"keys":[` + ed + `]}` + strings.Repeat(" ", MaxKeySet), false},
		"a kid that nobody can name": {`{"keys":[` + strings.Replace(ed, `k1`, strings.Repeat("k", maxWord+1), 1) + `]}`, false},
	} {
		if _, err := ParseKeys([]byte(tt.set)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// RFC 8037, appendix A: the RFC's own key verifies the RFC's own signature, by the same way in.
func TestRFC8037(t *testing.T) {
	k, err := ParseKeys([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"rfc","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	const signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
	signature, err := decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	if err != nil || !k.verify(k.byID["rfc"], []byte(signed), signature) {
		t.Errorf("the RFC's example does not verify: %v", err)
	}
}

func TestIncompleteVerifier(t *testing.T) {
	for _, v := range []*Verifier{{}, {Keys: keys(t)}, {Now: time.Now}} {
		if _, state, err := v.Verify(sign(t, Type, claims()), theCamera); err == nil || state != Refused {
			t.Errorf("%v, %v", state, err)
		}
	}
	if _, err := ParseRevocations("x", nil); err == nil {
		t.Error("a list without keys")
	}
}

// clock is set by the test; memory is kept by a real file.
type box struct {
	t     *testing.T
	at    time.Time
	store File
	list  *Revocations
	v     *Verifier
}

func newBox(t *testing.T) *box {
	b := &box{t: t, at: issuedAt, store: File(filepath.Join(t.TempDir(), "licence.state"))}
	b.restart()
	return b
}

func (b *box) restart() {
	b.v = &Verifier{Keys: keys(b.t), Now: func() time.Time { return b.at }, Issuer: issuer, Store: b.store, Revocations: b.list}
}

func (b *box) want(what, document string, want error) {
	b.t.Helper()
	if _, _, err := b.v.Verify(document, theCamera); !errors.Is(err, want) {
		b.t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestClockSetBack(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restarts), func(t *testing.T) {
			b := newBox(t)
			set := func(after time.Duration) {
				b.at = issuedAt.Add(after)
				if restarts {
					b.restart()
				}
			}
			first := claims()
			document := sign(t, Type, first)
			b.want("new", document, nil)
			set(20 * day)
			b.want("in the lease", document, nil)
			set(20*day - 4*time.Minute)
			b.want("a little behind", document, nil)
			set(20*day - 9*time.Minute)
			b.want("a little behind again: the newest time stays", document, ErrRolledBack)
			set(1 * day)
			b.want("back by weeks", document, ErrRolledBack)
			set(37*day - time.Minute)
			b.want("a minute before the end", document, nil)
			set(37 * day)
			b.want("over", document, ErrOver)
			set(37*day - time.Minute)
			b.want("over once is over, though the clock is behind by less than the tolerance", document, ErrOver)
			set(38 * day)
			b.want("over still", document, ErrOver)
			set(20 * day)
			b.want("back into the lease, once it was over", document, ErrRolledBack)
			set(40 * day)
			b.want("forward again", document, ErrOver)

			// A renewal, on clocks of all kinds.
			renewed := first
			renewed.ID, renewed.IssuedAt = "doc-2", issuedAt.Add(41*day)
			renewed.NotBefore, renewed.ExpiresAt, renewed.GraceEndsAt = issuedAt.Add(30*day), issuedAt.Add(60*day), issuedAt.Add(67*day)
			after := sign(t, Type, renewed)
			set(39 * day)
			b.want("a clock behind the renewal's issue", after, ErrRolledBack)
			set(3650 * day)
			b.want("ten years ahead by mistake, with the old one", document, ErrOver)
			set(42 * day)
			b.want("put right", after, nil)
			b.want("the old one beside it", document, ErrOver)
			set(41*day - time.Hour)
			b.want("the old one on a clock behind the renewal's issue", document, ErrRolledBack)
			set(41*day + time.Hour)
			b.want("what the clock said since", after, ErrRolledBack)
			set(3650 * day)
			b.want("ten years ahead by mistake, with the new one", after, ErrOver)
			set(50 * day)
			b.want("put right, but it was over once", after, ErrRolledBack)
			set(67 * day)
			b.want("its end is past", after, ErrOver)
		})
	}
}

// What the package says of deleting the memory: never before the issue, and the lease once more.
func TestMemoryDeleted(t *testing.T) {
	b := newBox(t)
	document := sign(t, Type, claims())
	b.at = issuedAt.Add(38 * day)
	b.want("over", document, ErrOver)
	if err := os.Remove(string(b.store)); err != nil {
		t.Fatal(err)
	}
	b.at = issuedAt.Add(-day)
	b.restart()
	b.want("before its issue", document, ErrRolledBack)
	b.at = issuedAt
	b.want("from its issue on", document, nil)
}

// A wall clock set back under a running process is told by the monotonic clock, even to a time that was not reached before.
func TestMonotonic(t *testing.T) {
	start := time.Now() // has a monotonic reading, which Add moves along
	c := claims()
	c.IssuedAt, c.NotBefore = start.Add(-10*day), start.Add(-10*day)
	c.ExpiresAt, c.GraceEndsAt = start.Add(10*day), start.Add(20*day)
	document := sign(t, Type, c)
	for _, tt := range []struct {
		name         string
		passed, said time.Duration // since the last check, by the monotonic clock and by the wall clock
		want         error
	}{
		{"both the same", 10 * time.Hour, 10 * time.Hour, nil},
		{"set back", 10 * time.Hour, time.Hour, ErrRolledBack},
		{"set back a little", 10 * time.Hour, 10*time.Hour - 4*time.Minute, nil},
		{"set forward, or the machine slept", time.Hour, 10 * time.Hour, nil},
	} {
		reading := start
		v := &Verifier{Keys: keys(t), Now: func() time.Time { return reading }}
		if _, _, err := v.Verify(document, theCamera); err != nil {
			t.Fatal(err)
		}
		reading = start.Add(tt.passed)
		v.wall = reading.Round(0).Add(-tt.said)
		v.memory.SeenAt = v.wall
		if _, _, err := v.Verify(document, theCamera); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestRevocations(t *testing.T) {
	list := func(epoch int64, licences, organisations map[string]int64) *Revocations {
		text := sign(t, RevocationsType, Revocations{
			Issuer: issuer, IssuedAt: issuedAt.Add(time.Duration(epoch) * time.Hour), Epoch: epoch, Licences: licences, Organisations: organisations,
		})
		r, err := ParseRevocations(text, keys(t))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	document := sign(t, Type, claims()) // of epoch 4
	reissued := claims()
	reissued.RevocationEpoch = 6
	again := sign(t, Type, reissued)

	b := newBox(t)
	b.at = issuedAt.Add(day)
	take := func(r *Revocations) { b.list = r; b.restart() }
	b.want("no list", document, nil)
	take(list(4, map[string]int64{lic: 4, another: 4}, nil))
	b.want("a list with the document's own epoch", document, nil)
	take(list(5, map[string]int64{another: 5}, nil))
	b.want("another licence revoked", document, nil)
	before := b.list
	take(list(6, map[string]int64{lic: 6}, nil))
	b.want("revoked, by a list that nothing was accepted under", document, ErrRevoked)
	b.want("issued again after it", again, nil)
	take(before)
	b.want("the list from before", document, ErrOldList)
	take(nil)
	b.want("no list any more", document, ErrOldList)
	take(list(7, nil, map[string]int64{acme: 7}))
	b.want("the organisation revoked", again, ErrRevoked)
	take(list(8, nil, map[string]int64{another: 8}))
	b.want("another organisation revoked", again, nil)
	b.at = issuedAt.Add(7 * time.Hour)
	b.want("a clock behind the list", again, ErrRolledBack)
	fresh := newBox(t) // which has seen nothing but what it is shown
	fresh.at, fresh.list = issuedAt.Add(7*time.Hour), b.list
	fresh.restart()
	fresh.want("a new box whose clock is behind the list", again, ErrRolledBack)
	fresh.at = issuedAt.Add(8 * time.Hour)
	fresh.want("and put right", again, nil)

	stranger := *list(9, nil, nil)
	stranger.Issuer = "https://evil.example.test"
	take(&stranger)
	b.want("a list of another issuer", again, ErrIssuer)
}

// A revocation is remembered though every document under it was refused.
func TestRevocationIsRemembered(t *testing.T) {
	b := newBox(t)
	document := sign(t, Type, claims())
	b.list = &Revocations{Issuer: issuer, IssuedAt: issuedAt, Epoch: 5, Licences: map[string]int64{lic: 5}}
	b.restart()
	b.want("revoked", document, ErrRevoked)
	b.list = nil
	b.restart()
	b.want("the list taken away", document, ErrOldList)
}

func TestParseRevocations(t *testing.T) {
	good := `{"iss":"` + issuer + `","iat":1772366400,"epoch":5,"licences":{"` + lic + `":5},"organisations":{}}`
	header := `{"alg":"EdDSA","kid":"k1","typ":"licence-revocations+jwt"}`
	if r, err := ParseRevocations(signRaw(header, good), keys(t)); err != nil || r.Epoch != 5 || r.Licences[lic] != 5 || !r.IssuedAt.Equal(issuedAt) {
		t.Errorf("%+v, %v", r, err)
	}
	for name, tt := range map[string]struct {
		text string
		err  error
	}{
		"a licence document":     {sign(t, Type, claims()), ErrType},
		"nothing":                {"", ErrMalformed},
		"too long":               {strings.Repeat("A", MaxRevocations+1), ErrMalformed},
		"an epoch of a line":     {signRaw(header, strings.Replace(good, `":5}`, `":6}`, 1)), ErrMalformed},
		"a line of epoch zero":   {signRaw(header, strings.Replace(good, `":5}`, `":0}`, 1)), ErrMalformed},
		"a line twice":           {signRaw(header, strings.Replace(good, `":5}`, `":5,"`+lic+`":1}`, 1)), ErrMalformed},
		"a line for no UUID":     {signRaw(header, strings.Replace(good, lic, "x", 1)), ErrMalformed},
		"no epoch":               {signRaw(header, strings.Replace(good, `"epoch":5,`, ``, 1)), ErrMalformed},
		"no licences":            {signRaw(header, strings.Replace(good, `"licences"`, `"licenses"`, 1)), ErrMalformed},
		"licences that are null": {signRaw(header, strings.Replace(good, `{"`+lic+`":5}`, `null`, 1)), ErrMalformed},
		"no issuer":              {signRaw(header, strings.Replace(good, issuer, ``, 1)), ErrMalformed},
		"no time":                {signRaw(header, strings.Replace(good, `1772366400`, `0`, 1)), ErrMalformed},
		"alg none":               {signRaw(strings.Replace(header, "EdDSA", "none", 1), good), ErrAlgorithm},
		"HS256":                  {signRaw(strings.Replace(header, "EdDSA", "HS256", 1), good), ErrAlgorithm},
		"another kid":            {signRaw(strings.Replace(header, "k1", "k2", 1), good), ErrUnknownKey},
		"a stranger's signature": {signRaw(header, good)[:strings.LastIndexByte(signRaw(header, good), '.')+1] + rawEncoder.EncodeToString(make([]byte, 64)), ErrSignature},
		"altered": {strings.Replace(signRaw(header, good), rawEncoder.EncodeToString([]byte(good)),
			rawEncoder.EncodeToString([]byte(strings.Replace(good, lic, another, 1))), 1), ErrSignature},
	} {
		if _, err := ParseRevocations(tt.text, keys(t)); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
	}
	for name, r := range map[string]Revocations{
		"no issuer":               {IssuedAt: issuedAt},
		"no time":                 {Issuer: issuer},
		"a line beyond the epoch": {Issuer: issuer, IssuedAt: issuedAt, Epoch: 1, Licences: map[string]int64{lic: 2}},
		"a line for no UUID":      {Issuer: issuer, IssuedAt: issuedAt, Epoch: 1, Organisations: map[string]int64{"acme": 1}},
	} {
		if out, err := json.Marshal(r); err == nil {
			t.Errorf("%s marshals: %s", name, out)
		}
	}
}

// A full list of lines fits into a list's bounds.
func TestLongestRevocations(t *testing.T) {
	r := Revocations{Issuer: issuer, IssuedAt: issuedAt, Epoch: 1 << 40, Licences: map[string]int64{}}
	for i := range MaxRevocationLines {
		r.Licences[fmt.Sprintf("%08x-52a7-4c35-9a10-6d1b6f6f7a01", i)] = 1 << 40
	}
	text := sign(t, RevocationsType, r)
	if got, err := ParseRevocations(text, keys(t)); err != nil || len(got.Licences) != MaxRevocationLines {
		t.Errorf("%d bytes: %v", len(text), err)
	}
	r.Organisations = map[string]int64{acme: 1}
	if _, err := json.Marshal(r); err == nil {
		t.Error("one line more marshals")
	}
}

// A system that is not written to has a link to where the memory is; it stays one, and what it leads to remembers.
func TestMemoryFileBehindLinks(t *testing.T) {
	system, data := t.TempDir(), t.TempDir()
	name, real := filepath.Join(system, "licence.state"), filepath.Join(data, "state")
	for link, to := range map[string]string{name: "second", filepath.Join(system, "second"): real, filepath.Join(system, "loop"): "loop"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for epoch := range int64(2) { // the first makes the file
		m := Memory{RevocationEpoch: epoch}
		if err := File(name).Save(m); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{name, real} {
			if got, err := File(file).Load(); err != nil || got != m {
				t.Errorf("%s holds %+v, %v, want %+v", file, got, err, m)
			}
		}
	}
	if to, err := os.Readlink(name); err != nil || to != "second" {
		t.Errorf("the link is %q, %v", to, err)
	}
	if err := File(filepath.Join(system, "loop")).Save(Memory{}); err == nil {
		t.Error("a loop was saved to")
	}
}

func TestMemoryFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "licence.state")
	if m, err := File(name).Load(); err != nil || m != (Memory{}) {
		t.Errorf("no file: %+v, %v", m, err)
	}
	for _, m := range []Memory{{}, {IssuedAt: issuedAt, SeenAt: issuedAt.Add(day), RevocationEpoch: 7}} {
		if err := File(name).Save(m); err != nil {
			t.Fatal(err)
		}
		if got, err := File(name).Load(); err != nil || got != m {
			t.Errorf("saved %+v, got %+v, %v", m, got, err)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(name + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for what, text := range map[string]string{
		"nothing":        "",
		"half":           `{"format":1,"issued_at":17`,
		"another format": `{"format":2,"issued_at":1,"seen_at":1,"revocation_epoch":0}`,
		"a missing time": `{"format":1,"issued_at":1,"revocation_epoch":0}`,
		"a wild time":    `{"format":1,"issued_at":1,"seen_at":999999999999999,"revocation_epoch":0}`,
		"twice":          `{"format":1,"issued_at":1,"seen_at":1,"seen_at":1,"revocation_epoch":0}`,
		"too long":       `{"format":1,"issued_at":1,"seen_at":1,"revocation_epoch":0}` + strings.Repeat(" ", maxFile),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v := verifier(t, issuedAt)
		v.Store = File(name)
		if _, state, err := v.Verify(sign(t, Type, claims()), theCamera); !errors.Is(err, ErrMemory) || state != Refused {
			t.Errorf("%s: %v, %v, want ErrMemory", what, state, err)
		}
	}
}

type brokenStore struct{ load, save error }

func (s brokenStore) Load() (Memory, error) { return Memory{}, s.load }
func (s brokenStore) Save(Memory) error     { return s.save }

func TestStoreFails(t *testing.T) {
	for _, store := range []Store{brokenStore{load: os.ErrPermission}, brokenStore{save: os.ErrPermission}, File(filepath.Join(t.TempDir(), "no", "folder"))} {
		v := verifier(t, issuedAt)
		v.Store = store
		for range 2 { // the second time as well
			if _, state, err := v.Verify(sign(t, Type, claims()), theCamera); !errors.Is(err, ErrMemory) || state != Refused {
				t.Errorf("%+v: %v, %v, want ErrMemory", store, state, err)
			}
		}
	}
}

type countingStore struct {
	memory Memory
	saves  int
}

func (s *countingStore) Load() (Memory, error) { return s.memory, nil }
func (s *countingStore) Save(m Memory) error   { s.memory = m; s.saves++; return nil }

// Flash wears out: a document that is checked every second is no reason to write every second.
func TestSavesAreFew(t *testing.T) {
	at, store := issuedAt, &countingStore{}
	v := &Verifier{Keys: keys(t), Now: func() time.Time { return at }, Store: store}
	document := sign(t, Type, claims())
	for range 3600 {
		if _, _, err := v.Verify(document, theCamera); err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Second)
	}
	if store.saves != 12 {
		t.Errorf("%d saves in an hour, want 12", store.saves)
	}
}

func TestTwoProcessesOneFile(t *testing.T) {
	a, b := newBox(t), newBox(t)
	b.store = a.store
	b.restart()
	document := sign(t, Type, claims())
	a.want("a", document, nil)
	b.want("b", document, nil)
	a.at = issuedAt.Add(20 * day)
	a.want("a, later", document, nil)
	b.at = issuedAt.Add(time.Hour)
	b.want("b, which does not know", document, nil)
	b.restart()
	b.want("the file has the later time", document, ErrRolledBack)
}

func TestVerifierInParallel(t *testing.T) {
	b := newBox(t)
	b.at = issuedAt.Add(day)
	document := sign(t, Type, claims())
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for range 20 {
				if _, _, err := b.v.Verify(document, theCamera); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// Property: nothing that differs from what was signed verifies, and nothing makes a check panic.
func FuzzVerify(f *testing.F) {
	good := sign(f, Type, claims())
	f.Add(good)
	f.Add(good + "\n")
	f.Add(sign(f, "JWT", claims()))
	f.Add(signRaw(`{"alg":"none","kid":"k1","typ":"licence+jwt"}`, payload(f, claims())))
	f.Add("..")
	f.Fuzz(func(t *testing.T, document string) {
		_, state, err := verifier(t, issuedAt).Verify(document, theCamera)
		if (err == nil) != (document == good) || (err == nil) != (state == Valid) {
			t.Errorf("%q: %v, %v", document, state, err)
		}
	})
}

// Property: no change of any byte of a document verifies.
func TestEveryByteCounts(t *testing.T) {
	good := sign(t, Type, claims())
	v := verifier(t, issuedAt)
	for i := range len(good) {
		for _, with := range []byte{good[i] ^ 1, good[i] ^ 0x20, 'A', '.', '=', '\n', 0} {
			if with == good[i] {
				continue
			}
			altered := good[:i] + string([]byte{with}) + good[i+1:]
			if _, state, err := v.Verify(altered, theCamera); err == nil || state != Refused {
				t.Fatalf("byte %d as %q: %v, %v", i, with, state, err)
			}
		}
		for _, altered := range []string{good[:i] + good[i+1:], good[:i] + " " + good[i:]} {
			if _, _, err := v.Verify(altered, theCamera); err == nil {
				t.Fatalf("byte %d taken out, or one put before it", i)
			}
		}
	}
}

// Property: whatever the issuer signed, what is read marshals to what is read again.
func FuzzPayload(f *testing.F) {
	f.Add(payload(f, claims()))
	f.Add(`{"iss":"x","iss":"y"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, _, err := verifier(t, issuedAt).Verify(signRaw(goodHeader, text), Binding{Anybody: true})
		if err != nil {
			return
		}
		again, err := parseClaims([]byte(payload(t, c)))
		if diff := cmp.Diff(c, again); err != nil || diff != "" {
			t.Errorf("%v (-read +again):\n%s", err, diff)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	f.Add(jwks)
	f.Add(`{"keys":[null,7,{}]}`)
	f.Fuzz(func(t *testing.T, set string) {
		k, err := ParseKeys([]byte(set))
		if err != nil {
			return
		}
		for kid, key := range k.byID {
			if kid == "" || len(key) != ed25519.PublicKeySize {
				t.Errorf("key %q of %d bytes", kid, len(key))
			}
		}
	})
}

func FuzzParseRevocations(f *testing.F) {
	f.Add(payloadOf(f, Revocations{Issuer: issuer, IssuedAt: issuedAt, Epoch: 2, Licences: map[string]int64{lic: 1}}))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRevocations(signRaw(`{"alg":"EdDSA","kid":"k1","typ":"licence-revocations+jwt"}`, text), keys(t))
		if err == nil && r.Validate() != nil {
			t.Errorf("%s: %v", text, r.Validate())
		}
	})
}

func FuzzParseMemory(f *testing.F) {
	f.Add([]byte(`{"format":1,"issued_at":1,"seen_at":2,"revocation_epoch":3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMemory(data)
		if err != nil {
			return
		}
		store := File(filepath.Join(t.TempDir(), "m"))
		if err := store.Save(m); err != nil {
			t.Fatal(err)
		}
		if again, err := store.Load(); err != nil || again != m {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

func payloadOf(t testing.TB, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// BenchmarkVerify shows that a check is one signature check and little more: "x" is its time over ed25519.Verify's on the same bytes.
func BenchmarkVerify(b *testing.B) {
	v := verifier(b, issuedAt)
	document := sign(b, Type, claims())
	end := strings.LastIndexByte(document, '.')
	signature, err := decode(document[end+1:])
	if err != nil {
		b.Fatal(err)
	}
	var key crypto.PublicKey = v.Keys.byID["k1"]
	message := []byte(document[:end])
	var floor, ours time.Duration
	for b.Loop() {
		start := time.Now()
		if !ed25519.Verify(key.(ed25519.PublicKey), message, signature) {
			b.Fatal("wrong signature")
		}
		middle := time.Now()
		if _, _, err := v.Verify(document, theCamera); err != nil {
			b.Fatal(err)
		}
		floor += middle.Sub(start)
		ours += time.Since(middle)
	}
	b.ReportMetric(float64(ours)/float64(floor), "x")
}

var update = flag.Bool("update", false, "write the examples' files")

// The examples' files are of the format, and stay readable: a box in the field keeps what it was given.
func TestExampleFiles(t *testing.T) {
	list := Revocations{Issuer: issuer, IssuedAt: issuedAt.Add(20 * day), Epoch: 5, Licences: map[string]int64{lic: 5}}
	for name, text := range map[string]string{
		"keys.json": jwks, "camera-1.licence": sign(t, Type, claims()), "revocations": sign(t, RevocationsType, list),
	} {
		name = filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != text+"\n" {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, text)
		}
	}
}
