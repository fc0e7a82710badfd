package app_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/app/apptest"
	"gatehouse/internal/core/credential"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/dialect/insights"
	"gatehouse/internal/dialect/nx"
	"gatehouse/internal/dialect/openwifi"
	"gatehouse/internal/dialect/titan"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// lockedWords are each door's for somebody who used up her tries.
var lockedWords = map[identity.Door]struct {
	status int
	part   string
}{
	nx.Door: {429, `"Message":"Too many failed tries`}, nx.CloudDoor: {429, `"resultCode":"retryLater"`}, insights.Door: {429, `"error":"temporarily_unavailable"`},
	titan.Door: {429, `"type":"too_many_requests"`}, openwifi.Door: {403, `"ErrorCode":10`},
}

// Failures at all doors are one count: the tenth locks every door, the right password included, each in its words and with the
// time to wait; then all open again (P7).
func TestLockHoldsOverDoors(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, apptest.Options{Store: store})
		valid := newValidator(t, h)
		limit := policy.BuiltIn.Lockout
		for shift := range doors {
			_, login := h.newPerson(t, false)
			for i := range limit.Tries {
				in := signIns[doors[(i+shift)%len(doors)]](strings.ToUpper(login), fmt.Sprint("guess ", i))
				if a := h.send(in); a.ok() || a.status == http.StatusTooManyRequests || strings.Contains(a.body, `"ErrorCode":10`) {
					t.Fatalf("guess %d: %v", i, a)
				}
			}
			for _, door := range doors {
				in := signIns[door](login, passphrase)
				a, want := h.send(in), lockedWords[door]
				if a.status != want.status || !strings.Contains(a.body, want.part) || a.header.Get("Retry-After") != fmt.Sprint(int(limit.Window.Seconds())) {
					t.Errorf("%s, locked: %v, Retry-After %q", door, a, a.header.Get("Retry-After"))
				}
				if err := valid(door, in, a); err != nil {
					t.Errorf("%s, locked: %v", door, err)
				}
			}
			h.Clock.Advance(limit.Window)
			for _, door := range doors {
				if a := h.send(signIns[door](login, passphrase)); !a.ok() {
					t.Errorf("%s, after the lock: %v", door, a)
				}
			}
		}
	})
}

// Several logins are not several times as many guesses: the count is the person's, too. A lock of it reads like a wrong password,
// or it would tell which logins are one person's (P7, P8).
func TestLockHoldsOverLogins(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	_, login := h.newPerson(t, false)
	id, _ := h.newPerson(t, false)
	logins := []string{h.newAddress(t), h.newAddress(t), h.newAddress(t), h.newAddress(t)}
	for _, l := range logins {
		must(t, h.Manage.AddLogin(t.Context(), operator, id, l))
	}
	for i := range policy.BuiltIn.Lockout.Tries {
		h.send(signIns[doors[i%len(doors)]](logins[i%len(logins)], fmt.Sprint("guess ", i)))
	}
	for _, door := range doors {
		for _, l := range logins {
			wrong := h.send(signIns[door](login, "wrong"))
			if a := h.send(signIns[door](l, passphrase)); a.status != wrong.status || a.body != wrong.body {
				t.Errorf("%s, the right password after ten guesses at four logins: %v, want as for a wrong one: %v", door, a, wrong)
			}
		}
		h.must(t, signIns[door](login, passphrase)) // or login is locked, too
	}
	h.Clock.Advance(policy.BuiltIn.Lockout.Window)
	h.must(t, signIns[nx.Door](logins[0], passphrase))
}

// Wrong codes of one person are one count over her tickets at every door (P7); a ticket of its own takes five.
func TestWrongCodesOverDoors(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	_, login := h.newPerson(t, true)
	wrong := func(kind, token string) answer {
		in := asks(kind).make(t, h, token)
		in.body = strings.ReplaceAll(in.body, h.codeNow(t), "000000")
		return h.send(in)
	}
	token := h.print(t, titanCode, login)
	for range signin.DefaultLimits.TicketTries {
		wrong(titanCode, token)
	}
	h.Clock.Advance(30 * time.Second)
	if h.honoured(t, titanCode, token) {
		t.Error("a ticket takes the right code after its tries")
	}
	for i := range signin.DefaultLimits.FactorFailures - signin.DefaultLimits.TicketTries {
		kind := []string{titanCode, wifiChallenge}[i%2]
		if a := wrong(kind, h.print(t, kind, login)); a.status != map[string]int{titanCode: 401, wifiChallenge: 403}[kind] {
			t.Errorf("wrong code %d: %v", i, a)
		}
	}
	for _, kind := range []string{titanCode, wifiChallenge} {
		door := map[string]identity.Door{titanCode: titan.Door, wifiChallenge: openwifi.Door}[kind]
		token := h.print(t, kind, login)
		h.Clock.Advance(30 * time.Second)
		if a, want := h.send(asks(kind).make(t, h, token)), lockedWords[door]; a.status != want.status || !strings.Contains(a.body, want.part) {
			t.Errorf("the right code after ten wrong ones, %s: %v", kind, a)
		}
	}
	h.Clock.Advance(signin.DefaultLimits.FactorWindow)
	token = h.print(t, titanCode, login)
	h.Clock.Advance(30 * time.Second)
	if !h.honoured(t, titanCode, token) {
		t.Error("the right code is refused after the lock")
	}
}

// The chances that docs/promises.md states follow from the limits that the code has.
func TestChancesAreThoseStated(t *testing.T) {
	text, err := os.ReadFile("../../docs/promises.md")
	if err != nil {
		t.Fatal(err)
	}
	lock, limits := policy.BuiltIn.Lockout, signin.DefaultLimits
	day := 24 * time.Hour
	passwords := lock.Tries * int(day/lock.Window)
	codes := limits.FactorFailures * int(day/limits.FactorWindow)
	address := limits.AddressFailures * int(day/limits.AddressWindow)
	for _, stated := range []string{
		fmt.Sprintf("%d failures in %d minutes", lock.Tries, int(lock.Window.Minutes())),
		fmt.Sprintf("%d guesses a day", passwords), fmt.Sprintf("%.2g %% a day", 100*float64(passwords)/1e6),
		fmt.Sprintf("%d wrong codes a day", codes), fmt.Sprintf("%.2g %% a day", 100*(1-math.Pow(1-3e-6, float64(codes)))),
		fmt.Sprintf("%d failures a day from one address", address), fmt.Sprintf("%d tries", limits.TicketTries),
	} {
		if !strings.Contains(string(text), stated) {
			t.Errorf("docs/promises.md does not say %q", stated)
		}
	}
}

// hasher counts the work on passwords.
type hasher struct {
	credential.Hasher
	hashes, checks atomic.Int64
}

func (c *hasher) Hash(ctx context.Context, pw identity.Secret) (string, error) {
	c.hashes.Add(1)
	return c.Hasher.Hash(ctx, pw)
}

func (c *hasher) Verify(ctx context.Context, encoded string, pw identity.Secret, words string) (bool, bool, error) {
	c.checks.Add(1)
	return c.Hasher.Verify(ctx, encoded, pw, words)
}

func (c *hasher) VerifyDecoy(ctx context.Context, pw identity.Secret) error {
	c.checks.Add(1)
	return c.Hasher.VerifyDecoy(ctx, pw)
}

// seen is all that a stranger can learn from an answer, and the work behind it, which she could measure.
type seen struct {
	status         int
	header         string
	body           string
	calls          int   // of the store
	looks          int64 // at what is in it
	writes         int64 // of rows in it
	hashes, checks int64
}

// watched is a house whose answers are looked at together with the work behind them.
func watched(t *testing.T, store identity.Store) (*house, func(request) seen) {
	t.Helper()
	f := &faulty{Store: store}
	h := newHouse(t, apptest.Options{Store: f})
	work := &hasher{Hasher: h.Passwords.Hasher}
	h.Passwords.Hasher = work
	return h, func(in request) seen {
		f.arm(0, before)
		hashes, checks, writes, looks := work.hashes.Load(), work.checks.Load(), f.writes.Load(), f.looks.Load()
		a := h.send(in)
		_, calls := f.disarm()
		a.header.Del("X-Request-Id")
		body := strings.ReplaceAll(a.body, fmt.Sprint(h.Clock.Now().UnixMilli()), "now")
		return seen{
			a.status, fmt.Sprint(a.header), body, calls, f.looks.Load() - looks, f.writes.Load() - writes, work.hashes.Load() - hashes, work.checks.Load() - checks,
		}
	}
}

// Who asks with a login of somebody, and who asks with one of nobody, read the same bytes and cause the same work (P8): at every
// door, for a wrong password, for a locked login, and for a forgotten password.
func TestNobodyLearnsWhoIsThere(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, look := watched(t, store)
		look = func(look func(request) seen) func(request) seen {
			return func(in request) seen {
				s := look(in)
				s.looks = 0 // more of somebody, but each is a thousandth of the hash beside it
				return s
			}
		}(look)
		sends := map[string]func(login string) request{
			"forgotten password": func(login string) request {
				return request{method: "POST", target: "/auth/authenticate/forgot-password", body: object("Email", login)}
			},
		}
		for _, door := range doors {
			sends["wrong password at "+string(door)] = func(login string) request { return signIns[door](login, "wrong") }
		}
		h.send(signIns[nx.Door]("nobody0@example.test", "wrong")) // policies and clients are in memory from here on
		h.send(signIns[insights.Door]("nobody0@example.test", "wrong"))
		for name, send := range sends {
			h.Clock.Advance(time.Hour) // each login begins at nought, and so does the address
			var unknown []seen
			for round := range 12 { // the last ones are locked out
				unknown = append(unknown, look(send("nobody-"+strings.ReplaceAll(name, " ", "-")+"@example.test")))
				if unknown[round].calls == 0 {
					t.Fatalf("%s: the store was not asked", name)
				}
			}
			for _, kind := range []string{"plain", "factor", "suspended", "unverified", "due"} {
				id, login := h.newPerson(t, kind == "factor")
				h.Clock.Advance(time.Hour)
				switch kind {
				case "suspended":
					must(t, h.Manage.Suspend(t.Context(), operator, id, ""))
				case "unverified", "due":
					login = kind + "@example.test"
				}
				for round := range unknown {
					if got := look(send(login)); got != unknown[round] {
						t.Errorf("%s, %s, try %d:\n%+v\nof nobody\n%+v", name, kind, round+1, got, unknown[round])
					}
				}
			}
		}
	})
}

// Another organisation's licence and device answer as ones that nobody has, and cause the same work (P8): with every parameter, for
// members and for a superadmin who acts for one.
func TestNobodyLearnsOfLicences(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, look := watched(t, store)
		const noLicence, noDevice = "01a0f000-0000-7000-8000-00000000dead", "01a0e000-0000-7000-8000-00000000dead"
		actingFor := func(org identity.OrganisationID) [][2]string {
			return [][2]string{{"X-Act-As-Kind", "organization"}, {"X-Act-As-ID", string(org)}}
		}
		for _, caller := range []struct {
			login            string
			header           [][2]string
			licence, another string
			device           string
		}{
			{"eve@works.test", nil, licenceOfWorks, licenceOfAcme, boxOfAcme},
			{"eve@works.test", actingFor(works), licenceOfWorks, licenceOfAcme, boxOfAcme},
			{"root@example.test", actingFor(works), licenceOfWorks, licenceOfAcme, boxOfAcme},
			{"ada@example.test", nil, licenceOfAcme, licenceOfWorks, boxOfWorks},
		} {
			token := h.print(t, nxAccess, caller.login)
			get := func(target string) request {
				return request{method: "GET", target: target, bearer: token, header: caller.header}
			}
			h.must(t, get("/auth/license/"+caller.licence)) // who she is, is in memory from here on
			for _, tt := range []struct{ target, another, none string }{
				{"/auth/license/%s", caller.another, noLicence},
				{"/auth/licences/%s/document", caller.another, noLicence},
				{"/auth/licences/%s/document?Device=" + boxOfAcme, caller.another, noLicence},
				{"/auth/licences/" + caller.licence + "/document?Device=%s", caller.device, noDevice},
				{"/auth/licenses?Device=%s", caller.device, noDevice},
				{"/auth/licenses?q=edge&Kind=subscription&Agreement=Edge%%20Pro&OrderBy=ExpiresAt&Device=%s", caller.device, noDevice},
				{"/auth/licenses?q=%s", caller.another, noLicence},
				{"/auth/licenses?Agreement=%s", caller.another, noLicence},
			} {
				theirs, nobodys := look(get(fmt.Sprintf(tt.target, tt.another))), look(get(fmt.Sprintf(tt.target, tt.none)))
				if theirs != nobodys || theirs.calls == 0 || theirs.looks == 0 {
					t.Errorf("%s %v, %s:\n%+v\nof nobody\n%+v", caller.login, caller.header, tt.target, theirs, nobodys)
				}
			}
		}
	})
}

// The suspended and the unverified learn what they are only with the right password, and one who has none is as nobody.
func TestStateIsToldToTheRightPasswordOnly(t *testing.T) {
	h := newHouse(t, apptest.Options{})
	for _, door := range doors {
		h.Clock.Advance(time.Hour)
		nobody := h.send(signIns[door]("nobody@example.test", "wrong"))
		for _, login := range []string{"suspended@example.test", "unverified@example.test", "due@example.test", "tia@example.test"} {
			if a := h.send(signIns[door](login, "wrong")); a.status != nobody.status || a.body != nobody.body {
				t.Errorf("%s at %s: %v, of nobody %v", login, door, a, nobody)
			}
			a := h.send(signIns[door](login, passphrase))
			if half := slices.Contains([]identity.Door{titan.Door, openwifi.Door, nx.CloudDoor}, door) && login == "tia@example.test"; a.ok() != half {
				t.Errorf("%s at %s with the right password: %v", login, door, a)
			}
		}
	}
}
