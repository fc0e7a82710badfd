package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gatehouse/internal/factor/totp"
)

// openPortal is whom browsers are sent back to; arrived tells with what.
func openPortal(t *testing.T) (portal *httptest.Server, arrived <-chan url.Values) {
	t.Helper()
	came := make(chan url.Values, 4)
	portal = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/back" {
			came <- r.URL.Query()
			_, _ = w.Write([]byte(`<!doctype html><title>Portal</title><p id="back">You are back.</p>`))
		}
	}))
	t.Cleanup(portal.Close)
	return portal, came
}

// The sign-in page of the Nx accounts in a real browser, as a portal sends people there: a wrong password, the right one, a wrong code,
// the right one, and back to the portal, which exchanges what it was given. The page's policy lets no script run.
func TestNxPageInABrowser(t *testing.T) {
	portal, arrived := openPortal(t)
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	h := newHouse(t, "GATEHOUSE_NX_REDIRECT_URLS="+portal.URL+"/back")
	n := h.serve()
	h.must("", "apply", "-f", h.world(`
subjects:
  - {email: ada@example.test, name: Ada Lovelace, password: "Violet-Anchor-77-lantern", factors: {totp: `+secret+`}}
`))
	begun := n.mustCall("POST", "/auth/nx/csrf", "", "application/json", `{"AuthenticationEndpoint":"`+n.base+`/auth/nx/authorize","RedirectURL":"`+portal.URL+`/back"}`)

	b := openBrowser(t)
	b.do("open the page", chromedp.Navigate(begun.get(t, "URL")), sees(`#email`))
	b.do("a wrong password", fill(`#email`, "ada@example.test"), fill(`#password`, "wrong"), click(`button`), sees(`.problem`))
	b.do("the right one, where the cursor is", chromedp.SendKeys(chromedp.CSS(`#password:focus`), "Violet-Anchor-77-lantern"), click(`button`), sees(`#code`))
	code, err := totp.Code(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.do("a wrong code", fill(`#code`, other(code)), click(`button`), sees(`.problem`))
	b.do("the right one", fill(`#code`, code), click(`button`), sees(`#back`))

	back := <-arrived
	if back.Get("state") != begun.get(t, "State") || back.Get("code") == "" || len(back) != 2 {
		t.Fatalf("the portal was given %v", back)
	}
	spend := func() answer {
		t.Helper()
		a, err := n.call("POST", "/auth/nx/code", "", "application/json", `{"code":"`+back.Get("code")+`","state":"`+back.Get("state")+`"}`)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if a := spend(); a.status != http.StatusOK || a.get(t, "AccessToken") == "" || a.get(t, "RefreshToken") == "" {
		t.Errorf("the exchange: %d %s", a.status, a.text)
	}
	if a := spend(); a.status != http.StatusBadRequest || a.get(t, "Error") != "invalid_state" {
		t.Errorf("again: %d %s", a.status, a.text)
	}
	refusals := 0
	for _, line := range b.said() {
		switch {
		case strings.HasSuffix(line, "/favicon.ico"): // there is none
		case strings.Contains(line, "status of 401"):
			refusals++
		default:
			t.Errorf("the console says: %s", line)
		}
	}
	if refusals != 2 {
		t.Errorf("%d refusals in the console, want 2:\n%s", refusals, strings.Join(b.said(), "\n"))
	}
}
