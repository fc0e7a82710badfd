package titan_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/factor/federated/providertest"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/world"
)

// Everybody's password: the one of the vendor's example.
const passphrase = "WoWar1chUnsicher?"

const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// scene has the user of the vendor's example, hubs of every sort, and people who may not sign in with a password alone.
const scene = `
organisations:
  - key: nordan
    id: 01a0b000-0000-7000-8000-000000000001
    hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1
    name: Nordantech
    titan:
      type: 0
      features: {impersonation: true, audit: true, password_age: 90, session_timeout: 30, colour: blue}
      settings: {support: true, login_confirmation_channel: 2, session_limit: 3, password_age: 90, sso: nonsense}
      expiration_time: 2027-01-01T00:00:00Z
  - key: vault
    id: 01a0b000-0000-7000-8000-000000000002
    hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2
    name: Vault
    titan: {settings: {login_confirmation: true}}
  - key: closed
    id: 01a0b000-0000-7000-8000-000000000003
    hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa3
    name: Closed
    titan: {expiration_time: 2025-12-01T00:00:00Z}
  - key: strange
    id: 01a0b000-0000-7000-8000-000000000004
    hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa4
    name: Strange
  - key: strict
    id: 01a0b000-0000-7000-8000-000000000005
    hash: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa5
    name: Strict
    titan: {settings: {login_confirmation: true, login_confirmation_channel: 3}}
subjects:
  - email: titan@nordantech.com
    id: 01a0a000-0000-7000-8000-000000000001
    hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb1
    aliases: [titan]
    given_name: Tina
    family_name: Tander
    password: &password WoWar1chUnsicher?
    titan: {settings: {locale: 4, statefulness: true}, language: 0}
    memberships:
      - {organisation: nordan, titan_role: owner}
      - {organisation: closed, titan_role: owner}
  - email: many@nordantech.com
    id: 01a0a000-0000-7000-8000-000000000002
    hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb2
    name: Many Hubs
    password: *password
    memberships:
      - {organisation: nordan, titan_role: administrator}
      - {organisation: vault}
      - {organisation: closed}
  - email: careful@nordantech.com
    id: 01a0a000-0000-7000-8000-000000000003
    hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb3
    given_name: Cara
    family_name: Ful
    password: *password
    factors: {totp: ` + secret + `}
    memberships:
      - {organisation: vault, titan_role: user}
  - {email: lone@nordantech.com, id: 01a0a000-0000-7000-8000-000000000004, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb4, password: *password}
  - {email: off@nordantech.com, password: *password, suspended: true}
  - {email: new@nordantech.com, password: *password, must_verify: true, verified: false}
  - {email: due@nordantech.com, password: *password, must_change_password: true}
  - {email: wants@nordantech.com, password: *password, titan: {login_confirmation: true}}
  - {email: vaulted@nordantech.com, password: *password, memberships: [{organisation: vault}]}
  - {email: mia@nordantech.com, id: 01a0a000-0000-7000-8000-000000000010, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10, given_name: Mia, family_name: Member, password: *password, memberships: [{organisation: nordan, titan_role: user}, {organisation: strange, titan_role: owner}]}
  - {email: olaf@nordantech.com, id: 01a0a000-0000-7000-8000-000000000011, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb11, name: Olaf Owner, password: *password, memberships: [{organisation: nordan, titan_role: owner}]}
  - {email: gone@nordantech.com, id: 01a0a000-0000-7000-8000-000000000012, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb12, name: Gone, password: *password, suspended: true, memberships: [{organisation: nordan, titan_role: user}]}
  - {email: mailed@nordantech.com, hash: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb20, password: *password, factors: {email: true}, memberships: [{organisation: strict}]}
`

// house is a whole house with that scene.
type house struct {
	*apptest.House
	log *bytes.Buffer // of the door
}

func newHouse(t testing.TB, configure ...func(*config.Config)) *house {
	t.Helper()
	h := &house{log: &bytes.Buffer{}}
	h.House = apptest.New(t, apptest.Options{World: scene, Configure: func(c *config.Config) {
		for _, f := range configure {
			f(c)
		}
	}})
	h.Doors.Titan.Log = slog.New(slog.NewTextHandler(h.log, nil))
	return h
}

// newHouseWithProvider has Google, whom a provider of the test stands in for, and Microsoft, which nobody uses any more.
func newHouseWithProvider(t testing.TB, configure ...func(*config.Config)) (*house, *providertest.Provider) {
	t.Helper()
	h := newHouse(t, append(configure, func(c *config.Config) { c.Titan.FrontendURL = "https://app.test/signed-in?from=provider" })...)
	provider := providertest.New(t, h.Clock.Now)
	provider.Claims["email"] = "ada@nordantech.com"
	h.apply(t, fmt.Sprintf(`
identity_providers:
  - {key: google, kind: google, issuer: %q, client_id: %s, client_secret: %s}
  - {key: house, kind: oidc, issuer: %q, client_id: %s, client_secret: %s, create_accounts: false}
  - {key: microsoft, kind: microsoft, client_id: x, client_secret: x, suspended: true}
`, provider.URL, providertest.ClientID, providertest.Secret, provider.URL, providertest.ClientID, providertest.Secret))
	return h, provider
}

// apply writes a world file into the house.
func (h *house) apply(t testing.TB, text string) {
	t.Helper()
	parsed, err := world.Parse("world.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Worlds.Apply(t.Context(), parsed, world.Options{}); err != nil {
		t.Fatal(err)
	}
}

// code is what the authenticator shows, some time from now.
func (h *house) code(t testing.TB, ahead time.Duration) string {
	t.Helper()
	code, err := totp.Code(secret, h.Clock.Now().Add(ahead))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

type answer struct {
	status int
	header http.Header
	body   string
}

// at follows a dotted path through the answer.
func (a answer) at(t testing.TB, path string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	for _, step := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %s in %s", path, a.body)
		}
		v = m[step]
	}
	return v
}

func (a answer) token(t testing.TB) string {
	t.Helper()
	token, _ := a.at(t, "data.token").(string)
	if token == "" {
		t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return token
}

type header = [2]string

func bearer(token string) header { return header{"Authorization", "Bearer " + token} }

// do sends a request; a body is JSON unless a header says otherwise.
func (h *house) do(t testing.TB, method, target, body string, headers ...header) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, kv := range headers {
		switch kv[0] {
		case "Content-Type":
			r.Header.Del(kv[0])
		case "From":
			r.RemoteAddr = kv[1]
			continue
		}
		r.Header.Add(kv[0], kv[1])
	}
	w := httptest.NewRecorder()
	h.Handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func (h *house) post(t testing.TB, target, body string, headers ...header) answer {
	t.Helper()
	return h.do(t, http.MethodPost, target, body, headers...)
}

func credentials(login string) string {
	return `{"user":"` + login + `","password":"` + passphrase + `"}`
}

// signIn gives the token of an answer with 200.
func (h *house) signIn(t testing.TB, login string) string {
	t.Helper()
	a := h.post(t, "/auth", credentials(login))
	if a.status != http.StatusOK {
		t.Fatalf("sign in %s: %d %s", login, a.status, a.body)
	}
	return a.token(t)
}

func claimsOf(t testing.TB, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %s", raw)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// events counts what the audit log has of an action.
func (h *house) events(t testing.TB, action string) int {
	t.Helper()
	var n int
	err := h.Store.View(t.Context(), func(r identity.Reader) error {
		list, err := r.Events(t.Context(), identity.EventFilter{Action: action, Door: titan.Door, Limit: 1000})
		n = len(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
