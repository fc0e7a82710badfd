package signup_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestCustomer(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := newService(t, store)
		for door, kind := range map[identity.Door]identity.SubjectKind{coretest.Lax: identity.Customer, coretest.Door: identity.Person} {
			rules := core.Sessions.Rules[door]
			rules.Kinds = []identity.SubjectKind{kind}
			core.Sessions.Rules[door] = rules
		}
		var secret identity.Secret
		ask := func(address, email string) (identity.Subject, error) {
			caller := coretest.Caller(coretest.Lax)
			caller.Address = address
			return s.Customer(t.Context(), signup.CustomerInput{Caller: caller, Email: email, Owner: "0a000000-0000-4000-8000-000000000002", Link: recovery.Link{
				TTL: time.Hour, Form: link.UUID, Address: func(shown identity.Secret) string {
					secret = shown
					return "https://id.example.test/"
				},
			}})
		}
		want := func(what string, got, want error) {
			t.Helper()
			if !errors.Is(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		made, err := ask("192.0.2.1", "mia@example.test")
		if err != nil {
			t.Fatal(err)
		}
		if made.Kind != identity.Customer || !made.AwaitsVerification() || made.Owner == "" {
			t.Errorf("made %+v", made)
		}
		in := signin.PasswordInput{Caller: coretest.Caller(coretest.Lax), Login: "mia@example.test", Password: "a quiet meadow with bells"}
		_, err = core.SignIn.Password(t.Context(), in)
		want("without a password", err, identity.BadCredential)
		_, err = ask("192.0.2.1", " MIA@example.test")
		want("under way", err, identity.Conflict)
		staff := core.Person()
		_, err = ask("192.0.2.1", staff.Email)
		want("somebody of the staff", err, identity.Conflict)
		for _, wrong := range []string{"", "mia", "mia\r\nBcc: x@example.test", "a b@example.test"} {
			_, err = ask("192.0.2.1", wrong)
			want(wrong, err, identity.Invalid)
		}

		// A link that nobody followed must not hold the address for ever.
		core.Clock.Advance(time.Hour)
		late := secret
		again, err := ask("192.0.2.1", "mia@example.test")
		want("after its time", err, nil)
		if again.ID == made.ID {
			t.Error("the sign-up that ran out stands")
		}
		reset := func(secret identity.Secret) error {
			return s.Recovery.Reset(t.Context(), recovery.ResetInput{Caller: coretest.Caller(coretest.Lax), Token: secret, NewPassword: in.Password})
		}
		want("the late link", reset(late), identity.TicketInvalid)
		want("the link", reset(secret), nil)
		_, err = core.SignIn.Password(t.Context(), in)
		want("with the password", err, nil)
		in.Caller.Door = coretest.Door
		_, err = core.SignIn.Password(t.Context(), in)
		want("at the staff's door", err, identity.BadCredential)
		core.Clock.Advance(2 * time.Hour)
		_, err = ask("192.0.2.1", "mia@example.test")
		want("registered", err, identity.Conflict)
	})
}

func TestCustomersAreBounded(t *testing.T) {
	core, s := newService(t, storetest.SQLite(t))
	n := 0
	ask := func(address string) error {
		caller := coretest.Caller(coretest.Door)
		caller.Address = address
		n++
		_, err := s.Customer(t.Context(), signup.CustomerInput{Caller: caller, Email: fmt.Sprintf("c%d@example.test", n), Link: recovery.Link{
			TTL: time.Hour, Address: func(identity.Secret) string { return "https://id.example.test/" },
		}})
		return err
	}
	for range 20 {
		if err := ask("192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask("192.0.2.1"); !errors.Is(err, identity.Throttled) {
		t.Errorf("the 21st from one network: %v, want %v", err, identity.Throttled)
	}
	for i := range 580 {
		if err := ask(fmt.Sprintf("198.51.%d.%d", i/200, i%200)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask("203.0.113.1"); !errors.Is(err, identity.Throttled) {
		t.Errorf("the 601st of all: %v, want %v", err, identity.Throttled)
	}
	core.Clock.Advance(time.Hour)
	if err := ask("203.0.113.1"); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestOneAddressSignsUpOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		_, s := newService(t, store)
		var all sync.WaitGroup
		var winners atomic.Int32
		for range 16 {
			all.Go(func() {
				_, err := s.Customer(t.Context(), signup.CustomerInput{Caller: coretest.Caller(coretest.Door), Email: "mia@example.test", Link: recovery.Link{
					TTL: time.Hour, Address: func(identity.Secret) string { return "https://id.example.test/" },
				}})
				switch {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, identity.Conflict):
					t.Errorf("lost with %v, want %v", err, identity.Conflict)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d signed up, want 1", winners.Load())
		}
	})
}
