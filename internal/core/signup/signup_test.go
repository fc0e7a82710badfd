package signup_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/core/signup"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func newService(t *testing.T, store identity.Store) (*coretest.Core, *signup.Service) {
	core := coretest.New(t, store)
	core.Passwords.Rand = core.SignIn.Rand // ids of one kind come from one source, or two would be equal
	people := &manage.Service{Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Box: core.Box,
		Now: core.Clock.Now, Rand: core.SignIn.Rand}
	return core, &signup.Service{
		Store: store, Passwords: core.Passwords, Sessions: core.Sessions, Log: core.Passwords.Log, Now: core.Clock.Now,
		Founder: identity.Attributes{"titan": []byte(`{"role":"owner"}`)}, Manage: people,
		Recovery: &recovery.Service{Store: store, Passwords: core.Passwords, Manage: people, Links: core.Links, Log: core.Passwords.Log, Now: core.Clock.Now, Rand: core.SignIn.Rand,
			Mailer: &deliver.Outbox{Store: store, Box: core.Box, Templates: deliver.BuiltIn(), Now: core.Clock.Now, Rand: core.SignIn.Rand}},
	}
}

func input(email string) signup.Input {
	return signup.Input{
		Caller: coretest.Caller(coretest.Door), Email: email, Password: coretest.Password, Name: "Ada Lovelace", Company: "Analytical Engines",
		Attributes: identity.Attributes{"nx": []byte(`{"newsletter":true}`)},
	}
}

func TestRegister(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := newService(t, store)
		ctx := t.Context()
		out, err := s.Register(ctx, input("ada@example.test"))
		if err != nil {
			t.Fatal(err)
		}
		if !out.Subject.VerifiedAt.IsZero() || out.Subject.MustVerify || out.Subject.Superadmin {
			t.Errorf("an address that nobody proved, and no rights: %+v", out.Subject)
		}
		live, err := core.Sessions.Check(ctx, coretest.Form(coretest.Door), core.Sessions.Opaque(out.Session, identity.AccessToken), identity.AccessToken)
		if err != nil || live.Session.OrganisationID == "" {
			t.Fatalf("not signed in: %v", err)
		}
		core.View(func(r identity.Reader) error {
			o, err := r.Organisation(ctx, live.Session.OrganisationID)
			if o.Name != "Analytical Engines" {
				t.Errorf("organisation %+v", o)
			}
			memberships, _ := r.Memberships(ctx, out.Subject.ID)
			if len(memberships) != 1 || string(memberships[0].Attributes["titan"]) != `{"role":"owner"}` {
				t.Errorf("memberships %+v", memberships)
			}
			events, _ := r.Events(ctx, identity.EventFilter{Action: "signup"})
			if len(events) != 1 || events[0].SessionID != out.Session.ID {
				t.Errorf("recorded %+v", events)
			}
			return err
		})
		if _, err := core.SignIn.Password(ctx, signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: "Ada@example.test", Password: coretest.Password}); err != nil {
			t.Errorf("sign in later: %v", err)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*signup.Input)
		kind  identity.Kind
		field string
	}{
		{"taken", func(in *signup.Input) { in.Email = "ADA@example.test" }, identity.Conflict, "email"},
		{"no address", func(in *signup.Input) { in.Email = "ada" }, identity.Invalid, "email"},
		{"no name", func(in *signup.Input) { in.Name = " " }, identity.Invalid, "name"},
		{"weak", func(in *signup.Input) { in.Password = "12345678" }, identity.WeakPassword, "password"},
		{"made of her", func(in *signup.Input) { in.Password = "bernoulli" }, identity.WeakPassword, "password"},
		{"bad company", func(in *signup.Input) { in.Company = "a\x01b" }, identity.Invalid, "company"},
		{"bad phone", func(in *signup.Input) { in.Phone = "1\n2" }, identity.Invalid, "phone"},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := newService(t, store)
		if _, err := s.Register(t.Context(), input("ada@example.test")); err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				in := input("bernoulli@example.test")
				tt.spoil(&in)
				_, err := s.Register(t.Context(), in)
				if got := identity.Describe(err); err == nil || got.Kind != tt.kind || got.Field != tt.field {
					t.Errorf("got %v, want %v in %q", err, tt.kind, tt.field)
				}
			})
		}
		core.View(func(r identity.Reader) error {
			all, err := r.Subjects(t.Context(), identity.SubjectFilter{})
			organisations, _ := r.Organisations(t.Context(), "", 10)
			if len(all) != 1 || len(organisations) != 1 {
				t.Errorf("refusals left %d people and %d organisations", len(all), len(organisations))
			}
			return err
		})
	})
}

func TestNoWayAroundTheSecondFactor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		_, s := newService(t, store)
		if _, err := s.Manage.SavePolicy(t.Context(), identity.Caller{}, identity.Policy{Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Register(t.Context(), input("ada@example.test")); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRegistrationsAreCounted(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := newService(t, store)
		s.PerHour = 3
		try := func(address, email string) error {
			in := input(email)
			in.Caller.Address = address
			_, err := s.Register(t.Context(), in)
			return err
		}
		for i, want := range []error{nil, identity.Conflict, identity.Conflict, identity.Throttled, identity.Throttled} {
			// One customer's many IPv6 addresses are one sender.
			if err := try(fmt.Sprintf("2001:db8::%d", i), "ada@example.test"); !errors.Is(err, want) {
				t.Errorf("try %d: %v, want %v", i, err, want)
			}
		}
		if err := try("2001:db8:0:1::1", "bob@example.test"); err != nil {
			t.Errorf("another network: %v", err)
		}
		core.Clock.Advance(time.Hour)
		if err := try("2001:db8::1", "eve@example.test"); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}

func TestOneOfManyGetsTheAddress(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		_, s := newService(t, store)
		s.PerHour = 1000
		var all sync.WaitGroup
		var won atomic.Int32
		for i := range 16 {
			all.Go(func() {
				in := input([]string{"ada@example.test", "ADA@example.test"}[i%2])
				_, err := s.Register(t.Context(), in)
				switch {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, identity.Conflict):
					t.Errorf("lost with %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("%d have the address", won.Load())
		}
	})
}

func TestStrength(t *testing.T) {
	_, s := newService(t, storetest.SQLite(t))
	tests := []struct {
		pw, email string
		strong    bool
	}{
		{"password", "", false},
		{"short", "", false},
		{"bernoulli", "bernoulli@example.test", false},
		{"a quiet meadow 77 bells", "ada@example.test", true},
	}
	for _, tt := range tests {
		got, err := s.Strength(t.Context(), coretest.Caller(coretest.Door), identity.Secret(tt.pw), tt.email, "Ada")
		if err != nil || got.Strong != tt.strong || got.Message == "" || got.Strong && got.Score < 3 {
			t.Errorf("%q is %+v, %v", tt.pw, got, err)
		}
	}
}

// Where the operator has closed a door, nobody registers at it, and trying leaves nothing; other doors are not concerned.
func TestClosedDoor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		core, s := newService(t, store)
		s.Closed = map[identity.Door]bool{coretest.Door: true}
		if s.Open(coretest.Door) || !s.Open(coretest.Lax) {
			t.Errorf("open: %v and %v", s.Open(coretest.Door), s.Open(coretest.Lax))
		}
		in := input("ada@example.test")
		if out, err := s.Register(t.Context(), in); !errors.Is(err, identity.Denied) || out.Session.ID != "" {
			t.Errorf("Register = %+v, %v", out, err)
		}
		core.View(func(r identity.Reader) error {
			n, err := r.CountSubjects(t.Context(), identity.Person, "")
			if events, _ := r.Events(t.Context(), identity.EventFilter{Limit: 10}); n != 0 || len(events) != 0 {
				t.Errorf("%d people, %d rows", n, len(events))
			}
			return err
		})
		in.Caller = coretest.Caller(coretest.Lax)
		if _, err := s.Register(t.Context(), in); err != nil {
			t.Errorf("at another door: %v", err)
		}
	})
}
