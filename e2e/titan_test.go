package e2e_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gatehouse/internal/factor/totp"
)

// pageServer serves one page of testdata from an origin of its own.
func pageServer(t *testing.T, name string) *httptest.Server {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	ui := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNoContent) // the icon
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Referrer-Policy", "strict-origin")
		_, _ = w.Write(page)
	}))
	t.Cleanup(ui.Close)
	return ui
}

// A front end of the TITAN API in a real browser, from another origin: signing in with a code, switching hubs, the banner while one
// acts as somebody else, and an identity at a real provider, linked and signed in with.
func TestTitanInABrowser(t *testing.T) {
	ui := pageServer(t, "titan.html")
	const secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	h := newHouse(t, "GATEHOUSE_TITAN_FRONTEND_URL="+ui.URL+"/", "GATEHOUSE_TITAN_CORS_ORIGINS="+ui.URL)
	n := h.serve()
	issuer := openProvider(t, n.base+"/auth/provider/oauth/callback/google")
	h.must("", "apply", "-f", h.world(fmt.Sprintf(`
organisations:
  - {key: harbour, name: Harbour, titan: {features: {impersonation: true}}}
  - {key: works, name: Works}
subjects:
  - email: ada@example.test
    name: Ada Lovelace
    given_name: Ada
    family_name: Lovelace
    password: &password "Violet-Anchor-77-lantern"
    factors: {totp: %s}
    memberships: [{organisation: harbour, titan_role: owner}, {organisation: works, titan_role: user}]
  - {email: mia@example.test, given_name: Mia, family_name: Member, password: *password, memberships: [{organisation: harbour, titan_role: user}]}
identity_providers:
  - {key: google, kind: google, issuer: %q, client_id: web, client_secret: secret}
`, secret, issuer)))

	b := openBrowser(t)
	b.do("open the page", chromedp.Navigate(ui.URL+"/?"+url.Values{"api": {n.base}}.Encode()), sees(`#login button`))
	b.do("sign in", fill(`#login [name=user]`, "ada@example.test"), fill(`#login [name=password]`, "Violet-Anchor-77-lantern"),
		click(`#login form button`), sees(`#code [name=code]`))
	b.shows("#channel", "app")
	code, err := totp.Code(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.do("confirm with another code", fill(`#code [name=code]`, other(code)), click(`#code button`))
	b.shows("#toast", "401")
	b.do("confirm", fill(`#code [name=code]`, code), click(`#code button`), sees(`#signout`))
	b.shows("#me", "Ada Lovelace <ada@example.test>")
	b.shows("#hub", "none")

	b.do("go to a hub", click(`[data-hub="Works"]`))
	b.shows("#hub", "Works")
	b.shows("#role", "1")
	b.do("act where one may not", fill(`#act [name=id]`, "2"), click(`#act button`))
	b.shows("#toast", "403")
	b.do("go to the other", click(`[data-hub="Harbour"]`))
	b.shows("#role", "5")
	b.do("act as a member", fill(`#act [name=id]`, "2"), click(`#act button`), sees(`#banner`))
	b.shows("#other", "Mia Member")
	b.shows("#me", "mia@example.test")
	b.do("be oneself again", click(`#back`))
	b.shows("#me", "ada@example.test")
	b.shows("#hub", "Harbour")

	b.do("go to the provider to link", click(`#link`), sees(`[name=username]`))
	b.atProvider("test-user2")
	b.shows("#linked", "linked")
	b.shows("#me", "ada@example.test")
	b.do("sign out", click(`#signout`), sees(`#login form button`))
	b.do("go to the provider to sign in", click(`#google`), sees(`[name=username]`))
	b.atProvider("test-user2")
	b.shows("#me", "ada@example.test")
	b.shows("#hub", "Harbour")
	b.do("sign out again", click(`#signout`), sees(`#login form button`))

	refusals := 0
	for _, line := range b.said() {
		if strings.HasSuffix(line, "/favicon.ico") {
			continue // the provider has none
		}
		if !strings.Contains(line, "status of 401") && !strings.Contains(line, "status of 403") {
			t.Errorf("the console says: %s", line)
		}
		refusals++
	}
	if refusals != 2 { // the wrong code, and acting where she may not
		t.Errorf("%d refusals in the console, want 2:\n%s", refusals, strings.Join(b.said(), "\n"))
	}
	if rows := h.must("", "audit", "list", "--json"); !strings.Contains(rows, `"impersonation.begin"`) || !strings.Contains(rows, `"identity.link"`) {
		t.Errorf("the audit log does not tell of it:\n%s", rows)
	}
}

// atProvider signs in at the real provider's own page.
func (b *browser) atProvider(login string) {
	b.t.Helper()
	b.do("sign in at the provider", fill(`[name=username]`, login), fill(`[name=password]`, "verysecure"), click(`[type=submit]`), sees(`#signout`))
}
