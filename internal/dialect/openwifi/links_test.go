package openwifi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

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
