package session_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// scene has an organisation with an owner, another owner, an administrator and a member, and somebody who is none of it.
type scene struct {
	*coretest.Core
	manage                             *manage.Service
	org                                identity.OrganisationID
	owner, second, admin, mia, outside identity.Subject
	place                              map[identity.SubjectID]identity.Membership
}

const (
	ownerRole = `{"role":"owner"}`
	adminRole = `{"role":"administrator"}`
)

func newScene(t *testing.T, store identity.Store) *scene {
	t.Helper()
	c := coretest.New(t, store)
	s := &scene{Core: c, owner: c.Person(), second: c.Person(), admin: c.Person(), mia: c.Person(), outside: c.Person(), place: map[identity.SubjectID]identity.Membership{}}
	s.manage = &manage.Service{Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.SignIn.Log, Box: c.Box, Now: c.Clock.Now, Rand: coretest.SeededRand()}
	o, err := s.manage.CreateOrganisation(t.Context(), operator, manage.NewOrganisation{Key: "acme", Name: "ACME"})
	if err != nil {
		t.Fatal(err)
	}
	s.org = o.ID
	for who, role := range map[identity.SubjectID]string{s.owner.ID: ownerRole, s.second.ID: ownerRole, s.admin.ID: adminRole, s.mia.ID: `{}`} {
		m, err := s.manage.SaveMembership(t.Context(), operator, identity.Membership{SubjectID: who, OrganisationID: o.ID, Attributes: identity.Attributes{coretest.Door: []byte(role)}})
		if err != nil {
			t.Fatal(err)
		}
		s.place[who] = m
	}
	return s
}

var operator = identity.Caller{Door: "cli", Address: "root@console"}

func standing(m identity.Membership) session.Standing {
	switch string(m.Attributes[coretest.Door]) {
	case ownerRole:
		return session.Owner
	case adminRole:
		return session.Administrator
	}
	return session.Member
}

func permitted(identity.Organisation) bool { return true }

// in begins a session in the organisation.
func (s *scene) in(t *testing.T, who identity.Subject) identity.Session {
	t.Helper()
	held := signedIn(t, s.Core, coretest.Door, who)
	if who.ID == s.outside.ID {
		return held
	}
	entered, err := s.Sessions.Enter(t.Context(), coretest.Caller(coretest.Door), held.ID, s.org)
	if err != nil {
		t.Fatal(err)
	}
	return entered
}

func (s *scene) act(t *testing.T, from identity.Session, target identity.SubjectID) (identity.Session, error) {
	t.Helper()
	return s.Sessions.Act(t.Context(), session.ActInput{
		Caller: coretest.Caller(coretest.Door), Session: from.ID, Target: target, Standing: standing, Permits: permitted,
	})
}

func (s *scene) alive(t *testing.T, held identity.Session) bool {
	t.Helper()
	_, err := s.Sessions.Check(t.Context(), coretest.Form(coretest.Door), s.Sessions.Opaque(held, identity.AccessToken), identity.AccessToken)
	return err == nil
}

func TestWhoMayActAsWhom(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		s := newScene(t, store)
		root := s.Person(func(p *identity.Subject, _ *identity.Credential) { p.Superadmin = true })
		if _, err := s.manage.SaveMembership(t.Context(), operator, identity.Membership{SubjectID: root.ID, OrganisationID: s.org}); err != nil {
			t.Fatal(err)
		}
		off := s.Person(func(p *identity.Subject, _ *identity.Credential) { p.SuspendedAt = coretest.Start })
		if _, err := s.manage.SaveMembership(t.Context(), operator, identity.Membership{SubjectID: off.ID, OrganisationID: s.org}); err != nil {
			t.Fatal(err)
		}
		owner := s.in(t, s.owner)
		acting, err := s.act(t, owner, s.mia.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name   string
			from   identity.Session
			target identity.SubjectID
			want   error
		}{
			{"an owner as a member", owner, s.mia.ID, nil},
			{"an owner as another", owner, s.second.ID, nil},
			{"an owner as an administrator", owner, s.admin.ID, identity.Denied},
			{"an owner as a superadmin", owner, root.ID, identity.Denied},
			{"an owner as herself", owner, s.owner.ID, identity.Invalid},
			{"an owner as a stranger", owner, s.outside.ID, identity.NotFound},
			{"an owner as nobody", owner, "01a0a000-0000-7000-8000-00000000dead", identity.NotFound},
			{"an owner as somebody suspended", owner, off.ID, identity.NotFound},
			{"an administrator", s.in(t, s.admin), s.mia.ID, identity.Denied},
			{"a member", s.in(t, s.mia), s.second.ID, identity.Denied},
			{"a stranger", s.in(t, s.outside), s.mia.ID, identity.Denied},
			{"somebody who acts", acting, s.second.ID, identity.Denied},
		} {
			t.Run(tt.name, func(t *testing.T) {
				got, err := s.act(t, tt.from, tt.target)
				if !errors.Is(err, tt.want) {
					t.Fatalf("%v, want %v", err, tt.want)
				}
				if err == nil && (got.SubjectID != tt.target || got.ActorID != tt.from.SubjectID || got.OriginID != tt.from.ID || got.OrganisationID != s.org) {
					t.Errorf("%+v", got)
				}
			})
		}
		t.Run("where the organisation does not allow it", func(t *testing.T) {
			_, err := s.Sessions.Act(t.Context(), session.ActInput{
				Caller: coretest.Caller(coretest.Door), Session: owner.ID, Target: s.mia.ID, Standing: standing, Permits: func(identity.Organisation) bool { return false },
			})
			if !errors.Is(err, identity.Denied) {
				t.Error(err)
			}
		})
	})
}

// It ends with whatever it rests on, and the person's own sessions are not touched by it.
func TestActingEnds(t *testing.T) {
	caller := coretest.Caller(coretest.Door)
	for name, end := range map[string]func(t *testing.T, s *scene, origin, acting, hers identity.Session) error{
		"after its limit": func(_ *testing.T, s *scene, _, _, _ identity.Session) error {
			s.Clock.Advance(session.ActingTTL)
			return nil
		},
		"with the session it began from": func(t *testing.T, s *scene, origin, _, _ identity.Session) error {
			_, err := s.Sessions.End(t.Context(), caller, origin.ID, "ended by an operator")
			return err
		},
		"when who acts signs out": func(t *testing.T, s *scene, origin, _, _ identity.Session) error {
			_, err := s.Sessions.SignOut(t.Context(), caller, origin.ID)
			return err
		},
		"when who acts signs out of it": func(t *testing.T, s *scene, origin, acting, _ identity.Session) error {
			_, err := s.Sessions.SignOut(t.Context(), caller, acting.ID)
			if s.alive(t, origin) {
				t.Error("her own session goes on")
			}
			return err
		},
		"when the person signs out": func(t *testing.T, s *scene, _, _, hers identity.Session) error {
			_, err := s.Sessions.SignOut(t.Context(), caller, hers.ID)
			return err
		},
		"when who acts is suspended": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			return s.manage.Suspend(t.Context(), operator, s.owner.ID, "x")
		},
		"when the person is suspended": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			return s.manage.Suspend(t.Context(), operator, s.mia.ID, "x")
		},
		"when who acts is deleted": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			return s.manage.Delete(t.Context(), operator, s.owner.ID)
		},
		"when the person leaves": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			return s.manage.RemoveMembership(t.Context(), operator, s.mia.ID, s.place[s.mia.ID].ID)
		},
		"when who acts leaves": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			return s.manage.RemoveMembership(t.Context(), operator, s.owner.ID, s.place[s.owner.ID].ID)
		},
		"when who acts is owner no more": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			m := s.place[s.owner.ID]
			m.Attributes = nil
			_, err := s.manage.SaveMembership(t.Context(), operator, m)
			return err
		},
		"when the organisation changes": func(t *testing.T, s *scene, _, _, _ identity.Session) error {
			_, err := s.manage.UpdateOrganisation(t.Context(), operator, s.org, manage.OrganisationChange{Attributes: identity.Attributes{coretest.Door: []byte(`{"a":1}`)}})
			return err
		},
		"when it is over": func(t *testing.T, s *scene, origin, acting, _ identity.Session) error {
			back, err := s.Sessions.StopActing(t.Context(), caller, acting.ID)
			if back.ID != origin.ID || back.Generation != origin.Generation+1 || !s.alive(t, back) {
				t.Errorf("back in %+v", back)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
				s := newScene(t, store)
				hers, origin := s.in(t, s.mia), s.in(t, s.owner)
				acting, err := s.act(t, origin, s.mia.ID)
				if err != nil {
					t.Fatal(err)
				}
				if !s.alive(t, acting) || !s.alive(t, hers) || !s.alive(t, origin) {
					t.Fatal("not all are alive")
				}
				if err := end(t, s, origin, acting, hers); err != nil {
					t.Fatal(err)
				}
				if s.alive(t, acting) {
					t.Error("it goes on")
				}
			})
		})
	}
}

// While somebody acts, her own session is not idle; and it does not outlive the session that it began from.
func TestActingKeepsItsOriginAwake(t *testing.T) {
	s := newScene(t, storetest.SQLite(t))
	origin := s.in(t, s.owner)
	acting, err := s.act(t, origin, s.mia.ID)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 { // idle for two hours ends a session of this door
		s.Clock.Advance(59 * time.Minute)
		if acting, err = rotate(t, s.Core, coretest.Door, refresh(s.Core, acting)); err != nil {
			t.Fatal(err)
		}
		s.Sessions.Flush(t.Context())
	}
	if back, err := s.Sessions.StopActing(t.Context(), coretest.Caller(coretest.Door), acting.ID); err != nil || !s.alive(t, back) {
		t.Errorf("the session it began from is gone: %v", err)
	}
	if acting.ExpiresAt.After(origin.ExpiresAt) {
		t.Errorf("it ends at %v, after %v", acting.ExpiresAt, origin.ExpiresAt)
	}
}

// Of sixteen who stop at once one gets the session back.
func TestStopActingOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		s := newScene(t, store)
		acting, err := s.act(t, s.in(t, s.owner), s.mia.ID)
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 16)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { _, errs[i] = s.Sessions.StopActing(t.Context(), coretest.Caller(coretest.Door), acting.ID) })
		}
		all.Wait()
		if won := len(slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err != nil })); won != 1 {
			t.Errorf("%d got it: %v", won, errs)
		}
	})
}
