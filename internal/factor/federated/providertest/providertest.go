// Package providertest is an OpenID provider that tests can have misbehave. That ours gets on with one that does not is shown
// against a real provider in e2e.
package providertest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// ClientID and Secret are what a provider knows us by.
const (
	ClientID = "gatehouse"
	Secret   = "between-us-and-them"
)

// Provider is one. Its fields may be set between requests, under Change.
type Provider struct {
	URL    string         // its issuer
	Claims map[string]any // of whoever signs in; iss, aud, exp, iat and nonce are filled in where they are missing
	Info   map[string]any // of userinfo; nil: there is no such endpoint
	// Discovery changes the document before it is sent.
	Discovery func(map[string]any)
	// Sign signs an ID token; nil: with the key.
	Sign func(claims map[string]any) string
	// Answer takes a request over from the provider where it says so. It is called without the lock.
	Answer func(w http.ResponseWriter, r *http.Request) bool
	Code   string // that is given out; "": another one each time
	Now    func() time.Time

	mu    sync.Mutex
	key   *ecdsa.PrivateKey
	kid   int
	asked map[string]int
	codes map[string]url.Values
	t     testing.TB
}

// New starts one that ends with the test.
func New(t testing.TB, now func() time.Time) *Provider {
	t.Helper()
	p := &Provider{Now: now, asked: map[string]int{}, codes: map[string]url.Values{}, t: t, Claims: map[string]any{
		"sub": "ada-1", "email": "ada@example.test", "email_verified": true, "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace",
	}}
	p.Rotate()
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// Change alters the provider between requests.
func (p *Provider) Change(change func(*Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// Rotate gives it another key, and forgets the one before.
func (p *Provider) Rotate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = key
	p.kid++
}

// Asked says how often a path was called.
func (p *Provider) Asked(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// ServeHTTP answers.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked[r.URL.Path]++
	instead := p.Answer
	p.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		document := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"}, "code_challenge_methods_supported": []string{"S256"},
		}
		if p.Info != nil {
			document["userinfo_endpoint"] = p.URL + "/userinfo"
		}
		if p.Discovery != nil {
			p.Discovery(document)
		}
		answer(w, document)
	case r.URL.Path == "/keys":
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: p.name(), Algorithm: "ES256", Use: "sig"}}})
	case r.URL.Path == "/authorize":
		back, err := url.Parse(r.URL.Query().Get("redirect_uri"))
		if err != nil {
			http.Error(w, "redirect_uri", http.StatusBadRequest)
			return
		}
		back.RawQuery = p.approve(r.URL.Query()).Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
	case r.URL.Path == "/token":
		p.token(w, r)
	case r.URL.Path == "/userinfo" && p.Info != nil:
		if r.Header.Get("Authorization") != "Bearer opaque" {
			http.Error(w, "whose?", http.StatusUnauthorized)
			return
		}
		answer(w, p.Info)
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) name() string { return fmt.Sprint("key-", p.kid) }

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who has hung up reads no answer
}

// Approve is what somebody does who is sent to an address and signs in there: what she brings back.
func (p *Provider) Approve(address string) url.Values {
	p.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		p.t.Fatal(err)
	}
	query := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": ClientID, "scope": "openid email profile", "code_challenge_method": "S256",
	} {
		if query.Get(name) != want {
			p.t.Errorf("%s is %q, want %q", name, query.Get(name), want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge", "redirect_uri"} {
		if query.Get(name) == "" {
			p.t.Errorf("no %s in %s", name, address)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.approve(query)
}

func (p *Provider) approve(query url.Values) url.Values {
	code := cmp.Or(p.Code, rand.Text())
	p.codes[code] = query
	return url.Values{"code": {code}, "state": {query.Get("state")}}
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	asked, known := p.codes[r.PostFormValue("code")]
	delete(p.codes, r.PostFormValue("code"))
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !basic || id != ClientID || secret != Secret:
		w.WriteHeader(http.StatusUnauthorized)
		answer(w, map[string]any{"error": "invalid_client"})
	case !known || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") || r.PostFormValue("grant_type") != "authorization_code" ||
		base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge"):
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]any{"error": "invalid_grant"})
	default:
		now := p.Now()
		claims := map[string]any{
			"iss": p.URL, "aud": ClientID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "nonce": asked.Get("nonce"),
		}
		maps.Copy(claims, p.Claims)
		maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
		sign := p.Sign
		if sign == nil {
			sign = p.signed
		}
		answer(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600, "id_token": sign(claims)})
	}
}

func (p *Provider) signed(claims map[string]any) string {
	return Sign(p.t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.name()}}, claims)
}

// Sign makes a JWT.
func Sign(t testing.TB, key jose.SigningKey, claims map[string]any) string {
	signer, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Error(err)
		return ""
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Error(err)
		return ""
	}
	compact, err := object.CompactSerialize()
	if err != nil {
		t.Error(err)
	}
	return compact
}

// Unsigned makes a JWT that nobody signed.
func Unsigned(claims map[string]any) string {
	payload, _ := json.Marshal(claims) // text and numbers
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part(payload) + "."
}
