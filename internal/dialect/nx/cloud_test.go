package nx_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/config"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/factor/nxcloud"
	"gatehouse/internal/factor/nxcloud/nxcloudtest"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const (
	loginPath  = "/auth/nx/login"
	totpPath   = "/auth/nx/totp"
	formType   = "application/x-www-form-urlencoded"
	tokenPath  = "/cdb/oauth2/token"
	authorized = "/auth/nx/authorize"
)

func credentials(email, password string) string {
	return `{"Email":"` + email + `","Password":"` + password + `"}`
}

// nxWant sends a request and holds status and word of the Nx answer.
func (h *house) nxWant(t testing.TB, what, path, body string, status int, word string, headers ...header) answer {
	t.Helper()
	a := h.do(t, "POST", path, body, headers...)
	if a.status != status || field(t, a, "Error") != word {
		t.Errorf("%s: %d %s, want %d %q", what, a.status, a.body, status, word)
	}
	return a
}

func (h *house) code(t testing.TB) string {
	t.Helper()
	return must[string](t)(totp.Code(sharedKey, h.Clock.Now()))
}

// The public samples of the vendor, step by step as they send it, over a real connection (nx_open_integrations:
// api_sample/python/cdb-oauth2-list-systems, cdb-refresh-token, rest-list-cameras-cloud-user, authentication/cloud_bearer.py).
func TestVendorsSamples(t *testing.T) {
	h := newHouse(t)
	server := httptest.NewServer(h.handler)
	defer server.Close()
	ask := func(method, path, token string, body map[string]string) (int, string, map[string]any, []any) {
		t.Helper()
		var reader io.Reader
		if body != nil {
			text, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			reader = strings.NewReader(string(text))
		}
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, reader)
		if err != nil {
			t.Fatal(err)
		}
		if body != nil {
			r.Header.Set("Content-Type", "application/json")
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Body.Close()
		text, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		var list []any
		if json.Unmarshal(text, &object) != nil {
			_ = json.Unmarshal(text, &list)
		}
		return w.StatusCode, w.Header.Get("Content-Type"), object, list
	}
	login := func(email string, more map[string]string) map[string]string {
		body := map[string]string{"grant_type": "password", "response_type": "token", "client_id": "3rdParty", "username": email, "password": passphrase}
		for k, v := range more {
			body[k] = v
		}
		return body
	}

	// List systems: sign in, with a code where the account has a second factor; then GET /cdb/systems, which gives an array.
	for email, more := range map[string]map[string]string{"ada@example.test": nil, "factor@example.test": {"mfaCode": h.code(t)}} {
		status, _, out, _ := ask("POST", tokenPath, "", login(email, more))
		token, _ := out["access_token"].(string)
		if status != 200 || !strings.HasPrefix(token, "nxcdb-") {
			t.Fatalf("%s: %d %v", email, status, out)
		}
		status, _, _, systems := ask("GET", "/cdb/systems", token, nil)
		if status != 200 || len(systems) != 2 || systems[0].(map[string]any)["name"] != "Harbour VMS" || systems[0].(map[string]any)["version"] != "6.0.1.39873" {
			t.Errorf("%s: %d %v", email, status, systems)
		}
	}
	if status, _, _, _ := ask("POST", tokenPath, "", login("ada@example.test", map[string]string{"password": "no"})); status != 401 {
		t.Errorf("a wrong password: %d", status) // the samples tell 401 and 403 from all else
	}

	// Keep a session alive: refresh before the end, store what comes, resume from the stored refresh token.
	_, _, out, _ := ask("POST", tokenPath, "", login("ada@example.test", nil))
	refresh := out["refresh_token"].(string)
	for range 3 {
		h.Clock.Advance(time.Duration(out["expires_in"].(float64)-59) * time.Second) // the sample's margin
		var status int
		if status, _, out, _ = ask("POST", tokenPath, "", map[string]string{"grant_type": "refresh_token", "response_type": "token", "client_id": "3rdParty", "refresh_token": refresh}); status != 200 {
			t.Fatalf("refresh: %d %v", status, out)
		}
		refresh = out["refresh_token"].(string)
		if status, _, _, _ := ask("GET", "/cdb/systems", out["access_token"].(string), nil); status != 200 {
			t.Errorf("after a refresh: %d", status)
		}
	}

	// cloud_bearer: a token for one system, one for the cloud, and the first is deleted by the second. It reads JSON of one
	// Content-Type only, and always sends a scope.
	_, media, primary, _ := ask("POST", tokenPath, "", login("ada@example.test", map[string]string{"scope": "cloudSystemId=" + harbour}))
	_, _, secondary, _ := ask("POST", tokenPath, "", login("ada@example.test", map[string]string{"scope": ""}))
	if media != "application/json" || primary["expires_in"].(float64) < 1 || secondary["expires_in"].(float64) < 1 {
		t.Errorf("%q %v %v", media, primary, secondary)
	}
	if status, _, _, _ := ask("DELETE", tokenPath+"/"+primary["access_token"].(string), secondary["access_token"].(string), nil); status != 200 {
		t.Errorf("delete: %d", status)
	}
	if status, _, _, _ := ask("GET", "/cdb/account/self", primary["access_token"].(string), nil); status != 401 {
		t.Errorf("a deleted token: %d", status)
	}
	if status, _, _, _ := ask("GET", "/cdb/account/self", secondary["access_token"].(string), nil); status != 200 {
		t.Errorf("the token that deleted it: %d", status)
	}
	// The camera sample deletes a token by itself.
	if status, _, _, _ := ask("DELETE", tokenPath+"/"+secondary["access_token"].(string), secondary["access_token"].(string), nil); status != 200 {
		t.Errorf("delete itself: %d", status)
	}
}

// tokens of the cloud open nothing but the cloud, and nothing else opens it.
func TestCloudTokensStayInTheirDoor(t *testing.T) {
	h := newHouse(t)
	a := h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"`+passphrase+`"}`)
	access, refresh := field(t, a, "access_token"), field(t, a, "refresh_token")
	for _, raw := range []string{access, refresh, strings.TrimPrefix(access, "nxcdb-")} {
		for _, path := range []string{"/auth/configuration", "/auth/user/" + adaID} {
			if a := h.do(t, "GET", path, "", bearer(raw)); a.status != 401 {
				t.Errorf("%s with %.12s: %d", path, raw, a.status)
			}
		}
		if a := h.do(t, "POST", refreshPath, `{}`, bearer(raw)); a.status != 401 {
			t.Errorf("refresh with %.12s: %d", raw, a.status)
		}
		if a := h.do(t, "GET", "/api/v1/oauth2?me=true", "", bearer(raw)); a.status < 400 {
			t.Errorf("openwifi with %.12s: %d", raw, a.status)
		}
	}
	nxAccess, nxRefresh := h.signIn(t, "ada@example.test")
	wifi := field(t, h.do(t, "POST", "/api/v1/oauth2", `{"userId":"ada@example.test","password":"`+passphrase+`"}`), "access_token")
	for _, raw := range []string{nxAccess, nxRefresh, wifi, "nxcdb-" + wifi, "nxcdb-" + nxAccess} {
		if a := h.do(t, "GET", "/cdb/account/self", "", bearer(raw)); a.status != 401 {
			t.Errorf("the cloud with %.12s: %d %s", raw, a.status, a.body)
		}
	}
	// Another's token is not there, however it is held.
	eve := field(t, h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"eve@other.test","password":"`+passphrase+`"}`), "access_token")
	for _, method := range []string{"GET", "DELETE"} {
		if a := h.do(t, method, tokenPath+"/"+access, "", bearer(eve)); a.status != 404 {
			t.Errorf("%s of another's token: %d %s", method, a.status, a.body)
		}
	}
	if a := h.do(t, "GET", "/cdb/account/self", "", bearer(access)); a.status != 200 {
		t.Errorf("as it was printed: %d", a.status)
	}
}

// What a narrowed token gives ends with the token that it was made from, however often it is refreshed, and is never made by
// somebody who acts as another.
func TestNarrowedTokensEndInTime(t *testing.T) {
	h := newHouse(t)
	grant := func(refresh, scope string) answer {
		return h.do(t, "POST", tokenPath, `{"grant_type":"refresh_token","client_id":"c","refresh_token":"`+refresh+`","scope":"`+scope+`"}`)
	}
	a := h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"`+passphrase+`"}`)
	h.Clock.Advance(29 * 24 * time.Hour)
	whole := field(t, a, "refresh_token")
	narrow := field(t, grant(whole, "cloudSystemId="+harbour), "refresh_token")
	for range 11 {
		h.Clock.Advance(29 * 24 * time.Hour)
		if a := grant(narrow, ""); a.status != 200 {
			t.Fatalf("refresh: %d %s", a.status, a.body)
		} else {
			narrow = field(t, a, "refresh_token")
		}
	}
	h.Clock.Advance(25 * 24 * time.Hour) // a year and two days after the password
	if a := grant(narrow, ""); a.status != 401 {
		t.Errorf("a narrowed token outlives the one that it came from: %d %s", a.status, a.body)
	}
}

// Whoever may not enter a system any more gets no new tokens for it from one that she still has, here or at the plugin's way in.
func TestWhoLeftEntersNoMore(t *testing.T) {
	h := newHouse(t)
	grant := func(refresh, scope string) answer {
		return h.do(t, "POST", tokenPath, `{"grant_type":"refresh_token","client_id":"c","refresh_token":"`+refresh+`","scope":"`+scope+`"}`)
	}
	plugin := func(refresh string) answer {
		return h.do(t, "POST", "/auth/nx/plugin", `{"refresh_token":"`+refresh+`","system_nxid":"`+harbour+`"}`)
	}
	const scope = "cloudSystemId=" + harbour
	a := h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"`+passphrase+`"}`)
	whole := field(t, a, "refresh_token")
	narrow := field(t, grant(whole, scope), "refresh_token")
	if a := grant(narrow, scope); a.status != 200 {
		t.Fatalf("while she is a member: %d %s", a.status, a.body)
	}
	access := field(t, grant(narrow, scope), "access_token")
	client, secret, err := h.Manage.CreateClient(t.Context(), identity.Caller{Door: "cli"}, manage.NewClient{
		ID: "gateway", Name: "Gateway", Grants: []string{"client_credentials"}, Scopes: []string{"introspect"},
	})
	if err != nil {
		t.Fatal(err)
	}
	wholeAccess := field(t, a, "access_token")
	// stands holds what an access token for the system is worth at every call that takes one, looked up by herself and by others.
	stands := func(what string, want int) {
		t.Helper()
		for _, path := range []string{"/cdb/account/self", "/cdb/systems", tokenPath + "/" + access, tokenPath + "/" + wholeAccess} {
			if a := h.do(t, "GET", path, "", bearer(access)); a.status != want {
				t.Errorf("%s: %s: %d %s, want %d", what, path, a.status, a.body, want)
			}
		}
		seen := want
		if want != 200 {
			seen = 404
		}
		for _, raw := range []string{access, narrow} {
			if a := h.do(t, "GET", tokenPath+"/"+raw, "", bearer(wholeAccess)); a.status != seen {
				t.Errorf("%s: looked up with a token for the whole cloud: %d %s, want %d", what, a.status, a.body, seen)
			}
			a := h.do(t, "POST", "/oauth2/introspect", url.Values{"token": {raw}}.Encode(), header{"Content-Type", formType},
				header{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(string(client.ID)+":"+url.QueryEscape(secret.Reveal())))})
			if active := strings.Contains(a.body, `"active":true`); a.status != 200 || active != (want == 200) {
				t.Errorf("%s: introspected: %d %s", what, a.status, a.body)
			}
		}
		for _, path := range []string{"/cdb/account/self", "/cdb/systems", tokenPath + "/" + wholeAccess} {
			if a := h.do(t, "GET", path, "", bearer(wholeAccess)); a.status != 200 {
				t.Errorf("%s: a token for the whole cloud at %s: %d %s", what, path, a.status, a.body)
			}
		}
	}
	stands("while she is a member", 200)
	systems := func(text string) {
		t.Helper()
		must[identity.Organisation](t)(h.Manage.UpdateOrganisation(t.Context(), identity.Caller{Door: "cli"}, acmeID,
			manage.OrganisationChange{Attributes: identity.Attributes{nx.Door: []byte(text)}}))
	}
	systems(`{"systems":[{"id":"` + harbour + `","second_factor":true}]}`)
	for _, asked := range []string{scope, ""} {
		if a := grant(narrow, asked); a.status != 200 || field(t, a, "error") != "2fa_disabled_for_the_user" || strings.Contains(a.body, "nxcdb-") {
			t.Errorf("the system wants a second factor, scope %q: %d %s", asked, a.status, a.body)
		}
	}
	stands("the system wants a second factor", 403)
	systems(`{"systems":[{"id":"{` + strings.ToUpper(harbour) + `}"}]}`)
	stands("it wants none any more, and is spelled otherwise", 200)
	systems(`{"systems":[]}`)
	stands("the system is gone", 403)
	for _, asked := range []string{scope, ""} {
		if a := grant(narrow, asked); a.status != 403 {
			t.Errorf("the system is gone, scope %q: %d %s", asked, a.status, a.body)
		}
	}
	for name, refresh := range map[string]string{"whole": whole, "narrow": narrow} {
		if a := plugin(refresh); a.status != 403 {
			t.Errorf("the plugin's way in by the %s token: %d %s", name, a.status, a.body)
		}
	}
	systems(`{"systems":[{"id":"` + harbour + `"}]}`)
	stands("the system is back", 200)
	var membership identity.MembershipID
	if err := h.Store.View(t.Context(), func(r identity.Reader) error {
		all, err := r.Memberships(t.Context(), adaID)
		membership = all[0].ID
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.Manage.RemoveMembership(t.Context(), identity.Caller{Door: "cli"}, adaID, membership); err != nil {
		t.Fatal(err)
	}
	stands("she has left", 403)
	// What she has is hers to end.
	if a := h.do(t, "DELETE", tokenPath+"/"+narrow, "", bearer(access)); a.status != 200 {
		t.Errorf("ending it: %d %s", a.status, a.body)
	}
	if a := h.do(t, "GET", "/cdb/systems", "", bearer(access)); a.status != 401 {
		t.Errorf("when it has ended: %d %s", a.status, a.body)
	}
	if a := grant(whole, ""); a.status != 200 {
		t.Errorf("the whole cloud: %d %s", a.status, a.body)
	}
}

// A token for the whole cloud asks the store nothing once it was checked, however often it is shown.
func TestWholeTokensAskNothing(t *testing.T) {
	store := &slowStore{Store: storetest.Fresh(t)}
	h := newHouseWith(t, apptest.Options{Store: store})
	token := func(scope string) *session.Live {
		a := h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"ada@example.test","password":"`+passphrase+`","scope":"`+scope+`"}`)
		return must[*session.Live](t)(h.Cloud.Access(t.Context(), field(t, a, "access_token")))
	}
	whole, narrow := token(""), token("cloudSystemId="+harbour)
	before := store.calls.Load()
	for range 3 {
		if err := h.Cloud.Stands(t.Context(), whole); err != nil {
			t.Error(err)
		}
	}
	if n := store.calls.Load() - before; n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
	if err := h.Cloud.Stands(t.Context(), narrow); err != nil || store.calls.Load() == before {
		t.Errorf("of a token for one system the store was not asked: %v", err)
	}
}

// A page of an attacker's has its visitor's browser post what the attacker brought back from the cloud's page. It must not give her his
// account, nor end what she or he has begun.
func TestLinkingForAnother(t *testing.T) {
	u := newUpstream(t)
	hers, _ := u.signIn(t, "ada@example.test")
	herOther, _ := u.signIn(t, "ada@example.test") // on another device
	his, _ := u.signIn(t, "bob@example.test")
	open := func(access string) string { return u.state(t, access) }
	body := func(code, state string) string { return `{"code":"` + code + `","state":"` + state + `"}` }
	hisState, loose, herState, otherState := open(his), open(""), open(hers), open(herOther)
	code := u.cloud.Code("clara@cloud.test")
	const link = "/auth/nx/link"
	refused := func(what, path, state string, headers ...header) {
		t.Helper()
		calls := u.cloud.Calls(nxcloudtest.TokenOp)
		u.nxWant(t, what, path, body(code, state), 400, "invalid_state", headers...)
		if n := u.cloud.Calls(nxcloudtest.TokenOp) - calls; n != 0 {
			t.Errorf("%s: the code was shown to the cloud", what)
		}
	}
	refused("his state in her browser", link, hisState, bearer(hers))
	refused("one that nobody opened to link", link, loose, bearer(hers))
	refused("of her other session", link, otherState, bearer(hers))
	refused("hers, to sign in with", "/auth/nx/code", herState)
	refused("from a stranger's page", link, herState, bearer(hers), header{"Origin", "https://evil.test"})
	refused("none", link, "x", bearer(hers))
	for _, id := range []identity.SubjectID{adaID, bobID} {
		if all := must[[]identity.LinkedIdentity](t)(u.Federation.Identities(t.Context(), id)); len(all) != 0 {
			t.Errorf("linked nevertheless: %v", all)
		}
	}
	// Ten minutes, as to sign in.
	late := open(hers)
	u.Clock.Advance(10 * time.Minute)
	hers, _ = u.signIn(t, "ada@example.test")
	refused("too late", link, late, bearer(hers))

	// A session that is refreshed is the same; one that has ended links nothing.
	access, refresh := u.signIn(t, "ada@example.test")
	state := open(access)
	u.Clock.Advance(4 * time.Minute)
	access = field(t, u.do(t, "POST", refreshPath, `{}`, bearer(refresh)), "AccessToken")
	statuses := sixteen(func() int {
		return u.do(t, "POST", link, body(u.cloud.Code("clara@cloud.test"), state), bearer(access), header{"Origin", "https://portal.example.test"}).status
	})
	if statuses[0] != 200 || statuses[1] != 400 || statuses[15] != 400 {
		t.Errorf("sixteen at once: %v", statuses)
	}
	rows := must[[]identity.Event](t)(u.Events(t.Context(), identity.EventFilter{SubjectID: adaID, Limit: 100}))
	for action, want := range map[string]int{"cloud.state": 4, "cloud.code": 1, "identity.link": 1} {
		n := 0
		for _, e := range rows {
			if e.Action == action && e.Outcome == "ok" && (action == "identity.link" || e.SessionID != "") {
				n++
			}
		}
		if n != want {
			t.Errorf("%d rows of %s, want %d", n, action, want)
		}
	}
	// Nobody else's act begins a link of hers: not while somebody acts as her.
	acting := u.actAs(t, rootID, adaID)
	u.nxWant(t, "acting", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+u.cloud.URL+`/authorize","RedirectURL":"`+portal+`"}`, 403, "forbidden", bearer(acting))
	u.nxWant(t, "acting", link, body("x", "y"), 403, "forbidden", bearer(acting))
}

// A code that the cloud refuses leaves a row: the state is spent for it.
func TestRefusedCodeIsRecorded(t *testing.T) {
	u := newUpstream(t)
	a := u.do(t, "POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+u.cloud.URL+`/authorize","RedirectURL":"`+portal+`"}`)
	if rows := must[[]identity.Event](t)(u.Events(t.Context(), identity.EventFilter{Action: "cloud.state", Limit: 10})); len(rows) != 0 {
		t.Errorf("whose sign-in begins is not known, and yet: %+v", rows)
	}
	u.nxWant(t, "no such code", "/auth/nx/code", `{"code":"x","state":"`+field(t, a, "State")+`"}`, 401, "invalid_grant")
	for action, outcome := range map[string]string{"cloud.code": "ok", "identity.signin": "bad credential"} {
		if rows := must[[]identity.Event](t)(u.Events(t.Context(), identity.EventFilter{Action: action, Limit: 10})); len(rows) != 1 || rows[0].Outcome != outcome {
			t.Errorf("%s: %+v", action, rows)
		}
	}
}

// The client of an upstream cloud finds one in another house of ours: every call that it makes, by every way in.
func TestTwoHouses(t *testing.T) {
	cloud := newHouse(t, func(c *config.Config) { c.Nx.ClientID = "cloud" })
	server := httptest.NewServer(cloud.handler)
	defer server.Close()
	cloud.Doors.Nx.Issuer = server.URL // where its page is
	h := newHouseWith(t, apptest.Options{Clock: cloud.Clock}, func(c *config.Config) { c.Nx.Upstream, c.Nx.ClientID = server.URL, "edge" })

	// The client by itself, as its own tests have it.
	client, err := nxcloud.New(nxcloud.Options{Base: server.URL, ClientID: "edge", Now: cloud.Clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	scope := must[string](t)(nxcloud.SystemScope(harbour))
	g := must[nxcloud.Grant](t)(client.Password(ctx, "zoe@alone.test", passphrase, ""))
	who := must[nxcloud.Account](t)(client.Account(ctx, g.Access))
	if who != (nxcloud.Account{ID: zoeID, Email: "zoe@alone.test", Name: "Zoe"}) || g.FactorDue() || g.Refresh == "" || !g.ExpiresAt.Equal(cloud.Clock.Now().Add(time.Hour)) {
		t.Errorf("%+v %+v", who, g)
	}
	if list := must[[]nxcloud.System](t)(client.Systems(ctx, g.Access)); len(list) != 0 {
		t.Errorf("systems of somebody who belongs nowhere: %v", list)
	}
	if _, err := client.Refresh(ctx, g.Refresh, scope); !errors.Is(err, identity.Denied) {
		t.Errorf("a system that is not hers: %v", err)
	}
	if token := must[nxcloud.Token](t)(client.Token(ctx, g.Access)); token.Username != "zoe@alone.test" || token.Scope != "" {
		t.Errorf("%+v", token)
	}
	for what, check := range map[string]struct {
		err  error
		kind identity.Kind
	}{
		"a wrong password": {second(client.Password(ctx, "zoe@alone.test", "no", "")), identity.BadCredential},
		"a blocked one":    {second(client.Password(ctx, "suspended@example.test", passphrase, "")), identity.Suspended},
		"a new one":        {second(client.Password(ctx, "unverified@example.test", passphrase, "")), identity.Unverified},
		"no factor":        {second(client.Password(ctx, "ada@example.test", passphrase, "cloudSystemId="+vault)), identity.FactorRequired},
		"a dead code":      {second(client.Code(ctx, "x")), identity.TicketInvalid},
		"a dead token":     {second(client.Refresh(ctx, "nxcdb-x", "")), identity.TokenInvalid},
		"no such token":    {second(client.Token(ctx, "nxcdb-x")), identity.TokenInvalid},
		"a refresh token":  {second(client.Account(ctx, g.Refresh)), identity.TokenInvalid},
	} {
		if identity.KindOf(check.err) != check.kind || check.err == nil {
			t.Errorf("%s: %v, want %v", what, check.err, check.kind)
		}
	}
	limited := must[nxcloud.Grant](t)(client.Password(ctx, "factor@example.test", passphrase, scope))
	if !limited.FactorDue() || limited.Refresh == "" {
		t.Fatalf("%+v", limited)
	}
	if err := client.TOTP(ctx, limited.Limited, "000000"); !errors.Is(err, identity.BadCode) {
		t.Errorf("a wrong code: %v", err)
	}
	if err := client.TOTP(ctx, limited.Limited, cloud.code(t)); err != nil {
		t.Error(err)
	}
	if token := must[nxcloud.Token](t)(client.Token(ctx, limited.Limited)); token.Scope != scope {
		t.Errorf("%+v", token)
	}
	if err := client.Revoke(ctx, g.Refresh); err != nil {
		t.Error(err)
	}
	if _, err := client.Account(ctx, g.Access); !errors.Is(err, identity.TokenInvalid) {
		t.Errorf("after the refresh token was revoked: %v", err)
	}

	// The other house: by password, with a second factor, by its page, and by a plugin.
	h.nxWant(t, "an account that is here, too", loginPath, credentials("ada@example.test", passphrase), 403, "account_exists")
	a := h.do(t, "POST", "/auth/user", `{"Email":"zoe2@alone.test","Password":"violet anchor lantern 77","Name":"Z","Company":"C","AcceptEULA":true}`)
	if a.status != 200 {
		t.Fatal(a.body)
	}
	for _, s := range must[[]identity.Subject](t)(h.everybody(t)) { // as if nobody had an account there
		if err := h.Manage.Delete(ctx, identity.Caller{Door: "cli"}, s.ID); err != nil && s.ID != rootID {
			t.Fatal(err)
		}
	}
	a = h.nxWant(t, "password", loginPath, credentials("ada@example.test", passphrase), 200, "")
	zed := h.do(t, "GET", "/auth/configuration", "", bearer(field(t, a, "AccessToken")))
	if zed.status != 200 {
		t.Errorf("%d %s", zed.status, zed.body)
	}
	h.Clock.Advance(30 * time.Second)
	ticket := field(t, h.nxWant(t, "a factor", loginPath, credentials("factor@example.test", passphrase), 200, "second_factor_required"), "TotpAccessCode")
	h.nxWant(t, "a wrong code", totpPath, `{"token":"`+ticket+`","totp":"000000"}`, 401, "invalid_totp")
	h.nxWant(t, "its code", totpPath, `{"token":"`+ticket+`","totp":"`+h.code(t)+`"}`, 200, "")

	a = h.do(t, "POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+server.URL+authorized+`","RedirectURL":"`+portal+`"}`)
	state := field(t, a, "State")
	address := must[*url.URL](t)(url.Parse(field(t, a, "URL")))
	form := address.Query()
	form.Set("email", "bob@example.test")
	form.Set("password", passphrase)
	back := cloud.do(t, "POST", address.Path, form.Encode(), header{"Content-Type", formType}, header{"Sec-Fetch-Site", "same-origin"})
	landed := must[*url.URL](t)(url.Parse(back.header.Get("Location")))
	if back.status != 303 || !strings.HasPrefix(landed.String(), portal+"?") || landed.Query().Get("state") != state {
		t.Fatalf("%d %s", back.status, landed)
	}
	a = h.nxWant(t, "code", "/auth/nx/code", `{"code":"`+landed.Query().Get("code")+`","state":"`+state+`"}`, 200, "")

	plugin := field(t, cloud.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"vms","username":"bob@example.test","password":"`+passphrase+`"}`), "refresh_token")
	for _, p := range []struct {
		system, word string
		status       int
	}{{harbour, "", 200}, {harbour, "", 200}, {vault, "2fa_disabled_for_the_user", 403}, {mill, "forbidden", 403}} {
		h.nxWant(t, "plugin at "+p.system, "/auth/nx/plugin", `{"refresh_token":"`+plugin+`","system_nxid":"`+p.system+`"}`, p.status, p.word)
	}
	h.nxWant(t, "logout", "/auth/nx/logout", `{"GrantType":"","Password":""}`, 200, "", bearer(field(t, a, "AccessToken")))
	if a := cloud.do(t, "POST", tokenPath, `{"grant_type":"refresh_token","client_id":"vms","refresh_token":"`+plugin+`"}`); a.status != 200 {
		t.Errorf("the plugin's own token after others signed out: %d %s", a.status, a.body)
	}
}

func second[T any](_ T, err error) error { return err }

func (h *house) everybody(t testing.TB) (list []identity.Subject, err error) {
	t.Helper()
	err = h.Store.View(t.Context(), func(r identity.Reader) (err error) {
		list, err = r.Subjects(t.Context(), identity.SubjectFilter{Limit: 100})
		return err
	})
	return list, err
}

// demandFactor has an organisation's policy ask everybody for a second factor.
func (h *house) demandFactor(t testing.TB, id identity.OrganisationID) {
	t.Helper()
	op := identity.Caller{Door: "cli"}
	p := must[identity.Policy](t)(h.Manage.SavePolicy(t.Context(), op, identity.Policy{Key: "strict", SecondFactor: identity.FactorNeeded}))
	must[identity.Organisation](t)(h.Manage.UpdateOrganisation(t.Context(), op, id, manage.OrganisationChange{PolicyID: &p.ID}))
}

// What the page gives is good once, for one client, as long as the password is that one; the second factor is asked there.
func TestCodesOfThePage(t *testing.T) {
	h := newHouse(t)
	post := func(form url.Values) answer {
		return h.do(t, "POST", authorized, form.Encode(), header{"Content-Type", formType}, header{"Sec-Fetch-Site", "same-origin"})
	}
	// With a second factor.
	a := h.do(t, "POST", "/auth/nx/csrf", `{"AuthenticationEndpoint":"`+page+`","RedirectURL":"`+other+`"}`)
	first := field(t, a, "State")
	form := url.Values{"redirect_url": {other}, "client_id": {"gatehouse"}, "state": {first}, "email": {"factor@example.test"}, "password": {passphrase}}
	a = post(form)
	_, rest, found := strings.Cut(a.body, `name="ticket" value="`)
	if a.status != 200 || !found || strings.Contains(a.body, passphrase) {
		t.Fatalf("%d %s", a.status, a.body)
	}
	ticket, _, _ := strings.Cut(rest, `"`)
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(ticket)); a.status != 401 {
		t.Errorf("the page's ticket as a bearer: %d", a.status)
	}
	h.nxWant(t, "the page's ticket elsewhere", totpPath, `{"token":"`+ticket+`","totp":"`+h.code(t)+`"}`, 401, "invalid_grant")
	form = url.Values{"redirect_url": {other}, "client_id": {"gatehouse"}, "state": {first}, "ticket": {ticket}, "code": {"000000"}}
	if a := post(form); a.status != 401 || !strings.Contains(a.body, `name="ticket" value="`+ticket) {
		t.Errorf("a wrong code: %d %s", a.status, a.body)
	}
	form.Set("code", h.code(t))
	a = post(form)
	back := must[*url.URL](t)(url.Parse(a.header.Get("Location")))
	if a.status != 303 || back.Query().Get("a") != "1" || back.Query().Get("state") != first || back.Host != "other.example.test" {
		t.Fatalf("%d %s", a.status, back)
	}
	h.nxWant(t, "its code", "/auth/nx/code", `{"code":"`+back.Query().Get("code")+`","state":"`+first+`"}`, 200, "")

	state, code := h.browse(t, portal)
	h.Clock.Advance(time.Minute)
	h.nxWant(t, "after a minute", "/auth/nx/code", `{"code":"`+code+`","state":"`+state+`"}`, 401, "invalid_grant")
	state, code = h.browse(t, portal)
	if a := h.do(t, "GET", "/auth/configuration", "", bearer(code)); a.status != 401 {
		t.Errorf("a code as a bearer: %d", a.status)
	}
	statuses := sixteen(func() int {
		return h.do(t, "POST", "/auth/nx/code", `{"code":"`+code+`","state":"`+state+`"}`).status
	})
	if n := len(slices.DeleteFunc(statuses, func(s int) bool { return s != 200 })); n != 1 {
		t.Errorf("%d of sixteen won a state and a code", n)
	}
	state, code = h.browse(t, portal)
	if err := h.Manage.Suspend(t.Context(), identity.Caller{Door: "cli"}, adaID, "test"); err != nil {
		t.Fatal(err)
	}
	h.nxWant(t, "after a suspension", "/auth/nx/code", `{"code":"`+code+`","state":"`+state+`"}`, 403, "account_blocked")
	h = newHouse(t)
	state, code = h.browse(t, portal)
	if err := h.Manage.SetPassword(t.Context(), identity.Caller{Door: "cli"}, adaID, manage.NewPassword{Password: "violet anchor lantern 77"}); err != nil {
		t.Fatal(err)
	}
	h.nxWant(t, "after a password change", "/auth/nx/code", `{"code":"`+code+`","state":"`+state+`"}`, 401, "invalid_grant")
}

// Sixteen at once with one code finish one sign-in: of this house's factor, of the cloud's, and of a limited token's.
func TestOneFinishes(t *testing.T) {
	won := func(what string, statuses []int) {
		t.Helper()
		if n := len(slices.DeleteFunc(statuses, func(s int) bool { return s != 200 })); n != 1 {
			t.Errorf("%s: %d of sixteen won", what, n)
		}
	}
	h := newHouse(t)
	ticket := field(t, h.do(t, "POST", loginPath, credentials("factor@example.test", passphrase)), "TotpAccessCode")
	code := h.code(t)
	won("this house's factor", sixteen(func() int { return h.do(t, "POST", totpPath, `{"token":"`+ticket+`","totp":"`+code+`"}`).status }))
	h.Clock.Advance(30 * time.Second)
	limited := field(t, h.do(t, "POST", tokenPath, `{"grant_type":"password","client_id":"c","username":"factor@example.test","password":"`+passphrase+`"}`), "access_token")
	code = h.code(t)
	won("a limited token", sixteen(func() int {
		return h.do(t, "GET", "/cdb/account/self/2fa/totp/key/"+code+"?token="+limited, "").status
	}))
	up := newUpstream(t)
	ticket = field(t, up.do(t, "POST", loginPath, credentials("otto@cloud.test", cloudPassword)), "TotpAccessCode")
	code = up.code(t)
	won("the cloud's factor", sixteen(func() int { return up.do(t, "POST", totpPath, `{"token":"`+ticket+`","totp":"`+code+`"}`).status }))
	// Sixteen first sign-ins make one account.
	statuses := sixteen(func() int { return up.do(t, "POST", loginPath, credentials("clara@cloud.test", cloudPassword)).status })
	if slices.ContainsFunc(statuses, func(s int) bool { return s != 200 }) {
		t.Errorf("first sign-ins at once: %v", statuses)
	}
	n := 0
	for _, s := range must[[]identity.Subject](t)(up.everybody(t)) {
		if s.Email == "clara@cloud.test" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d accounts were made", n)
	}
}

// Whatever the cloud answers but a clear yes lets nobody in, and is told from a wrong password.
func TestUpstreamMisbehaves(t *testing.T) {
	const away = "nx_cloud_unavailable"
	good := func(u *upstream) answer {
		return u.do(t, "POST", loginPath, credentials("clara@cloud.test", cloudPassword))
	}
	for what, tt := range map[string]struct {
		op    nxcloudtest.Op
		serve http.HandlerFunc
	}{
		"garbage":                    {nxcloudtest.TokenOp, nxcloudtest.Answer(200, `<html>`)},
		"no token":                   {nxcloudtest.TokenOp, nxcloudtest.Answer(200, `{}`)},
		"a token of another type":    {nxcloudtest.TokenOp, nxcloudtest.Answer(200, `{"access_token":{"a":1}}`)},
		"an unknown error, and one":  {nxcloudtest.TokenOp, nxcloudtest.Answer(200, `{"access_token":"nxcdb-1","error":"perhaps"}`)},
		"trouble":                    {nxcloudtest.TokenOp, nxcloudtest.Answer(500, `{}`)},
		"a redirect":                 {nxcloudtest.TokenOp, nxcloudtest.Redirect("https://evil.test/")},
		"half an answer":             {nxcloudtest.TokenOp, nxcloudtest.Cut},
		"an account without an id":   {nxcloudtest.AccountOp, nxcloudtest.Answer(200, `{"email":"clara@cloud.test"}`)},
		"an account of another type": {nxcloudtest.AccountOp, nxcloudtest.Answer(200, `[]`)},
	} {
		u := newUpstream(t)
		before := u.changes(t)
		u.cloud.Fail(tt.op, -1, tt.serve)
		if a := good(u); a.status != 503 || field(t, a, "Error") != away {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if u.changes(t) != before {
			t.Errorf("%s: something was written", what)
		}
		u.cloud.Fail(tt.op, 0, nil)
		if a := good(u); a.status != 200 {
			t.Errorf("after %s: %d %s", what, a.status, a.body)
		}
	}

	// second_factor_required with a token: the token is good for the code alone, whatever else the answer says.
	u := newUpstream(t)
	live := must[nxcloud.Grant](t)(u.Cloud.Upstream.Password(t.Context(), "clara@cloud.test", cloudPassword, ""))
	u.cloud.Fail(nxcloudtest.TokenOp, 1, nxcloudtest.Answer(200, `{"access_token":"`+live.Access.Reveal()+`","error":"second_factor_required","token_type":"bearer"}`))
	ticket := field(t, u.nxWant(t, "a limited token", loginPath, credentials("clara@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	if n := u.cloud.Calls(nxcloudtest.AccountOp); n != 0 {
		t.Errorf("the account was read %d times before the code", n)
	}
	u.nxWant(t, "no code", totpPath, `{"token":"`+ticket+`","totp":"000000"}`, 401, "invalid_totp")

	// Late: every operation has its time, and says that it was the cloud.
	ticket = field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	u.cloud.Fail(nxcloudtest.TOTPOp, -1, u.cloud.Silent)
	begun := time.Now()
	u.nxWant(t, "a late code", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 503, away)
	if took := time.Since(begun); took > 1200*time.Millisecond {
		t.Errorf("an operation of a second took %v", took)
	}
	u.cloud.Fail(nxcloudtest.TOTPOp, 0, nil)
	u.nxWant(t, "after that", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 200, "")
	// The store may fail, too: that is no trouble of the cloud's.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", loginPath, strings.NewReader(credentials("clara@cloud.test", cloudPassword)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	u.handler.ServeHTTP(w, r)
	if w.Code != 503 {
		t.Errorf("cut off: %d %s", w.Code, w.Body)
	}
	// Five failures in a row, and the cloud is left alone; the status says so.
	u.cloud.Fail(nxcloudtest.TokenOp, -1, nxcloudtest.Answer(500, ""))
	for range 5 {
		good(u)
	}
	calls := u.cloud.Calls(nxcloudtest.TokenOp)
	if a := good(u); a.status != 503 || a.header.Get("Retry-After") == "" || u.cloud.Calls(nxcloudtest.TokenOp) != calls {
		t.Errorf("%d %s, %v", a.status, a.body, a.header)
	}
	if a := u.do(t, "GET", "/auth/status", ""); !strings.Contains(a.body, `"Online":false`) || !strings.Contains(a.body, `"NxCloud":false`) {
		t.Errorf("status: %s", a.body)
	}
}

// Guesses at passwords and codes that the cloud judges are counted like those that this house judges.
func TestUpstreamGuesses(t *testing.T) {
	u := newUpstream(t)
	for range 10 {
		u.nxWant(t, "a guess", loginPath, credentials("clara@cloud.test", "guess"), 401, "invalid_grant")
	}
	calls := u.cloud.Calls(nxcloudtest.TokenOp)
	a := u.nxWant(t, "locked", loginPath, credentials("Clara@cloud.test", cloudPassword), 429, "too_many_requests")
	if a.header.Get("Retry-After") == "" || u.cloud.Calls(nxcloudtest.TokenOp) != calls {
		t.Errorf("%v, and the cloud was asked %d times", a.header, u.cloud.Calls(nxcloudtest.TokenOp)-calls)
	}
	ticket := field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	for range 5 {
		u.nxWant(t, "a code", totpPath, `{"token":"`+ticket+`","totp":"000000"}`, 401, "invalid_totp")
	}
	u.nxWant(t, "no tries left", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 401, "invalid_grant")
	ticket = field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	for range 5 {
		u.nxWant(t, "a code", totpPath, `{"token":"`+ticket+`","totp":"000000"}`, 401, "invalid_totp")
	}
	ticket = field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	u.nxWant(t, "the eleventh code", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 429, "too_many_requests")
	u.Clock.Advance(16 * time.Minute)
	ticket = field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	u.Clock.Advance(5 * time.Minute)
	u.nxWant(t, "too late", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 401, "invalid_grant")
}

// The id joins accounts: another address at the cloud is the same person, and another account with her address is not.
func TestAccountsAreJoinedByID(t *testing.T) {
	u := newUpstream(t)
	subject := func(a answer) string { return subjectOf(t, u.house, field(t, a, "AccessToken")) }
	first := subject(u.nxWant(t, "first", loginPath, credentials("clara@cloud.test", cloudPassword), 200, ""))
	u.cloud.Change("clara@cloud.test", func(a *nxcloudtest.Account) { a.Email = "moved@cloud.test" })
	if again := subject(u.nxWant(t, "moved", loginPath, credentials("moved@cloud.test", cloudPassword), 200, "")); again != first {
		t.Errorf("%s became %s", first, again)
	}
	u.cloud.Change("otto@cloud.test", func(a *nxcloudtest.Account) { a.Email, a.TOTP = "clara@cloud.test", "" })
	u.nxWant(t, "another with her address", loginPath, credentials("clara@cloud.test", cloudPassword), 403, "account_exists")
	u.cloud.Change("clara@cloud.test", func(a *nxcloudtest.Account) { a.Email = "elsewhere@cloud.test" })
	if err := u.Manage.Suspend(t.Context(), identity.Caller{Door: "cli"}, identity.SubjectID(first), "test"); err != nil {
		t.Fatal(err)
	}
	u.nxWant(t, "suspended here", loginPath, credentials("moved@cloud.test", cloudPassword), 403, "account_blocked")
}

func subjectOf(t testing.TB, h *house, access string) string {
	t.Helper()
	live, err := h.Sessions.Check(t.Context(), h.Doors.Nx.Form(), access, identity.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	return string(live.Subject.ID)
}

// The cloud's refresh token is sealed where it is kept, and ends with the session; a session ends without the cloud, too.
func TestCloudTokenEndsWithTheSession(t *testing.T) {
	u := newUpstream(t)
	for what, path := range map[string]string{"logout": "/auth/nx/logout", "sign-out": "/auth/authenticate/signout"} {
		a := u.nxWant(t, "login", loginPath, credentials("clara@cloud.test", cloudPassword), 200, "")
		access := field(t, a, "AccessToken")
		live, err := u.Sessions.Check(t.Context(), u.Doors.Nx.Form(), access, identity.AccessToken)
		if err != nil || len(live.Session.Attributes) == 0 || strings.Contains(string(live.Session.Attributes), "nxcdb") {
			t.Fatalf("%v %s", err, live.Session.Attributes)
		}
		revoked := u.cloud.Calls(nxcloudtest.RevokeOp)
		if a := u.do(t, "POST", path, `{"GrantType":"","Password":""}`, bearer(access)); a.status != 200 || u.cloud.Calls(nxcloudtest.RevokeOp) != revoked+1 {
			t.Errorf("%s: %d %s, %d calls", what, a.status, a.body, u.cloud.Calls(nxcloudtest.RevokeOp)-revoked)
		}
	}
	a := u.nxWant(t, "login", loginPath, credentials("clara@cloud.test", cloudPassword), 200, "")
	u.cloud.Fail(nxcloudtest.RevokeOp, -1, nxcloudtest.Answer(500, ""))
	u.nxWant(t, "the cloud is away", "/auth/nx/logout", `{"GrantType":"","Password":""}`, 200, "", bearer(field(t, a, "AccessToken")))
	if a := u.do(t, "GET", "/auth/configuration", "", bearer(field(t, a, "AccessToken"))); a.status != 401 {
		t.Errorf("after a logout without the cloud: %d", a.status)
	}
}

// actAs gives an access token of somebody who acts as another.
func (h *house) actAs(t testing.TB, who, as identity.SubjectID) string {
	t.Helper()
	var acting identity.Session
	caller := identity.Caller{Door: nx.Door}
	err := h.Store.Update(t.Context(), func(tx identity.Tx) error {
		actor, err := tx.Subject(t.Context(), who)
		if err != nil {
			return err
		}
		person, err := tx.Subject(t.Context(), as)
		if err != nil {
			return err
		}
		own, err := h.Sessions.Begin(t.Context(), tx, session.Start{Caller: caller, Subject: actor, AMR: []string{"pwd"}})
		if err != nil {
			return err
		}
		acting, err = h.Sessions.Begin(t.Context(), tx, session.Start{Caller: caller, Subject: person, Origin: &own, AMR: []string{"pwd"}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return must[string](t)(h.Doors.Nx.PrintAccess(acting, identity.Subject{}))
}

// Linking is its owner's: not for whoever acts as her, nor once she has signed out.
func TestLinkingIsOnesOwn(t *testing.T) {
	u := newUpstream(t)
	access := u.actAs(t, rootID, adaID)
	for path, body := range map[string]string{
		"/auth/nx/link": credentials("ada@example.test", cloudPassword), "/auth/nx/unlink": `{}`, "/auth/nx/refresh-token": `{"GrantType":"Password","Password":"` + passphrase + `"}`,
	} {
		u.nxWant(t, path, path, body, 403, "forbidden", bearer(access))
	}
	mine, _ := u.signIn(t, "bob@example.test")
	ticket := field(t, u.nxWant(t, "link", "/auth/nx/link", credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required", bearer(mine)), "TotpAccessCode")
	if a := u.do(t, "POST", "/auth/authenticate/signout", "", bearer(mine)); a.status != 200 {
		t.Fatal(a.body)
	}
	u.nxWant(t, "signed out meanwhile", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 401, "invalid_grant")
	if all := must[[]identity.LinkedIdentity](t)(u.Federation.Identities(t.Context(), bobID)); len(all) != 0 {
		t.Errorf("linked nevertheless: %v", all)
	}
	rows := must[[]identity.Event](t)(u.Events(t.Context(), identity.EventFilter{Action: "identity.link", Limit: 10}))
	if len(rows) != 1 || rows[0].Outcome == "ok" || rows[0].SubjectID != bobID {
		t.Errorf("audit: %+v", rows)
	}
}

// A cloud's second factor is one: a policy that demands it is satisfied, and one that the cloud did not ask for is not.
func TestCloudFactorSatisfiesPolicy(t *testing.T) {
	u := newUpstream(t)
	u.nxWant(t, "made", loginPath, credentials("clara@cloud.test", cloudPassword), 200, "")
	ticket := field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	u.nxWant(t, "otto's code", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 200, "")
	for _, s := range must[[]identity.Subject](t)(u.everybody(t)) {
		if strings.HasSuffix(s.Email, "@cloud.test") {
			if _, err := u.Manage.SaveMembership(t.Context(), identity.Caller{Door: "cli"}, identity.Membership{SubjectID: s.ID, OrganisationID: acmeID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	u.demandFactor(t, acmeID)
	u.nxWant(t, "without one", loginPath, credentials("clara@cloud.test", cloudPassword), 403, "2fa_disabled_for_the_user")
	u.Clock.Advance(30 * time.Second)
	ticket = field(t, u.nxWant(t, "otto", loginPath, credentials("otto@cloud.test", cloudPassword), 200, "second_factor_required"), "TotpAccessCode")
	u.nxWant(t, "with one", totpPath, `{"token":"`+ticket+`","totp":"`+u.code(t)+`"}`, 200, "")
}
