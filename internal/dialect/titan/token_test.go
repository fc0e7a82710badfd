package titan

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

const issuer = "https://id.example.test"

// printer is a door that can print and read tokens.
func printer(t testing.TB) *Dialect {
	t.Helper()
	now := func() time.Time { return start }
	box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.NewRing(keys.Options{Store: storetest.SQLite(t), Box: box, Now: now, Rand: &counter{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Ensure(t.Context(), keys.EdDSA, keys.ES256); err != nil {
		t.Fatal(err)
	}
	rules := map[identity.Door]session.Rules{Door: Rules(config.Default().Titan)}
	return &Dialect{Issuer: issuer, Keys: ring, Sessions: &session.Service{Stale: func() bool { return false }, Now: time.Now, Rules: rules}, Now: now}
}

// counter is randomness that repeats.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

const (
	sessionID identity.SessionID = "01a06b2e-7a00-7abc-9def-0123456789ab"
	ticketID  identity.TicketID  = "01a06b2e-7a00-7abc-9def-0123456789ac"
	ada       identity.SubjectID = "01a06b2e-7a00-7000-8000-0000000000ad"
)

func sample() (*identity.Session, *profile.Profile, profile.Access) {
	s := &identity.Session{
		ID: sessionID, SubjectID: ada, Door: Door, Generation: 3, RefreshedAt: start, ExpiresAt: start.Add(24 * time.Hour),
	}
	who := &profile.Profile{Subject: identity.Subject{ID: ada, Number: 42}}
	return s, who, profile.Access{Organisation: identity.Organisation{Number: 9}}
}

func payload(t testing.TB, raw string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestClaims(t *testing.T) {
	d := printer(t)
	s, who, at := sample()
	full, err := d.fullToken(s, who, at, true, identity.Subject{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.fullToken(s, who, at, true, identity.Subject{})
	if err != nil || again != full {
		t.Errorf("two prints of one generation differ: %v", err)
	}
	want := `{"iss":"https://id.example.test","sub":"42","iat":1767225600,"nbf":1767225600,"exp":1767312000,"jti":"` + string(sessionID) + `","hub":9,"stage":"full","person":"` + string(ada) + `","gen":3}`
	if got := payload(t, full); got != want {
		t.Errorf("claims %s\nwant %s", got, want)
	}
	without, err := d.fullToken(s, who, profile.Access{}, false, identity.Subject{})
	if err != nil {
		t.Fatal(err)
	}
	if got := payload(t, without); !strings.Contains(got, `"hub":null`) {
		t.Errorf("claims without a hub: %s", got)
	}
	code, err := d.codeToken(&signin.Outcome{
		Subject: who.Subject, Ticket: &signin.Ticket{ID: ticketID, CreatedAt: start, ExpiresAt: start.Add(codeTTL)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want = `{"iss":"https://id.example.test","sub":"42","iat":1767225600,"nbf":1767225600,"exp":1767226200,"jti":"` + string(ticketID) + `","hub":null,"stage":"code"}`
	if got := payload(t, code); got != want {
		t.Errorf("claims of a code token %s\nwant %s", got, want)
	}

	facts, err := d.Form().Read(full)
	if err != nil || facts.SessionID != sessionID || facts.TicketID != "" || facts.SubjectID != ada || facts.Generation != 3 || facts.Kind != identity.AccessToken || facts.Door != Door ||
		facts.ID != string(sessionID) || !facts.ExpiresAt.Equal(start.Add(24*time.Hour).Truncate(time.Second)) {
		t.Errorf("Read = %+v, %v", facts, err)
	}
	facts, err = d.Form().Read(code)
	if err != nil || facts.SessionID != "" || facts.TicketID != ticketID {
		t.Errorf("Read of a code token = %+v, %v", facts, err)
	}
	if !d.Form().Looks(full) || !d.Form().Looks(code) {
		t.Error("a token of ours does not look like one")
	}
}

// The token never outlives its session, which a policy may have made shorter.
func TestTokenEndsWithItsSession(t *testing.T) {
	d := printer(t)
	s, who, at := sample()
	s.ExpiresAt = start.Add(time.Minute)
	raw, err := d.fullToken(s, who, at, false, identity.Subject{})
	if err != nil {
		t.Fatal(err)
	}
	var c claimSet
	if err := json.Unmarshal([]byte(payload(t, raw)), &c); err != nil || c.ExpiresAt != s.ExpiresAt.Unix() {
		t.Errorf("exp %d, want %d", c.ExpiresAt, s.ExpiresAt.Unix())
	}
}

func TestFormRefusesOthers(t *testing.T) {
	d := printer(t)
	good := claimSet{Issuer: issuer, Subject: "42", ExpiresAt: start.Add(time.Hour).Unix(), ID: string(sessionID), Stage: stageFull, Person: ada, Generation: 1}
	with := func(change func(*claimSet)) claimSet {
		c := good
		change(&c)
		return c
	}
	tests := []struct {
		name, alg, typ string
		claims         any
	}{
		{"another algorithm of ours", keys.ES256, tokenType, good},
		{"another type", keys.EdDSA, "JWT", good},
		{"no type", keys.EdDSA, "", good},
		{"another issuer", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Issuer = "https://elsewhere.test" })},
		{"no issuer", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Issuer = "" })},
		{"no session", keys.EdDSA, tokenType, with(func(c *claimSet) { c.ID = "" })},
		{"a session that is no id", keys.EdDSA, tokenType, with(func(c *claimSet) { c.ID = "1" })},
		{"nobody", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Person = "" })},
		{"no generation", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Generation = 0 })},
		{"a negative generation", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Generation = -1 })},
		{"no stage", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Stage = "" })},
		{"an unknown stage", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Stage = "FULL" })},
		{"a session's claims in stage code", keys.EdDSA, tokenType, with(func(c *claimSet) { c.Stage = stageCode })},
		{"a claim of the wrong type", keys.EdDSA, tokenType, map[string]any{"iss": []string{issuer}}},
		{"no object", keys.EdDSA, tokenType, []int{1}},
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
	for _, raw := range []string{"", ".", "..", "a.b.c", "a.b.c.d", strings.Repeat("a", 1<<16), strings.Repeat("a.", 1<<15)} {
		if d.Form().Looks(raw) {
			t.Errorf("Looks(%.20q) = true", raw)
		}
		if _, err := d.Form().Read(raw); !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("Read(%.20q) = %v", raw, err)
		}
	}
}

// Nothing that a stranger writes is a token, and nothing makes reading one fail in another way.
func FuzzFormRead(f *testing.F) {
	d := printer(f)
	s, who, at := sample()
	raw, err := d.fullToken(s, who, at, true, identity.Subject{})
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

// A path names one hub in one spelling.
func FuzzNamed(f *testing.F) {
	hash := strings.Repeat("a", 40)
	numeric := strings.Repeat("1", 40)
	who := &profile.Profile{Organisations: []profile.Access{
		{Organisation: identity.Organisation{ID: "a", Number: 9, Hash: hash}}, {Organisation: identity.Organisation{ID: "b", Number: 10, Hash: numeric}},
	}}
	for _, text := range []string{"9", "09", "+9", "9 ", hash, strings.ToUpper(hash), numeric, "", "9999999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hub, ok := named(who, text)
		if want := map[string]identity.OrganisationID{"9": "a", "10": "b", hash: "a"}[text]; hub.ID != want || ok != (want != "") {
			t.Errorf("named(%q) = %q, %v", text, hub.ID, ok)
		}
	})
}
