package signin_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func input(login string, pw identity.Secret) signin.PasswordInput {
	return signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: login, Password: pw}
}

func proof(out signin.Outcome, code string) signin.ProofInput {
	return signin.ProofInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, Code: code}
}

func TestPassword(t *testing.T) {
	suspend := func(s *identity.Subject, _ *identity.Credential) { s.SuspendedAt = s.CreatedAt }
	unverified := func(s *identity.Subject, _ *identity.Credential) { s.VerifiedAt, s.MustVerify = time.Time{}, true }
	unconfirmed := func(s *identity.Subject, _ *identity.Credential) { s.VerifiedAt = time.Time{} }
	due := func(_ *identity.Subject, c *identity.Credential) { c.MustChange = true }
	tests := []struct {
		name          string
		person        func(*identity.Subject, *identity.Credential)
		login         func(identity.Subject) string
		password      identity.Secret
		priorFailures int
		newPassword   identity.Secret
		want          error
	}{
		{name: "right"},
		{name: "any case, spaces around", login: func(s identity.Subject) string { return " " + strings.ToUpper(s.Email) + " " }},
		{name: "wrong", password: "battery", want: identity.BadCredential},
		{name: "cut short", password: coretest.Password[:len(coretest.Password)-1], want: identity.BadCredential},
		{name: "unknown login looks the same", login: func(identity.Subject) string { return "nobody@example.test" }, want: identity.BadCredential},
		{name: "impossible login looks the same", login: func(identity.Subject) string { return "a\x00\xff" }, want: identity.BadCredential},
		{name: "empty login looks the same", login: func(identity.Subject) string { return "" }, want: identity.BadCredential},
		{name: "nine failures are forgiven", priorFailures: 9},
		{name: "right but locked", priorFailures: 10, want: identity.Locked},
		{name: "suspended", person: suspend, want: identity.Suspended},
		{name: "suspended tells no stranger", person: suspend, password: "battery", want: identity.BadCredential},
		{name: "awaits verification", person: unverified, want: identity.Unverified},
		{name: "unconfirmed but not awaited", person: unconfirmed},
		{name: "must change", person: due, want: identity.PasswordDue},
		{name: "must change and does", person: due, newPassword: "another good phrase"},
		{name: "new password too weak", newPassword: "short", want: identity.WeakPassword},
		{name: "new password is the old one", newPassword: coretest.Password, want: identity.PasswordReused},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				var changes []func(*identity.Subject, *identity.Credential)
				if tt.person != nil {
					changes = append(changes, tt.person)
				}
				s := c.Person(changes...)
				in := input(s.Email, coretest.Password)
				in.Caller.Address = fmt.Sprintf("2001:db8::%d", s.Number) // a neighbour in the /64, on purpose: far from its limit
				for range tt.priorFailures {
					bad := in
					bad.Password = "wrong"
					if _, err := c.SignIn.Password(t.Context(), bad); !errors.Is(err, identity.BadCredential) {
						t.Fatalf("a wrong password gives %v", err)
					}
				}
				if tt.login != nil {
					in.Login = tt.login(s)
				}
				if tt.password != "" {
					in.Password = tt.password
				}
				in.NewPassword = tt.newPassword
				out, err := c.SignIn.Password(t.Context(), in)
				if !errors.Is(err, tt.want) {
					t.Fatalf("Password = %v, want %v", err, tt.want)
				}
				if (err == nil) != (out.Session.ID != "") {
					t.Errorf("session %q with error %v", out.Session.ID, err)
				}
				if tt.newPassword != "" && err == nil {
					if _, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password)); !errors.Is(err, identity.BadCredential) {
						t.Errorf("the old password gives %v", err)
					}
					if _, err := c.SignIn.Password(t.Context(), input(s.Email, tt.newPassword)); err != nil {
						t.Errorf("the new password gives %v", err)
					}
				}
			})
		}
	})
}

// An unknown login locks after as many tries as a known one, or the lock would say which exist.
func TestUnknownLoginsLockAlike(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, login := range []string{c.Person().Email, "nobody@example.test"} {
			for try := 1; try <= 12; try++ {
				want := identity.BadCredential
				if try > 10 {
					want = identity.Locked
				}
				if _, err := c.SignIn.Password(t.Context(), input(login, "wrong")); !errors.Is(err, want) {
					t.Errorf("%s, try %d: %v, want %v", login, try, err, want)
				}
			}
		}
		c.Clock.Advance(15*time.Minute + time.Second)
		if _, err := c.SignIn.Password(t.Context(), input("nobody@example.test", "wrong")); !errors.Is(err, identity.BadCredential) {
			t.Errorf("after the window: %v", err)
		}
	})
}

func TestManyFailuresFromOneAddressLockIt(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		for i := range signin.DefaultLimits.AddressFailures {
			_, _ = c.SignIn.Password(t.Context(), input(fmt.Sprintf("nobody%d", i), "wrong"))
		}
		in := input(s.Email, coretest.Password)
		if _, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.Locked) {
			t.Errorf("same address: %v, want %v", err, identity.Locked)
		}
		in.Caller.Address = "192.0.2.8"
		if _, err := c.SignIn.Password(t.Context(), in); err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

// Guesses that run side by side must not slip past the lock between its look and its count.
func TestParallelGuessesAreCounted(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		var wg sync.WaitGroup
		answers := make(chan error, 32)
		for range cap(answers) {
			wg.Go(func() {
				_, err := c.SignIn.Password(t.Context(), input(s.Email, "wrong"))
				answers <- err
			})
		}
		wg.Wait()
		close(answers)
		wrong := 0
		for err := range answers {
			switch {
			case errors.Is(err, identity.BadCredential):
				wrong++
			case !errors.Is(err, identity.Locked) && !errors.Is(err, identity.Busy):
				t.Errorf("unexpected answer: %v", err)
			}
		}
		if wrong > 10 {
			t.Errorf("%d guesses were judged, want at most 10", wrong)
		}
	})
}

func TestSecondFactor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTOTP(s)
		in := input(s.Email, coretest.Password)
		if _, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.FactorRequired) {
			t.Fatalf("a door without a second step gives %v", err)
		}
		in.Steps.Proof = true
		start := func() signin.Outcome {
			t.Helper()
			out, err := c.SignIn.Password(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if out.Ticket == nil || out.Session.ID != "" {
				t.Fatalf("outcome %+v, want a ticket", out)
			}
			return out
		}
		out := start()
		if _, err := c.Sessions.Check(t.Context(), coretest.Form(coretest.Door), out.Ticket.Secret.Reveal(), identity.AccessToken); err == nil {
			t.Error("a ticket passes for an access token")
		}
		elsewhere := proof(out, c.Code())
		elsewhere.Caller.Door = coretest.Lax
		if _, err := c.SignIn.Proof(t.Context(), elsewhere); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("at another door: %v", err)
		}
		done, err := c.SignIn.Proof(t.Context(), proof(out, c.Code()))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(done.Session.AMR, " "); got != "pwd otp mfa" {
			t.Errorf("amr %q", got)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, c.Code())); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("a spent ticket gives %v", err)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(start(), c.Code())); !errors.Is(err, identity.BadCode) {
			t.Errorf("a code used before gives %v", err)
		}
		c.Clock.Advance(time.Minute)
		out = start()
		for left := 4; left >= 0; left-- {
			_, err := c.SignIn.Proof(t.Context(), proof(out, "000000"))
			if !errors.Is(err, identity.BadCode) || identity.Describe(err).TriesLeft != left {
				t.Errorf("wrong code: %v, %d left, want %d", err, identity.Describe(err).TriesLeft, left)
			}
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, c.Code())); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("the sixth, right code gives %v", err)
		}
		out = start()
		c.Clock.Advance(signin.DefaultLimits.TicketTTL)
		if _, err := c.SignIn.Proof(t.Context(), proof(out, c.Code())); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("a late code gives %v", err)
		}
	})
}

// Each new ticket has five tries, so the person's own count must bound them all.
func TestWrongCodesLockOverAllTickets(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTOTP(s)
		in := input(s.Email, coretest.Password)
		in.Steps.Proof = true
		for i := range 11 {
			out, err := c.SignIn.Password(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			want := identity.BadCode
			if i == signin.DefaultLimits.FactorFailures {
				want = identity.Locked
			}
			if _, err := c.SignIn.Proof(t.Context(), proof(out, "000000")); !errors.Is(err, want) {
				t.Errorf("ticket %d: %v, want %v", i, err, want)
			}
		}
	})
}

func TestOneCodeHasOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTOTP(s)
		in := input(s.Email, coretest.Password)
		in.Steps.Proof = true
		var outs []signin.Outcome
		for range 16 {
			out, err := c.SignIn.Password(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			outs = append(outs, out)
		}
		code := c.Code()
		var wg sync.WaitGroup
		winners := make(chan identity.SessionID, len(outs))
		for _, out := range outs {
			wg.Go(func() {
				if done, err := c.SignIn.Proof(t.Context(), proof(out, code)); err == nil {
					winners <- done.Session.ID
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 {
			t.Errorf("%d sessions from one code, want 1", len(winners))
		}
	})
}

func TestRequiredFactorNobodyHas(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		c.Update(func(tx identity.Tx) error {
			p := identity.Policy{ID: "018f0000-0000-7000-8000-000000000001", Key: identity.DefaultPolicyKey,
				SecondFactor: identity.FactorNeeded, Lockout: identity.Lockout{Tries: 10, Window: 15 * time.Minute}}
			if err := tx.SavePolicy(t.Context(), p); err != nil {
				return err
			}
			return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), c.Clock.Now())
		})
		in := input(c.Person().Email, coretest.Password)
		in.Steps.Proof = true
		if _, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("Password = %v, want %v", err, identity.FactorRequired)
		}
	})
}

func TestPasswordChangeByTicket(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person(func(_ *identity.Subject, cred *identity.Credential) { cred.MustChange = true })
		c.WithTOTP(s)
		in := input(s.Email, coretest.Password)
		in.Steps = signin.Steps{Proof: true, Change: true}
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil || out.Ticket == nil || out.Ticket.Purpose != signin.ChangeDue {
			t.Fatalf("outcome %+v, %v; want a ticket to change the password", out, err)
		}
		change := signin.ChangeInput{Caller: in.Caller, Ticket: signin.TicketRef{Secret: out.Ticket.Secret}, NewPassword: "short"}
		if _, err := c.SignIn.Change(t.Context(), change); !errors.Is(err, identity.WeakPassword) {
			t.Fatalf("a weak one gives %v", err)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, c.Code())); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("a change ticket proves a factor: %v", err)
		}
		change.NewPassword = "another good phrase"
		next, err := c.SignIn.Change(t.Context(), change)
		if err != nil || next.Ticket == nil || next.Ticket.Purpose != signin.ProofDue {
			t.Fatalf("outcome %+v, %v; want the second factor next", next, err)
		}
		if _, err := c.SignIn.Password(t.Context(), input(s.Email, change.NewPassword)); !errors.Is(err, identity.BadCredential) {
			t.Errorf("the new password is set before the second factor was proven: %v", err)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(next, c.Code())); err != nil {
			t.Fatal(err)
		}
		c.Clock.Advance(time.Minute)
		in.Password = change.NewPassword
		if out, err := c.SignIn.Password(t.Context(), in); err != nil || out.Ticket.Purpose != signin.ProofDue {
			t.Errorf("with the new password: %+v, %v", out, err)
		}
	})
}

func TestForeignHashIsReplacedAtSignIn(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		// {SSHA} of "correct horse battery" with the salt "salt".
		s := c.Person(func(_ *identity.Subject, cred *identity.Credential) {
			cred.Hash = ssha(string(coretest.Password), "salt")
		})
		for range 2 {
			if _, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password)); err != nil {
				t.Fatal(err)
			}
		}
		c.View(func(r identity.Reader) error {
			cred, err := r.Credential(t.Context(), s.ID, identity.Password)
			if !strings.HasPrefix(cred.Hash, "$argon2id$") {
				t.Errorf("hash is still %.10s…", cred.Hash)
			}
			return err
		})
	})
}

func TestConfirmAndChangeOwn(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		first, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password))
		if err != nil {
			t.Fatal(err)
		}
		second, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password))
		if err != nil {
			t.Fatal(err)
		}
		form := coretest.Form(coretest.Door)
		live, err := c.Sessions.Check(t.Context(), form, c.Sessions.Opaque(first.Session, identity.AccessToken), identity.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		caller := coretest.Caller(coretest.Door)
		if err := c.SignIn.ChangeOwn(t.Context(), caller, live, "wrong", "another good phrase"); !errors.Is(err, identity.BadCredential) {
			t.Errorf("with a wrong password: %v", err)
		}
		if err := c.SignIn.ChangeOwn(t.Context(), caller, live, coretest.Password, "another good phrase"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Sessions.Check(t.Context(), form, c.Sessions.Opaque(first.Session, identity.AccessToken), identity.AccessToken); err != nil {
			t.Errorf("the session that changed it: %v", err)
		}
		if _, err := c.Sessions.Check(t.Context(), form, c.Sessions.Opaque(second.Session, identity.AccessToken), identity.AccessToken); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("the other session: %v, want %v", err, identity.TokenRevoked)
		}
		for range 10 {
			_ = c.SignIn.Confirm(t.Context(), caller, s.ID, "wrong")
		}
		if err := c.SignIn.Confirm(t.Context(), caller, s.ID, "another good phrase"); !errors.Is(err, identity.Locked) {
			t.Errorf("after ten wrong ones: %v, want %v", err, identity.Locked)
		}
	})
}
