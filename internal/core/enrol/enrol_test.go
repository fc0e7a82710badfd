package enrol_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/enrol"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/factor/totp"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

type house struct {
	*coretest.Core
	enrol *enrol.Service
}

func newHouse(t testing.TB, store identity.Store) *house {
	c := coretest.New(t, store)
	rand := coretest.SeededRand()
	m := &manage.Service{Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.SignIn.Log, Box: c.Box, Now: c.Clock.Now, Rand: rand}
	return &house{Core: c, enrol: &enrol.Service{
		Store: store, Manage: m, Profiles: &profile.Service{Store: store, Policies: c.Policies, Now: c.Clock.Now},
		Log: c.SignIn.Log, Box: c.Box, Now: c.Clock.Now, Rand: rand,
	}}
}

// at signs somebody in.
func (h *house) at(t testing.TB, s identity.Subject) (*session.Live, identity.Caller) {
	t.Helper()
	caller := coretest.Caller(coretest.Door)
	out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{Caller: caller, Login: s.Email, Password: coretest.Password})
	if err != nil {
		t.Fatal(err)
	}
	caller.SubjectID, caller.SessionID = s.ID, out.Session.ID
	return &session.Live{Session: out.Session, Subject: s}, caller
}

func (h *house) start(t testing.TB, live *session.Live, caller identity.Caller, reset bool) string {
	t.Helper()
	got, err := h.enrol.Start(t.Context(), caller, live, reset)
	if err != nil || got.Account != live.Subject.Email {
		t.Fatalf("Start = %+v, %v", got, err)
	}
	return got.Secret.Reveal()
}

func (h *house) code(t testing.TB, secret string, ahead time.Duration) string {
	t.Helper()
	code, err := totp.Code(secret, h.Clock.Now().Add(ahead))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (h *house) confirm(t testing.TB, live *session.Live, caller identity.Caller, index int, code string, want error) {
	t.Helper()
	more, err := h.enrol.Confirm(t.Context(), caller, live, index, code)
	if !errors.Is(err, want) || err == nil && more != (index == 1) {
		t.Errorf("Confirm(%d) = %v, %v; want %v", index, more, err, want)
	}
}

func (h *house) switchOn(caller identity.Caller, id identity.SubjectID) error {
	var enrolled bool
	err := h.Store.Update(context.Background(), func(tx identity.Tx) (err error) {
		enrolled, err = h.enrol.EnrolFinishedIn(context.Background(), tx, caller, id)
		return err
	})
	if err == nil && !enrolled {
		return enrol.ErrNotOpen
	}
	return err
}

func wants(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestWholeWay(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person()
		live, caller := h.at(t, ada)
		h.confirm(t, live, caller, 1, "000000", enrol.ErrNotOpen)
		wants(t, "nothing to switch on", h.switchOn(caller, ada.ID), enrol.ErrNotOpen)
		secret := h.start(t, live, caller, false)
		if again := h.start(t, live, caller, false); again != secret {
			t.Error("an open set-up is not shown again")
		}
		if fresh := h.start(t, live, caller, true); fresh == secret {
			t.Error("reset does not begin anew")
		} else {
			secret = fresh
		}
		now, next := h.code(t, secret, 0), h.code(t, secret, 30*time.Second)
		h.confirm(t, live, caller, 2, now, enrol.ErrOrder)
		h.confirm(t, live, caller, 0, now, enrol.ErrIndex)
		h.confirm(t, live, caller, 3, now, enrol.ErrIndex)
		h.confirm(t, live, caller, 1, "12345", enrol.ErrWrong)
		h.confirm(t, live, caller, 1, now, nil)
		h.confirm(t, live, caller, 2, now, enrol.ErrRepeated)
		wants(t, "half way", h.switchOn(caller, ada.ID), enrol.ErrNotOpen)
		h.confirm(t, live, caller, 2, next, nil)
		h.confirm(t, live, caller, 2, next, enrol.ErrOrder)
		if again := h.start(t, live, caller, false); again != secret {
			t.Error("a finished set-up is not shown again")
		}
		h.View(func(r identity.Reader) error {
			done, err := h.enrol.FinishedIn(t.Context(), r, caller, ada.ID)
			if !done {
				t.Error("not finished")
			}
			return err
		})
		wants(t, "switching on", h.switchOn(caller, ada.ID), nil)
		wants(t, "switching on again", h.switchOn(caller, ada.ID), enrol.ErrNotOpen)

		// No code of the set-up opens anything, the next one does.
		out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
			Caller: coretest.Caller(coretest.Door), Login: ada.Email, Password: coretest.Password,
			Way: signin.Way{Steps: signin.Steps{Proof: true}},
		})
		if err != nil || out.Ticket == nil {
			t.Fatalf("sign-in: %+v, %v", out, err)
		}
		h.Clock.Advance(30 * time.Second)
		for code, want := range map[string]error{now: identity.BadCode, next: identity.BadCode} {
			_, err := h.SignIn.Proof(t.Context(), signin.ProofInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: code})
			wants(t, "a code of the set-up", err, want)
		}
		_, err = h.SignIn.Proof(t.Context(), signin.ProofInput{
			Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: h.code(t, secret, 30*time.Second),
		})
		wants(t, "the next code", err, nil)
	})
}

// A set-up is its session's: another one of hers neither sees nor takes its place unnoticed, and it ends with it.
func TestOtherSessions(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada, ruler := h.Person(), h.Person()
		mine, me := h.at(t, ada)
		theirs, thief := h.at(t, ada)
		_, boss := h.at(t, ruler)
		finish := func(live *session.Live, caller identity.Caller) string {
			secret := h.start(t, live, caller, true)
			h.confirm(t, live, caller, 1, h.code(t, secret, 0), nil)
			h.confirm(t, live, caller, 2, h.code(t, secret, 30*time.Second), nil)
			return secret
		}
		secret := finish(mine, me)
		h.confirm(t, theirs, thief, 1, h.code(t, secret, 30*time.Second), enrol.ErrNotOpen)
		wants(t, "another session of hers", h.switchOn(thief, ada.ID), enrol.ErrNotOpen)
		if shown := h.start(t, theirs, thief, false); shown == secret {
			t.Error("another session is shown the secret")
		}
		h.Clock.Advance(time.Minute)
		finish(theirs, thief)
		wants(t, "what another session confirmed", h.switchOn(me, ada.ID), enrol.ErrNotOpen)
		if _, err := h.Sessions.End(t.Context(), thief, theirs.Session.ID, "test"); err != nil {
			t.Fatal(err)
		}
		wants(t, "of a session that ended", h.switchOn(boss, ada.ID), enrol.ErrNotOpen)
		h.Clock.Advance(time.Minute)
		finish(mine, me)
		wants(t, "by somebody who may", h.switchOn(boss, ada.ID), nil)
	})
}

func TestEnds(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	ada := h.Person()
	live, caller := h.at(t, ada)
	secret := h.start(t, live, caller, false)
	h.Clock.Advance(15 * time.Minute)
	h.confirm(t, live, caller, 1, h.code(t, secret, 0), enrol.ErrNotOpen)
	if fresh := h.start(t, live, caller, false); fresh == secret {
		t.Error("a set-up is shown after its end")
	} else {
		secret = fresh
	}
	for range 20 {
		h.confirm(t, live, caller, 1, "000000", enrol.ErrWrong)
	}
	h.confirm(t, live, caller, 1, h.code(t, secret, 0), enrol.ErrNotOpen)
	if fresh := h.start(t, live, caller, false); fresh == secret {
		t.Error("a set-up without tries is shown")
	}
	// A password that somebody else sets ends what was begun with the one before.
	secret = h.start(t, live, caller, true)
	if err := h.enrol.Manage.SetPassword(t.Context(), caller, ada.ID, manage.NewPassword{Password: "violet anchor lantern", KeepSession: live.Session.ID}); err != nil {
		t.Fatal(err)
	}
	h.confirm(t, live, caller, 1, h.code(t, secret, 0), enrol.ErrNotOpen)
}

func TestWhoMay(t *testing.T) {
	h := newHouse(t, storetest.SQLite(t))
	ada := h.Person()
	live, caller := h.at(t, ada)
	acting := *live
	acting.Session.ActorID = "somebody"
	for name, by := range map[string]*session.Live{"a key": {Subject: ada}, "acting as her": &acting} {
		_, err := h.enrol.Start(t.Context(), caller, by, false)
		wants(t, name, err, identity.Denied)
		_, err = h.enrol.Confirm(t.Context(), caller, by, 1, "000000")
		wants(t, name, err, identity.Denied)
	}
	h.Update(func(tx identity.Tx) error {
		p := identity.Policy{
			ID: "018f0000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorOptional,
			Factors: []identity.CredentialKind{identity.EmailCode}, Lockout: identity.Lockout{Tries: 10, Window: time.Minute},
		}
		if err := tx.SavePolicy(t.Context(), p); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), h.Clock.Now())
	})
	_, err := h.enrol.Start(t.Context(), caller, live, false)
	wants(t, "a policy without authenticators", err, identity.Denied)
}

// Sixteen at once with the right code: one is taken, and one switches on.
func TestRaces(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := newHouse(t, store)
		ada := h.Person()
		live, caller := h.at(t, ada)
		secret := h.start(t, live, caller, false)
		race := func(what string, try func() error, also ...error) {
			t.Helper()
			var won atomic.Int64
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					err := try()
					if err == nil {
						won.Add(1)
					} else if !errors.Is(err, also[0]) && !errors.Is(err, also[len(also)-1]) {
						t.Errorf("%s: %v", what, err)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%s: %d winners, want 1", what, won.Load())
			}
		}
		confirm := func(index int, code string) func() error {
			return func() error {
				_, err := h.enrol.Confirm(context.Background(), caller, live, index, code)
				return err
			}
		}
		race("confirm 1", confirm(1, h.code(t, secret, 0)), enrol.ErrRepeated)
		h.Clock.Advance(30 * time.Second)
		secret = h.start(t, live, caller, true) // the tries are used up by now
		h.confirm(t, live, caller, 1, h.code(t, secret, 0), nil)
		race("confirm 2", confirm(2, h.code(t, secret, 30*time.Second)), enrol.ErrRepeated, enrol.ErrOrder)
		race("switch on", func() error { return h.switchOn(caller, ada.ID) }, enrol.ErrNotOpen)
	})
}
