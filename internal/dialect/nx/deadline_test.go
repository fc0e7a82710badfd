package nx_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// slowness is what does not answer before the context ends.
type slowness int32

const (
	nothing slowness = iota
	reads            // the store's, and its ping
	hashes           // of passwords
	writes           // the store's, before they begin
	commits          // the store's, when all is done but the end
	slownesses
)

// slowStore is a real store that can be slow.
type slowStore struct {
	identity.Store
	slow   atomic.Int32 // slowness
	calls  atomic.Int64
	waited [slownesses]atomic.Int64
}

// wait holds whoever calls until her time is over, where that is what is slow. Whatever it is, nobody gets to write: what does not
// wait for one thing must not be done while others are tried.
func (s *slowStore) wait(ctx context.Context, what slowness) {
	if slow := slowness(s.slow.Load()); slow == what || what == writes && slow != nothing && slow != commits {
		s.waited[what].Add(1)
		<-ctx.Done()
	}
}

// waits says how often anybody waited.
func (s *slowStore) waits() (n int64) {
	for i := range s.waited {
		n += s.waited[i].Load()
	}
	return n
}

func (s *slowStore) View(ctx context.Context, read func(identity.Reader) error) error {
	s.calls.Add(1)
	s.wait(ctx, reads)
	return s.Store.View(ctx, read)
}

func (s *slowStore) Update(ctx context.Context, write func(identity.Tx) error) error {
	s.calls.Add(1)
	s.wait(ctx, writes)
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		s.wait(ctx, commits)
		return nil
	})
}

func (s *slowStore) Ping(ctx context.Context) error {
	s.wait(ctx, reads)
	return s.Store.Ping(ctx)
}

// slowHasher is the real pool behind a queue that does not move.
type slowHasher struct {
	credential.Hasher
	store *slowStore
}

func (h slowHasher) Hash(ctx context.Context, pw identity.Secret) (string, error) {
	h.store.wait(ctx, hashes)
	return h.Hasher.Hash(ctx, pw)
}

func (h slowHasher) Verify(ctx context.Context, encoded string, pw identity.Secret, words string) (match, rehash bool, err error) {
	h.store.wait(ctx, hashes)
	return h.Hasher.Verify(ctx, encoded, pw, words)
}

func (h slowHasher) VerifyDecoy(ctx context.Context, pw identity.Secret) error {
	h.store.wait(ctx, hashes)
	return h.Hasher.VerifyDecoy(ctx, pw)
}

// call is a request that would do what its operation is for.
type call struct {
	op, method, path, body, token, media string
}

const shrunk = 100 * time.Millisecond

// calls has every operation of both tables.
func calls(t *testing.T, h *house) []call {
	t.Helper()
	access, refresh := h.signIn(t, "ada@example.test")
	reset := h.forgot(t, "bob@example.test").Query().Get("token")
	state, code := h.browse(t, portal)
	ticket := field(t, h.do(t, "POST", loginPath, credentials("factor@example.test", passphrase)), "TotpAccessCode")
	grant := func(email string) answer {
		return h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"`+email+`","password":"`+passphrase+`"}`)
	}
	whole, limited := grant("ada@example.test"), grant("factor@example.test")
	cdb, cdbRefresh := field(t, whole, "access_token"), field(t, whole, "refresh_token")
	page := url.Values{"redirect_url": {portal}, "client_id": {"c"}, "state": {state}}
	typed := url.Values{"redirect_url": {portal}, "client_id": {"c"}, "email": {"ada@example.test"}, "password": {passphrase}}
	const next = "a brand new pass phrase 7"
	return []call{
		{op: "status", method: "GET", path: "/auth/status"},
		{op: "openapi", method: "GET", path: "/auth/openapi.json"},
		{op: "configuration", method: "GET", path: "/auth/configuration", token: access},
		{op: "signin", method: "POST", path: signInPath, body: `{"Username":"ada@example.test","Password":"` + passphrase + `","KeepLoggedIn":false}`},
		{op: "refresh", method: "POST", path: refreshPath, body: `{"GrantType":"RefreshToken"}`, token: refresh},
		{op: "signout", method: "POST", path: "/auth/authenticate/signout", token: access},
		{op: "password-strength", method: "POST", path: "/auth/authenticate/password-strength", body: `{"Password":"` + next + `"}`},
		{op: "register", method: "POST", path: "/auth/user", body: `{"Email":"grace@navy.test","Password":"` + next + `","Name":"Grace","Company":"Navy","AcceptEULA":true}`},
		{op: "forgot-password", method: "POST", path: "/auth/authenticate/forgot-password", body: `{"Email":"ada@example.test"}`},
		{op: "reset-password", method: "POST", path: "/auth/authenticate/reset-password", body: `{"Token":"` + reset + `","Password":"` + next + `"}`},
		{op: "reset-page", method: "GET", path: "/auth/reset-password?token=" + url.QueryEscape(reset)},
		{op: "reset-form", method: "POST", path: "/auth/reset-password", media: formType, body: url.Values{"token": {reset}, "password": {next}, "again": {next}}.Encode()},
		{op: "update-password", method: "POST", path: "/auth/authenticate/update-password", body: `{"CurrentPassword":"` + passphrase + `","NewPassword":"` + next + `"}`, token: access},
		{op: "licenses", method: "GET", path: "/auth/licenses", token: access},
		{op: "license", method: "GET", path: "/auth/license/" + fullID, token: access},
		{op: "license-document", method: "GET", path: "/auth/licences/" + fullID + "/document", token: access},
		{op: "user", method: "GET", path: "/auth/user/" + adaID, token: access},
		{op: "user-patch", method: "PATCH", path: "/auth/user/" + adaID, body: `{"Name":"Another"}`, token: access},
		{op: "nx-login", method: "POST", path: loginPath, body: credentials("ada@example.test", passphrase)},
		{op: "nx-totp", method: "POST", path: totpPath, body: `{"token":"` + ticket + `","totp":"` + h.code(t) + `"}`},
		{op: "nx-csrf", method: "POST", path: "/auth/nx/csrf", body: `{"AuthenticationEndpoint":"https://id.example.test/auth/nx/authorize","RedirectURL":"` + portal + `"}`},
		{op: "nx-code", method: "POST", path: "/auth/nx/code", body: `{"code":"` + code + `","state":"` + state + `"}`},
		{op: "nx-plugin", method: "POST", path: "/auth/nx/plugin", body: `{"refresh_token":"` + cdbRefresh + `","system_nxid":"` + harbour + `"}`},
		{op: "nx-refresh", method: "POST", path: "/auth/nx/refresh-token", body: `{"GrantType":"RefreshToken","Password":""}`, token: refresh},
		{op: "nx-refresh", method: "POST", path: "/auth/nx/refresh-token", body: `{"GrantType":"Password","Password":"` + passphrase + `"}`, token: access},
		{op: "nx-logout", method: "POST", path: "/auth/nx/logout", body: `{"GrantType":"","Password":"` + passphrase + `"}`, token: access},
		{op: "nx-link", method: "POST", path: "/auth/nx/link", body: credentials("ada@example.test", passphrase), token: access},
		{op: "nx-unlink", method: "POST", path: "/auth/nx/unlink", token: access},
		{op: "nx-authorize", method: "GET", path: authorized + "?" + page.Encode()},
		{op: "nx-authorize-form", method: "POST", path: authorized, media: formType, body: typed.Encode()},
		{op: "token", method: "POST", path: tokenPath, body: `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"` + passphrase + `"}`},
		{op: "token", method: "POST", path: tokenPath, body: `{"grant_type":"refresh_token","client_id":"c","refresh_token":"` + cdbRefresh + `","scope":"cloudSystemId=` + harbour + `"}`},
		{op: "look-up", method: "GET", path: tokenPath + "/" + cdb, token: cdb},
		{op: "revoke", method: "DELETE", path: tokenPath + "/" + cdb, token: cdb},
		{op: "totp", method: "GET", path: "/cdb/account/self/2fa/totp/key/" + h.code(t) + "?token=" + field(t, limited, "access_token")},
		{op: "account", method: "GET", path: "/cdb/account/self", token: cdb},
		{op: "systems", method: "GET", path: "/cdb/systems", token: cdb},
	}
}

// away is what an operation answers that was cut off.
func (c call) away(a answer) bool {
	if a.status != http.StatusServiceUnavailable {
		return false
	}
	switch media := a.header.Get("Content-Type"); {
	case strings.HasPrefix(c.path, "/cdb/"):
		return media == "application/json" && a.body == `{"resultCode":"serviceUnavailable","errorText":"The service is not available right now. Please try again."}`
	case slices.Contains([]string{"reset-page", "reset-form", "nx-authorize", "nx-authorize-form"}, c.op):
		return media == "text/html; charset=utf-8" && strings.Contains(a.body, "The service is not available right now.")
	default:
		return media == "application/json; charset=utf-8" && a.body == `{"AuthorizationInvalid":false,"Message":"The service is not available right now. Please try again."}`
	}
}

func (c call) send(handler http.Handler) answer {
	var r *http.Request
	if c.body == "" {
		r = httptest.NewRequest(c.method, c.path, nil)
	} else {
		r = httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if c.media != "" {
		r.Header.Set("Content-Type", c.media)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// stand is what a refusal leaves alone: the feed, and the audit log.
func (h *house) stand(t testing.TB) [2]int64 {
	t.Helper()
	rows := must[[]identity.Event](t)(h.Events(t.Context(), identity.EventFilter{Limit: 1000}))
	return [2]int64{h.changes(t), int64(len(rows))}
}

// Whatever does not answer in an operation's time, the operation does: with 503, nothing written, and nothing left running
// (nx.md 1.6).
func TestEveryDeadlineCutsOff(t *testing.T) {
	store := &slowStore{Store: storetest.Fresh(t)}
	h := newHouseWith(t, apptest.Options{Store: store})
	h.Passwords.Hasher = slowHasher{h.Passwords.Hasher, store}
	h.license(t)
	var short http.Handler
	nx.WithDeadline(shrunk, func() { short = h.House.House.Handler() })
	t.Parallel() // most of it is waiting
	waitedFor := map[slowness]map[string]bool{}
	for slow := nothing + 1; slow < slownesses; slow++ {
		waitedFor[slow] = map[string]bool{}
		for _, c := range calls(t, h) {
			h.Sessions.Changed([]identity.Change{{Kind: identity.EverythingChanged}}) // so that tokens are read anew
			before := h.stand(t)
			already, waits := store.waited[slow].Load(), store.waits()
			store.slow.Store(int32(slow))
			var a answer
			var took time.Duration
			for range 5 { // a busy machine may cut it off before it comes so far
				begun := time.Now()
				a = c.send(short)
				if took = time.Since(begun); store.waits() != waits || !c.away(a) {
					break
				}
			}
			store.slow.Store(int32(nothing))
			if after := h.stand(t); after != before {
				t.Errorf("%s with slow %d: feed and audit log went from %v to %v", c.op, slow, before, after)
			}
			if store.waited[slow].Load() == already {
				continue // it does nothing of that kind
			}
			waitedFor[slow][c.op] = true
			if took < shrunk || took > 50*shrunk {
				t.Errorf("%s with slow %d took %v", c.op, slow, took)
			}
			if c.op == "status" {
				if a.status != http.StatusOK || !strings.Contains(a.body, `"Database":false`) { // in either case (nx.md 2.1)
					t.Errorf("status: %d %s", a.status, a.body)
				}
			} else if !c.away(a) {
				t.Errorf("%s with slow %d: %d %v %s", c.op, slow, a.status, a.header, a.body)
			}
		}
	}
	for _, op := range nx.Operations() {
		// openapi is bytes in memory.
		if waits := waitedFor[reads][op] || waitedFor[writes][op]; waits == (op == "openapi") {
			t.Errorf("%s waited for the store: %v", op, waits)
		}
	}
	// Registering counts before it hashes, so that it waits for the store here.
	hashing := slices.Sorted(maps.Keys(waitedFor[hashes]))
	if want := []string{"nx-authorize-form", "nx-login", "nx-logout", "nx-refresh", "reset-form", "reset-password", "signin", "token", "update-password"}; !slices.Equal(hashing, want) {
		t.Errorf("waited for a hash: %v, want %v", hashing, want)
	}
	for _, op := range []string{"refresh", "signout", "user-patch", "nx-totp", "nx-csrf", "nx-code", "nx-plugin", "revoke", "totp", "register", "forgot-password", "reset-password", "update-password", "token"} {
		if !waitedFor[commits][op] {
			t.Errorf("%s did not come to the end of what it writes", op)
		}
	}
	if h.log.Len() > 0 {
		t.Errorf("logged as trouble of ours: %s", h.log)
	}
	// Nothing was spent: all of it still does what it is for.
	for _, c := range calls(t, h) {
		if c.op == "nx-link" || c.op == "nx-unlink" { // there is nothing to link here
			continue
		}
		if c.op == "signout" || c.op == "nx-logout" || c.op == "revoke" || c.op == "update-password" || c.op == "reset-password" || c.op == "reset-form" || c.op == "totp" {
			continue // they end what the others need, or need what others have spent
		}
		if a := c.send(h.handler); a.status >= 400 {
			t.Errorf("afterwards: %s: %d %s", c.op, a.status, a.body)
		}
	}
}

// With an upstream cloud that does not answer, every operation that asks it says so in its time; whatever only tells it something
// does not wait for it.
func TestSilentCloudIsCutOff(t *testing.T) {
	const link = "/auth/nx/link"
	for what, tt := range map[string]struct {
		slow nxcloudtest.Op
		call func(t *testing.T, u *upstream) call
		want int
	}{
		"login": {nxcloudtest.TokenOp, func(_ *testing.T, _ *upstream) call {
			return call{path: loginPath, body: credentials("clara@cloud.test", cloudPassword)}
		}, 503},
		"login, whose account it is": {nxcloudtest.AccountOp, func(_ *testing.T, _ *upstream) call {
			return call{path: loginPath, body: credentials("clara@cloud.test", cloudPassword)}
		}, 503},
		"totp": {nxcloudtest.TOTPOp, func(t *testing.T, u *upstream) call {
			ticket := field(t, u.do(t, "POST", loginPath, credentials("otto@cloud.test", cloudPassword)), "TotpAccessCode")
			return call{path: totpPath, body: `{"token":"` + ticket + `","totp":"` + u.code(t) + `"}`}
		}, 503},
		"code": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/nx/code", body: `{"code":"` + u.cloud.Code("clara@cloud.test") + `","state":"` + u.state(t, "") + `"}`}
		}, 503},
		"plugin": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/nx/plugin", body: `{"refresh_token":"` + u.pluginToken(t, "clara@cloud.test") + `","system_nxid":"` + harbour + `"}`}
		}, 503},
		"refresh by password": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/nx/refresh-token", body: `{"GrantType":"Password","Password":"` + cloudPassword + `"}`, token: u.clara(t)}
		}, 503},
		"logout by password": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/nx/logout", body: `{"GrantType":"","Password":"` + cloudPassword + `"}`, token: u.clara(t)}
		}, 503},
		"logout": {nxcloudtest.RevokeOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/nx/logout", body: `{"GrantType":"","Password":""}`, token: u.clara(t)}
		}, 200},
		"sign-out": {nxcloudtest.RevokeOp, func(t *testing.T, u *upstream) call {
			return call{path: "/auth/authenticate/signout", token: u.clara(t)}
		}, 200},
		"link": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			access, _ := u.signIn(t, "ada@example.test")
			return call{path: link, body: credentials("clara@cloud.test", cloudPassword), token: access}
		}, 503},
		"link by code": {nxcloudtest.TokenOp, func(t *testing.T, u *upstream) call {
			access, _ := u.signIn(t, "ada@example.test")
			return call{path: link, body: `{"code":"` + u.cloud.Code("clara@cloud.test") + `","state":"` + u.state(t, access) + `"}`, token: access}
		}, 503},
	} {
		t.Run(what, func(t *testing.T) {
			u := newUpstream(t)
			var short http.Handler
			nx.WithDeadline(5*shrunk, func() { short = u.House.House.Handler() })
			t.Parallel() // most of it is waiting
			c := tt.call(t, u)
			c.method = "POST"
			before := u.changes(t)
			u.cloud.Fail(tt.slow, -1, u.cloud.Silent)
			begun := time.Now()
			a := c.send(short)
			if took := time.Since(begun); took > 50*shrunk {
				t.Errorf("took %v", took)
			}
			if u.cloud.Calls(tt.slow) == 0 {
				t.Fatal("the cloud was not asked")
			}
			if a.status != tt.want || tt.want == 503 && a.body != `{"AccessToken":"","RefreshToken":"","Error":"nx_cloud_unavailable","TotpAccessCode":""}` {
				t.Errorf("%d %s", a.status, a.body)
			}
			if tt.want == 503 && u.changes(t) != before {
				t.Error("something was changed")
			}
		})
	}
}

// state begins a sign-in at the cloud's page, or with somebody's token a link.
func (u *upstream) state(t testing.TB, access string) string {
	t.Helper()
	var headers []header
	if access != "" {
		headers = append(headers, bearer(access))
	}
	return field(t, u.do(t, "POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+u.cloud.URL+`/authorize","RedirectURL":"`+portal+`"}`, headers...), "State")
}

// clara signs in by the cloud.
func (u *upstream) clara(t testing.TB) string {
	t.Helper()
	return field(t, u.do(t, "POST", loginPath, credentials("clara@cloud.test", cloudPassword)), "AccessToken")
}
