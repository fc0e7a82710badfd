package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/identity"
)

// person is what the matrix of rights needs to know of somebody of promisesWorld.
type person struct {
	id           identity.SubjectID
	login        string
	organisation identity.OrganisationID // "": none
	rules        bool                    // superadmin
	wifiAdmin    bool                    // root or admin at the openwifi door
}

var people = []person{
	{adaID, "ada@example.test", acme, false, false},
	{bobID, "bob@example.test", acme, false, true},
	{eveID, "eve@works.test", works, false, false},
	{rootID, "root@example.test", "", true, true},
}

// Who may read and change whom at nx (P1): herself, a superadmin everybody, a colleague may read. For all others nobody is
// there, and the answer is the one for an id that nobody has.
func TestReadingAndChangingOthers(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	const nobody = "01a0a000-0000-7000-8000-00000000dead"
	for _, caller := range people {
		token := h.print(t, nxAccess, caller.login)
		read := func(id string) answer {
			return h.send(request{method: "GET", target: "/auth/user/" + id, bearer: token})
		}
		unknown := read(nobody)
		if unknown.status != http.StatusNotFound {
			t.Errorf("%s reads nobody: %v", caller.login, unknown)
		}
		for _, target := range people {
			self := caller.id == target.id
			colleague := caller.organisation != "" && caller.organisation == target.organisation
			wantRead, wantChange := http.StatusNotFound, http.StatusNotFound
			if colleague {
				wantRead, wantChange = http.StatusOK, http.StatusForbidden
			}
			if self || caller.rules {
				wantRead, wantChange = http.StatusOK, http.StatusOK
			}
			a := read(string(target.id))
			if a.status != wantRead || wantRead == http.StatusNotFound && a.body != unknown.body {
				t.Errorf("%s reads %s: %v, want %d", caller.login, target.login, a, wantRead)
			}
			before := h.state(t)
			a = h.send(request{method: "PATCH", target: "/auth/user/" + string(target.id), bearer: token, body: `{"Name":"Changed by ` + caller.login + `"}`})
			if a.status != wantChange || wantChange == http.StatusNotFound && a.body != unknown.body {
				t.Errorf("%s changes %s: %v, want %d", caller.login, target.login, a, wantChange)
			}
			if changed := h.state(t) != before; changed != a.ok() {
				t.Errorf("%s changes %s: %v, and the world changed: %v", caller.login, target.login, a, changed)
			}
		}
		for _, id := range []string{"", "me", "1", "..", "%2e%2e", adaUpper, string(adaID) + "x", "' OR 1=1 --", "\x00"} {
			if a := read(id); a.status != http.StatusNotFound && !(id == "" && a.status == http.StatusMethodNotAllowed) {
				t.Errorf("%s reads %q: %v", caller.login, id, a)
			}
		}
	}
}

const adaUpper = "01A0A000-0000-7000-8000-0000000000A1"

// Acting for somebody else: nobody may but for herself, her organisation, and a superadmin for every organisation that is there.
func TestActingForOthers(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, caller := range people {
		access, refresh := h.print(t, nxAccess, caller.login), h.print(t, nxRefresh, caller.login)
		for _, kind := range []string{"user", "organization", "", "USER", "organisation", "system"} {
			for _, id := range []string{string(adaID), string(bobID), string(eveID), string(rootID), string(acme), string(works), "", "x", "01a0b000-0000-7000-8000-00000000dead"} {
				may := kind == "user" && id == string(caller.id) ||
					kind == "organization" && (id == string(caller.organisation) && id != "" || caller.rules && (id == string(acme) || id == string(works)))
				as := [][2]string{{"X-Act-As-Kind", kind}, {"X-Act-As-ID", id}}
				for _, in := range []request{
					{method: "GET", target: "/auth/configuration", bearer: access, header: as},
					{method: "GET", target: "/auth/user/" + string(caller.id), bearer: access, header: as},
					{method: "POST", target: "/auth/authenticate/refresh-token", bearer: refresh, header: as},
				} {
					a := h.send(in)
					if want := map[bool]int{true: http.StatusOK, false: http.StatusForbidden}[may]; a.status != want {
						t.Errorf("%s at %s as %s %s: %v, want %d", caller.login, in.target, kind, id, a, want)
					}
				}
			}
		}
		for _, odd := range [][][2]string{
			{{"X-Act-As-Kind", "user"}}, {{"X-Act-As-ID", string(caller.id)}},
			{{"X-Act-As-Kind", "user"}, {"X-Act-As-Kind", "user"}, {"X-Act-As-ID", string(caller.id)}},
			{{"X-Act-As-Kind", "user"}, {"X-Act-As-ID", string(caller.id)}, {"X-Act-As-ID", string(eveID)}},
		} {
			if a := h.send(request{method: "GET", target: "/auth/configuration", bearer: access, header: odd}); a.status != http.StatusForbidden {
				t.Errorf("%s with %v: %v", caller.login, odd, a)
			}
		}
	}
}

// Hubs are entered by members, by id and by hash; one that is not hers and one that is not there get one answer.
func TestHubsOfOthers(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, caller := range people {
		token := h.print(t, titanFull, caller.login)
		unknown := h.send(request{method: "POST", target: "/auth/hub/999999", bearer: token})
		for _, id := range []identity.OrganisationID{acme, works} {
			var hub identity.Organisation
			h.view(t, func(ctx context.Context, r identity.Reader) (err error) {
				hub, err = r.Organisation(ctx, id)
				return err
			})
			for _, named := range []string{strconv.FormatInt(hub.Number, 10), hub.Hash} {
				a := h.send(request{method: "POST", target: "/auth/hub/" + named, bearer: token})
				if id == caller.organisation {
					if !a.ok() {
						t.Errorf("%s enters her hub by %s: %v", caller.login, named, a)
					}
					token = a.at("data.token")
				} else if a.status != http.StatusUnauthorized || a.body != unknown.body {
					t.Errorf("%s enters %s by %s: %v, want as for a hub that is not there: %v", caller.login, hub.Name, named, a, unknown)
				}
			}
		}
		for _, odd := range []string{"-1", "0", "00", "+1", " 1", "1e0", "999999999999999999999", string(acme), "x", "%00"} {
			if a := h.send(request{method: "POST", target: "/auth/hub/" + odd, bearer: token}); a.status != http.StatusUnauthorized && a.status != http.StatusNotFound {
				t.Errorf("%s enters %q: %v", caller.login, odd, a)
			}
		}
	}
}

// Whose token it is, is told to its holder and to administrators; and nobody ends another's session.
func TestTokensOfOthersAtOpenWiFi(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, caller := range people {
		own := h.print(t, wifiAccess, caller.login)
		for _, target := range people {
			theirs := own
			if caller.id != target.id {
				theirs = h.print(t, wifiAccess, target.login)
			}
			a := h.send(request{method: "GET", target: "/api/v1/validateToken?token=" + theirs, bearer: own})
			if may := caller.id == target.id || caller.wifiAdmin; may && !a.ok() || !may && a.status != http.StatusForbidden {
				t.Errorf("%s validates a token of %s: %v", caller.login, target.login, a)
			}
			if caller.id == target.id {
				continue
			}
			if a := h.send(request{method: "DELETE", target: "/api/v1/oauth2/" + theirs, bearer: own}); a.status != http.StatusNotFound {
				t.Errorf("%s signs %s out: %v", caller.login, target.login, a)
			}
			if !h.honoured(t, wifiAccess, theirs) || !h.honoured(t, wifiAccess, own) {
				t.Errorf("%s ended a session of %s", caller.login, target.login)
			}
		}
	}
	for _, key := range []string{"", "x", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"} {
		for _, service := range []bool{true, false} {
			in := request{method: "GET", target: "/api/v1/validateToken?token=" + h.print(t, wifiAccess, "ada@example.test"), service: service,
				header: [][2]string{{"X-API-KEY", key}, {"X-INTERNAL-NAME", "https://gw.example.test:16002"}}}
			if a := h.send(in); a.status != http.StatusForbidden {
				t.Errorf("a service with the key %q, inside %v: %v", key, service, a)
			}
		}
	}
}

// API keys are managed by whoever made them and by superadmins; nobody else learns whether somebody is there. A key manages none,
// and acts for nobody but its owner.
func TestAPIKeysOfOthers(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, caller := range people {
		bearer := h.print(t, wifiAccess, caller.login)
		own := h.print(t, wifiKey, caller.login)
		nobody := h.send(request{method: "GET", target: "/api/v1/apiKey/01a0a000-0000-7000-8000-00000000dead", bearer: bearer})
		for _, target := range people {
			id, key := h.apiKey(t, "made", h.liveOf(t, h.print(t, wifiAccess, target.login)))
			path, may := "/api/v1/apiKey/"+string(target.id), caller.id == target.id || caller.rules
			asks := []request{
				{method: "GET", target: path}, {method: "PUT", target: path, body: object("id", string(id), "description", "by "+caller.login)},
				{method: "POST", target: path, body: fmt.Sprintf(`{"name":%q,"expiresOn":%d}`, h.newName("by"), h.Clock.Now().Unix()+60)},
				{method: "DELETE", target: path + "?keyUuid=" + string(id)},
			}
			for _, in := range asks {
				in.header = [][2]string{{"X-API-KEY", own}}
				if a := h.send(in); a.status != http.StatusForbidden || !strings.Contains(a.body, `"ErrorCode":7`) {
					t.Errorf("%s %s of %s with a key of %s: %v", in.method, in.target, target.login, caller.login, a)
				}
				in.header, in.bearer = nil, bearer
				if in.method == "DELETE" && !h.honoured(t, wifiKey, key) {
					t.Errorf("the key of %s was lost", target.login)
				}
				a := h.send(in)
				if may && !a.ok() || !may && a.status != http.StatusForbidden || !may && in.method == "GET" && a.body != nobody.body {
					t.Errorf("%s by %s of %s: %v", in.method, caller.login, target.login, a)
				}
			}
			if good := h.honoured(t, wifiKey, key); good == may {
				t.Errorf("a key of %s is good %v after %s deleted it", target.login, good, caller.login)
			}
			// Through her own id, another's key is not there.
			other, _ := h.apiKey(t, "made", h.liveOf(t, h.print(t, wifiAccess, target.login)))
			a := h.send(request{method: "DELETE", target: "/api/v1/apiKey/" + string(caller.id) + "?keyUuid=" + string(other), bearer: bearer})
			if caller.id != target.id && a.status != http.StatusNotFound {
				t.Errorf("%s deletes a key of %s as her own: %v", caller.login, target.login, a)
			}
		}
	}
}

// A client's tokens are its own: another spends, sees and revokes none of them.
func TestTokensOfOtherClients(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, kind := range []string{oidcRefr, insightsRefresh} {
		token := h.print(t, kind, "ada@example.test")
		thief := map[string]string{oidcRefr: "app", insightsRefresh: "robot"}[kind]
		for _, target := range []string{"/oauth2/token", "/oauth/token"} {
			a := h.send(formOf(target, "grant_type", "refresh_token", "refresh_token", token, "client_id", thief, "client_secret", clientSecret)(t, h, ""))
			if a.status != http.StatusBadRequest && a.status != http.StatusUnauthorized {
				t.Errorf("%s at %s by %s: %v", kind, target, thief, a)
			}
		}
		if !h.honoured(t, kind, token) {
			t.Errorf("%s was spent by another client", kind)
		}
	}
	for _, kind := range tokenKinds {
		if ofTicket(kind) || kind == insightsAccess || kind == insightsRefresh || kind == titanSpent || kind == wifiKey {
			continue // app's own, and what is not active for anybody
		}
		token := h.print(t, kind, "ada@example.test")
		a := h.send(formOf("/oauth2/introspect", "token", token, "client_id", "app", "client_secret", clientSecret)(t, h, ""))
		if a.body != `{"active":false}` {
			t.Errorf("app sees %s: %v", kind, a)
		}
		a = h.send(formOf("/oauth2/revoke", "token", token, "client_id", "app", "client_secret", clientSecret)(t, h, ""))
		if a.ok() {
			t.Errorf("app revokes %s: %v", kind, a)
		}
		if !h.active(t, token) {
			t.Errorf("%s is not active any more", kind)
		}
	}
	for kind, want := range map[string]bool{titanCode: false, wifiChallenge: false, wifiKey: false, nxReset: false, titanSpent: false, nxAccess: true} {
		if got := h.active(t, h.print(t, kind, holderOf(kind))); got != want {
			t.Errorf("introspection says active %v of %s", got, kind)
		}
	}
}

// Whoever is made at the OpenWiFi door comes in at every door, each with her own limits: staff at those for staff, a subscriber
// at the one for subscribers.
func TestMadeAtOpenWiFiComesInEverywhere(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	bob := h.print(t, wifiAccess, "bob@example.test")
	made := object("email", "nina@example.test", "name", "Nina", "currentPassword", passphrase, "userRole", "noc")
	h.must(t, request{method: "POST", target: "/api/v1/user/0", bearer: bob, body: made})
	for _, door := range doors {
		if a := h.send(signIns[door]("nina@example.test", passphrase)); !a.ok() {
			t.Errorf("%s: %v", door, a)
		}
		if a := h.send(signIns[door]("nina@example.test", anotherOne)); a.ok() {
			t.Errorf("%s lets her in with another password: %v", door, a)
		}
	}
	if refresh := h.oidcRefresh(t, "nina@example.test"); refresh == "" {
		t.Error("no session at the standard door")
	}
	if a := h.send(signIns[openwifi.SubscriberDoor]("nina@example.test", passphrase)); a.ok() {
		t.Errorf("staff comes in as a subscriber: %v", a)
	}
	h.must(t, request{method: "POST", target: "/api/v1/subuser/0", bearer: bob, body: object("email", "sven@customer.test", "name", "Sven", "currentPassword", passphrase)})
	if a := h.send(signIns[openwifi.SubscriberDoor]("sven@customer.test", passphrase)); !a.ok() {
		t.Errorf("the subscriber: %v", a)
	}
}

// Whose licences somebody sees and prints (P1): her organisation's, and a superadmin all unless she acts for one. Another's is as
// unknown as one that is not there: not listed, counted or told by a filter.
func TestLicencesOfOthers(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	const nobody = "01a0f000-0000-7000-8000-00000000dead"
	whose := map[string]identity.OrganisationID{licenceOfAcme: acme, licenceOfWorks: works}
	for _, caller := range people {
		token := h.print(t, nxAccess, caller.login)
		for _, as := range []identity.OrganisationID{"", acme, works} {
			var header [][2]string
			if as != "" {
				header = [][2]string{{"X-Act-As-Kind", "organization"}, {"X-Act-As-ID", string(as)}}
			}
			get := func(target string) answer {
				return h.send(request{method: "GET", target: target, bearer: token, header: header})
			}
			if as != "" && as != caller.organisation && !caller.rules {
				if a := get("/auth/licenses"); a.status != http.StatusForbidden {
					t.Errorf("%s acting for %s: %v", caller.login, as, a)
				}
				continue
			}
			seen := 0
			unknown, unprinted := get("/auth/license/"+nobody), get("/auth/licences/"+nobody+"/document")
			for id, org := range whose {
				may := org == caller.organisation && as == "" || org == as || caller.rules && as == ""
				if may {
					seen++
				}
				one, printed, filtered := get("/auth/license/"+id), get("/auth/licences/"+id+"/document"), get("/auth/licenses?q="+id)
				if may && (!one.ok() || !printed.ok()) || !may && (one.status != http.StatusNotFound || one.body != unknown.body || printed.body != unprinted.body) {
					t.Errorf("%s, acting for %q, reads %s: %v, %v", caller.login, as, id, one, printed)
				}
				if !may && (filtered.body != "[]" || strings.Contains(get("/auth/licenses").body, id)) {
					t.Errorf("%s, acting for %q, finds %s", caller.login, as, id)
				}
			}
			if total := get("/auth/licenses").header.Get("X-Pagination-Records"); total != strconv.Itoa(seen) {
				t.Errorf("%s, acting for %q, counts %s of %d", caller.login, as, total, seen)
			}
		}
	}
}
