package signin_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// guarded demands a second factor of everybody.
func guarded(identity.Organisation) identity.Demand { return identity.FactorNeeded }

// company makes an organisation with these members.
func company(t *testing.T, c *coretest.Core, id identity.OrganisationID, ends time.Time, members ...identity.Subject) {
	t.Helper()
	now := c.Clock.Now()
	c.Update(func(tx identity.Tx) error {
		org := identity.Organisation{
			ID: id, Hash: strings.ReplaceAll(string(id), "-", "") + "00000000", Key: string(id), Name: "Works", CreatedAt: now, UpdatedAt: now, ExpiresAt: ends,
		}
		if err := tx.CreateOrganisation(t.Context(), &org); err != nil {
			return err
		}
		for _, s := range members {
			member, err := identity.NewID(now, c.SignIn.Rand)
			if err != nil {
				return err
			}
			m := identity.Membership{ID: identity.MembershipID(member), SubjectID: s.ID, OrganisationID: id, CreatedAt: now}
			if err := tx.SaveMembership(t.Context(), m); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	works  identity.OrganisationID = "019b76da-a800-7000-8000-0000000000a1"
	closed identity.OrganisationID = "019b76da-a800-7000-8000-0000000000a2"
	others identity.OrganisationID = "019b76da-a800-7000-8000-0000000000a3"
)

// signedIn begins a session with the password alone.
func signedIn(t *testing.T, c *coretest.Core, s identity.Subject) identity.Session {
	t.Helper()
	out, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password))
	if err != nil {
		t.Fatal(err)
	}
	return out.Session
}

func enter(s identity.Session, org identity.OrganisationID, demand func(identity.Organisation) identity.Demand) signin.EnterInput {
	in := signin.EnterInput{Caller: coretest.Caller(coretest.Door), Live: &session.Live{Session: s}, Organisation: org}
	if demand != nil {
		in.Demand = demand(identity.Organisation{})
	}
	return in
}

func stored(t *testing.T, c *coretest.Core, id identity.SessionID) (s identity.Session) {
	t.Helper()
	c.View(func(r identity.Reader) (err error) {
		s, err = r.Session(t.Context(), id)
		return err
	})
	return s
}

func TestEnterAsksForTheFactorThatTheOrganisationDemands(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		company(t, c, works, time.Time{}, s)
		held := signedIn(t, c, s)
		c.WithTOTP(s) // after the sign-in, which would have asked for it

		out, err := c.SignIn.Enter(t.Context(), enter(held, works, guarded))
		if err != nil || out.Ticket == nil || out.Session.ID != "" {
			t.Fatalf("Enter = %+v, %v, want a ticket", out, err)
		}
		if now := stored(t, c, held.ID); now.OrganisationID != "" || now.Generation != held.Generation {
			t.Errorf("the session moved before the code was there: %+v", now)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, "000000")); !errors.Is(err, identity.BadCode) {
			t.Errorf("a wrong code gives %v", err)
		}
		proven, err := c.SignIn.Proof(t.Context(), proof(out, c.Code()))
		if err != nil {
			t.Fatal(err)
		}
		if proven.Session.ID != held.ID || proven.Session.OrganisationID != works || !slices.Contains(proven.Session.AMR, "mfa") {
			t.Errorf("the proof gives %+v, want the same session in the organisation", proven.Session)
		}
		again, err := c.SignIn.Enter(t.Context(), enter(proven.Session, works, guarded))
		if err != nil || again.Ticket != nil || again.Session.Generation != proven.Session.Generation+1 {
			t.Errorf("a proven session is asked again: %+v, %v", again, err)
		}
	})
}

// unconfirmed has no address that a code could go to.
func unconfirmed(s *identity.Subject, _ *identity.Credential) { s.VerifiedAt = time.Time{} }

func TestEnterRefuses(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s, other := c.Person(unconfirmed), c.Person()
		company(t, c, works, time.Time{}, s)
		company(t, c, closed, c.Clock.Now(), s)
		company(t, c, others, time.Time{}, other)
		held := signedIn(t, c, s)
		for _, demand := range []func(identity.Organisation) identity.Demand{nil, guarded} {
			for _, org := range []identity.OrganisationID{closed, others, "019b76da-a800-7000-8000-00000000dead"} {
				if out, err := c.SignIn.Enter(t.Context(), enter(held, org, demand)); !errors.Is(err, identity.Denied) {
					t.Errorf("entering %s gives %+v, %v", org, out, err)
				}
			}
		}
		if out, err := c.SignIn.Enter(t.Context(), enter(held, works, guarded)); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("without a factor: %+v, %v", out, err)
		}
		if out, err := c.SignIn.Enter(t.Context(), enter(held, works, nil)); err != nil || out.Session.OrganisationID != works {
			t.Errorf("without a demand: %+v, %v", out, err)
		}
		if _, err := c.Sessions.End(t.Context(), coretest.Caller(coretest.Door), held.ID, "test"); err != nil {
			t.Fatal(err)
		}
		if out, err := c.SignIn.Enter(t.Context(), enter(held, works, nil)); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("an ended session enters: %+v, %v", out, err)
		}
	})
}

// What changes while somebody looks for her code is noticed.
func TestEnterIsJudgedAgainWithTheCode(t *testing.T) {
	changes := map[string]struct {
		change func(*testing.T, *coretest.Core, identity.Subject, identity.Session)
		want   error
	}{
		"the session ended": {func(t *testing.T, c *coretest.Core, _ identity.Subject, held identity.Session) {
			if _, err := c.Sessions.End(t.Context(), coretest.Caller(coretest.Door), held.ID, "test"); err != nil {
				t.Fatal(err)
			}
		}, identity.TokenRevoked},
		"she was suspended": {func(t *testing.T, c *coretest.Core, s identity.Subject, _ identity.Session) {
			s.SuspendedAt = c.Clock.Now()
			c.Update(func(tx identity.Tx) error { return tx.UpdateSubject(t.Context(), s) })
		}, identity.Suspended},
		"she is no member any more": {func(t *testing.T, c *coretest.Core, s identity.Subject, _ identity.Session) {
			c.Update(func(tx identity.Tx) error {
				all, err := tx.Memberships(t.Context(), s.ID)
				if err != nil {
					return err
				}
				return tx.DeleteMembership(t.Context(), all[0].ID)
			})
		}, identity.Denied},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for name, tt := range changes {
			t.Run(name, func(t *testing.T) {
				s := c.Person()
				id := identity.OrganisationID(s.ID) // any id will do
				company(t, c, id, time.Time{}, s)
				held := signedIn(t, c, s)
				c.WithTOTP(s)
				out, err := c.SignIn.Enter(t.Context(), enter(held, id, guarded))
				if err != nil {
					t.Fatal(err)
				}
				tt.change(t, c, s, held)
				if got, err := c.SignIn.Proof(t.Context(), proof(out, c.Code())); !errors.Is(err, tt.want) {
					t.Errorf("Proof = %+v, %v, want %v", got, err, tt.want)
				}
				if now := stored(t, c, held.ID); now.OrganisationID != "" {
					t.Errorf("the session is in %s", now.OrganisationID)
				}
			})
		}
	})
}

// Whoever is no member any more when she has found her code, or whose organisation has closed, is signed in to none.
func TestWhereSheLandsIsJudgedAgainWithTheCode(t *testing.T) {
	changes := map[string]struct {
		change func(*testing.T, *coretest.Core, identity.Subject)
		lands  bool
	}{
		"nothing changed": {func(*testing.T, *coretest.Core, identity.Subject) {}, true},
		"she left": {func(t *testing.T, c *coretest.Core, s identity.Subject) {
			c.Update(func(tx identity.Tx) error {
				all, err := tx.Memberships(t.Context(), s.ID)
				if err != nil {
					return err
				}
				return tx.DeleteMembership(t.Context(), all[0].ID)
			})
		}, false},
		"it closed": {func(t *testing.T, c *coretest.Core, s identity.Subject) {
			c.Update(func(tx identity.Tx) error {
				o, err := tx.Organisation(t.Context(), identity.OrganisationID(s.ID))
				if err != nil {
					return err
				}
				o.ExpiresAt = c.Clock.Now()
				return tx.UpdateOrganisation(t.Context(), o)
			})
		}, false},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for name, tt := range changes {
			t.Run(name, func(t *testing.T) {
				s := c.Person()
				id := identity.OrganisationID(s.ID)
				company(t, c, id, time.Time{}, s)
				c.WithTOTP(s)
				in := input(s.Email, coretest.Password)
				in.Steps.Proof, in.Landing = true, signin.LastOrOnly
				out, err := c.SignIn.Password(t.Context(), in)
				if err != nil || out.Ticket == nil {
					t.Fatalf("%+v, %v; want a ticket", out, err)
				}
				tt.change(t, c, s)
				c.Clock.Advance(time.Minute) // another code
				done, err := c.SignIn.Proof(t.Context(), proof(out, c.Code()))
				if err != nil {
					t.Fatal(err)
				}
				want := identity.OrganisationID("")
				if tt.lands {
					want = id
				}
				if got := stored(t, c, done.Session.ID).OrganisationID; got != want {
					t.Errorf("the session is in %q, want %q", got, want)
				}
			})
		}
	})
}

// A person may ask for a second factor herself, at a door that has a switch for it.
func TestOwnDemand(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person(unconfirmed)
		in := input(s.Email, coretest.Password)
		in.Steps.Proof = true
		in.OwnDemand = func(identity.Subject) identity.Demand { return identity.FactorNeeded }
		if out, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("without a factor: %+v, %v", out, err)
		}
		c.WithTOTP(s)
		if out, err := c.SignIn.Password(t.Context(), in); err != nil || out.Ticket == nil {
			t.Errorf("with a factor: %+v, %v", out, err)
		}
	})
}
