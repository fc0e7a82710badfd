package federated_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/internal/factor/federated"
	"gatehouse/internal/factor/federated/providertest"
	"gatehouse/internal/identity"
	"gatehouse/internal/outbound"
)

const (
	tenant = "5b1f4c2e-8a63-4b0d-9a55-0d1c7e6f2a10"
	other  = "6c2f4c2e-8a63-4b0d-9a55-0d1c7e6f2a11"
	back   = "https://house.test/callback"
)

// clock stands until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type house struct {
	*federated.Service
	clock    *clock
	provider *providertest.Provider
	reg      federated.Registration
}

func newHouse(t *testing.T, kind identity.ProviderKind, tenants ...string) *house {
	t.Helper()
	h := &house{clock: &clock{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	h.provider = providertest.New(t, h.clock.now)
	h.Service = &federated.Service{Limits: federated.DefaultLimits, Now: h.clock.now, Rand: rand.Reader}
	client := outbound.Client(outbound.Options{Inside: h.Inside, Timeout: time.Second})
	h.Client = client
	h.reg = federated.Registration{
		Provider: identity.IdentityProvider{Key: "p", Kind: kind, Issuer: h.provider.URL, ClientID: providertest.ClientID, Tenants: tenants},
		Secret:   providertest.Secret, RedirectURI: back,
	}
	return h
}

// flow goes once all the way; spoil may change what comes back.
func (h *house) flow(t *testing.T, spoil ...func(*federated.Challenge, *federated.Answer)) (federated.Identity, error) {
	t.Helper()
	address, ch, err := h.Begin(t.Context(), h.reg, "a-state")
	if err != nil {
		return federated.Identity{}, err
	}
	query := h.provider.Approve(address)
	a := federated.Answer{Code: identity.Secret(query.Get("code")), Issuer: query.Get("iss")}
	for _, f := range spoil {
		f(&ch, &a)
	}
	return h.Finish(t.Context(), h.reg, ch, a)
}

func TestFlow(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	want := federated.Identity{
		Authority: h.provider.URL, ExternalID: "ada-1", Email: "ada@example.test", Verified: true,
		Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace",
	}
	for range 2 {
		if got, err := h.flow(t); err != nil || got != want {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	for _, document := range []string{"/.well-known/openid-configuration", "/keys"} {
		if n := h.provider.Asked(document); n != 1 {
			t.Errorf("%s was asked for %d times", document, n)
		}
	}
	address, _, err := h.Begin(t.Context(), h.reg, "st&ate")
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(address)
	if q := u.Query(); q.Get("state") != "st&ate" || q.Get("redirect_uri") != back || len(q.Get("nonce")) < 43 || len(q.Get("code_challenge")) != 43 {
		t.Errorf("sent to %s", address)
	}
}

// A change of some provider that comes while somebody is on her way fails nobody: the provider's host is still one that may be called.
func TestChangedWhileUnderWay(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	h.provider.Change(func(p *providertest.Provider) {
		p.Answer = func(http.ResponseWriter, *http.Request) bool {
			h.Changed([]identity.Change{{Kind: identity.ProvidersChanged}})
			return false
		}
	})
	for range 2 {
		if _, err := h.flow(t); err != nil {
			t.Fatal(err)
		}
	}
	if host := strings.TrimPrefix(h.provider.URL, "http://"); h.Inside(host) {
		t.Errorf("%s may be called by anybody while nobody signs in", host)
	}
}

// What a provider says about the address may come by userinfo, and must be about the same person.
func TestUserInfo(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	h.provider.Claims["email"], h.provider.Claims["email_verified"] = nil, nil
	h.provider.Info = map[string]any{"sub": "ada-1", "email": "info@example.test", "email_verified": "true", "locale": "de"}
	got, err := h.flow(t)
	if err != nil || got.Email != "info@example.test" || !got.Verified || got.Locale != "de" || got.Name != "Ada Lovelace" {
		t.Errorf("%+v, %v", got, err)
	}
	h.provider.Change(func(p *providertest.Provider) { p.Info = map[string]any{"sub": "eve", "email": "eve@example.test"} })
	if _, err := h.flow(t); !errors.Is(err, identity.BadCredential) {
		t.Errorf("somebody else's userinfo: %v", err)
	}
}

// Each of these proves nothing.
func TestHostileAnswers(t *testing.T) {
	set := func(name string, value any) func(*providertest.Provider) {
		return func(p *providertest.Provider) { p.Claims[name] = value }
	}
	signed := func(sign func(claims map[string]any) string) func(*providertest.Provider) {
		return func(p *providertest.Provider) { p.Sign = sign }
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		change func(*providertest.Provider)
		spoil  func(*federated.Challenge, *federated.Answer)
	}{
		{"another issuer", set("iss", "https://evil.test"), nil},
		{"an issuer with a slash more", func(p *providertest.Provider) { p.Claims["iss"] = p.URL + "/" }, nil},
		{"another audience", set("aud", "another"), nil},
		{"no audience", set("aud", nil), nil},
		{"many audiences and no party", set("aud", []string{providertest.ClientID, "another"}), nil},
		{"another party", func(p *providertest.Provider) {
			p.Claims["aud"], p.Claims["azp"] = []string{providertest.ClientID, "another"}, "another"
		}, nil},
		{"another nonce", set("nonce", "of-another-request"), nil},
		{"no nonce", set("nonce", nil), nil},
		{"nobody", set("sub", ""), nil},
		{"a subject that is a number", set("sub", 7), nil},
		{"an endless subject", set("sub", strings.Repeat("a", 256)), nil},
		{"a subject of two lines", set("sub", "ada\n1"), nil},
		{"expired", set("exp", now.Add(-3*time.Minute).Unix()), nil},
		{"no end", set("exp", nil), nil},
		{"of the future", set("iat", now.Add(3*time.Minute).Unix()), nil},
		{"good later", set("nbf", now.Add(10*time.Minute).Unix()), nil},
		{"unsigned", signed(providertest.Unsigned), nil},
		{"signed with our own secret", signed(func(claims map[string]any) string {
			return providertest.Sign(t, jose.SigningKey{Algorithm: jose.HS256, Key: bytes.Repeat([]byte(providertest.Secret), 2)}, claims)
		}), nil},
		{"signed by a stranger", signed(func(claims map[string]any) string {
			return providertest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: stranger, KeyID: "key-1"}}, claims)
		}), nil},
		{"signed by a stranger without a name", signed(func(claims map[string]any) string {
			return providertest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, claims)
		}), nil},
		{"signed with a key of its own", signed(func(claims map[string]any) string {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				t.Fatal(err)
			}
			object, err := signer.Sign([]byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := object.CompactSerialize()
			return raw
		}), nil},
		{"no token", signed(func(map[string]any) string { return "" }), nil},
		{"no JWT", signed(func(map[string]any) string { return "a.b" }), nil},
		{"claims that are no object", signed(func(map[string]any) string {
			return providertest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: stranger}, nil)
		}), nil},
		{"a wrong code", nil, func(_ *federated.Challenge, a *federated.Answer) { a.Code = "another" }},
		{"another request's verifier", nil, func(ch *federated.Challenge, _ *federated.Answer) { ch.Verifier = strings.Repeat("v", 43) }},
		{"another issuer in the answer", nil, func(_ *federated.Challenge, a *federated.Answer) { a.Issuer = "https://evil.test" }},
		{"no issuer in the answer of one that says it", func(p *providertest.Provider) {
			p.Discovery = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
		}, nil},
		{"an access token of another answer", set("at_hash", "MTIzNDU2Nzg5MDEyMzQ1Ng"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, identity.OpenIDProvider)
			if tt.change != nil {
				h.provider.Change(tt.change)
			}
			spoil := tt.spoil
			if spoil == nil {
				spoil = func(*federated.Challenge, *federated.Answer) {}
			}
			if got, err := h.flow(t, spoil); !errors.Is(err, identity.BadCredential) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// These are good, though not every provider writes them so.
func TestTolerated(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, change := range map[string]func(*providertest.Provider){
		"a clock that is behind": func(p *providertest.Provider) { p.Claims["exp"] = now.Add(-time.Minute).Unix() },
		"a clock that is before": func(p *providertest.Provider) { p.Claims["iat"] = now.Add(time.Minute).Unix() },
		"many audiences, and us": func(p *providertest.Provider) {
			p.Claims["aud"], p.Claims["azp"] = []string{"another", providertest.ClientID}, providertest.ClientID
		},
		"names that are none": func(p *providertest.Provider) { p.Claims["name"], p.Claims["locale"] = 7, []string{"de"} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, identity.OpenIDProvider)
			h.provider.Change(change)
			if _, err := h.flow(t); err != nil {
				t.Error(err)
			}
		})
	}
}

// A provider in trouble is a clear refusal, and leaves us alone after a while.
func TestOutages(t *testing.T) {
	at := func(path string, answer func(w http.ResponseWriter, r *http.Request)) func(*providertest.Provider) {
		return func(p *providertest.Provider) {
			p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, path) {
					return false
				}
				answer(w, r)
				return true
			}
		}
	}
	forms := map[string]func(w http.ResponseWriter, r *http.Request){
		"500":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"nothing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
		"a page":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"too much": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20)) },
		"half": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"iss`))
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"never": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server notice that the caller has gone
			<-r.Context().Done()
		},
	}
	for _, path := range []string{"/openid-configuration", "/keys", "/token"} {
		for name, form := range forms {
			t.Run(path+" "+name, func(t *testing.T) {
				h := newHouse(t, identity.OpenIDProvider)
				h.provider.Change(at(path, form))
				if _, err := h.flow(t); !errors.Is(err, identity.Unavailable) {
					t.Fatalf("%v", err)
				}
				h.provider.Change(func(p *providertest.Provider) { p.Answer = nil })
				if _, err := h.flow(t); err != nil {
					t.Errorf("when it is back: %v", err)
				}
			})
		}
	}
}

// Documents that would send people or us somewhere else.
func TestHostileDocuments(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"another issuer":      func(d map[string]any) { d["issuer"] = "https://evil.test" },
		"no issuer":           func(d map[string]any) { delete(d, "issuer") },
		"a form of issuers":   func(d map[string]any) { d["issuer"] = d["issuer"].(string) + "/{tenantid}" },
		"keys in clear":       func(d map[string]any) { d["jwks_uri"] = "http://169.254.169.254/keys" },
		"no token endpoint":   func(d map[string]any) { delete(d, "token_endpoint") },
		"a page in clear":     func(d map[string]any) { d["authorization_endpoint"] = "http://evil.test/" },
		"a page that is code": func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
		"no PKCE":             func(d map[string]any) { d["code_challenge_methods_supported"] = []string{"plain"} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, identity.OpenIDProvider)
			h.provider.Change(func(p *providertest.Provider) { p.Discovery = change })
			if _, err := h.flow(t); !errors.Is(err, identity.Unavailable) {
				t.Errorf("%v", err)
			}
		})
	}
	// Endpoints inside the network are not called, TLS or not; they are told apart from outages only in the log.
	h := newHouse(t, identity.OpenIDProvider)
	h.provider.Change(func(p *providertest.Provider) {
		p.Discovery = func(d map[string]any) { d["token_endpoint"] = "https://127.0.0.1:1/token" }
	})
	if _, err := h.flow(t); !errors.Is(err, outbound.ErrForbidden) {
		t.Errorf("%v", err)
	}
}

func TestMicrosoft(t *testing.T) {
	many := func(p *providertest.Provider) {
		p.Discovery = func(d map[string]any) { d["issuer"] = p.URL + "/{tenantid}/v2.0" }
	}
	of := func(issuer, tid string) func(*providertest.Provider) {
		return func(p *providertest.Provider) {
			many(p)
			p.Claims["iss"], p.Claims["tid"] = p.URL+"/"+issuer+"/v2.0", tid
		}
	}
	tests := []struct {
		name    string
		tenants []string
		change  func(*providertest.Provider)
		want    error
	}{
		{"a tenant", nil, of(tenant, tenant), nil},
		{"a tenant that is allowed", []string{tenant}, of(tenant, tenant), nil},
		{"a tenant that is not", []string{other}, of(tenant, tenant), identity.Denied},
		{"another tenant's issuer", nil, of(other, tenant), identity.BadCredential},
		{"no tenant", nil, of(tenant, ""), identity.BadCredential},
		{"an issuer that is none of the form", nil, of(tenant+"/x", tenant+"/x"), identity.BadCredential},
		{"the form itself", nil, of("{tenantid}", "{tenantid}"), identity.BadCredential},
		{"another house's form", nil, func(p *providertest.Provider) {
			p.Discovery = func(d map[string]any) { d["issuer"] = "https://evil.test/{tenantid}/v2.0" }
		}, identity.Unavailable},
		{"one tenant's document", nil, func(p *providertest.Provider) {
			p.Discovery = func(d map[string]any) { d["issuer"] = p.URL + "/" + tenant + "/v2.0" }
			p.Claims["iss"], p.Claims["tid"] = p.URL+"/"+tenant+"/v2.0", tenant
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, identity.MicrosoftProvider, tt.tenants...)
			h.provider.Change(tt.change)
			got, err := h.flow(t)
			if !errors.Is(err, tt.want) {
				t.Fatalf("%+v, %v", got, err)
			}
			if err == nil && got.Authority != h.provider.URL+"/"+tenant+"/v2.0" {
				t.Errorf("authority %s", got.Authority)
			}
		})
	}
	// Its addresses are what a tenant's administrator typed, unless Microsoft says that the domain is the tenant's.
	for claim, want := range map[string]bool{"": false, "xms_edov": true, "email_verified": true} {
		h := newHouse(t, identity.MicrosoftProvider)
		h.provider.Change(of(tenant, tenant))
		h.provider.Claims["email_verified"] = nil
		if claim != "" {
			h.provider.Claims[claim] = "1"
		}
		if got, err := h.flow(t); err != nil || got.Verified != want {
			t.Errorf("%s: %+v, %v", claim, got, err)
		}
	}
}

func TestGoogle(t *testing.T) {
	h := newHouse(t, identity.GoogleProvider, "example.test")
	if _, err := h.flow(t); !errors.Is(err, identity.Denied) {
		t.Errorf("an account of nobody's domain: %v", err)
	}
	h.provider.Change(func(p *providertest.Provider) { p.Claims["hd"] = "example.test" })
	if got, err := h.flow(t); err != nil || got.Authority != h.provider.URL {
		t.Errorf("%+v, %v", got, err)
	}
}

// A key that is new is found at once, and one that nobody has is not looked for again and again.
func TestKeys(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	if _, err := h.flow(t); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Minute)
	h.provider.Rotate()
	if _, err := h.flow(t); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	before := h.provider.Asked("/keys")
	h.provider.Change(func(p *providertest.Provider) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		p.Sign = func(claims map[string]any) string {
			return providertest.Sign(t, jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: rand.Text()}}, claims)
		}
	})
	h.clock.advance(time.Minute)
	for range 10 {
		if _, err := h.flow(t); !errors.Is(err, identity.BadCredential) {
			t.Fatal(err)
		}
	}
	if asked := h.provider.Asked("/keys") - before; asked != 1 {
		t.Errorf("unknown keys made us ask %d times", asked)
	}
}

// Documents that cannot be had anew serve a while longer.
func TestStaleDocuments(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	if _, err := h.flow(t); err != nil {
		t.Fatal(err)
	}
	h.provider.Change(func(p *providertest.Provider) {
		p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
	})
	h.clock.advance(time.Hour)
	if _, err := h.flow(t); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	h.clock.advance(6 * time.Hour)
	if _, err := h.flow(t); !errors.Is(err, identity.Unavailable) {
		t.Errorf("half a day later: %v", err)
	}
}

// A dead provider costs its callers little, and is asked again after a rest.
func TestRest(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	broken := true
	h.provider.Change(func(p *providertest.Provider) {
		p.Answer = func(w http.ResponseWriter, _ *http.Request) bool {
			if broken {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return broken
		}
	})
	for range 20 {
		if _, err := h.flow(t); !errors.Is(err, identity.Unavailable) {
			t.Fatal(err)
		}
	}
	if n := h.provider.Asked("/.well-known/openid-configuration"); n != h.Limits.Failures {
		t.Errorf("asked %d times", n)
	}
	_, err := h.flow(t)
	if wait := identity.Describe(err).RetryAfter; wait <= 0 || wait > h.Limits.Rest {
		t.Errorf("to be tried again after %s", wait)
	}
	broken = false
	h.clock.advance(h.Limits.Rest)
	if _, err := h.flow(t); err != nil {
		t.Errorf("after the rest: %v", err)
	}
}

// One slow provider keeps a bounded number of callers.
func TestBusy(t *testing.T) {
	h := newHouse(t, identity.OpenIDProvider)
	h.Limits.Calls = 2
	if _, err := h.flow(t); err != nil {
		t.Fatal(err)
	}
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	h.provider.Change(func(p *providertest.Provider) {
		p.Answer = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				arrived <- struct{}{}
				<-release
			}
			return false
		}
	})
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			if _, err := h.flow(t); err != nil {
				t.Error(err)
			}
		})
	}
	<-arrived
	<-arrived
	if _, err := h.flow(t); !errors.Is(err, identity.Busy) {
		t.Errorf("a third: %v", err)
	}
	close(release)
	wait.Wait()
}

// What goes wrong is told to the log without the code and the secret.
func TestErrorsTellNoSecret(t *testing.T) {
	for _, status := range []int{400, 401, 500} {
		h := newHouse(t, identity.OpenIDProvider)
		h.provider.Change(func(p *providertest.Provider) {
			p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/token" {
					return false
				}
				_ = r.ParseForm()
				w.WriteHeader(status)
				_, _ = w.Write([]byte(r.Form.Encode() + providertest.Secret))
				return true
			}
		})
		var code string
		_, err := h.flow(t, func(_ *federated.Challenge, a *federated.Answer) { code = a.Code.Reveal() })
		if err == nil || strings.Contains(err.Error(), code) || strings.Contains(err.Error(), providertest.Secret) {
			t.Errorf("%d: %v", status, err)
		}
	}
}
