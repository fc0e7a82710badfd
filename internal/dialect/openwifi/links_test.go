package openwifi_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/deliver"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
)

const (
	resetPage = "/api/v1/actionLink?action=password_reset"
	formType  = "application/x-www-form-urlencoded"
)

// wantPage holds an answer against what every page of a link says.
func wantPage(t *testing.T, what string, w *httptest.ResponseRecorder, payload ...string) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff",
	} {
		if got := w.Header()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %s is %q, want %q", what, name, got, want)
		}
	}
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "form-action 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: policy %q", what, policy)
	}
	for _, p := range payload {
		if strings.Contains(w.Body.String(), p) {
			t.Errorf("%s: the page shows %q", what, p)
		}
		for name, values := range w.Header() {
			if strings.Contains(strings.Join(values, ""), p) && name != "Access-Control-Allow-Origin" {
				t.Errorf("%s: the header %s holds %q", what, name, p)
			}
		}
	}
}

// Nothing that a stranger sends, and nothing that a person calls herself, reaches a page.
func TestPagesShowNothingOfStrangers(t *testing.T) {
	const script = `"><script>alert(1)</script>`
	h := newHouse(t)
	h.person(t, ines, "ines@example.com", "Harbour-42", func(s *identity.Subject, _ *identity.Credential) {
		s.Name, s.Locale = script, "de"
	})
	id := h.reset(t, "ines@example.com")
	for _, target := range []string{
		resetPage + "&id=" + id, resetPage + "&id=" + url.QueryEscape(script), "/api/v1/actionLink?action=" + url.QueryEscape(script) + "&id=" + id,
		resetPage + "&id=" + id + "%0d%0aSet-Cookie:+x=1", "/api/v1/actionLink?" + url.QueryEscape(script),
	} {
		w := call(h.public, http.MethodGet, target, "", "Accept-Language", script)
		wantPage(t, target, w, "<script", "alert(", "Set-Cookie")
	}
	for _, form := range []url.Values{
		{"id": {id}, "password1": {script}, "password2": {"x"}}, {"id": {id}, "password1": {script}, "password2": {script + script}},
		{"id": {script}, "password1": {"x"}, "password2": {"x"}}, {"id": {id}, "password1": {"x\r\nSet-Cookie: x=1"}, "password2": {"x"}},
	} {
		w := call(h.public, http.MethodPost, resetPage, form.Encode(), "Content-Type", formType)
		wantPage(t, form.Encode(), w, "<script", "alert(", "Set-Cookie")
		if w.Code != http.StatusBadRequest && w.Code != http.StatusNotFound {
			t.Errorf("%v: %d", form, w.Code)
		}
	}
}

func TestLanguages(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.person(t, "0aa1c5de-5a3c-4c2f-9c26-5d7f0f1b7a0a", "jana@example.com", "Quiet-Sky-11", func(s *identity.Subject, _ *identity.Credential) {
		s.Locale = "de_AT"
	})
	german, english := h.reset(t, "jana@example.com"), h.reset(t, "ines@example.com")
	for _, tt := range []struct{ accept, id, want string }{
		{"", german, "de"}, {"", english, "en"}, {"en", german, "en"}, {"de-CH, en;q=0.5", english, "de"}, {"fr, de;q=0.5", english, "de"},
		{"fr", english, "en"}, {"fr", german, "de"}, {"DE", english, "de"}, {"de;q=0, en", german, "en"}, {"*", german, "de"},
		{strings.Repeat("x,", 10_000) + "de", english, "en"}, {",;=,-", english, "en"}, {"zz, " + strings.Repeat("é", 100), english, "en"},
	} {
		w := call(h.public, http.MethodGet, resetPage+"&id="+tt.id, "", "Accept-Language", tt.accept)
		if got := w.Header().Get("Content-Language"); w.Code != http.StatusOK || got != tt.want || !strings.Contains(w.Body.String(), `<html lang="`+tt.want+`">`) {
			t.Errorf("%.40q: %d in %q, want %q", tt.accept, w.Code, got, tt.want)
		}
	}
}

// Ten calls a second, as for signing in (openwifi.md 1.3).
func TestLinksAreLimited(t *testing.T) {
	h := newHouse(t, func(d *openwifi.Dialect) { d.PerSecond = 10 })
	for _, path := range []string{resetPage, "/api/v1/suboauth2?requirements=true", "/api/v1/signup"} {
		for n := range 12 {
			w := call(h.public, http.MethodPost, path, "")
			if limited := w.Code == http.StatusForbidden && strings.Contains(w.Body.String(), `"ErrorCode":10`); limited != (n >= 10) {
				t.Errorf("call %d of %s: %d %s", n+1, path, w.Code, w.Body)
			}
		}
	}
}

// What a browser checks is what we check.
func TestPatternIsTheRule(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	w := call(h.public, http.MethodGet, resetPage+"&id="+h.reset(t, "ines@example.com"), "")
	if want := `pattern="^(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])(?=.*[^A-Za-z0-9]).{8,}$"`; !strings.Contains(w.Body.String(), want) {
		t.Errorf("the page has no %s", want)
	}
}

// Whatever is sent, the answer is a page, and nobody's fault but the sender's.
func FuzzActionLink(f *testing.F) {
	f.Add("GET", "action=password_reset&id=x", "", "")
	f.Add("POST", "action=password_reset", "id=x&password1=a&password2=a", formType)
	f.Add("POST", "action=signup_completion", "%zz=1;&", formType+"; charset=utf-8")
	f.Add("HEAD", "action=email_verification&id=%00", "", "")
	h := newHouse(f)
	h.world(f)
	f.Fuzz(func(t *testing.T, method, query, body, mediaType string) {
		if method != http.MethodGet && method != http.MethodHead {
			method = http.MethodPost
		}
		r := newRequest(method, "/api/v1/actionLink", query, body)
		r.Header["Content-Type"] = []string{mediaType}
		w := serve(h.public, r)
		if w.Code != http.StatusBadRequest && w.Code != http.StatusNotFound {
			t.Errorf("%s ?%q %q: %d", method, query, body, w.Code)
		}
		wantPage(t, query, w)
	})
}

// The provisioning service is told of a completed sign-up, by its key and at its private address; nobody is told of other links.
func TestCompletedSignUpIsTold(t *testing.T) {
	h := newHouse(t)
	h.world(t)
	h.Update(func(tx identity.Tx) error {
		return tx.SaveService(t.Context(), &identity.Service{Type: "owprov", PublicURI: "https://prov.example.com:16005", PrivateURI: "https://prov.internal:17005/", UpdatedAt: coretest.Start})
	})
	complete := func(action, id string) {
		t.Helper()
		form := url.Values{"id": {id}, "password1": {"Quiet-Sky-12"}, "password2": {"Quiet-Sky-12"}}.Encode()
		if w := call(h.public, http.MethodPost, "/api/v1/actionLink?action="+action, form, "Content-Type", formType); w.Code != http.StatusOK {
			t.Fatalf("%s: %d %s", action, w.Code, w.Body)
		}
	}
	calls := func() (list []deliver.Content) {
		t.Helper()
		rows, err := h.outbox.List(t.Context(), "", "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rows {
			if m.Channel == identity.Webhook {
				_, c, err := h.outbox.Show(t.Context(), m.ID, true)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, c)
			}
		}
		return list
	}
	h.door.Derived = true
	h.public = h.mount(h.door.Routes())
	complete("password_reset", h.reset(t, "ines@example.com"))
	if got := calls(); len(got) != 0 {
		t.Errorf("told of a reset: %v", got)
	}
	complete("signup_completion", h.signUp(t, "new@example.net"))
	got := calls()
	if len(got) != 1 {
		t.Fatalf("%d calls, want 1", len(got))
	}
	sum := sha256.Sum256([]byte("https://prov.example.com:16005"))
	if c := got[0]; c.Method != http.MethodPut || c.Header["X-API-KEY"] != hex.EncodeToString(sum[:]) || c.Header["X-INTERNAL-NAME"] != "https://sec.example.com" ||
		c.Recipient != "https://prov.internal:17005/api/v1/signup?operation=emailVerified&signupUUID=7c0d0a0e-3c55-4a4e-9a0b-2d6f1d1c7e01" {
		t.Errorf("called %s %s with %v", c.Method, c.Recipient, c.Header)
	}
}
