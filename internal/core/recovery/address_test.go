package recovery_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/link"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

var admin = identity.Caller{Door: coretest.Door, Address: "192.0.2.9", RequestID: "r", ActorID: "0a000000-0000-4000-8000-00000000ad01"}

// verification has somebody confirm her address, and gives what the link carries.
func (h *house) verification(id identity.SubjectID) (identity.Secret, error) {
	var secret identity.Secret
	mail := linkTo(&secret)
	mail.Form = link.UUID
	_, err := h.StartVerification(h.t.Context(), admin, id, mail)
	return secret, err
}

func (h *house) started(id identity.SubjectID) identity.Secret {
	h.t.Helper()
	secret, err := h.verification(id)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

func (h *house) verify(secret identity.Secret) error {
	_, err := h.Verify(h.t.Context(), coretest.Caller(coretest.Door), secret)
	return err
}

func (h *house) subject(id identity.SubjectID) (s identity.Subject) {
	h.t.Helper()
	h.View(func(r identity.Reader) (err error) {
		s, err = r.Subject(h.t.Context(), id)
		return err
	})
	return s
}

func TestVerification(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s, bystander := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.Locale = "de" }), h.Person()
		forgotten := h.forgot(s.Email)
		h.mailed()
		begun, err := h.signIn(s, coretest.Password)
		if err != nil {
			t.Fatal(err)
		}
		other, err := h.signIn(bystander, coretest.Password)
		if err != nil {
			t.Fatal(err)
		}
		check := func(begun identity.Session) error {
			_, err := h.Sessions.Check(t.Context(), coretest.Form(coretest.Door), h.Sessions.Opaque(begun, identity.AccessToken), identity.AccessToken)
			return err
		}
		h.want("her session, before", check(begun), nil)
		secret := h.started(s.ID)
		if id, _, _ := strings.Cut(secret.Reveal(), "."); !identity.ValidID(id) || id[14] != '4' {
			t.Errorf("the link carries %q, want a random UUID", id)
		}
		if now := h.subject(s.ID); !now.AwaitsVerification() {
			t.Errorf("she stands as %+v, want her to confirm her address", now)
		}
		h.wantSignIn(s, coretest.Password, identity.Unverified)
		h.want("her session, until then", check(begun), identity.TokenRevoked)
		h.want("somebody else's session", check(other), nil)
		h.want("her link for another purpose", h.look(forgotten), nil)
		sent := h.mailed()
		if len(sent) != 1 || sent[0].Recipient != s.Email || sent[0].Template != deliver.EmailVerification ||
			!strings.Contains(sent[0].Text, secret.Reveal()) || !strings.Contains(sent[0].Subject, "bestätigen") {
			t.Fatalf("sent %+v", sent)
		}

		for range 3 {
			h.want("looking", h.LookAtVerification(t.Context(), coretest.Caller(coretest.Door), secret), nil)
		}
		h.want("for a new password", h.reset(secret, fresh), identity.TicketInvalid)
		h.want("a link for a new password", h.verify(forgotten), identity.TicketInvalid)
		h.want("at another door", func() error {
			_, err := h.Verify(t.Context(), coretest.Caller(coretest.Lax), secret)
			return err
		}(), identity.TicketInvalid)
		for _, guess := range []identity.Secret{"", "x", secret + "x", "0a000000-0000-4000-8000-000000000001", "\x00"} {
			h.want("a guess", h.verify(guess), identity.TicketInvalid)
		}
		h.wantSignIn(s, coretest.Password, identity.Unverified)

		h.Clock.Advance(time.Minute)
		h.want("the right link", h.verify(secret), nil)
		if now := h.subject(s.ID); !now.VerifiedAt.Equal(h.Clock.Now()) || now.AwaitsVerification() {
			t.Errorf("confirmed at %v, want %v", now.VerifiedAt, h.Clock.Now())
		}
		h.want("a second time", h.verify(secret), identity.TicketInvalid)
		h.wantSignIn(s, coretest.Password, nil)
		h.want("a session from before", check(begun), identity.TokenRevoked)
		h.View(func(r identity.Reader) error {
			for action, actor := range map[string]identity.SubjectID{"verification.request": admin.ActorID, "verification.confirm": s.ID} {
				events, err := r.Events(t.Context(), identity.EventFilter{Action: action, Limit: 10})
				if err != nil {
					return err
				}
				if len(events) != 1 || events[0].SubjectID != s.ID || events[0].ActorID != actor {
					t.Errorf("%s recorded as %+v", action, events)
				}
			}
			return nil
		})
	})
}

func TestVerificationLinksThatAreNoLongerGood(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *house, s identity.Subject)
	}{
		{"expired", func(_ *testing.T, h *house, _ identity.Subject) { h.Clock.Advance(ttl) }},
		{"a new one was mailed", func(_ *testing.T, h *house, s identity.Subject) { h.started(s.ID) }},
		{"the address is another", func(t *testing.T, h *house, s identity.Subject) {
			next := "moved-" + s.Email
			if _, err := h.Manage.Update(t.Context(), admin, s.ID, manage.Change{Email: &next}); err != nil {
				t.Fatal(err)
			}
		}},
		{"she is gone", func(t *testing.T, h *house, s identity.Subject) {
			if err := h.Manage.Delete(t.Context(), admin, s.ID); err != nil {
				t.Fatal(err)
			}
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := h.Person()
				secret := h.started(s.ID)
				tt.spoil(t, h, s)
				bystander := h.Person()
				kept := h.started(bystander.ID)
				h.want("looking", h.LookAtVerification(t.Context(), coretest.Caller(coretest.Door), secret), identity.TicketInvalid)
				h.want("spending", h.verify(secret), identity.TicketInvalid)
				h.want("somebody else's", h.verify(kept), nil)
			})
		}
	})
}

func TestVerificationIsRefused(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		chief := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.Superadmin = true })
		_, err := h.verification(chief.ID)
		h.want("the last active superadmin", err, identity.Denied)
		_, err = h.verification("0a000000-0000-4000-8000-000000000001")
		h.want("nobody", err, identity.NotFound)
		if len(h.messages()) != 0 || h.subject(chief.ID).AwaitsVerification() {
			t.Error("a refusal left something behind")
		}

		s := h.Person()
		var last identity.Secret
		for range 5 {
			last = h.started(s.ID)
		}
		_, err = h.verification(s.ID)
		h.want("the sixth within the hour", err, identity.Throttled)
		if sent := h.mailed(); len(sent) != 5 {
			t.Errorf("%d mails, want 5", len(sent))
		}
		h.want("the fifth link", h.verify(last), nil)
	})
}

// Confirming an address is not being let in again.
func TestVerificationOfASuspendedPerson(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		secret := h.started(s.ID)
		if err := h.Manage.Suspend(t.Context(), admin, s.ID, "left"); err != nil {
			t.Fatal(err)
		}
		h.want("the link", h.verify(secret), nil)
		h.wantSignIn(s, coretest.Password, identity.Suspended)
	})
}

func TestOneVerificationLinkHasOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		secret := h.started(h.Person().ID)
		var all sync.WaitGroup
		var winners atomic.Int32
		for range 16 {
			all.Go(func() {
				switch err := h.verify(secret); {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, identity.TicketInvalid):
					t.Errorf("lost with %v, want %v", err, identity.TicketInvalid)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d confirmed, want 1", winners.Load())
		}
	})
}

// An administrator has somebody set a new password.
func TestSendReset(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		send := func(id identity.SubjectID) (secret identity.Secret, err error) {
			err = h.SendReset(t.Context(), admin, id, linkTo(&secret))
			return secret, err
		}
		first, err := send(s.ID)
		h.want("the first", err, nil)
		secret, err := send(s.ID)
		h.want("the second", err, nil)
		sent := h.mailed()
		if len(sent) != 2 || sent[1].Recipient != s.Email || sent[1].Template != deliver.PasswordReset {
			t.Errorf("sent %+v", sent)
		}
		h.wantSignIn(s, coretest.Password, identity.PasswordDue)
		h.want("the link that was replaced", h.reset(first, fresh), identity.TicketInvalid)
		h.want("the link", h.reset(secret, fresh), nil)
		h.wantSignIn(s, fresh, nil)
		for range 3 {
			_, err = send(s.ID)
			h.want("within the bound", err, nil)
		}
		_, err = send(s.ID)
		h.want("the sixth within the hour", err, identity.Throttled)
		_, err = send("0a000000-0000-4000-8000-000000000001")
		h.want("to nobody", err, identity.NotFound)

		gone := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.SuspendedAt = s.CreatedAt })
		h.mailed()
		_, err = send(gone.ID)
		h.want("to a suspended person", err, identity.Suspended)

		without := h.Person()
		h.Update(func(tx identity.Tx) error {
			c, err := tx.Credential(t.Context(), without.ID, identity.Password)
			if err != nil {
				return err
			}
			return tx.DeleteCredential(t.Context(), c.ID)
		})
		secret, err = send(without.ID)
		h.want("to somebody without a password", err, nil)
		h.want("her first password", h.reset(secret, fresh), nil)
		h.wantSignIn(without, fresh, nil)
		if sent := h.mailed(); len(sent) != 1 {
			t.Errorf("sent %+v, want one mail", sent)
		}
		out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: gone.Email, Password: coretest.Password})
		if !errors.Is(err, identity.Suspended) || out.Session.ID != "" {
			t.Errorf("the suspended person: %v", err)
		}
	})
}
