package app_test

import (
	"fmt"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

var operator = identity.Caller{Door: "cli"}

// acts are what must end a person's old state at every door at once (P3).
var acts = []struct {
	name string
	// tickets: steps half way and mailed links end too. keep: a session that the act leaves.
	tickets bool
	do      func(t *testing.T, h *house, id identity.SubjectID, login string)
}{
	{"suspended", true, func(t *testing.T, h *house, id identity.SubjectID, _ string) {
		must(t, h.Manage.Suspend(t.Context(), operator, id, "test"))
	}},
	{"deleted", true, func(t *testing.T, h *house, id identity.SubjectID, _ string) {
		must(t, h.Manage.Delete(t.Context(), operator, id))
	}},
	{"password set by an administrator", true, func(t *testing.T, h *house, id identity.SubjectID, _ string) {
		must(t, h.Manage.SetPassword(t.Context(), operator, id, manage.NewPassword{Password: anotherOne}))
	}},
	{"password reset by link", true, func(t *testing.T, h *house, _ identity.SubjectID, login string) {
		h.must(t, request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", h.resetLink(t, login), "Password", anotherOne)})
	}},
	{"password changed by herself at nx", true, func(t *testing.T, h *house, id identity.SubjectID, login string) {
		session := h.nxSession(t, id, login)
		h.must(t, request{method: "POST", target: "/auth/authenticate/update-password", bearer: session, body: object("CurrentPassword", passphrase, "NewPassword", anotherOne)})
		if !h.honoured(t, nxAccess, session) {
			t.Error("the session that changed the password has ended, too")
		}
	}},
	{"password changed at openwifi's sign-in", true, func(t *testing.T, h *house, _ identity.SubjectID, login string) {
		a := h.must(t, request{method: "POST", target: "/api/v1/oauth2", body: object("userId", login, "password", passphrase, "newPassword", anotherOne)})
		if uuid := a.at("uuid"); uuid != "" {
			h.must(t, request{method: "POST", target: "/api/v1/oauth2?completeMFAChallenge=true", body: object("uuid", uuid, "answer", h.code(t))})
		}
	}},
	{"blacklisted at openwifi", true, func(t *testing.T, h *house, id identity.SubjectID, _ string) {
		h.must(t, request{method: "PUT", target: "/api/v1/user/" + string(id), bearer: h.print(t, wifiAccess, "bob@example.test"), body: `{"blackListed":true}`})
	}},
	{"all sessions ended", false, func(t *testing.T, h *house, id identity.SubjectID, _ string) {
		must(t, h.Sessions.EndAll(t.Context(), operator, id, "", "test"))
	}},
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nxSession gives an access token of somebody who may have a second factor, which this door has no step for.
func (h *house) nxSession(t testing.TB, id identity.SubjectID, login string) string {
	t.Helper()
	before := h.mustFactor(t, id, false)
	token := h.print(t, nxAccess, login)
	if before {
		h.mustFactor(t, id, true)
	}
	return token
}

// mustFactor takes or gives her second factor, and says whether she had one.
func (h *house) mustFactor(t testing.TB, id identity.SubjectID, want bool) bool {
	t.Helper()
	if want {
		must(t, h.Manage.EnrolTOTP(t.Context(), operator, id, sharedSecret))
		return false
	}
	removed, err := h.Manage.ResetFactors(t.Context(), operator, id)
	must(t, err)
	return len(removed) > 0
}

// What was given out before an act is refused after it: at every door, of every kind, on this node at once, whether or not the
// node had looked at it before, and half-way tickets and mailed links too.
func TestOldStateEndsEverywhere(t *testing.T) {
	sqlite := newHouse(t, apptest.Options{})
	oldStateEnds(t, "one node", sqlite, sqlite, func() {})

	url := storetest.PostgresURL(t)
	one := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url)})
	two := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url), Clock: one.Clock})
	// The other node reads the feed within a quarter of a second, or when the engine wakes it; here it reads it now.
	oldStateEnds(t, "two nodes", one, two, func() { must(t, two.Feed.Once(t.Context())) })
}

func oldStateEnds(t *testing.T, nodes string, acting, looking *house, feed func()) {
	looking.Clock = acting.Clock
	warm := []string{nxAccess, cloudAccess, insightsAccess, titanFull, wifiAccess, oidcAccess, nxRefresh, nxOldRefresh}
	cold := []string{cloudRefresh, cloudAccess, insightsRefresh, wifiRefresh, oidcRefr, nxAccess, titanFull, wifiAccess, insightsAccess, oidcAccess, nxRefresh}
	for _, act := range acts {
		t.Run(nodes+"/"+act.name, func(t *testing.T) {
			id, login := acting.newPerson(t, false)
			careful, factored := acting.newPerson(t, true)
			type held struct{ kind, token string }
			var all []held
			for _, kind := range warm {
				token := acting.print(t, kind, login)
				if !looking.honoured(t, kind, token) {
					t.Fatalf("%s is refused before", kind)
				}
				all = append(all, held{kind, token})
			}
			for _, kind := range cold {
				all = append(all, held{kind, acting.print(t, kind, login)})
			}
			if act.tickets {
				for kind, login := range map[string]string{nxReset: login, titanCode: factored, wifiChallenge: factored, nxTotp: factored, cloudLimited: factored, nxPageCode: login} {
					token := acting.print(t, kind, login)
					all = append(all, held{kind, token})
				}
			}
			looking.honoured(t, nxAccess, all[0].token)
			act.do(t, acting, id, login)
			if act.tickets {
				act.do(t, acting, careful, factored)
			}
			feed()
			acting.Clock.Advance(30 * time.Second) // so that a code would be a fresh one
			for _, a := range all {
				for _, node := range []*house{looking, acting} {
					if node.spends(t, a.kind, a.token) {
						t.Errorf("%s is good after; on the node of the act: %v", a.kind, node == acting)
					}
				}
			}
			if act.name == "suspended" {
				must(t, acting.Manage.Resume(t.Context(), operator, id))
				feed()
				for _, a := range all {
					if !ofTicket(a.kind) && looking.honoured(t, a.kind, a.token) {
						t.Errorf("%s came back to life", a.kind)
					}
				}
			}
		})
	}
}

// spends is honoured, but for the mailed link, which it uses up: that the page opens proves nothing.
func (h *house) spends(t *testing.T, kind, token string) bool {
	t.Helper()
	if kind != nxReset {
		return h.honoured(t, kind, token)
	}
	return h.send(request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", token, "Password", "Quiet-Sky-1911-meadow")}).ok()
}

// An API key is looked up at each use: its end, its deletion, and its owner's suspension and removal are noticed at once, on the other
// node too, before that has read the feed. A password that changes ends sessions, not keys.
func TestAPIKeysEnd(t *testing.T) {
	url := storetest.PostgresURL(t)
	one := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url)})
	two := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url), Clock: one.Clock})
	said := func(key string) (words string) {
		t.Helper()
		for _, node := range []*house{one, two} {
			a := node.send(asks(wifiKey).make(t, node, key))
			if words != "" && fmt.Sprint(a.status, a.at("ErrorDescription")) != words {
				t.Errorf("one node says %s, the other %v", words, a)
			}
			words = fmt.Sprint(a.status, a.at("ErrorDescription"))
		}
		return words[:min(len(words), 6)]
	}
	wants := func(what, key, want string) {
		t.Helper()
		if got := said(key); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const good, unknown, expired, suspended = "200", "4038: ", "4039: ", "40315:"
	id, login := one.newPerson(t, false)
	key := one.print(t, wifiKey, login)
	wants("fresh", key, good)
	must(t, one.Manage.SetPassword(t.Context(), operator, id, manage.NewPassword{Password: passphrase + "!"}))
	wants("after a new password", key, good)
	must(t, one.Manage.Suspend(t.Context(), operator, id, "test"))
	wants("suspended", key, suspended)
	must(t, one.Manage.Resume(t.Context(), operator, id))
	wants("resumed", key, good)
	one.Clock.Advance(24 * time.Hour)
	wants("at its end", key, expired)

	id, login = one.newPerson(t, false)
	key = one.print(t, wifiKey, login)
	must(t, one.Manage.Delete(t.Context(), operator, id))
	wants("without its owner", key, unknown)

	_, login = one.newPerson(t, false)
	live := one.liveOf(t, one.print(t, wifiAccess, login))
	keyID, key := one.apiKey(t, "made", live)
	wants("another", key, good)
	must(t, one.APIKeys.Delete(t.Context(), identity.Caller{Door: openwifi.Door}, live, live.Subject.ID, keyID))
	wants("deleted", key, unknown)
}

// Signing out ends that session, its refresh token included, and no other.
func TestSignOutEndsOneSession(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	_, login := h.newPerson(t, false)
	others := map[string]string{}
	for _, kind := range []string{nxAccess, insightsAccess, titanFull, wifiAccess, oidcAccess} {
		others[kind] = h.print(t, kind, login)
	}
	nx := h.must(t, signIns["nx"](login, passphrase))
	wifi := h.must(t, signIns[openwifi.Door](login, passphrase))
	titan := h.print(t, titanFull, login)
	oidc := h.oidcRefresh(t, login)
	h.must(t, request{method: "POST", target: "/auth/authenticate/signout", bearer: nx.at("AccessToken")})
	h.must(t, request{method: "DELETE", target: "/api/v1/oauth2/" + wifi.at("access_token"), bearer: wifi.at("access_token")})
	h.must(t, request{method: "POST", target: "/auth/invalidate", bearer: titan})
	h.must(t, formOf("/oauth2/revoke", "token", oidc, "client_id", "robot", "client_secret", clientSecret)(t, h, ""))
	for kind, token := range map[string]string{
		nxAccess: nx.at("AccessToken"), nxRefresh: nx.at("RefreshToken"), wifiAccess: wifi.at("access_token"), wifiRefresh: wifi.at("refresh_token"),
		titanFull: titan, oidcRefr: oidc,
	} {
		if h.honoured(t, kind, token) {
			t.Errorf("%s is good after signing out", kind)
		}
	}
	for kind, token := range others {
		if !h.honoured(t, kind, token) {
			t.Errorf("%s of another session ended", kind)
		}
	}
}

// A token that was revoked by a client is refused at once, alone.
func TestRevokedTokens(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	_, login := h.newPerson(t, false)
	for _, kind := range []string{nxAccess, cloudAccess, cloudRefresh, insightsAccess, titanFull, wifiAccess, oidcAccess, oidcOwn, nxRefresh, insightsRefresh, wifiRefresh, oidcRefr} {
		token, other := h.print(t, kind, login), ""
		h.Clock.Advance(time.Second) // what differs in its second is another token
		other = h.print(t, kind, login)
		if kind == nxAccess || kind == insightsAccess || kind == titanFull || kind == wifiAccess {
			if !h.honoured(t, kind, token) {
				t.Fatalf("%s is refused before", kind)
			}
		}
		h.must(t, formOf("/oauth2/revoke", "token", token, "client_id", "robot", "client_secret", clientSecret)(t, h, ""))
		if h.honoured(t, kind, token) {
			t.Errorf("%s is good after it was revoked", kind)
		}
		if !h.honoured(t, kind, other) {
			t.Errorf("%s of another session ended", kind)
		}
	}
}

// What a device or another program of an organisation was given ends with the organisation, with the device, and when the client is
// bound to others: on the node of the act at once, on the other when the feed has told it. It gets nothing new either.
func TestProgramsEndWithWhatTheyAreBoundTo(t *testing.T) {
	url := storetest.PostgresURL(t)
	one := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url)})
	two := newHouse(t, apptest.Options{Store: storetest.OpenPostgres(t, url), Clock: one.Clock})
	asks := func(h *house, client string) answer {
		return h.send(formOf("/oauth2/token", "grant_type", "client_credentials", "client_id", client, "client_secret", clientSecret)(t, h, ""))
	}
	device := func(id identity.DeviceID) manage.ClientChange { return manage.ClientChange{DeviceID: &id} }
	expires := func(at time.Time) {
		_, err := one.Manage.UpdateOrganisation(t.Context(), operator, acme, manage.OrganisationChange{ExpiresAt: &at})
		must(t, err)
	}
	change := func(c manage.ClientChange) {
		_, err := one.Manage.UpdateClient(t.Context(), operator, "box", c)
		must(t, err)
	}
	suspended := true
	for _, act := range []struct {
		name string
		do   func()
		// gone: it gets no new tokens either.
		gone bool
		undo func()
		ends []string
	}{
		{"bound to another device", func() { change(device(tillOfAcme)) }, false, func() { change(device(boxOfAcme)) }, []string{"box"}},
		{"bound to no device", func() { change(device("")) }, false, func() { change(device(boxOfAcme)) }, []string{"box"}},
		{"suspended", func() { change(manage.ClientChange{Suspended: &suspended}) }, true, func() { change(manage.ClientChange{Suspended: new(bool)}) }, []string{"box"}},
		{"organisation expired", func() { expires(one.Clock.Now()) }, true, func() { expires(time.Time{}) }, []string{"box", "till", "acme-reports"}},
		{"organisation expires", func() {
			expires(one.Clock.Now().Add(time.Minute))
			must(t, two.Feed.Once(t.Context()))
			one.Clock.Advance(time.Minute)
		}, true, func() { expires(time.Time{}) }, []string{"box", "till", "acme-reports"}},
		{"device deleted", func() { must(t, one.Licences.DeleteDevice(t.Context(), operator, boxOfAcme)) }, true, func() {}, []string{"box"}},
		{"organisation deleted", func() { must(t, one.Manage.DeleteOrganisation(t.Context(), operator, acme)) }, true, func() {}, []string{"till", "acme-reports"}},
	} {
		t.Run(act.name, func(t *testing.T) {
			tokens := map[string]string{}
			for _, client := range act.ends {
				tokens[client] = one.must(t, formOf("/oauth2/token", "grant_type", "client_credentials", "client_id", client, "client_secret", clientSecret)(t, one, "")).at("access_token")
				for _, node := range []*house{one, two} {
					if !node.active(t, tokens[client]) || !asks(node, client).ok() {
						t.Fatalf("%s is refused before", client)
					}
				}
			}
			act.do()
			must(t, two.Feed.Once(t.Context()))
			for client, token := range tokens {
				for _, node := range []*house{one, two} {
					if node.active(t, token) {
						t.Errorf("%s: its token is good after; on the node of the act: %v", client, node == one)
					}
					if a := asks(node, client); a.ok() == act.gone || act.gone && (a.status != 401 || a.at("error") != "invalid_client") {
						t.Errorf("%s asks for another: %v", client, a)
					}
				}
			}
			act.undo()
			must(t, two.Feed.Once(t.Context()))
		})
	}
}
