package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
)

const (
	cloudPassword = "canary-cloud-password-81"
	cloudSecret   = "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU"
	harbourVMS    = "8d1c9d0a-53f4-4bb8-8a15-0c3f6b7e2d41"
	vaultVMS      = "3f0b9a52-6d0e-4a8f-9d5e-1f1f7c7d9b10" // wants a second factor
	millVMS       = "5b1d7c1e-3a55-4c55-8b1e-2f0d9a1c7e33" // nobody's whom these tests know
	nxPortal      = "https://portal.example.test/back"
	cloudAway     = "nx_cloud_unavailable"
)

// openCloud runs somebody else's Nx Cloud. One of its people has an address that somebody of sampleWorld has, too.
func openCloud(t *testing.T) *nxcloudtest.Process {
	t.Helper()
	return nxcloudtest.Start(t, func() *exec.Cmd {
		cmd := myself(t)
		cmd.Env = append(os.Environ(), asCloud+"=1", "GORACE=atexit_sleep_ms=0")
		return cmd
	}, nxcloudtest.Described{
		Accounts: []nxcloudtest.Account{
			{ID: "c1a2a000-0000-4000-8000-000000000001", Email: "clara@cloud.test", Name: "Clara", Password: cloudPassword},
			{ID: "c1a2a000-0000-4000-8000-000000000002", Email: "otto@cloud.test", Name: "Otto", Password: cloudPassword, TOTP: cloudSecret},
			{ID: "c1a2a000-0000-4000-8000-000000000003", Email: "ada@example.test", Name: "Another Ada", Password: cloudPassword},
			{ID: "c1a2a000-0000-4000-8000-000000000004", Email: "blocked@cloud.test", Password: cloudPassword, Blocked: true},
			{ID: "c1a2a000-0000-4000-8000-000000000005", Email: "new@cloud.test", Password: cloudPassword, NotActivated: true},
		},
		Systems: []nxcloudtest.System{
			{ID: harbourVMS, Name: "Harbour VMS", Users: []string{"clara@cloud.test", "otto@cloud.test"}},
			{ID: vaultVMS, Name: "Vault", Users: []string{"clara@cloud.test"}, WantsFactor: true},
		},
	})
}

// below is a house that has a cloud upstream.
func below(t *testing.T, cloud string, env ...string) (*house, *node) {
	t.Helper()
	h := newHouse(t, append(env, "GATEHOUSE_NX_UPSTREAM="+cloud, "GATEHOUSE_NX_CLIENT_ID=edge")...)
	h.must("", "apply", "-f", h.world(sampleWorld))
	return h, h.serve()
}

// cloudClient is what a plugin or another house has of a cloud.
func cloudClient(t *testing.T, base string) *nxcloud.Client {
	t.Helper()
	c, err := nxcloud.New(nxcloud.Options{Base: base, ClientID: "edge", Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func credentials(email, password string) string {
	return fmt.Sprintf(`{"Email":%q,"Password":%q}`, email, password)
}

// nx calls an operation of the Nx accounts.
func (n *node) nx(operation, bearer, body string) answer {
	n.t.Helper()
	return n.mustCall("POST", "/auth/nx/"+operation, bearer, jsonType, body)
}

// nxWant is nx where the answer is known: its status, and its Error.
func (n *node) nxWant(what string, status int, word, operation, bearer, body string) answer {
	n.t.Helper()
	a := n.nx(operation, bearer, body)
	if a.status != status || a.get(n.t, "Error") != word {
		n.t.Errorf("%s: %d %s, want %d %q\n%s", what, a.status, a.text, status, word, n.logged())
	}
	return a
}

const noPassword = `{"GrantType":"","Password":""}`

func codeAt(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.Code(secret, at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// nxUser reads whoever an access token is of.
func (n *node) nxUser(access string) (user struct{ UUID, Email, Name, NxID string }) {
	n.t.Helper()
	_, rest, _ := strings.Cut(access, ".")
	body, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(body)
	var claims struct{ Sub string }
	if err != nil || json.Unmarshal(text, &claims) != nil {
		n.t.Fatalf("no access token: %q", access)
	}
	a := n.mustCall("GET", "/auth/user/"+claims.Sub, access, "", "")
	if err := json.Unmarshal([]byte(a.text), &user); err != nil || a.status != http.StatusOK {
		n.t.Fatalf("%d %s", a.status, a.text)
	}
	return user
}

// An Nx Cloud that is a process of its own lets people in by every way, is linked and unlinked, and hears of every end.
func TestNxCloudUpstream(t *testing.T) {
	cloud := openCloud(t)
	h, n := below(t, cloud.URL, "GATEHOUSE_NX_REDIRECT_URLS="+nxPortal)
	if a := n.mustCall("GET", "/auth/status", "", "", ""); !strings.Contains(a.text, `"NxCloud":true`) {
		t.Errorf("status: %s", a.text)
	}

	// By password, with and without a second factor.
	clara := n.nxWant("a password", 200, "", "login", "", credentials("clara@cloud.test", cloudPassword)).get(t, "AccessToken")
	who := n.nxUser(clara)
	if who.Email != "clara@cloud.test" || who.Name != "Clara" || who.NxID != "c1a2a000-0000-4000-8000-000000000001" {
		t.Errorf("signed in as %+v", who)
	}
	for what, tt := range map[string]struct {
		email, word string
		status      int
	}{
		"a wrong password": {"clara@cloud.test", "invalid_grant", 401}, "somebody unknown": {"nobody@cloud.test", "invalid_grant", 401},
		"another's address": {"ada@example.test", "account_exists", 403}, "somebody whom only this house knows": {"bob@example.test", "invalid_grant", 401},
		"a blocked account": {"blocked@cloud.test", "account_blocked", 403}, "one not activated": {"new@cloud.test", "account_not_activated", 403},
	} {
		password := cloudPassword
		if tt.word == "invalid_grant" {
			password = "canary-wrong-82"
		}
		n.nxWant(what, tt.status, tt.word, "login", "", credentials(tt.email, password))
	}
	now := time.Now()
	code := codeAt(t, cloudSecret, now)
	ticket := n.nxWant("a factor is due", 200, "second_factor_required", "login", "", credentials("otto@cloud.test", cloudPassword)).get(t, "TotpAccessCode")
	if n.accepts(ticket) {
		t.Error("a TotpAccessCode is a bearer")
	}
	n.nxWant("a wrong code", 401, "invalid_totp", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, other(code)))
	otto := n.nxWant("its code", 200, "", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, code)).get(t, "AccessToken")
	if who := n.nxUser(otto); who.Email != "otto@cloud.test" {
		t.Errorf("signed in as %+v", who)
	}
	n.nxWant("a spent ticket", 401, "invalid_grant", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, code))
	ticket = n.nxWant("a factor is due again", 200, "second_factor_required", "login", "", credentials("otto@cloud.test", cloudPassword)).get(t, "TotpAccessCode")
	n.nxWant("a code twice", 401, "invalid_totp", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, code))
	n.nxWant("the next code", 200, "", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, codeAt(t, cloudSecret, now.Add(30*time.Second))))

	// By a code of the cloud's page.
	for what, body := range map[string]string{
		"a stranger's page":    `{"AuthenticationEndpoint":"https://evil.test/authorize","RedirectURL":"` + nxPortal + `"}`,
		"to a stranger's page": `{"AuthenticationEndpoint":"` + cloud.URL + `/authorize","RedirectURL":"https://evil.test/"}`,
	} {
		if a := n.nx("csrf", "", body); a.status != 400 {
			t.Errorf("%s: %d %s", what, a.status, a.text)
		}
	}
	begun := n.nx("csrf", "", `{"AuthenticationEndpoint":"`+cloud.URL+`/authorize","RedirectURL":"`+nxPortal+`"}`)
	address, err := url.Parse(begun.get(t, "URL"))
	if err != nil || address.Host != strings.TrimPrefix(cloud.URL, "http://") || address.Query().Get("client_id") != "edge" || address.Query().Get("redirect_url") != nxPortal {
		t.Errorf("%s, %v", begun.text, err)
	}
	exchange := fmt.Sprintf(`{"code":%q,"state":%q}`, cloud.Code("clara@cloud.test"), address.Query().Get("state"))
	byCode := n.nxWant("a code", 200, "", "code", "", exchange).get(t, "AccessToken")
	if again := n.nxUser(byCode); again.UUID != who.UUID {
		t.Errorf("%+v became %+v", who, again)
	}
	n.nxWant("a state twice", 400, "invalid_state", "code", "", exchange)

	// By a plugin of a system.
	plugin, err := cloudClient(t, cloud.URL).Password(t.Context(), "clara@cloud.test", cloudPassword, "")
	if err != nil {
		t.Fatal(err)
	}
	inSystem := func(token, system string) string {
		return fmt.Sprintf(`{"refresh_token":%q,"system_nxid":%q}`, token, system)
	}
	byPlugin := n.nxWant("a plugin", 200, "", "plugin", "", inSystem(plugin.Refresh.Reveal(), harbourVMS)).get(t, "AccessToken")
	if again := n.nxUser(byPlugin); again.UUID != who.UUID {
		t.Errorf("%+v became %+v", who, again)
	}
	n.nxWant("a plugin of a system that wants a factor", 403, "2fa_disabled_for_the_user", "plugin", "", inSystem(plugin.Refresh.Reveal(), vaultVMS))
	n.nxWant("a plugin of a system of others", 403, "forbidden", "plugin", "", inSystem(plugin.Refresh.Reveal(), millVMS))
	n.nxWant("a dead token of a plugin", 401, "invalid_grant", "plugin", "", inSystem("nxcdb-none", harbourVMS))

	// Linked while signed in, and unlinked.
	ada, _, err := n.signIn("ada@example.test", "canary-password-ada-91")
	if err != nil {
		t.Fatal(err)
	}
	local := n.nxUser(ada)
	n.nxWant("a wrong password to link", 401, "invalid_grant", "link", ada, credentials("ada@example.test", "canary-wrong-82"))
	n.nxWant("another's account", 409, "account_linked", "link", ada, credentials("clara@cloud.test", cloudPassword))
	n.nxWant("linked", 200, "", "link", ada, credentials("ada@example.test", cloudPassword))
	if who := n.nxUser(n.nxWant("by the linked account", 200, "", "login", "", credentials("ada@example.test", cloudPassword)).get(t, "AccessToken")); who.UUID != local.UUID ||
		local.NxID != "" || who.NxID != "c1a2a000-0000-4000-8000-000000000003" {
		t.Errorf("%+v became %+v", local, who)
	}
	n.nxWant("unlinked", 200, "", "unlink", ada, "")
	n.nxWant("no longer linked", 403, "account_exists", "login", "", credentials("ada@example.test", cloudPassword))

	// New tokens; the cloud is who judges a password again.
	first := n.nxWant("once more", 200, "", "login", "", credentials("clara@cloud.test", cloudPassword))
	again := n.nxWant("new tokens", 200, "", "refresh-token", first.get(t, "RefreshToken"), `{"GrantType":"RefreshToken","Password":""}`).get(t, "AccessToken")
	n.nxWant("new tokens for a wrong password", 401, "invalid_grant", "refresh-token", again, `{"GrantType":"Password","Password":"canary-wrong-82"}`)
	again = n.nxWant("new tokens for the password", 200, "", "refresh-token", again, `{"GrantType":"Password","Password":"`+cloudPassword+`"}`).get(t, "AccessToken")
	if renewed := n.nxUser(again); renewed.UUID != who.UUID {
		t.Errorf("%+v became %+v", who, renewed)
	}

	// Every end here is one there.
	before := cloud.Kept("clara@cloud.test")
	n.nxWant("a logout with a wrong password", 401, "invalid_grant", "logout", clara, `{"GrantType":"","Password":"canary-wrong-82"}`)
	if kept := cloud.Kept("clara@cloud.test"); !n.accepts(clara) || kept != before {
		t.Errorf("a wrong password ended something: %d tokens of %d", kept, before)
	}
	n.nxWant("a logout", 200, "", "logout", clara, noPassword)
	if kept := cloud.Kept("clara@cloud.test"); n.accepts(clara) || kept != before-1 {
		t.Errorf("after the logout the cloud keeps %d tokens of %d", kept, before)
	}
	if err := n.signOut(byCode); err != nil || cloud.Kept("clara@cloud.test") != before-2 {
		t.Errorf("after the sign-out the cloud keeps %d tokens of %d, %v", cloud.Kept("clara@cloud.test"), before, err)
	}
	n.nxWant("a logout twice", 401, "invalid_grant", "logout", clara, noPassword)

	n.stop()
	h.must("", "audit", "verify")
	database, err := os.ReadFile(filepath.Join(h.dir, "gatehouse.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"nxcdb-", cloudPassword, "canary-wrong-82", plugin.Refresh.Reveal()} {
		if strings.Contains(n.logged(), secret) || strings.Contains(string(database), secret) {
			t.Errorf("%.8s… is in the log or in the database", secret)
		}
	}
}

// written is what a house holds that a sign-in would change: who is there, and the rows of the audit log. When rows are sealed, and when
// somebody was here last, is written down later.
func (h *house) written() (out []string) {
	h.t.Helper()
	for line := range strings.Lines(h.must("", "user", "list", "--json") + h.must("", "audit", "list", "--json", "--limit=1000")) {
		var row struct{ ID, Email, Action string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			h.t.Fatalf("%v in %s", err, line)
		}
		out = append(out, row.ID+" "+row.Email+row.Action)
	}
	return out
}

// A cloud that answers garbage, late or not at all lets nobody in, changes nothing here, and keeps nobody waiting; people whom this
// house knows do not notice.
func TestNxCloudFails(t *testing.T) {
	t.Parallel() // it mostly waits
	bySystem := fmt.Sprintf(`{"refresh_token":"nxcdb-a","system_nxid":%q}`, harbourVMS)
	login := credentials("clara@cloud.test", cloudPassword)
	away := func(t *testing.T, n *node, what, operation, body string, within time.Duration) answer {
		t.Helper()
		begun := time.Now()
		a := n.nxWant(what, 503, cloudAway, operation, "", body)
		if took := time.Since(begun); took > within {
			t.Errorf("%s: after %v, want %v", what, took, within)
		}
		return a
	}
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		cloud := openCloud(t)
		h, n := below(t, cloud.URL)
		before := h.written()
		for what, f := range map[string]nxcloudtest.Fault{
			"garbage":                 {Op: nxcloudtest.TokenOp, How: nxcloudtest.Answered, Status: 200, Body: "<html>"},
			"no tokens":               {Op: nxcloudtest.TokenOp, How: nxcloudtest.Answered, Status: 200, Body: "{}"},
			"an error and a token":    {Op: nxcloudtest.TokenOp, How: nxcloudtest.Answered, Status: 200, Body: `{"access_token":"nxcdb-1","error":"perhaps"}`},
			"half an answer":          {Op: nxcloudtest.TokenOp, How: nxcloudtest.CutOff},
			"an account without a id": {Op: nxcloudtest.AccountOp, How: nxcloudtest.Answered, Status: 200, Body: `{"email":"clara@cloud.test"}`},
			"an account in trouble":   {Op: nxcloudtest.AccountOp, How: nxcloudtest.Answered, Status: 500, Body: "{}"},
		} {
			f.Times = -1
			cloud.Fail(f)
			away(t, n, what, "login", login, 5*time.Second)
			if f.Op == nxcloudtest.TokenOp {
				away(t, n, what+" for a plugin", "plugin", bySystem, 5*time.Second)
			}
			cloud.Fail(nxcloudtest.Fault{Op: f.Op})
			n.nxWant("a clear no after "+what, 401, "invalid_grant", "plugin", "", bySystem) // and the failures in a row are over
		}
		if after := h.written(); !slices.Equal(after, before) {
			t.Errorf("something was written:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		// A token beside second_factor_required is good for the code alone.
		live, err := cloudClient(t, cloud.URL).Password(t.Context(), "clara@cloud.test", cloudPassword, "")
		if err != nil {
			t.Fatal(err)
		}
		read := cloud.Calls(nxcloudtest.AccountOp)
		cloud.Fail(nxcloudtest.Fault{Op: nxcloudtest.TokenOp, Times: 1, How: nxcloudtest.Answered, Status: 200, Body: fmt.Sprintf(
			`{"access_token":%q,"error":"second_factor_required","token_type":"bearer"}`, live.Access.Reveal())})
		ticket := n.nxWant("a token and a demand", 200, "second_factor_required", "login", "", login).get(t, "TotpAccessCode")
		n.nxWant("no code", 401, "invalid_totp", "totp", "", fmt.Sprintf(`{"token":%q,"totp":"000000"}`, ticket))
		if cloud.Calls(nxcloudtest.AccountOp) != read {
			t.Error("the account was read before the code")
		}
		n.nxWant("mended", 200, "", "login", "", login)
		n.stop()
	})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		cloud := openCloud(t)
		h, n := below(t, cloud.URL, "GATEHOUSE_NX_REDIRECT_URLS="+nxPortal)
		now := time.Now()
		ticket := n.nxWant("a factor is due", 200, "second_factor_required", "login", "", credentials("otto@cloud.test", cloudPassword)).get(t, "TotpAccessCode")
		state := n.nx("csrf", "", `{"AuthenticationEndpoint":"`+cloud.URL+`/authorize","RedirectURL":"`+nxPortal+`"}`).get(t, "State")
		before := h.written()
		for _, op := range []nxcloudtest.Op{nxcloudtest.TokenOp, nxcloudtest.TOTPOp} {
			cloud.Fail(nxcloudtest.Fault{Op: op, Times: -1, How: nxcloudtest.TooLate})
		}
		var all sync.WaitGroup
		all.Go(func() { away(t, n, "a late password", "login", login, 5*time.Second) })
		all.Go(func() { away(t, n, "a late plugin", "plugin", bySystem, 5*time.Second) })
		all.Go(func() {
			away(t, n, "a late code", "code", fmt.Sprintf(`{"code":%q,"state":%q}`, cloud.Code("clara@cloud.test"), state), 5*time.Second)
		})
		all.Go(func() {
			away(t, n, "a late second factor", "totp", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, codeAt(t, cloudSecret, now)), 2*time.Second)
		})
		all.Wait()
		after := h.written()
		stayed := slices.DeleteFunc(slices.Clone(after), func(row string) bool { return strings.HasSuffix(row, " cloud.code") })
		if !slices.Equal(stayed, before) || len(after) != len(before)+1 { // the state is spent, and the log says so
			t.Errorf("something was written:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		cloud.Release()
		n.nxWant("in time again", 200, "", "login", "", login)
		// The cloud has counted the code by now, or has not: the next one is good in either case.
		n.nxWant("the second factor again", 200, "", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, codeAt(t, cloudSecret, now.Add(30*time.Second))))
		n.stop()
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		cloud := openCloud(t)
		h, n := below(t, cloud.URL)
		clara := n.nxWant("before", 200, "", "login", "", login).get(t, "AccessToken")
		cloud.Kill()
		before := h.written()
		var last answer
		for i := range 6 { // the sixth is not even tried
			last = away(t, n, fmt.Sprintf("killed, call %d", i+1), "login", login, 2*time.Second)
		}
		if last.header.Get("Retry-After") == "" {
			t.Errorf("a cloud that is left alone: no Retry-After in %v", last.header)
		}
		if a := n.mustCall("GET", "/auth/status", "", "", ""); a.status != 200 || !strings.Contains(a.text, `"NxCloud":false`) || !strings.Contains(a.text, `"Online":false`) {
			t.Errorf("status: %d %s", a.status, a.text)
		}
		if after := h.written(); !slices.Equal(after, before) {
			t.Errorf("something was written:\n%s\nbefore:\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		n.nxWant("a logout without the cloud", 200, "", "logout", clara, noPassword)
		if n.accepts(clara) {
			t.Error("a logout without the cloud ended nothing")
		}
		if _, _, err := n.signIn("ada@example.test", "canary-password-ada-91"); err != nil {
			t.Errorf("somebody of this house's own: %v", err)
		}
		cloud.Again()
		t.Logf("back after %v", until(t, patience, "the cloud is asked again", func() bool {
			a := n.nx("login", "", login)
			if a.status != 200 && (a.status != 503 || a.get(t, "Error") != cloudAway) {
				t.Fatalf("%d %s", a.status, a.text)
			}
			return a.status == 200
		}))
		if a := n.mustCall("GET", "/auth/status", "", "", ""); !strings.Contains(a.text, `"NxCloud":true`) {
			t.Errorf("status: %s", a.text)
		}
		n.stop()
	})
}

// cloudWorld has the people of a Suite, with two who have a second factor: a code is good once.
const cloudWorld = `
organisations:
  - {key: harbour, name: Harbour, nx: {systems: [{id: ` + harbourVMS + `, name: Harbour VMS, version: 6.0.1.39873}]}}
  - {key: vault, name: Vault, nx: {systems: [{id: ` + vaultVMS + `, name: Vault, second_factor: true}]}}
  - {key: mill, name: Mill, nx: {systems: [{id: ` + millVMS + `, name: Mill}]}}
subjects:
  - {email: clara@cloud.test, id: 01a0a000-0000-7000-8000-0000000000c1, name: Clara, password: &password ` + cloudPassword + `, memberships: [{organisation: harbour}, {organisation: vault}]}
  - {email: otto@cloud.test, id: 01a0a000-0000-7000-8000-0000000000c2, name: Otto, password: *password, factors: {totp: ` + cloudSecret + `}, memberships: [{organisation: harbour}]}
  - {email: olga@cloud.test, id: 01a0a000-0000-7000-8000-0000000000c3, name: Olga, password: *password, factors: {totp: ` + cloudSecret + `}, memberships: [{organisation: harbour}]}
  - {email: blocked@cloud.test, name: Blocked, password: *password, suspended: true}
  - {email: new@cloud.test, name: New, password: *password, verified: false, must_verify: true}
`

// atPage signs in at a house's page without a browser, and gives the code that it sends back.
func atPage(t *testing.T, base, email string) string {
	t.Helper()
	body := form("redirect_url", nxPortal, "client_id", "edge", "state", "a-state", "email", email, "password", cloudPassword)
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/auth/nx/authorize", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	to, err := res.Location()
	if err != nil || to.Query().Get("code") == "" {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("%d %s, %v", res.StatusCode, text, err)
	}
	return to.Query().Get("code")
}

// One house is the Nx Cloud of another: first as every client sees a cloud, then by every way in, the page in a real browser.
func TestNxTwoHouses(t *testing.T) {
	portal, arrived := openPortal(t)
	redirects := "GATEHOUSE_NX_REDIRECT_URLS=" + nxPortal + "," + portal.URL + "/back"
	upper := newHouse(t, redirects)
	upper.must("", "apply", "-f", upper.world(cloudWorld))
	cloud := upper.serve()
	_, n := below(t, cloud.base, redirects)

	account := func(id, email, name string) nxcloudtest.Account {
		return nxcloudtest.Account{ID: "01a0a000-0000-7000-8000-0000000000" + id, Email: email, Name: name, Password: cloudPassword}
	}
	suite := nxcloudtest.Suite{
		Client: cloudClient(t, cloud.base), Now: time.Now, Code: func(email string) string { return atPage(t, cloud.base, email) },
		Plain: account("c1", "clara@cloud.test", "Clara"), Factor: account("c2", "otto@cloud.test", "Otto"),
		Shut: account("", "blocked@cloud.test", ""), New: account("", "new@cloud.test", ""),
		Open: nxcloudtest.System{ID: harbourVMS}, Strict: nxcloudtest.System{ID: vaultVMS}, Nobodys: millVMS,
	}
	suite.Factor.TOTP = cloudSecret
	suite.Run(t)

	kept := func(email string) int {
		return strings.Count(upper.must("", "user", "sessions", email, "--json"), "\n")
	}
	before := kept("clara@cloud.test")
	clara := n.nxWant("a password", 200, "", "login", "", credentials("clara@cloud.test", cloudPassword)).get(t, "AccessToken")
	who := n.nxUser(clara)
	if who.Email != "clara@cloud.test" || who.NxID != "01a0a000-0000-7000-8000-0000000000c1" || who.UUID == who.NxID {
		t.Errorf("signed in as %+v", who)
	}
	if during := kept("clara@cloud.test"); during != before+1 {
		t.Errorf("the cloud has %d sessions of hers, want %d", during, before+1)
	}
	now := time.Now()
	ticket := n.nxWant("a factor is due", 200, "second_factor_required", "login", "", credentials("olga@cloud.test", cloudPassword)).get(t, "TotpAccessCode")
	code := codeAt(t, cloudSecret, now)
	n.nxWant("a wrong code", 401, "invalid_totp", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, other(code)))
	n.nxWant("its code", 200, "", "totp", "", fmt.Sprintf(`{"token":%q,"totp":%q}`, ticket, code))

	begun := n.nx("csrf", "", `{"AuthenticationEndpoint":"`+cloud.base+`/auth/nx/authorize","RedirectURL":"`+portal.URL+`/back"}`)
	b := openBrowser(t)
	b.do("open the cloud's page", chromedp.Navigate(begun.get(t, "URL")), sees(`#email`))
	b.do("sign in", fill(`#email`, "olga@cloud.test"), fill(`#password`, cloudPassword), click(`button`), sees(`#code`))
	b.do("the code", fill(`#code`, codeAt(t, cloudSecret, now.Add(30*time.Second))), click(`button`), sees(`#back`))
	back := <-arrived
	exchange := fmt.Sprintf(`{"code":%q,"state":%q}`, back.Get("code"), back.Get("state"))
	olga := n.nxWant("the page's code", 200, "", "code", "", exchange).get(t, "AccessToken")
	if who := n.nxUser(olga); who.Email != "olga@cloud.test" {
		t.Errorf("signed in as %+v", who)
	}
	n.nxWant("again", 400, "invalid_state", "code", "", exchange)

	plugin, err := suite.Client.Password(t.Context(), "clara@cloud.test", identity.Secret(cloudPassword), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		system, word string
		status       int
	}{{harbourVMS, "", 200}, {"{" + harbourVMS + "}", "", 200}, {vaultVMS, "2fa_disabled_for_the_user", 403}, {millVMS, "forbidden", 403}} {
		a := n.nxWant("a plugin of "+p.system, p.status, p.word, "plugin", "", fmt.Sprintf(`{"refresh_token":%q,"system_nxid":%q}`, plugin.Refresh.Reveal(), p.system))
		if p.status == 200 {
			if again := n.nxUser(a.get(t, "AccessToken")); again.UUID != who.UUID {
				t.Errorf("%+v became %+v", who, again)
			}
			n.nxWant("its logout", 200, "", "logout", a.get(t, "AccessToken"), noPassword)
		}
	}
	n.nxWant("a logout", 200, "", "logout", clara, noPassword)
	if after := kept("clara@cloud.test"); after != before+1 { // the plugin's own
		t.Errorf("after all logouts the cloud has %d sessions of hers, want %d", after, before+1)
	}
	if _, err := suite.Client.Refresh(t.Context(), plugin.Refresh, ""); err != nil {
		t.Errorf("the plugin's own token after others signed out: %v", err)
	}

	// Without the cloud it is away, and nothing else.
	cloud.kill()
	n.nxWant("a cloud that is gone", 503, cloudAway, "login", "", credentials("clara@cloud.test", cloudPassword))
	n.stop()
	upper.must("", "audit", "verify")
	for _, process := range []*node{cloud, n} {
		for _, secret := range []string{"nxcdb-", cloudPassword} {
			if strings.Contains(process.logged(), secret) {
				t.Errorf("a log holds %.8s…", secret)
			}
		}
	}
}
