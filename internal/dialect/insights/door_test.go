package insights_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/grant"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/httpkit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"jti"`
}

func (h *house) post(t testing.TB, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

func (h *house) signIn(t testing.TB) tokens {
	t.Helper()
	w := h.post(t, url.Values{
		"grant_type": {"password"}, "username": {"dana@resolve.io"}, "password": {coretest.Password.Reveal()},
		"client_id": {"fixstreamapp"}, "client_secret": {"fixstream"},
	})
	var got tokens
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("sign-in: %d %s", w.Code, w.Body)
	}
	return got
}

func (h *house) refresh(t testing.TB, raw string) *httptest.ResponseRecorder {
	t.Helper()
	return h.post(t, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}, "client_id": {"fixstreamapp"}, "client_secret": {"fixstream"}})
}

func (h *house) detail(raw string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/api/v2/users/loggedIn/detail", nil)
	r.Header.Set("Authorization", "Bearer "+raw)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	return w
}

// insights.md 2.4: these claims, in a token that the contract's script can cut out of the answer.
func TestClaims(t *testing.T) {
	h := newHouse(t)
	got := h.signIn(t)
	for name, raw := range map[string]string{"access": got.Access, "refresh": got.Refresh} {
		if strings.ContainsAny(raw, `:,"`) {
			t.Errorf("the %s token has a character at which scripts cut: %s", name, raw)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		var c map[string]any
		if err := json.Unmarshal(payload, &c); err != nil {
			t.Fatal(err)
		}
		scope, _ := c["scope"].([]any)
		authorities, _ := c["authorities"].([]any)
		if c["user_name"] != "dana@resolve.io" || c["client_id"] != "fixstreamapp" || len(scope) != 3 || len(authorities) != 1 || c["iss"] != issuer {
			t.Errorf("%s token says %s", name, payload)
		}
		if name == "access" && (c["jti"] != got.ID || c["ati"] != nil) || name == "refresh" && (c["ati"] != got.ID || c["jti"] == got.ID) {
			t.Errorf("%s token: jti %v ati %v, the answer's jti is %s", name, c["jti"], c["ati"], got.ID)
		}
	}
}

// Both tokens die with what they stand for, at once (insights.md 2.4).
func TestEndedSessionsAreRefused(t *testing.T) {
	ends := map[string]func(*house, testing.TB){
		"suspended": func(h *house, t testing.TB) {
			h.Update(func(tx identity.Tx) error {
				s, err := tx.Subject(t.Context(), danaID)
				if err != nil {
					return err
				}
				s.SuspendedAt = h.Clock.Now()
				if err := tx.UpdateSubject(t.Context(), s); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.SubjectChanged, string(s.ID), h.Clock.Now())
			})
		},
		"all sessions ended": func(h *house, t testing.TB) {
			if err := h.Sessions.EndAll(t.Context(), coretest.Caller(insights.Door), danaID, "", "test"); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(h *house, t testing.TB) {
			h.Update(func(tx identity.Tx) error {
				if err := tx.DeleteSubject(t.Context(), danaID); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.SubjectChanged, string(danaID), h.Clock.Now())
			})
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			got := h.signIn(t)
			if w := h.detail(got.Access); w.Code != http.StatusOK { // and it is remembered as a good one
				t.Fatalf("detail: %d %s", w.Code, w.Body)
			}
			end(h, t)
			if w := h.detail(got.Access); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "Invalid access token") {
				t.Errorf("the access token still opens: %d %s", w.Code, w.Body)
			}
			if w := h.refresh(t, got.Refresh); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "Invalid refresh token") {
				t.Errorf("the refresh token still opens: %d %s", w.Code, w.Body)
			}
		})
	}
}

// A token is good for one door, one kind and one issuer only (P2).
func TestForeignTokens(t *testing.T) {
	h := newHouse(t)
	good := h.signIn(t)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(good.Access, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	sign := func(alg, typ string, change func(map[string]any)) string {
		var c map[string]any
		if err := json.Unmarshal(payload, &c); err != nil {
			t.Fatal(err)
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
	if w := h.detail(sign(keys.ES256, "insights-at+jwt", nil)); w.Code != http.StatusOK {
		t.Fatalf("a copy of a good token is refused, so the others prove nothing: %d %s", w.Code, w.Body)
	}
	parts := strings.Split(good.Access, ".")
	tests := map[string]string{
		"another door's type": sign(keys.ES256, "at+jwt", nil),
		"no type":             sign(keys.ES256, "", nil),
		"plain JWT":           sign(keys.ES256, "JWT", nil),
		"refresh type":        sign(keys.ES256, "insights-rt+jwt", nil),
		"another issuer":      sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["iss"] = "http://other.test" }),
		"no session":          sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { delete(c, "sid") }),
		"another's session":   sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["sub"] = "019b76da-a800-7000-8000-00000000ffff" }),
		"unknown session":     sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["sid"] = "019b76da-a800-7000-8000-00000000ffff" }),
		"session that is no id": sign(keys.ES256, "insights-at+jwt", func(c map[string]any) {
			c["sid"] = "' OR 1=1"
		}),
		"claims of wrong types": sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["exp"] = "never" }),
		"huge exp":              sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["exp"] = json.Number("1e400") }),
		"past":                  sign(keys.ES256, "insights-at+jwt", func(c map[string]any) { c["exp"] = 1 }),
		"no signature":          parts[0] + "." + parts[1] + ".",
		"swapped signature":     parts[0] + "." + parts[1] + "." + strings.Split(good.Refresh, ".")[2],
		"four parts":            good.Access + ".x",
		"too long":              good.Access + strings.Repeat("A", 9<<10),
	}
	for name, raw := range tests {
		w := h.detail(raw)
		if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if name == "refresh type" {
			continue // signed by the house itself: there it is one
		}
		if w := h.refresh(t, raw); w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized {
			t.Errorf("%s as a refresh token: %d %s", name, w.Code, w.Body)
		}
	}
}

// hanging is a store that does not answer.
type hanging struct{ identity.Store }

func (hanging) View(ctx context.Context, _ func(identity.Reader) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// insights.md 5: 15 s, then 503; never 401, or clients would drop good tokens.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &insights.Dialect{Grants: &grant.Service{Store: hanging{}}}
		router := httpkit.NewRouter([]httpkit.Door{d.Routes()}, http.NotFoundHandler())
		r := httptest.NewRequest(http.MethodPost, "/oauth/token?client_id=fixstreamapp&client_secret=x&grant_type=password", nil)
		w := httptest.NewRecorder()
		start := time.Now()
		router.ServeHTTP(w, r)
		if took := time.Since(start); took != 15*time.Second || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("after %v: %d %s", took, w.Code, w.Body)
		}
	})
}

// Sixteen at once: one session each, and none sees another's tokens.
func TestParallelSignIns(t *testing.T) {
	h := newHouse(t)
	form := url.Values{
		"grant_type": {"password"}, "username": {"dana@resolve.io"}, "password": {coretest.Password.Reveal()},
		"client_id": {"fixstreamapp"}, "client_secret": {"fixstream"},
	}
	answers := make(chan *httptest.ResponseRecorder)
	for range 16 {
		go func() { answers <- h.post(t, form) }()
	}
	seen := map[string]bool{}
	for range 16 {
		var got tokens
		if w := <-answers; w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &got) != nil {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		seen[got.ID] = true
	}
	if len(seen) != 16 {
		t.Errorf("%d different tokens of 16", len(seen))
	}
}

func TestTooLarge(t *testing.T) {
	h := newHouse(t)
	if w := h.post(t, url.Values{"username": {strings.Repeat("x", 64<<10)}}); w.Code != http.StatusRequestEntityTooLarge || !json.Valid(w.Body.Bytes()) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Whatever strangers send is answered, and never with a 5xx.
func FuzzToken(f *testing.F) {
	h := newHouse(f)
	f.Add("POST", "application/x-www-form-urlencoded", "", "", "grant_type=password&username=dana%40resolve.io&password=x&client_id=fixstreamapp&client_secret=fixstream")
	f.Add("POST", "", "client_id=fixstreamapp&client_secret=fixstream&grant_type=refresh_token&refresh_token=eyJ.e.x", "", "")
	f.Add("POST", "application/x-www-form-urlencoded", "", "Basic Zml4c3RyZWFtYXBwOmZpeHN0cmVhbQ==", "scope=read,write&grant_type=implicit")
	f.Add("DELETE", "application/json", "a=%00", "Bearer x", "{}")
	f.Fuzz(func(t *testing.T, method, contentType, query, authorization, body string) {
		r := request(method, "/oauth/token", query, body)
		r.Header["Content-Type"], r.Header["Authorization"] = []string{contentType}, []string{authorization}
		check(t, h, r)
	})
}

func FuzzBearer(f *testing.F) {
	h := newHouse(f)
	good := h.signIn(f)
	f.Add("/api/v2/sites", "Bearer "+good.Access)
	f.Add("/api/v2/users/loggedIn/detail", "bearer   "+good.Refresh)
	f.Add("/api/v2//..", "Basic x")
	f.Fuzz(func(t *testing.T, path, authorization string) {
		r := request(http.MethodGet, path, "", "")
		r.Header["Authorization"] = []string{authorization}
		check(t, h, r)
	})
}

// request is one that need not be well-formed, as a server would hand it on.
func request(method, path, query, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
	return r
}

func check(t *testing.T, h *house, r *http.Request) {
	t.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code >= 500 {
		t.Errorf("%s %q: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
		t.Errorf("%s %q: no JSON: %s", r.Method, r.URL, w.Body)
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	h := newHouse(t)
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/oauth/openapi.json", nil))
	var doc struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" || len(doc.Paths) != 3 {
		t.Errorf("%d %v %v", w.Code, err, doc)
	}
}
