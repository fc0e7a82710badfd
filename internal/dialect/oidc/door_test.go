package oidc_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/core/session"
	"gatehouse/internal/dialect/oidc"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

func (h *house) post(path, client string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(url.QueryEscape(client), secret)
	}
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

type answer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
	Active  bool   `json:"active"`
}

func (h *house) ask(t testing.TB, path, client string, form url.Values) (int, answer) {
	t.Helper()
	w := h.post(path, client, form)
	var got answer
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Code, got
}

func claimsOf(t testing.TB, raw string) (header, payload map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	for i, into := range []*map[string]any{&header, &payload} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, payload
}

// RFC 9068, sections 2.1 and 2.2.
func TestAccessTokens(t *testing.T) {
	h := newHouse(t)
	own := url.Values{"grant_type": {"client_credentials"}}
	_, robot := h.ask(t, "/oauth2/token", "robot", own)
	head, c := claimsOf(t, robot.Access)
	if head["typ"] != "at+jwt" || head["alg"] != "ES256" || head["kid"] == "" {
		t.Errorf("header %v", head)
	}
	if c["iss"] != issuer || c["sub"] != "robot" || c["client_id"] != "robot" || c["aud"] != "https://api.example.test" || c["scope"] != "read write" ||
		c["exp"].(float64)-c["iat"].(float64) != 600 || !identity.ValidID(c["jti"].(string)) || len(c) != 8 {
		t.Errorf("claims %v", c)
	}
	_, many := h.ask(t, "/oauth2/token", "many", own)
	head, c = claimsOf(t, many.Access)
	if aud, _ := c["aud"].([]any); head["alg"] != "EdDSA" || len(aud) != 2 || c["scope"] != nil {
		t.Errorf("header %v, claims %v", head, c)
	}
	_, other := h.ask(t, "/oauth2/token", "other", own)
	if _, c = claimsOf(t, other.Access); c["aud"] != issuer {
		t.Errorf("aud %v, want the issuer where the client names none", c["aud"])
	}
	for raw, client := range map[string]string{many.Access: "https://b.example.test", other.Access: issuer} {
		facts, err := h.door.Form().Read(raw)
		if err != nil || !slices.Contains(facts.Audience, client) {
			t.Errorf("Read = %+v, %v, want %s among the audience", facts, err, client)
		}
	}
	_, hers := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.refreshToken(t, "robot", "read")}})
	if _, c = claimsOf(t, hers.Access); c["sub"] != string(h.ada.ID) || c["sid"] == nil || c["auth_time"] == nil || c["amr"] == nil {
		t.Errorf("claims %v", c)
	}
	for client, want := range map[string]struct{ device, entitlements string }{
		"camera-1": {string(camera1), "[inference manager]"}, "camera-2": {string(camera2), "[manager]"}, "reports": {"<nil>", "[inference manager]"},
	} {
		_, got := h.ask(t, "/oauth2/token", client, own)
		if _, c = claimsOf(t, got.Access); c["sub"] != client || c["org"] != string(acme) || fmt.Sprint(c["device"]) != want.device || fmt.Sprint(c["entitlements"]) != want.entitlements {
			t.Errorf("%s: claims %v", client, c)
		}
	}
}

// A key that is not there yet is no reason to tell the client that it is wrong.
func TestAlgorithmNotReady(t *testing.T) {
	h := newHouse(t)
	w := h.post("/oauth2/token", "rsa", url.Values{"grant_type": {"client_credentials"}})
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := h.ring.Ensure(t.Context(), keys.RS256); err != nil {
		t.Fatal(err)
	}
	_, got := h.ask(t, "/oauth2/token", "rsa", url.Values{"grant_type": {"client_credentials"}})
	if head, _ := claimsOf(t, got.Access); head["alg"] != "RS256" {
		t.Errorf("header %v", head)
	}
}

// The client's own token reads no store and writes none: what makes it fast.
func TestOwnTokenNeedsNoStore(t *testing.T) {
	h := newHouse(t)
	form := url.Values{"grant_type": {"client_credentials"}}
	for range 2 { // then the clients are in memory, and what the device may use
		for _, client := range []string{"robot", "camera-1"} {
			if status, got := h.ask(t, "/oauth2/token", client, form); status != http.StatusOK || got.Access == "" {
				t.Errorf("%s: %d %+v", client, status, got)
			}
		}
		h.Grants.Store, h.Sessions.Store, h.licences.Store = nil, nil, nil
	}
}

// Checked tokens and the clients in use are in memory: the second look reads no store.
func TestSecondLookNeedsNoStore(t *testing.T) {
	h := newHouse(t)
	access := h.Sessions.Opaque(h.session(t, coretest.Door, ""), identity.AccessToken)
	form := url.Values{"token": {access}}
	if _, got := h.ask(t, "/oauth2/introspect", "gateway", form); !got.Active {
		t.Fatal("not active")
	}
	h.Grants.Store, h.Sessions.Store = nil, nil
	if _, got := h.ask(t, "/oauth2/introspect", "gateway", form); !got.Active {
		t.Error("not active at the second look")
	}
}

// Sixteen at once with one refresh token: one successor, which all of them get inside the grace.
func TestParallelRefreshes(t *testing.T) {
	h := newHouse(t)
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {h.refreshToken(t, "robot", "read")}}
	answers := make(chan *httptest.ResponseRecorder)
	for range 16 {
		go func() { answers <- h.post("/oauth2/token", "robot", form) }()
	}
	successors := map[string]int{}
	for range 16 {
		var got answer
		w := <-answers
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		successors[got.Refresh]++
	}
	if len(successors) != 1 {
		t.Errorf("%d successors, want one: %v", len(successors), successors)
	}
}

// A token is good for one door, one kind and one issuer only (P2).
func TestForeignTokens(t *testing.T) {
	h := newHouse(t)
	_, got := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}})
	_, claims := claimsOf(t, got.Access)
	sign := func(alg, typ string, change func(map[string]any)) string {
		c := map[string]any{}
		for k, v := range claims {
			c[k] = v
		}
		if change != nil {
			change(c)
		}
		raw, err := h.ring.Sign(alg, typ, c)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	parts := strings.Split(got.Access, ".")
	tests := map[string]struct {
		raw    string
		active bool
	}{
		"a copy":          {sign(keys.ES256, "at+jwt", nil), true},
		"another alg":     {sign(keys.EdDSA, "at+jwt", nil), true}, // the key says which; both are ours
		"another type":    {sign(keys.ES256, "JWT", nil), false},
		"no type":         {sign(keys.ES256, "", nil), false},
		"another door's":  {sign(keys.ES256, "insights-at+jwt", nil), false},
		"another issuer":  {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["iss"] = issuer + "/" }), false},
		"unknown client":  {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["client_id"] = "nobody" }), false},
		"gone client":     {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["client_id"] = "gone" }), false},
		"unknown session": {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["sid"] = "' OR 1=1" }), false},
		"wrong types":     {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["exp"] = "never" }), false},
		"past":            {sign(keys.ES256, "at+jwt", func(c map[string]any) { c["exp"] = 1 }), false},
		"no signature":    {parts[0] + "." + parts[1] + ".", false},
		"four parts":      {got.Access + ".x", false},
		"too long":        {got.Access + strings.Repeat("A", 9<<10), false},
	}
	for name, tt := range tests {
		if _, got := h.ask(t, "/oauth2/introspect", "gateway", url.Values{"token": {tt.raw}}); got.Active != tt.active {
			t.Errorf("%s: active %v, want %v", name, got.Active, tt.active)
		}
		if status, got := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tt.raw}}); status != http.StatusBadRequest || got.Error != "invalid_grant" {
			t.Errorf("%s as a refresh token: %d %+v", name, status, got)
		}
	}
}

// A suspended client's tokens end with it.
func TestSuspendedClient(t *testing.T) {
	h := newHouse(t)
	_, got := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}})
	if _, about := h.ask(t, "/oauth2/introspect", "gateway", url.Values{"token": {got.Access}}); !about.Active {
		t.Fatal("not active")
	}
	h.Update(func(tx identity.Tx) error {
		c, err := tx.Client(t.Context(), "robot")
		if err != nil {
			return err
		}
		c.SuspendedAt = h.Clock.Now()
		if err := tx.UpdateClient(t.Context(), c); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.ClientChanged, "robot", h.Clock.Now())
	})
	if _, about := h.ask(t, "/oauth2/introspect", "gateway", url.Values{"token": {got.Access}}); about.Active {
		t.Error("the token still opens")
	}
	if status, _ := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}}); status != http.StatusUnauthorized {
		t.Errorf("the client still gets tokens: %d", status)
	}
}

// The metadata names only what answers.
func TestMetadataIsHonest(t *testing.T) {
	h := newHouse(t)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil))
	var meta map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &meta); err != nil {
		t.Fatal(err)
	}
	for name, value := range meta {
		address, ok := value.(string)
		if !ok || name == "issuer" {
			continue
		}
		path, ok := strings.CutPrefix(address, issuer)
		if !ok {
			t.Errorf("%s is %s: not ours", name, address)
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code == http.StatusNotFound {
			t.Errorf("%s is %s: nothing is there", name, address)
		}
	}
	for _, grantType := range meta["grant_types_supported"].([]any) {
		if _, got := h.ask(t, "/oauth2/token", "robot", url.Values{"grant_type": {grantType.(string)}}); got.Error == "unsupported_grant_type" {
			t.Errorf("%v is named and not supported", grantType)
		}
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	h := newHouse(t)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth2/openapi.json", nil))
	var doc struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" || len(doc.Paths) != 6 {
		t.Errorf("%d %v %v", w.Code, err, doc)
	}
}

func TestTooLarge(t *testing.T) {
	h := newHouse(t)
	if status, got := h.ask(t, "/oauth2/token", "robot", url.Values{"scope": {strings.Repeat("x", 64<<10)}}); status != http.StatusRequestEntityTooLarge || got.Error != "invalid_request" {
		t.Errorf("%d %+v", status, got)
	}
}

// hanging is a store that does not answer.
type hanging struct{ identity.Store }

func (hanging) View(ctx context.Context, _ func(identity.Reader) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// Never 401 while the store is away: clients would drop good tokens.
func TestDeadline(t *testing.T) {
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
		synctest.Test(t, func(t *testing.T) {
			d := &oidc.Dialect{Grants: &grant.Service{Store: hanging{}}, Sessions: &session.Service{}, Now: time.Now}
			h := &house{handler: httpkit.NewRouter([]httpkit.Door{d.Routes()}, http.NotFoundHandler())}
			start := time.Now()
			status, got := h.ask(t, path, "robot", url.Values{"token": {"x"}})
			if took := time.Since(start); took != 15*time.Second || status != http.StatusServiceUnavailable || got.Error != "temporarily_unavailable" {
				t.Errorf("%s after %v: %d %+v", path, took, status, got)
			}
		})
	}
}

// Whatever strangers send is answered, and never with a 5xx.
func FuzzForm(f *testing.F) {
	h := newHouse(f)
	refresh := h.refreshToken(f, "robot", "read")
	f.Add("/oauth2/token", "application/x-www-form-urlencoded", "Basic cm9ib3Q6cm9ib3Qtc2VjcmV0", "grant_type=client_credentials&scope=read")
	f.Add("/oauth2/token", "application/x-www-form-urlencoded", "Basic cm9ib3Q6cm9ib3Qtc2VjcmV0", "grant_type=refresh_token&refresh_token="+refresh)
	f.Add("/oauth2/introspect", "application/x-www-form-urlencoded; charset=x", "Basic Z2F0ZXdheTpyb2JvdC1zZWNyZXQ=", "token="+refresh)
	f.Add("/oauth2/revoke", "application/x-www-form-urlencoded", "", "client_id=app&token=eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, path, contentType, authorization, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.Path = path
		r.Header["Content-Type"], r.Header["Authorization"] = []string{contentType}, []string{authorization}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: no JSON: %s", path, w.Body)
		}
	})
}

// Whatever is taken for a token of this door was printed by it: nothing that a stranger can spell is.
func FuzzRead(f *testing.F) {
	h := newHouse(f)
	_, got := h.ask(f, "/oauth2/token", "robot", url.Values{"grant_type": {"client_credentials"}})
	f.Add(got.Access)
	f.Add(strings.Repeat("0a", 32))
	f.Add("eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.")
	form := h.door.Form()
	f.Fuzz(func(t *testing.T, raw string) {
		facts, err := form.Read(raw)
		if err != nil {
			if k := identity.KindOf(err); k != identity.TokenInvalid {
				t.Errorf("refused as %v", k)
			}
			return
		}
		if facts.Opaque == nil && raw != got.Access {
			t.Errorf("%q passes for a signed token", raw)
		}
		if !form.Looks(raw) {
			t.Errorf("%q is read, and does not look like one", raw)
		}
	})
}
