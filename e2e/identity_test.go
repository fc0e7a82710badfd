package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// openProvider runs somebody else's OpenID provider (the module in provider), which sends people back to a callback.
func openProvider(t *testing.T, callback string) (issuer string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // the provider takes a number only
	program := filepath.Join(t.TempDir(), "provider")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "provider", "-o", program, "github.com/zitadel/oidc/v3/example/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the provider: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program)
	run.Env = []string{"PORT=" + port, "REDIRECT_URI=" + callback}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Kill()
		_ = run.Wait()
	})
	issuer = "http://localhost:" + port + "/"
	until(t, time.Minute, "the provider answers", func() bool {
		res, err := http.Get(issuer + ".well-known/openid-configuration")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return issuer
}

// frontEnd is a page that is never opened: only the address counts to which the browser is sent.
const frontEnd = "http://front-end.test/signed-in"

// visitor is a browser without scripts.
type visitor struct {
	t *testing.T
	*http.Client
}

func newVisitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "front-end.test" {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

func (v *visitor) do(method, address, bearer string, body io.Reader) (int, string, *url.URL) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, address, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := v.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	at := res.Request.URL
	if to, err := res.Location(); err == nil {
		at = to
	}
	return res.StatusCode, string(text), at
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// goThere asks for a state, signs in at the provider, and gives what comes back to the front end.
func (v *visitor) goThere(base, provider, query, bearer, login string) url.Values {
	v.t.Helper()
	status, text, _ := v.do("GET", base+"/auth/provider/oauth/state"+query, bearer, nil)
	var state struct{ Data struct{ State string } }
	if err := json.Unmarshal([]byte(text), &state); err != nil || status != http.StatusOK {
		v.t.Fatalf("state: %d %s", status, text)
	}
	status, text, at := v.do("GET", base+"/auth/provider/oauth/identity/"+provider+"?state="+state.Data.State, "", nil)
	id := requestID.FindStringSubmatch(text)
	if id == nil {
		v.t.Fatalf("no form at %s: %d %s", at, status, text)
	}
	form := url.Values{"username": {login}, "password": {"verysecure"}, "id": {id[1]}}
	status, text, back := v.do("POST", at.ResolveReference(&url.URL{Path: "/login/username"}).String(), "", strings.NewReader(form.Encode()))
	if back.Host != "front-end.test" {
		v.t.Fatalf("ended at %s: %d %s", back, status, text)
	}
	return back.Query()
}

// Somebody signs in by a real provider, gets an account, and is who she was the next time; somebody else links hers.
func TestIdentityProvider(t *testing.T) {
	h := newHouse(t, "GATEHOUSE_TITAN_FRONTEND_URL="+frontEnd)
	n := h.serve()
	issuer := openProvider(t, n.base+"/auth/provider/oauth/callback/house")
	h.must("", "apply", "-f", h.world(sampleWorld+fmt.Sprintf(`
identity_providers:
  - {key: house, kind: oidc, issuer: %q, client_id: web, client_secret: secret}
`, issuer)))

	first := newVisitor(t).goThere(n.base, "house", "?intent=login", "", "test-user@localhost")
	titan := func(body string) answer { return n.mustCall("POST", "/auth", "", jsonType, body) }
	in := titan(fmt.Sprintf(`{"token":%q}`, first.Get("token")))
	if in.status != http.StatusOK || !strings.Contains(in.text, `"email":"test-user@zitadel.ch"`) || !strings.Contains(in.text, `"name":"Test User"`) {
		t.Fatalf("%v gives %d %s\n%s", first, in.status, in.text, n.logged())
	}
	if again := titan(fmt.Sprintf(`{"token":%q}`, first.Get("token"))); again.status != http.StatusUnauthorized {
		t.Errorf("the token once more: %d %s", again.status, again.text)
	}
	second := newVisitor(t).goThere(n.base, "house", "?intent=login", "", "test-user@localhost")
	if in := titan(fmt.Sprintf(`{"token":%q}`, second.Get("token"))); in.status != http.StatusOK || !strings.Contains(in.text, `"email":"test-user@zitadel.ch"`) {
		t.Errorf("the second time: %v gives %d %s\n%s", second, in.status, in.text, n.logged())
	}

	var session struct{ Data struct{ Token string } }
	text := titan(`{"user":"ada@example.test","password":"canary-password-ada-91"}`).text
	if err := json.Unmarshal([]byte(text), &session); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	ada := session.Data.Token
	if back := newVisitor(t).goThere(n.base, "house", "", ada, "test-user@localhost"); back.Get("error") != "identity_taken" {
		t.Errorf("another's identity: %v", back)
	}
	if back := newVisitor(t).goThere(n.base, "house", "", ada, "test-user2"); back.Get("identity") != "linked" {
		t.Errorf("linking: %v\n%s", back, n.logged())
	}
	hers := newVisitor(t).goThere(n.base, "house", "?intent=login", "", "test-user2")
	if in := titan(fmt.Sprintf(`{"token":%q}`, hers.Get("token"))); in.status != http.StatusOK || !strings.Contains(in.text, `"email":"ada@example.test"`) {
		t.Errorf("ada by her identity: %d %s", in.status, in.text)
	}
	if log := n.logged(); strings.Contains(log, first.Get("token")) || strings.Contains(log, "client_secret") {
		t.Errorf("the log tells secrets:\n%s", log)
	}
}
