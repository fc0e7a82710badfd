package signin_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const markTTL = 30 * 24 * time.Hour

// remembering signs in at a door that keeps marks, with one or none.
func remembering(s identity.Subject, mark identity.Secret) signin.PasswordInput {
	in := input(s.Email, coretest.Password)
	in.Steps.Proof, in.Remember, in.Devices = true, true, signin.Devices{Mark: mark, TTL: markTTL}
	return in
}

// marked signs somebody in with her authenticator, and gives the mark that her browser gets.
func marked(t *testing.T, c *coretest.Core, s identity.Subject) (identity.Secret, identity.Session) {
	t.Helper()
	c.Clock.Advance(time.Minute) // a code of its own
	out, err := c.SignIn.Password(t.Context(), remembering(s, ""))
	if err != nil || out.Ticket == nil || out.Device != nil {
		t.Fatalf("%+v, %v, want a second step", out, err)
	}
	out, err = c.SignIn.Proof(t.Context(), proof(out, c.Code()))
	if err != nil || out.Device == nil || len(out.Device.Secret) != 43 || !out.Device.ExpiresAt.Equal(c.Clock.Now().Add(markTTL)) {
		t.Fatalf("%+v, %v, want a mark", out, err)
	}
	return out.Device.Secret, out.Session
}

func people(c *coretest.Core, store identity.Store) *manage.Service {
	c.Passwords.Rand = c.SignIn.Rand
	return &manage.Service{Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.Passwords.Log, Box: c.Box, Now: c.Clock.Now, Rand: c.SignIn.Rand}
}

func TestKnownDevice(t *testing.T) {
	tests := []struct {
		name  string
		after func(t *testing.T, c *coretest.Core, m *manage.Service, s identity.Subject, held identity.Session)
		with  func(t *testing.T, c *coretest.Core, in *signin.PasswordInput)
		known bool
	}{
		{name: "the same browser", known: true},
		{name: "for a session that is not remembered", known: true, with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) { in.Remember = false }},
		{name: "just in time", known: true, with: func(_ *testing.T, c *coretest.Core, _ *signin.PasswordInput) { c.Clock.Advance(markTTL - time.Second) }},
		{name: "thirty days later", with: func(_ *testing.T, c *coretest.Core, _ *signin.PasswordInput) { c.Clock.Advance(markTTL) }},
		{name: "another browser", with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) { in.Devices.Mark = "" }},
		{name: "a guess", with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) {
			in.Devices.Mark = identity.Secret(strings.Repeat("A", 43))
		}},
		{name: "another user agent", with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) { in.Caller.UserAgent = "another" }},
		{name: "another door", with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) { in.Caller.Door = coretest.Lax }},
		{name: "a door that keeps none", with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) { in.Devices.TTL = 0 }},
		{name: "another's mark", with: func(t *testing.T, c *coretest.Core, in *signin.PasswordInput) {
			other := c.Person()
			c.WithTOTP(other)
			in.Devices.Mark, _ = marked(t, c, other)
		}},
		{name: "she signed out there", after: func(t *testing.T, c *coretest.Core, _ *manage.Service, _ identity.Subject, held identity.Session) {
			if err := c.SignIn.Forget(t.Context(), coretest.Caller(coretest.Door), &session.Live{Session: held}, ""); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "all her sessions were ended", after: func(t *testing.T, c *coretest.Core, _ *manage.Service, s identity.Subject, _ identity.Session) {
			if err := c.Sessions.EndAll(t.Context(), coretest.Caller(coretest.Door), s.ID, "", "test"); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "her password is another", after: func(t *testing.T, c *coretest.Core, m *manage.Service, s identity.Subject, held identity.Session) {
			must(t, c.SignIn.ChangeOwn(t.Context(), coretest.Caller(coretest.Door), &session.Live{Session: held, Subject: s}, coretest.Password, "a quiet meadow with bells"))
		}, with: func(_ *testing.T, _ *coretest.Core, in *signin.PasswordInput) {
			in.Password = "a quiet meadow with bells"
		}},
		{name: "her factor is another", after: func(t *testing.T, _ *coretest.Core, m *manage.Service, s identity.Subject, _ identity.Session) {
			must(t, m.EnrolTOTP(t.Context(), coretest.Caller("cli"), s.ID, coretest.Secret))
		}},
		{name: "she was suspended for a while", after: func(t *testing.T, _ *coretest.Core, m *manage.Service, s identity.Subject, _ identity.Session) {
			must(t, m.Suspend(t.Context(), coretest.Caller("cli"), s.ID, ""))
			must(t, m.Resume(t.Context(), coretest.Caller("cli"), s.ID))
		}},
		{name: "her policy demands a factor", after: func(t *testing.T, c *coretest.Core, _ *manage.Service, _ identity.Subject, _ identity.Session) {
			c.Update(func(tx identity.Tx) error {
				if err := tx.SavePolicy(t.Context(), identity.Policy{ID: "p", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorNeeded}); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.PolicyChanged, "p", c.Clock.Now())
			})
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, tt := range tests { // the last one changes the policy of all
			t.Run(tt.name, func(t *testing.T) {
				s := c.Person()
				c.WithTOTP(s)
				mark, held := marked(t, c, s)
				if tt.after != nil {
					tt.after(t, c, people(c, store), s, held)
				}
				in := remembering(s, mark)
				if tt.with != nil {
					tt.with(t, c, &in)
				}
				out, err := c.SignIn.Password(t.Context(), in)
				if err != nil || (out.Ticket == nil) != tt.known {
					t.Fatalf("%+v, %v, want a code to be due: %v", out, err, !tt.known)
				}
				if tt.known && (slices.Contains(out.Session.AMR, "mfa") || out.Device != nil) {
					t.Errorf("a remembered browser is taken for a factor: %+v", out)
				}
			})
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The store has no mark, only its hash.
func TestMarkIsNotKept(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTOTP(s)
		mark, held := marked(t, c, s)
		c.View(func(r identity.Reader) error {
			d, err := r.Browser(t.Context(), []byte(mark))
			if err == nil {
				t.Errorf("found by the mark itself: %+v", d)
			}
			return nil
		})
		// It goes with the session that showed it last.
		_, err := c.SignIn.Password(t.Context(), remembering(s, mark))
		must(t, err)
		must(t, c.SignIn.Forget(t.Context(), coretest.Caller(coretest.Door), &session.Live{Session: held}, ""))
		if out, err := c.SignIn.Password(t.Context(), remembering(s, mark)); err != nil || out.Ticket != nil {
			t.Errorf("forgotten with another session: %+v, %v", out, err)
		}
		// Whoever shows another's mark forgets nothing of hers.
		other := c.Person()
		must(t, c.SignIn.Forget(t.Context(), coretest.Caller(coretest.Door), &session.Live{Session: identity.Session{ID: "x", SubjectID: other.ID}}, mark))
		if out, err := c.SignIn.Password(t.Context(), remembering(s, mark)); err != nil || out.Ticket != nil {
			t.Errorf("forgotten by somebody else: %+v, %v", out, err)
		}
		// Whoever acts as her signs out in a browser of her own.
		actor := c.Person()
		c.WithTOTP(actor)
		actors, origin := marked(t, c, actor)
		acting := &session.Live{Session: identity.Session{ID: "y", SubjectID: s.ID, ActorID: actor.ID, OriginID: origin.ID}}
		must(t, c.SignIn.Forget(t.Context(), coretest.Caller(coretest.Door), acting, mark))
		if out, err := c.SignIn.Password(t.Context(), remembering(s, mark)); err != nil || out.Ticket != nil {
			t.Errorf("forgotten by somebody who acts as her: %+v, %v", out, err)
		}
		if out, err := c.SignIn.Password(t.Context(), remembering(actor, actors)); err != nil || out.Ticket == nil {
			t.Errorf("not forgotten by whoever signed out while acting: %+v, %v", out, err)
		}
		// She forgets it by showing it, whichever session that is.
		must(t, c.SignIn.Forget(t.Context(), coretest.Caller(coretest.Door), &session.Live{Session: held}, mark))
		if out, err := c.SignIn.Password(t.Context(), remembering(s, mark)); err != nil || out.Ticket == nil {
			t.Errorf("not forgotten: %+v, %v", out, err)
		}
	})
}

// What an organisation demands is asked for each time, and a code that stands in for a lost factor marks nothing.
func TestKnownDeviceIsNoFactor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTOTP(s)
		mark, _ := marked(t, c, s)
		company(t, c, works, time.Time{}, s)
		in := remembering(s, mark)
		in.Landing, in.Demand = signin.LastOrOnly, guarded
		if out, err := c.SignIn.Password(t.Context(), in); err != nil || out.Ticket == nil {
			t.Errorf("landing where a code is demanded: %+v, %v", out, err)
		}
		in.Landing = signin.NoOrganisation
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil || out.Ticket != nil {
			t.Fatalf("landing nowhere: %+v, %v", out, err)
		}
		if out, err := c.SignIn.Enter(t.Context(), enter(out.Session, works, guarded)); err != nil || out.Ticket == nil {
			t.Errorf("going there: %+v, %v", out, err)
		}
		in = remembering(s, "")
		in.Remember = false
		c.Clock.Advance(time.Minute)
		out, err = c.SignIn.Password(t.Context(), in)
		must(t, err)
		if out, err = c.SignIn.Proof(t.Context(), proof(out, c.Code())); err != nil || out.Device != nil {
			t.Errorf("marked without being asked: %+v, %v", out, err)
		}
	})
}

// The extra check is for who has no factor and comes with a strange browser. Off, nothing changes.
func TestStrangeBrowser(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		if out, err := c.SignIn.Password(t.Context(), remembering(s, "")); err != nil || out.Ticket != nil || out.Device != nil {
			t.Errorf("without the check: %+v, %v", out, err)
		}
		in := remembering(s, "")
		in.Devices.CheckStrange = true
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil || out.Ticket == nil || !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.EmailCode}) {
			t.Fatalf("%+v, %v, want a code by mail", out, err)
		}
		if sent := c.Sent(); len(sent) != 1 || sent[0].Recipient != s.Email {
			t.Fatalf("sent %+v", sent)
		}
		done, err := c.SignIn.Proof(t.Context(), proof(out, c.SentCode()))
		if err != nil || done.Device == nil || !slices.Equal(done.Session.AMR, []string{"pwd", "email", "mfa"}) {
			t.Fatalf("%+v, %v", done, err)
		}
		in.Devices.Mark = done.Device.Secret
		if out, err := c.SignIn.Password(t.Context(), in); err != nil || out.Ticket != nil {
			t.Errorf("the browser that is known by now: %+v, %v", out, err)
		}
		in.Devices.Mark = ""
		c.Update(func(tx identity.Tx) error {
			if err := tx.SavePolicy(t.Context(), identity.Policy{ID: "p", Key: identity.DefaultPolicyKey, SecondFactor: identity.FactorOff}); err != nil {
				return err
			}
			return tx.Announce(t.Context(), identity.PolicyChanged, "p", c.Clock.Now())
		})
		if out, err := c.SignIn.Password(t.Context(), in); err != nil || out.Ticket != nil {
			t.Errorf("where the policy has codes off: %+v, %v", out, err)
		}
	})
}
