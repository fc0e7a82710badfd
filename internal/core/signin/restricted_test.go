package signin_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const bound identity.PolicyID = "019b76da-a800-7000-8000-0000000000b1"

// bind saves a policy: from 08:00 until 18:00, and from one network.
func bind(t *testing.T, c *coretest.Core) {
	t.Helper()
	c.Update(func(tx identity.Tx) error {
		p := identity.Policy{
			ID: bound, Key: "office", CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now(), Networks: [][]string{{"192.0.2.0/24"}},
			Hours: []identity.Schedule{{Windows: []identity.Window{{From: 8 * 60, Until: 18 * 60}}}},
		}
		if err := tx.SavePolicy(t.Context(), p); err != nil {
			return err
		}
		return tx.Announce(t.Context(), identity.PolicyChanged, string(p.ID), c.Clock.Now())
	})
	c.Clock.Advance(10 * time.Hour) // the tests' day begins at midnight
}

func withPolicy(id identity.PolicyID) func(*identity.Subject, *identity.Credential) {
	return func(s *identity.Subject, _ *identity.Credential) { s.PolicyID = id }
}

// elsewhere is another caller's address.
func elsewhere(caller identity.Caller) identity.Caller {
	caller.Address = "203.0.113.7"
	return caller
}

func TestHoursAndNetworksBindTheSignIn(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		bind(t, c)
		her, member, neighbour := c.Person(withPolicy(bound)), c.Person(), c.Person()
		company(t, c, works, time.Time{}, member)
		c.Update(func(tx identity.Tx) error {
			o, err := tx.Organisation(t.Context(), works)
			if err != nil {
				return err
			}
			o.PolicyID = bound
			return tx.UpdateOrganisation(t.Context(), o)
		})
		try := func(what string, s identity.Subject, pw identity.Secret, away bool, want error) {
			t.Helper()
			in := input(s.Email, pw)
			if away {
				in.Caller = elsewhere(in.Caller)
			}
			if _, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		for _, who := range []struct {
			name    string
			subject identity.Subject
			want    error
		}{{"her own policy", her, identity.Restricted}, {"her organisation's", member, identity.Restricted}, {"nobody's", neighbour, nil}} {
			try(who.name+", inside", who.subject, coretest.Password, false, nil)
			try(who.name+", elsewhere", who.subject, coretest.Password, true, who.want)
			try(who.name+", elsewhere with a wrong password", who.subject, "battery", true, identity.BadCredential)
			c.Clock.Advance(8 * time.Hour) // 18:00
			try(who.name+", in the evening", who.subject, coretest.Password, false, who.want)
			c.Clock.Advance(16 * time.Hour)
		}
		// It is in the log as what it was.
		c.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{SubjectID: her.ID, Limit: 100})
			found := 0
			for _, e := range events {
				if e.Action == "signin" && e.Outcome == identity.Restricted.Error() {
					found++
				}
			}
			if found != 2 {
				t.Errorf("%d rows tell of it, want 2", found)
			}
			return err
		})
	})
}

// A second step is no way around: she may have moved, or the office closed, between the password and the code.
func TestHoursAndNetworksBindTheSecondStep(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		bind(t, c)
		her := c.Person(withPolicy(bound))
		c.WithTOTP(her)
		in := input(her.Email, coretest.Password)
		in.Steps = signin.Steps{Proof: true}
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil || out.Ticket == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		step := proof(out, c.Code())
		step.Caller = elsewhere(step.Caller)
		if _, err := c.SignIn.Proof(t.Context(), step); !errors.Is(err, identity.Restricted) {
			t.Errorf("the right code from elsewhere: %v", err)
		}
	})
}

func TestHoursAndNetworksBindSessions(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		bind(t, c)
		her, neighbour := c.Person(withPolicy(bound)), c.Person()
		company(t, c, works, time.Time{}, her, neighbour)
		refresh := func(caller identity.Caller, s identity.Session) (*session.Live, error) {
			return c.Sessions.Refresh(t.Context(), session.RefreshInput{
				Caller: caller, Form: coretest.Form(caller.Door), Raw: c.Sessions.Opaque(s, identity.RefreshToken), Rotate: true,
			})
		}
		here := coretest.Caller(coretest.Door)
		held, other := signedIn(t, c, her), signedIn(t, c, neighbour)
		if _, err := refresh(elsewhere(here), other); err != nil {
			t.Errorf("a neighbour's refresh from elsewhere: %v", err)
		}
		if _, err := refresh(elsewhere(here), held); !errors.Is(err, identity.Restricted) {
			t.Errorf("a refresh from elsewhere: %v", err)
		}
		if _, err := c.SignIn.Enter(t.Context(), signin.EnterInput{Caller: elsewhere(here), Live: &session.Live{Session: held}, Organisation: works}); !errors.Is(err, identity.Restricted) {
			t.Errorf("an organisation entered from elsewhere: %v", err)
		}
		if _, err := c.Sessions.Enter(t.Context(), elsewhere(here), held.ID, ""); !errors.Is(err, identity.Restricted) {
			t.Errorf("one left from elsewhere: %v", err)
		}
		// Refused is not ended, and nothing was spent.
		live, err := refresh(here, held)
		if err != nil || live.Session.Generation != held.Generation+1 {
			t.Fatalf("the same token from the right place: %+v, %v", live, err)
		}
		if _, err := c.SignIn.Enter(t.Context(), signin.EnterInput{Caller: here, Live: &session.Live{Session: held}, Organisation: works}); err != nil {
			t.Errorf("an organisation entered from the right place: %v", err)
		}

		// Closed for the night, and good again in the morning; a token that is out lives to its end.
		in := input(her.Email, coretest.Password)
		in.Remember = true
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		c.Clock.Advance(7*time.Hour + 30*time.Minute)
		if live, err = refresh(here, out.Session); err != nil { // 17:30
			t.Fatal(err)
		}
		c.Clock.Advance(45 * time.Minute)
		if _, err := c.Sessions.Check(t.Context(), coretest.Form(coretest.Door), c.Sessions.Opaque(live.Session, identity.AccessToken), identity.AccessToken); err != nil {
			t.Errorf("her token at 18:15: %v", err)
		}
		if _, err := refresh(here, live.Session); !errors.Is(err, identity.Restricted) {
			t.Errorf("a refresh at 18:15: %v", err)
		}
		c.Clock.Advance(14 * time.Hour)
		if live, err = refresh(here, live.Session); err != nil { // 08:15
			t.Fatalf("the same token in the morning: %v", err)
		}

		// A repeat of a spent token ends the session from wherever it comes: that is a thief.
		if _, err := refresh(elsewhere(here), out.Session); !errors.Is(err, identity.TokenReused) {
			t.Errorf("a spent token from elsewhere: %v", err)
		}
		if _, err := refresh(here, live.Session); !errors.Is(err, identity.TokenRevoked) && !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("after a thief was there: %v", err)
		}

		// Inside the grace a repeat is answered with the successor; not to whoever is elsewhere.
		lax := coretest.Caller(coretest.Lax)
		in = input(her.Email, coretest.Password)
		in.Caller = lax
		if out, err = c.SignIn.Password(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if live, err = refresh(lax, out.Session); err != nil {
			t.Fatal(err)
		}
		if _, err := refresh(elsewhere(lax), out.Session); !errors.Is(err, identity.Restricted) {
			t.Errorf("a repeat from elsewhere inside the grace: %v", err)
		}
		if again, err := refresh(lax, out.Session); err != nil || again.Session.Generation != live.Session.Generation {
			t.Errorf("a repeat from the right place: %+v, %v", again, err)
		}
	})
}
