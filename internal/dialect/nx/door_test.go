package nx_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/config"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
)

const (
	signInPath  = "/auth/authenticate/signin"
	refreshPath = "/auth/authenticate/refresh-token"
	again       = `{"AuthorizationInvalid":true,"Message":"Please sign in again."}`
)

func TestBodyLimit(t *testing.T) {
	h := newHouse(t)
	access, _ := h.signIn(t, "ada@example.test")
	for _, path := range []string{signInPath, refreshPath, "/auth/authenticate/password-strength", "/auth/user", "/auth/authenticate/forgot-password",
		"/auth/authenticate/reset-password", "/auth/authenticate/update-password", loginPath, totpPath, "/auth/nx/csrf", "/auth/nx/code", "/auth/nx/plugin",
		"/auth/nx/refresh-token", "/auth/nx/logout", "/auth/nx/link", tokenPath} {
		for _, size := range []int{64 << 10, 64<<10 + 1, 1 << 20} {
			body := `{"Pad":"` + strings.Repeat("x", size-10) + `"}`
			a := h.do(t, "POST", path, body, bearer(access))
			want := http.StatusRequestEntityTooLarge
			if size <= 64<<10 {
				want = http.StatusBadRequest // what is missing, is said; but refresh asks for its own token first
				if path == refreshPath {
					want = http.StatusUnauthorized
				}
			}
			if a.status != want || len(a.body) >= 400 {
				t.Errorf("%s with %d bytes: %d %s, want %d", path, size, a.status, a.body, want)
			}
		}
	}
	// Without a length in the header.
	r := httptest.NewRequest("POST", signInPath, struct{ *strings.Reader }{strings.NewReader(`{"Pad":"` + strings.Repeat("x", 1<<17) + `"}`)})
	r.ContentLength = -1
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: %d %s", w.Code, w.Body)
	}
}

func TestStrengthIsAskedSixtyTimesAMinute(t *testing.T) {
	h := newHouse(t)
	ask := func(address string) answer {
		r := httptest.NewRequest("POST", "/auth/authenticate/password-strength", strings.NewReader(`{"Password":"x"}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = address
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
	for i := range 60 {
		if a := ask("192.0.2.9:1"); a.status != http.StatusOK {
			t.Fatalf("call %d: %d %s", i+1, a.status, a.body)
		}
	}
	h.Clock.Advance(20 * time.Second)
	if a := ask("192.0.2.9:2"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "40" {
		t.Errorf("call 61: %d, Retry-After %q, %s", a.status, a.header.Get("Retry-After"), a.body)
	}
	if a := ask("192.0.2.10:1"); a.status != http.StatusOK {
		t.Errorf("another address: %d %s", a.status, a.body)
	}
	h.Clock.Advance(40 * time.Second)
	if a := ask("192.0.2.9:1"); a.status != http.StatusOK {
		t.Errorf("after a minute: %d %s", a.status, a.body)
	}
}

// A token that is none of this door's good ones gets one answer everywhere, and ends nothing.
func TestForeignTokens(t *testing.T) {
	h := newHouse(t)
	access, refresh := h.signIn(t, "ada@example.test")
	parts := strings.Split(access, ".")
	encode := base64.RawURLEncoding.EncodeToString
	var claims map[string]any
	if err := json.Unmarshal(must[[]byte](t)(base64.RawURLEncoding.DecodeString(parts[1])), &claims); err != nil {
		t.Fatal(err)
	}
	signed := func(alg, typ string, change map[string]any) string {
		c := map[string]any{}
		for k, v := range claims {
			c[k] = v
		}
		for k, v := range change {
			c[k] = v
		}
		return must[string](t)(h.Ring.Sign(alg, typ, c))
	}
	tokens := map[string]string{
		"none":               encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".",
		"HS256":              encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"unknown key":        encode([]byte(`{"alg":"EdDSA","kid":"aaaaaaaa","typ":"JWT"}`)) + "." + parts[1] + "." + parts[2],
		"other payload":      parts[0] + "." + encode([]byte(`{"aud":"user","exp":9999999999}`)) + "." + parts[2],
		"no signature":       parts[0] + "." + parts[1] + ".",
		"swapped algorithm":  signed(keys.ES256, "JWT", nil),
		"other type":         signed(keys.EdDSA, "at+jwt", nil),
		"other audience":     signed(keys.EdDSA, "JWT", map[string]any{"aud": "service"}),
		"more claims":        signed(keys.EdDSA, "JWT", map[string]any{"iss": "https://id.example.test"}),
		"another subject":    signed(keys.EdDSA, "JWT", map[string]any{"sub": bobID}),
		"no session":         signed(keys.EdDSA, "JWT", map[string]any{"sid": "aAAAAAAAAAAAAAAAAAAAAAA1"}),
		"expired":            signed(keys.EdDSA, "JWT", map[string]any{"exp": h.Clock.Now().Unix()}),
		"refresh":            refresh,
		"two parts":          parts[0] + "." + parts[1],
		"very long":          strings.Repeat("a", 9000),
		"spaces in it":       parts[0] + " " + parts[1],
		"not a token at all": "\"; DROP",
	}
	calls := []struct{ method, path, body string }{
		{"GET", "/auth/configuration", ""}, {"GET", "/auth/user/" + adaID, ""}, {"PATCH", "/auth/user/" + adaID, `{"Name":"X"}`},
		{"POST", "/auth/authenticate/signout", ""}, {"POST", "/auth/authenticate/update-password", `{"CurrentPassword":"` + passphrase + `","NewPassword":"another good phrase"}`},
	}
	before := h.changes(t)
	for name, token := range tokens {
		for _, c := range calls {
			if a := h.do(t, c.method, c.path, c.body, bearer(token)); a.status != 401 || a.body != again || a.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%s at %s: %d %s", name, c.path, a.status, a.body)
			}
		}
		if name == "refresh" {
			continue
		}
		if a := h.do(t, "POST", refreshPath, `{"GrantType":"RefreshToken"}`, bearer(token)); a.status != 401 || a.body != again {
			t.Errorf("%s refreshes: %d %s", name, a.status, a.body)
		}
	}
	if after := h.changes(t); after != before {
		t.Errorf("the feed went from %d to %d", before, after)
	}
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(access)); a.status != http.StatusOK {
		t.Errorf("the good token: %d %s", a.status, a.body)
	}
}

// No other door reads ours.
func TestTokensStayInTheirDoor(t *testing.T) {
	h := newHouse(t)
	access, refresh := h.signIn(t, "ada@example.test")
	for _, form := range h.Grants.Forms {
		for _, raw := range []string{access, refresh} {
			facts, err := form.Read(raw)
			if own := form.Door() == nx.Door; own != (err == nil) {
				t.Errorf("%s reads an nx token: %+v, %v", form.Door(), facts, err)
			}
		}
	}
}

func TestSuspendedAtOnce(t *testing.T) {
	h := newHouse(t)
	access, refresh := h.signIn(t, "ada@example.test")
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(access)); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if err := h.Manage.Suspend(t.Context(), identity.Caller{Door: "cli"}, adaID, "left"); err != nil {
		t.Fatal(err)
	}
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(access)); a.status != 401 || a.body != again {
		t.Errorf("access: %d %s", a.status, a.body)
	}
	if a := h.do(t, "POST", refreshPath, `{}`, bearer(refresh)); a.status != 401 || a.body != again {
		t.Errorf("refresh: %d %s", a.status, a.body)
	}
}

// sixteen runs at once; it gives the statuses, sorted.
func sixteen(do func() int) []int {
	statuses := make([]int, 16)
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range statuses {
		all.Go(func() {
			<-gate
			statuses[i] = do()
		})
	}
	close(gate)
	all.Wait()
	slices.Sort(statuses)
	return statuses
}

func TestOneWinner(t *testing.T) {
	oneOK := func(t *testing.T, statuses []int, others int) {
		t.Helper()
		if statuses[0] != http.StatusOK || statuses[1] != others || statuses[15] != others {
			t.Errorf("statuses %v", statuses)
		}
	}
	t.Run("sign out", func(t *testing.T) {
		h := newHouse(t)
		access, _ := h.signIn(t, "ada@example.test")
		oneOK(t, sixteen(func() int { return h.do(t, "POST", "/auth/authenticate/signout", "", bearer(access)).status }), http.StatusUnauthorized)
	})
	t.Run("reset", func(t *testing.T) {
		h := newHouse(t)
		secret := h.forgot(t, "ada@example.test").Query().Get("token")
		oneOK(t, sixteen(func() int {
			return h.do(t, "POST", "/auth/authenticate/reset-password", `{"Token":"`+secret+`","Password":"a brand new pass phrase 7"}`).status
		}), http.StatusBadRequest)
	})
	t.Run("register", func(t *testing.T) {
		h := newHouse(t)
		oneOK(t, sixteen(func() int {
			return h.do(t, "POST", "/auth/user", `{"Email":"grace@navy.test","Password":"a compiler is a translator","Name":"Grace","Company":"Navy","AcceptEULA":true}`).status
		}), http.StatusConflict)
	})
	t.Run("refresh: one successor for all", func(t *testing.T) {
		h := newHouse(t)
		_, refresh := h.signIn(t, "ada@example.test")
		var mu sync.Mutex
		answers := map[string]bool{}
		statuses := sixteen(func() int {
			a := h.do(t, "POST", refreshPath, `{"GrantType":"RefreshToken"}`, bearer(refresh))
			mu.Lock()
			defer mu.Unlock()
			answers[a.body] = true
			return a.status
		})
		if statuses[15] != http.StatusOK || len(answers) != 1 {
			t.Errorf("statuses %v, %d answers", statuses, len(answers))
		}
	})
}

// What a deadline cuts off is 503, and never 401, which would make clients drop good tokens.
func TestCutOff(t *testing.T) {
	h := newHouse(t)
	access, refresh := h.signIn(t, "ada@example.test")
	for _, c := range []struct{ method, path, body, token string }{
		{"GET", "/auth/user/" + adaID, "", access}, {"PATCH", "/auth/user/" + adaID, `{"Name":"X"}`, access},
		{"POST", "/auth/authenticate/signout", "", access}, {"POST", refreshPath, `{"GrantType":"RefreshToken"}`, refresh},
		{"POST", signInPath, `{"Username":"ada@example.test","Password":"` + passphrase + `","KeepLoggedIn":false}`, ""},
		{"POST", "/auth/authenticate/forgot-password", `{"Email":"ada@example.test"}`, ""},
		{"GET", "/auth/reset-password?token=x", "", ""},
		{"GET", "/auth/licenses?q=x", "", access}, {"GET", "/auth/license/" + adaID, "", access}, {"GET", "/auth/licences/" + adaID + "/document", "", access},
		{"POST", loginPath, credentials("ada@example.test", passphrase), ""}, {"POST", totpPath, `{"token":"x","totp":"123456"}`, ""},
		{"POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"` + page + `","RedirectURL":"` + portal + `"}`, ""},
		{"POST", "/auth/nx/code", `{"code":"x","state":"y"}`, ""},
		{"POST", "/auth/nx/plugin", `{"refresh_token":"nxcdb-` + strings.Repeat("0", 64) + `","system_nxid":"` + harbour + `"}`, ""},
		{"POST", "/auth/nx/refresh-token", `{"GrantType":"RefreshToken","Password":""}`, refresh},
		{"POST", "/auth/nx/refresh-token", `{"GrantType":"Password","Password":"` + passphrase + `"}`, access},
		{"POST", "/auth/nx/logout", `{"GrantType":"","Password":""}`, access},
		{"GET", authorized + "?client_id=c&state=x&redirect_url=" + url.QueryEscape(portal), "", ""},
		{"POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"` + passphrase + `"}`, ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)).WithContext(ctx)
		r.Header.Set("Content-Type", "application/json")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		w := httptest.NewRecorder()
		h.handler.ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Body.Len() >= 400 && c.method == "POST" {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(access)); a.status != http.StatusOK {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	if h.log.Len() > 0 {
		t.Errorf("logged as trouble of ours: %s", h.log)
	}
}

func TestStatusNamesWhatIsDown(t *testing.T) {
	h := newHouse(t)
	h.broken = errors.New("no answer")
	a := h.do(t, "GET", "/auth/status", "")
	if a.status != http.StatusOK || a.body != `{"Online":false,"Services":{"Database":false,"Mail":true}}` {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// subject reads one as the store has it.
func (h *house) subject(t testing.TB, id identity.SubjectID) identity.Subject {
	t.Helper()
	p, err := h.Profiles.Of(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p.Subject
}

func TestRegisterKeepsWhatItIsTold(t *testing.T) {
	h := newHouse(t)
	a := h.do(t, "POST", "/auth/user", `{"Email":"Grace@Navy.test","Password":"a compiler is a translator","Name":" Grace Hopper ","Company":"Eckert-Mauchly","AcceptEULA":true,`+
		`"PhoneNumber":"+1 202 555 0100","JobTitle":"Rear admiral","NewsletterOptIn":true,"IsSuperAdmin":true}`)
	found := bothTokens.FindStringSubmatch(a.body)
	if found == nil {
		t.Fatal(a.body)
	}
	p, err := h.Profiles.Find(t.Context(), "grace@navy.test")
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Subject; s.Name != "Grace Hopper" || s.Superadmin || !s.VerifiedAt.IsZero() || string(s.Attributes[nx.Door]) != `{"newsletter":true,"phone":"+1 202 555 0100","job_title":"Rear admiral"}` {
		t.Errorf("subject %+v, attributes %s", s, s.Attributes[nx.Door])
	}
	if len(p.Organisations) != 1 || p.Organisations[0].Organisation.Name != "Eckert-Mauchly" {
		t.Errorf("organisations %+v", p.Organisations)
	}
	if a := h.do(t, "GET", "/auth/user/"+string(p.Subject.ID), "", bearer(found[1])); !strings.Contains(a.body, `"Organisation":{"Name":"Eckert-Mauchly"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestPatchKeepsTheRest(t *testing.T) {
	h := newHouse(t)
	access, _ := h.signIn(t, "ada@example.test")
	patch := func(body, attributes string) {
		t.Helper()
		if a := h.do(t, "PATCH", "/auth/user/"+adaID, body, bearer(access)); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", body, a.status, a.body)
		}
		if got := string(h.subject(t, adaID).Attributes[nx.Door]); got != attributes {
			t.Errorf("after %s: %s, want %s", body, got, attributes)
		}
	}
	patch(`{"Newsletter":true}`, `{"newsletter":true}`)
	patch(`{"PhoneNumber":"1 (2)-3"}`, `{"newsletter":true,"phone":"1 (2)-3"}`)
	patch(`{"Name":"Ada King","Newsletter":false}`, `{"newsletter":false,"phone":"1 (2)-3"}`)
	before := h.changes(t)
	patch(`{}`, `{"newsletter":false,"phone":"1 (2)-3"}`)
	patch(`{"PhoneNumber":"1 (2)-3","Name":"Ada King"}`, `{"newsletter":false,"phone":"1 (2)-3"}`)
	if after := h.changes(t); after != before {
		t.Errorf("what changes nothing wrote: the feed went from %d to %d", before, after)
	}
	patch(`{"PhoneNumber":null}`, `{"newsletter":false}`)
	if name := h.subject(t, adaID).Name; name != "Ada King" {
		t.Errorf("name %q", name)
	}
}

// Acting for an organisation decides which of hers is shown.
func TestActingShowsThatOrganisation(t *testing.T) {
	h := newHouse(t)
	must[identity.Membership](t)(h.Manage.SaveMembership(t.Context(), identity.Caller{Door: "cli"}, identity.Membership{SubjectID: adaID, OrganisationID: otherID}))
	access, _ := h.signIn(t, "ada@example.test")
	for id, name := range map[string]string{acmeID: "ACME", otherID: "Other Works"} {
		a := h.do(t, "GET", "/auth/user/"+adaID, "", bearer(access), header{"X-Act-As-Kind", "organization"}, header{"X-Act-As-ID", id})
		if !strings.Contains(a.body, `"Organisation":{"Name":"`+name+`"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}

	// For one that has ended nobody acts who is a member; whoever rules all still does.
	ended := h.Clock.Now()
	must[identity.Organisation](t)(h.Manage.UpdateOrganisation(t.Context(), identity.Caller{Door: "cli"}, otherID, manage.OrganisationChange{ExpiresAt: &ended}))
	root, _ := h.signIn(t, "root@example.test")
	for token, status := range map[string]int{access: 403, root: 200} {
		for _, path := range []string{"/auth/user/" + adaID, "/auth/licenses", "/auth/configuration"} {
			a := h.do(t, "GET", path, "", bearer(token), header{"X-Act-As-Kind", "organization"}, header{"X-Act-As-ID", otherID})
			if a.status != status {
				t.Errorf("%s for an organisation that has ended: %d %s, want %d", path, a.status, a.body, status)
			}
		}
	}
}

func TestForgotTellsAndSendsNothingMore(t *testing.T) {
	h := newHouse(t)
	for _, email := range []string{"nobody@example.test", "suspended@example.test", "x"} {
		h.do(t, "POST", "/auth/authenticate/forgot-password", `{"Email":"`+email+`"}`)
	}
	if mails := h.Mails(t); len(mails) != 0 {
		t.Errorf("mails %+v", mails)
	}
	for range 8 {
		h.do(t, "POST", "/auth/authenticate/forgot-password", `{"Email":"ADA@example.test"}`)
	}
	if mails := h.Mails(t); len(mails) != 5 {
		t.Errorf("%d mails in an hour", len(mails))
	}
}

func TestLinkIsBelowTheIssuerAndPrefix(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Nx.Prefix = "/vendor" })
	r := httptest.NewRequest("POST", "/vendor/auth/authenticate/forgot-password", strings.NewReader(`{"Email":"ada@example.test"}`))
	r.Header.Set("Content-Type", "application/json")
	r.Host = "evil.example" // has no say
	h.handler.ServeHTTP(httptest.NewRecorder(), r)
	link := must[*url.URL](t)(url.Parse(mailedLink.FindString(h.Mails(t)[0].Text)))
	if link.Scheme+"://"+link.Host+link.Path != "https://id.example.test/vendor/auth/reset-password" {
		t.Errorf("link %s", link)
	}
	for range 3 { // a mail scanner opens it more than once
		if a := h.do(t, "GET", link.RequestURI(), ""); a.status != http.StatusOK || !strings.Contains(a.body, `action="/vendor/auth/reset-password"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	form := url.Values{"token": {link.Query().Get("token")}, "password": {"a brand new pass phrase 7"}, "again": {"a brand new pass phrase 7"}}
	if a := h.do(t, "POST", link.Path, form.Encode(), header{"Content-Type", "application/x-www-form-urlencoded"}); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := h.do(t, "GET", "/auth/status", ""); a.status == http.StatusOK {
		t.Errorf("served without its prefix")
	}
}

// The base is the operator's, too (nx.md 1.1); Nx Cloud's own paths are not below it.
func TestBase(t *testing.T) {
	h := newHouse(t, func(c *config.Config) { c.Nx.Prefix, c.Nx.Base = "/vendor", "/api/v3" })
	for path, want := range map[string]int{
		"/vendor/api/v3/status": 200, "/vendor/api/v3/": 200, "/vendor/api/v3/configuration": 401, "/vendor/cdb/systems": 401,
		"/vendor/auth/status": 404, "/vendor/api/v3/cdb/systems": 404, "/api/v3/status": 404, "/vendor/api/v3/authenticate/signin": 405,
	} {
		if a := h.do(t, "GET", path, ""); a.status != want {
			t.Errorf("GET %s: %d %s, want %d", path, a.status, a.body, want)
		}
	}
	if a := h.do(t, "GET", "/vendor/api/v3/authenticate/signin", ""); !strings.Contains(a.body, "Credentials do not belong in an address") {
		t.Errorf("sign-in by GET: %s", a.body)
	}
	if a := h.do(t, "POST", "/vendor/api/v3/authenticate/forgot-password", `{"Email":"ada@example.test"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if link := mailedLink.FindString(h.Mails(t)[0].Text); !strings.HasPrefix(link, "https://id.example.test/vendor/api/v3/reset-password?") {
		t.Errorf("link %s", link)
	}
}

func TestWrongCurrentPasswordLocks(t *testing.T) {
	h := newHouse(t)
	access, _ := h.signIn(t, "ada@example.test")
	update := func(current string) answer {
		return h.do(t, "POST", "/auth/authenticate/update-password", `{"CurrentPassword":"`+current+`","NewPassword":"a brand new pass phrase 7"}`, bearer(access))
	}
	for range 10 {
		if a := update("battery"); a.status != http.StatusUnauthorized || strings.Contains(a.body, `"AuthorizationInvalid":true`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := update(passphrase); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// Whatever a browser of another origin may read, it is told by the operator's list.
func TestCORS(t *testing.T) {
	const origin = "https://app.example.test"
	preflight := []header{{"Origin", origin}, {"Access-Control-Request-Method", "PATCH"}, {"Access-Control-Request-Headers", "authorization, content-type"}}
	closed := newHouse(t)
	if a := closed.do(t, "OPTIONS", signInPath, "", preflight...); a.status != http.StatusMethodNotAllowed || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("closed: %d %v", a.status, a.header)
	}
	open := newHouse(t, func(c *config.Config) { c.Nx.CORSOrigins = []string{origin} })
	if a := open.do(t, "OPTIONS", "/auth/user/"+adaID, "", preflight...); a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != origin || !strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "PATCH") {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	for _, path := range []string{"/auth/configuration", "/auth/nowhere"} {
		if a := open.do(t, "GET", path, "", header{"Origin", origin}); a.header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("refusal at %s: %d %v", path, a.status, a.header)
		}
	}
	if a := open.do(t, "GET", "/auth/status", "", header{"Origin", "https://evil.example"}); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("stranger: %v", a.header)
	}
}

// The document and the table of paths say the same.
func TestDocumentListsWhatIsServed(t *testing.T) {
	h := newHouse(t)
	a := h.do(t, "GET", "/auth/openapi.json", "")
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal([]byte(a.body), &document); err != nil || a.status != http.StatusOK || document.OpenAPI != "3.1.0" {
		t.Fatalf("%d %v %.80s", a.status, err, a.body)
	}
	var listed, served []string
	for path, item := range document.Paths {
		for method := range item {
			if method != "parameters" {
				listed = append(listed, strings.ToUpper(method)+" "+path)
			}
		}
	}
	for _, route := range slices.Concat(h.Doors.Nx.Routes().Routes, h.Doors.Nx.CloudRoutes().Routes) {
		if route.Op != "openapi" {
			served = append(served, route.Method+" "+strings.ReplaceAll(route.Path, "{$}", ""))
		}
	}
	slices.Sort(listed)
	slices.Sort(served)
	if !slices.Equal(listed, served) {
		t.Errorf("the document lists\n%s\nserved is\n%s", strings.Join(listed, "\n"), strings.Join(served, "\n"))
	}
}

// A client of the house may look at this door's tokens, and revoke one access token alone.
func TestIntrospectedAndRevoked(t *testing.T) {
	h := newHouse(t)
	client, secret, err := h.Manage.CreateClient(t.Context(), identity.Caller{Door: "cli"}, manage.NewClient{
		ID: "gateway", Name: "Gateway", Grants: []string{"client_credentials"}, Scopes: []string{"introspect", "revoke"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path, token string) answer {
		credentials := base64.StdEncoding.EncodeToString([]byte(string(client.ID) + ":" + url.QueryEscape(secret.Reveal())))
		return h.do(t, "POST", path, url.Values{"token": {token}}.Encode(),
			header{"Content-Type", "application/x-www-form-urlencoded"}, header{"Authorization", "Basic " + credentials})
	}
	access, refresh := h.signIn(t, "ada@example.test")
	for token, kind := range map[string]string{access: "access", refresh: "refresh"} {
		var about map[string]any
		if a := ask("/oauth2/introspect", token); json.Unmarshal([]byte(a.body), &about) != nil || about["active"] != true || about["sub"] != adaID || about["token_use"] != kind {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
		if at, says := about["iat"]; says {
			t.Errorf("%s was issued at %v, which it does not say", kind, at)
		}
	}
	if a := ask("/oauth2/revoke", access); a.status != http.StatusOK {
		t.Errorf("revoke: %d %s", a.status, a.body)
	}
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(access)); a.status != http.StatusUnauthorized || a.body != again {
		t.Errorf("a revoked access token: %d %s", a.status, a.body)
	}
	h.Clock.Advance(time.Second) // one printed at the same second would be the same token
	if a := h.do(t, "POST", refreshPath, `{}`, bearer(refresh)); a.status != http.StatusOK {
		t.Errorf("the session: %d %s", a.status, a.body)
	}
}
