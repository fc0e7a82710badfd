package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/identity"
)

// bound makes somebody whom a policy of her own holds, and a neighbour whom it does not.
func (h *house) bound(t testing.TB, p identity.Policy, factor bool) (her, neighbour string) {
	t.Helper()
	op := identity.Caller{Door: "cli"}
	p.Key = "own-" + fmt.Sprint(h.lastEvent(t))
	saved, err := h.Manage.SavePolicy(t.Context(), op, p)
	if err != nil {
		t.Fatal(err)
	}
	id, her := h.newPerson(t, factor)
	if _, err := h.Manage.Update(t.Context(), op, id, manage.Change{PolicyID: &saved.ID}); err != nil {
		t.Fatal(err)
	}
	// Subscribers come in by a way of their own, so the policy holds one of them too.
	if _, err := h.Manage.Update(t.Context(), op, sueID, manage.Change{PolicyID: &saved.ID}); err != nil {
		t.Fatal(err)
	}
	_, neighbour = h.newPerson(t, factor)
	return her, neighbour
}

// said is a door's refusal: its status, and words in it.
type said struct {
	status int
	part   string
}

func (s said) by(a answer) bool { return a.status == s.status && strings.Contains(a.body, s.part) }

var (
	saysRestricted = map[identity.Door]said{
		nx.Door: {403, "not allowed"}, nx.CloudDoor: {403, `"forbidden"`}, insights.Door: {400, `"access_denied"`}, titan.Door: {403, "at this hour or from this address"}, openwifi.Door: {403, `"ErrorCode":7`},
	}
	saysFactor = map[identity.Door]said{
		nx.Door: {403, "second factor"}, nx.CloudDoor: {200, "2fa_disabled_for_the_user"}, insights.Door: {400, "second factor"}, titan.Door: {403, "second factor"}, openwifi.Door: {403, `"ErrorCode":12`},
	}
	saysOld = map[identity.Door]said{
		nx.Door: {403, "expired"}, nx.CloudDoor: {403, `"forbidden"`}, insights.Door: {400, "have expired"}, titan.Door: {403, "must be changed"}, openwifi.Door: {403, `"ErrorCode":1,`},
	}
	farAway = "203.0.113.77"
)

// A policy attached to one person holds for her at every way in, and for nobody else.
func TestPoliciesHoldAtEverySignIn(t *testing.T) {
	hours := []identity.Schedule{{Windows: []identity.Window{{From: 8 * 60, Until: 18 * 60}}}}
	tests := []struct {
		name   string
		policy identity.Policy
		factor bool // she and her neighbour have an authenticator
		before func(h *house, t *testing.T)
		from   string
		says   map[identity.Door]said
	}{
		{"hours", identity.Policy{Hours: hours}, false, nil, "", saysRestricted},
		{"networks", identity.Policy{Networks: [][]string{{"192.0.2.0/24"}}}, false, nil, farAway, saysRestricted},
		{"a second factor is demanded", identity.Policy{SecondFactor: identity.FactorNeeded}, false, nil, "", saysFactor},
		{"another kind of factor is demanded", identity.Policy{SecondFactor: identity.FactorNeeded, Factors: []identity.CredentialKind{identity.SMSCode}}, true, nil, "", saysFactor},
		{"age of the password", identity.Policy{Password: identity.PasswordRule{MaxAgeDays: 1}}, false, func(h *house, _ *testing.T) { h.Clock.Advance(49 * time.Hour) }, "", saysOld},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t, apptest.Options{})
			her, neighbour := h.bound(t, tt.policy, tt.factor)
			if tt.before != nil {
				tt.before(h, t)
			}
			for _, door := range doors {
				in := signIns[door](her, passphrase)
				in.from = tt.from
				if a := h.send(in); !tt.says[door].by(a) {
					t.Errorf("%s: %v, want %+v", door, a, tt.says[door])
				}
				in = signIns[door](her, anotherOne)
				in.from = tt.from
				unknown := signIns[door]("nobody@example.test", anotherOne)
				unknown.from = tt.from
				if a, b := h.send(in), h.send(unknown); a.status != b.status || tt.says[door].by(a) {
					t.Errorf("%s tells somebody without her password: %v", door, a)
				}
				in = signIns[door](neighbour, passphrase)
				in.from = tt.from
				if a := h.send(in); !tt.factor && !a.ok() || tt.factor && (door == titan.Door || door == openwifi.Door) && !a.ok() {
					t.Errorf("%s: her neighbour: %v", door, a)
				}
			}
		})
	}
	t.Run("hours open", func(t *testing.T) {
		h := newHouse(t, apptest.Options{})
		her, _ := h.bound(t, identity.Policy{Hours: hours}, false)
		h.Clock.Advance(9 * time.Hour)
		for _, door := range doors {
			h.must(t, signIns[door](her, passphrase))
		}
	})
}

// What was given out before the hours closed, or is shown from elsewhere, is not renewed; and the session stands.
func TestPoliciesHoldAtEveryRefresh(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	her, neighbour := h.bound(t, identity.Policy{Networks: [][]string{{"192.0.2.0/24"}}}, false)
	for _, r := range recipes {
		renews := strings.Contains(r.job+r.op, "refresh")
		if !renews && r.op != "enterHub" && r.op != "leaveHub" {
			continue
		}
		for _, kind := range r.takes {
			her, neighbour := her, neighbour
			if kind == subRefresh {
				her, neighbour = "sue@customer.test", "sam@customer.test"
			}
			theirs := r.make(t, h, h.print(t, kind, neighbour))
			theirs.from = farAway
			if a := h.send(theirs); !a.ok() {
				t.Errorf("%s with %s: her neighbour from elsewhere: %v", r.name(), kind, a)
			}
			in := r.make(t, h, h.print(t, kind, her))
			away := in
			away.from = farAway
			want := saysRestricted[r.door]
			switch r.door {
			case openwifi.Door:
				want = said{403, `"ErrorCode":14`}
			case "oidc":
				want = said{400, `"access_denied"`}
			}
			if a := h.send(away); !want.by(a) {
				t.Errorf("%s with %s, from elsewhere: %v, want %+v", r.name(), kind, a, want)
			}
			if a := h.send(in); !a.ok() {
				t.Errorf("%s with %s, where she may be: %v", r.name(), kind, a)
			}
		}
	}
}

// Sessions end when her policy says so, whatever the door's own lives.
func TestPoliciesEndSessionsAtEveryDoor(t *testing.T) {
	for name, p := range map[string]identity.Policy{"idle": {SessionIdle: 3 * time.Minute}, "absolute": {SessionMax: 3 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, apptest.Options{})
			her, neighbour := h.bound(t, p, false)
			for _, kind := range []string{nxAccess, nxRefresh, insightsAccess, insightsRefresh, titanFull, wifiAccess, wifiRefresh, oidcRefr} {
				hers, theirs := h.print(t, kind, her), h.print(t, kind, neighbour)
				h.Clock.Advance(170 * time.Second)
				if name == "absolute" && !strings.Contains(kind, "refresh") && !h.honoured(t, kind, hers) {
					t.Errorf("%s ended early", kind)
				}
				h.Clock.Advance(20 * time.Second)
				if h.honoured(t, kind, hers) {
					t.Errorf("%s outlives her policy", kind)
				}
				if !h.honoured(t, kind, theirs) {
					t.Errorf("%s of her neighbour ended too", kind)
				}
			}
		})
	}
}

// The ways in which somebody chooses a new password for herself.
var changes = map[string]func(h *house, t *testing.T, login, old, next string) answer{
	"nx": func(h *house, t *testing.T, login, old, next string) answer {
		token := h.must(t, signIns[nx.Door](login, old)).at("AccessToken")
		return h.send(request{method: "POST", target: "/auth/authenticate/update-password", bearer: token, body: object("CurrentPassword", old, "NewPassword", next)})
	},
	"nx by link": func(h *house, t *testing.T, login, _, next string) answer {
		h.Clock.Advance(time.Hour) // five links an hour
		return h.send(request{method: "POST", target: "/auth/authenticate/reset-password", body: object("Token", h.resetLink(t, login), "Password", next)})
	},
	"openwifi": func(h *house, _ *testing.T, login, old, next string) answer {
		return h.send(request{method: "POST", target: "/api/v1/oauth2", body: object("userId", login, "password", old, "newPassword", next)})
	},
}

// A new password holds to her policy wherever it is set.
func TestPoliciesHoldForNewPasswords(t *testing.T) {
	word := func(i int) string { return fmt.Sprintf("Meadow-%d-lantern-Quartz!", i) }
	for way, change := range changes {
		h := newHouse(t, apptest.Options{})
		her, neighbour := h.bound(t, identity.Policy{Password: identity.PasswordRule{MinLength: 30}}, false)
		if a := change(h, t, her, passphrase, word(1)); a.ok() {
			t.Errorf("%s: too short for her policy: %v", way, a)
		}
		if a := change(h, t, her, passphrase, word(1)+"-and-longer"); !a.ok() {
			t.Errorf("%s: long enough: %v", way, a)
		}
		if a := change(h, t, neighbour, passphrase, word(1)); !a.ok() {
			t.Errorf("%s: her neighbour: %v", way, a)
		}

		her, neighbour = h.bound(t, identity.Policy{Password: identity.PasswordRule{History: 20}}, false)
		for who, again := range map[string]bool{her: false, neighbour: true} {
			now := passphrase
			for i := range 7 {
				if a := change(h, t, who, now, word(i)); !a.ok() {
					t.Fatalf("%s: %v", way, a)
				}
				now = word(i)
			}
			if a := change(h, t, who, now, word(0)); a.ok() != again {
				t.Errorf("%s: the seventh last password again: %v, want taken %v", way, a, again)
			}
		}
	}
}

// The strictest bound on guessing holds for everybody at every door: a bound of each login's own would tell which logins are whose
// (docs/decisions/0005-one-lockout.md).
func TestPoliciesLockEverybody(t *testing.T) {
	for _, door := range doors {
		h := newHouse(t, apptest.Options{})
		her, neighbour := h.bound(t, identity.Policy{Lockout: identity.Lockout{Tries: 3, Window: time.Hour}}, false)
		for _, login := range []string{her, neighbour, "nobody@example.test"} {
			for i := range 5 {
				in := signIns[door](login, anotherOne)
				in.from = h.newNetwork()
				a := h.send(in)
				locked := said(lockedWords[door]).by(a)
				if locked != (i >= 3) {
					t.Errorf("%s: %s after %d failures: locked %v", door, login, i, locked)
				}
			}
		}
	}
}
