package titan_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/config"
	"gatehouse/internal/factor/federated/providertest"
)

func (h *house) get(t testing.TB, target string, headers ...header) answer {
	t.Helper()
	return h.do(t, http.MethodGet, target, "", headers...)
}

// state gives a state and the cookie that goes with it.
func (h *house) state(t testing.TB, query string, headers ...header) (state string, cookie header) {
	t.Helper()
	a := h.get(t, "/auth/provider/oauth/state"+query, headers...)
	if a.status != http.StatusOK {
		t.Fatalf("state: %d %s", a.status, a.body)
	}
	state, _ = a.at(t, "data.state").(string)
	return state, cookieOf(a)
}

func cookieOf(a answer) header {
	pair, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return header{"Cookie", pair}
}

// goThere starts a state and agrees at the provider; it gives the callback's target.
func (h *house) goThere(t testing.TB, p *providertest.Provider, state string, cookie header, headers ...header) (target string, browser header) {
	t.Helper()
	a := h.get(t, "/auth/provider/oauth/identity/google?state="+state, append(headers, cookie)...)
	if a.status != http.StatusFound {
		t.Fatalf("identity: %d %s", a.status, a.body)
	}
	return "/auth/provider/oauth/callback/google?" + p.Approve(a.header.Get("Location")).Encode(), cookieOf(a)
}

// page is the query with which the front end is opened.
func page(t testing.TB, a answer) url.Values {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusFound || u.Host != "app.test" || u.Query().Get("from") != "provider" {
		t.Fatalf("%d to %v, %v: %s", a.status, u, err, a.body)
	}
	return u.Query()
}

func TestProviderSignIn(t *testing.T) {
	h, p := newHouseWithProvider(t)
	state, cookie := h.state(t, "?intent=login")
	target, cookie := h.goThere(t, p, state, cookie)
	back := h.get(t, target, cookie)
	token := page(t, back).Get("token")
	if !strings.Contains(back.header.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("the cookie stays: %v", back.header)
	}
	a := h.post(t, "/auth", `{"token":"`+token+`","remember":true,"hub":false}`)
	if a.status != http.StatusOK || a.at(t, "data.user.email") != "ada@nordantech.com" || a.at(t, "data.user.password_modified_time") != nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := h.post(t, "/auth", `{"token":"`+token+`"}`); a.status != http.StatusUnauthorized {
		t.Errorf("once more: %d %s", a.status, a.body)
	}
	// The token of one step opens no other, and nothing of this door opens the callback.
	full := a.token(t)
	if a := h.get(t, "/auth/provider/oauth/state", bearer(full)); a.status != http.StatusOK {
		t.Errorf("she links another: %d %s", a.status, a.body)
	}
	if strings.Contains(h.log.String(), token) {
		t.Error("the log holds the token")
	}
}

// The hub's demand for a second factor is kept to, and a wish of her own is not (titan.md 3.11).
func TestProviderSecondFactor(t *testing.T) {
	for email, code := range map[string]bool{"careful@nordantech.com": true, "wants@nordantech.com": false} {
		h, p := newHouseWithProvider(t)
		p.Change(func(p *providertest.Provider) { p.Claims["email"] = email })
		state, cookie := h.state(t, "?intent=login")
		target, cookie := h.goThere(t, p, state, cookie)
		token := page(t, h.get(t, target, cookie)).Get("token")
		a := h.post(t, "/auth", `{"token":"`+token+`"}`)
		if a.status != http.StatusOK || (strings.Contains(a.body, `"confirmation":{"required":true`)) != code {
			t.Fatalf("%s: %d %s", email, a.status, a.body)
		}
		if !code {
			continue
		}
		half := a.token(t)
		if a := h.get(t, "/auth/provider/oauth/state", bearer(half)); a.status != http.StatusUnauthorized {
			t.Errorf("a state for somebody half way: %d %s", a.status, a.body)
		}
		if a := h.post(t, "/auth/code", `{"code":"`+h.code(t, 0)+`"}`, bearer(half)); a.status != http.StatusOK {
			t.Errorf("the code: %d %s", a.status, a.body)
		}
	}
}

func TestProviderCallbackErrors(t *testing.T) {
	tests := []struct {
		name, want string
		change     func(*providertest.Provider)
		query      func(url.Values)
	}{
		{"not verified", "email_unverified", func(p *providertest.Provider) { p.Claims["email_verified"] = false }, nil},
		{"never confirmed here", "account_exists", func(p *providertest.Provider) { p.Claims["email"] = "new@nordantech.com" }, nil},
		{"suspended here", "account_unknown", func(p *providertest.Provider) { p.Claims["email"] = "off@nordantech.com" }, nil},
		{"another audience", "identity_invalid", func(p *providertest.Provider) { p.Claims["aud"] = "another" }, nil},
		{"unsigned", "identity_invalid", func(p *providertest.Provider) { p.Sign = providertest.Unsigned }, nil},
		{"500", "provider_unavailable", func(p *providertest.Provider) {
			p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					w.WriteHeader(http.StatusInternalServerError)
				}
				return r.URL.Path == "/token"
			}
		}, nil},
		{"too much", "provider_unavailable", func(p *providertest.Provider) {
			p.Answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" {
					_, _ = w.Write(bytes.Repeat([]byte(" "), 2<<20))
				}
				return r.URL.Path == "/token"
			}
		}, nil},
		{"refused", "access_denied", nil, func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }},
		{"a wrong code", "identity_invalid", nil, func(q url.Values) { q.Set("code", "x") }},
		{"another issuer", "identity_invalid", nil, func(q url.Values) { q.Set("iss", "https://evil.test") }},
		{"a state twice", "state_invalid", nil, func(q url.Values) { q.Add("state", "x") }},
		{"a long state", "state_invalid", nil, func(q url.Values) { q.Set("state", strings.Repeat("x", 10_000)) }},
		{"an odd state", "state_invalid", nil, func(q url.Values) { q.Set("state", "\x00\xff") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, p := newHouseWithProvider(t)
			if tt.change != nil {
				p.Change(tt.change)
			}
			state, cookie := h.state(t, "?intent=login")
			target, cookie := h.goThere(t, p, state, cookie)
			path, query, _ := strings.Cut(target, "?")
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			if tt.query != nil {
				tt.query(values)
			}
			if got := page(t, h.get(t, path+"?"+values.Encode(), cookie)); got.Get("error") != tt.want || got.Has("token") {
				t.Errorf("%v", got)
			}
		})
	}
}

// A provider that cannot be asked is 503 where the API is asked, and keeps the state.
func TestProviderAway(t *testing.T) {
	h, p := newHouseWithProvider(t)
	away := func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	p.Change(func(p *providertest.Provider) { p.Answer = away })
	state, cookie := h.state(t, "?intent=login")
	a := h.get(t, "/auth/provider/oauth/identity/google?state="+state, cookie)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.at(t, "error.type") != "server" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	p.Change(func(p *providertest.Provider) { p.Answer = nil })
	h.goThere(t, p, state, cookie)
	if !strings.Contains(h.log.String(), "provider=google") {
		t.Errorf("the operator is not told:\n%s", h.log)
	}
}

// With TLS the cookie is this host's alone, and always out of reach of scripts and of other sites' requests.
func TestProviderCookie(t *testing.T) {
	h, _ := newHouseWithProvider(t, func(c *config.Config) {
		c.Issuer, c.Titan.Prefix, c.Titan.CORSOrigins = "https://id.test", "/titan", []string{"https://app.test"}
	})
	a := h.get(t, "/titan/auth/provider/oauth/state?intent=login", header{"Origin", "https://app.test"})
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"__Host-gatehouse-oauth-", "Path=/", "Max-Age=600", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("no %s in %q", part, cookie)
		}
	}
	if a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("a page of another origin would not get it: %v", a.header)
	}
	if a := h.get(t, "/titan/auth/provider/oauth/state?intent=login", header{"Origin", "https://evil.test"}); a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("for everybody: %v", a.header)
	}
	state, _ := a.at(t, "data.state").(string)
	a = h.get(t, "/titan/auth/provider/oauth/identity/google?state="+state, cookieOf(a))
	if to := a.header.Get("Location"); !strings.Contains(to, url.QueryEscape("https://id.test/titan/auth/provider/oauth/callback/google")) {
		t.Errorf("sent to %s", to)
	}
}

// A page that is not the front end's cannot have somebody link her identity to an account of its own.
func TestProviderLure(t *testing.T) {
	h, p := newHouseWithProvider(t)
	her := bearer(h.signIn(t, "titan@nordantech.com"))
	tests := []struct {
		name    string
		headers []header
		refused bool
	}{
		{"no browser", nil, false},
		{"our own page", []header{{"Sec-Fetch-Site", "same-origin"}}, false},
		{"a page of the same site", []header{{"Sec-Fetch-Site", "same-site"}}, false},
		{"the front end", []header{{"Sec-Fetch-Site", "cross-site"}, {"Referer", "https://app.test/settings"}}, false},
		{"a stranger's page", []header{{"Sec-Fetch-Site", "cross-site"}, {"Referer", "https://evil.test/"}}, true},
		{"a page that hides", []header{{"Sec-Fetch-Site", "cross-site"}}, true},
		{"a link in a mail", []header{{"Sec-Fetch-Site", "none"}}, true},
	}
	for _, tt := range tests {
		state, _ := h.state(t, "", her) // whose cookie the browser does not have
		a := h.get(t, "/auth/provider/oauth/identity/google?state="+state, tt.headers...)
		if refused := a.status == http.StatusUnprocessableEntity; refused != tt.refused || !refused && a.status != http.StatusFound {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
	}
	// With the cookie it does not matter where the browser comes from.
	state, cookie := h.state(t, "", her)
	target, cookie := h.goThere(t, p, state, cookie, header{"Sec-Fetch-Site", "none"})
	if got := page(t, h.get(t, target, cookie)).Get("identity"); got != "linked" {
		t.Errorf("linked: %q", got)
	}
}
