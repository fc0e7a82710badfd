package recovery_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const (
	ttl                     = time.Hour
	fresh   identity.Secret = "a quiet meadow with bells"
	fresher identity.Secret = "a loud harbour with gulls"
)

// house is the core with recovery, an outbox, and a post office.
type house struct {
	*coretest.Core
	*recovery.Service
	t      *testing.T
	worker *deliver.Worker
	office *office
}

// office takes what is sent.
type office struct {
	mu   sync.Mutex
	sent []deliver.Content
}

func (o *office) Send(_ context.Context, _ identity.MessageID, _ time.Time, c deliver.Content) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, c)
	return nil
}

func build(t *testing.T, store identity.Store) *house {
	t.Helper()
	c := coretest.New(t, store)
	c.Passwords.Rand = c.SignIn.Rand // ids of one kind come from one source, or two would be equal
	outbox := &deliver.Outbox{Store: store, Box: c.Box, Templates: deliver.BuiltIn(), Now: c.Clock.Now, Rand: coretest.SeededRand()}
	people := &manage.Service{
		Store: store, Passwords: c.Passwords, Sessions: c.Sessions, Log: c.Passwords.Log, Box: c.Box, Now: c.Clock.Now, Rand: c.SignIn.Rand,
	}
	h := &house{Core: c, t: t, office: &office{}, Service: &recovery.Service{
		Store: store, Passwords: c.Passwords, Manage: people, Links: c.Links, Mailer: outbox, Log: c.Passwords.Log, Now: c.Clock.Now, Rand: c.SignIn.Rand,
	}}
	c.SignIn.Recovery = h.Service
	h.worker = &deliver.Worker{Outbox: outbox, Owner: "test", Senders: map[identity.Channel]deliver.Sender{identity.Mail: h.office}, Log: c.Passwords.Log}
	return h
}

// forgot asks for a link and gives what it carries, whether or not anybody is sent it.
func (h *house) forgot(login string) identity.Secret {
	h.t.Helper()
	var secret identity.Secret
	if err := h.Forgot(h.t.Context(), recovery.ForgotInput{
		Caller: coretest.Caller(coretest.Door), Login: login, Link: linkTo(&secret),
	}); err != nil {
		h.t.Fatalf("Forgot(%q) = %v", login, err)
	}
	if len(secret) != 43+1+64 {
		h.t.Fatalf("a secret of %d characters, want 256 bits and a signature", len(secret))
	}
	return secret
}

// linkTo gives a link whose secret is put where the test can read it.
func linkTo(secret *identity.Secret) recovery.Link {
	return recovery.Link{TTL: ttl, Address: func(s identity.Secret) string {
		*secret = s
		return "https://id.example.test/link?token=" + s.Reveal()
	}}
}

// mailed sends what waits, and gives what arrived.
func (h *house) mailed() []deliver.Content {
	h.t.Helper()
	if _, err := h.worker.RunOnce(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	sent := h.office.sent
	h.office.sent = nil
	return sent
}

func (h *house) reset(secret, pw identity.Secret) error {
	return h.Reset(h.t.Context(), recovery.ResetInput{Caller: coretest.Caller(coretest.Door), Token: secret, NewPassword: pw})
}

func (h *house) look(secret identity.Secret) error {
	_, err := h.Look(h.t.Context(), coretest.Caller(coretest.Door), secret)
	return err
}

func (h *house) signIn(s identity.Subject, pw identity.Secret) (identity.Session, error) {
	out, err := h.SignIn.Password(h.t.Context(), signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: pw})
	return out.Session, err
}

func (h *house) wantSignIn(s identity.Subject, pw identity.Secret, want error) {
	h.t.Helper()
	if _, err := h.signIn(s, pw); !errors.Is(err, want) {
		h.t.Errorf("sign-in gives %v, want %v", err, want)
	}
}

func (h *house) want(what string, got, want error) {
	h.t.Helper()
	if !errors.Is(got, want) {
		h.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (h *house) messages() (list []identity.Message) {
	h.t.Helper()
	h.View(func(r identity.Reader) (err error) {
		list, err = r.Messages(h.t.Context(), "", "", 1000)
		return err
	})
	return list
}

// counted is a transaction that writes down which statements are asked for. One that Forgot has not used so far panics, so that
// nobody adds a statement for known logins alone without looking here.
type counted struct {
	identity.Tx // nil
	real        identity.Tx
	calls       *[]string
}

func (c counted) note(name string) { *c.calls = append(*c.calls, name) }

func (c counted) CountAttempt(ctx context.Context, key string, now time.Time, window time.Duration) (identity.Attempts, error) {
	c.note("count")
	return c.real.CountAttempt(ctx, key, now, window)
}

func (c counted) SubjectByLogin(ctx context.Context, folded string) (identity.Subject, error) {
	c.note("subject")
	return c.real.SubjectByLogin(ctx, folded)
}

func (c counted) CreateTicket(ctx context.Context, t identity.Ticket) error {
	c.note("ticket")
	return c.real.CreateTicket(ctx, t)
}

func (c counted) Enqueue(ctx context.Context, m identity.Message) error {
	c.note("message")
	return c.real.Enqueue(ctx, m)
}

func (c counted) Record(ctx context.Context, e *identity.Event) error {
	c.note("event")
	return c.real.Record(ctx, e)
}

type countingStore struct {
	identity.Store
	calls []string
}

func (s *countingStore) Update(ctx context.Context, write func(identity.Tx) error) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error {
		s.calls = nil
		return write(counted{real: tx, calls: &s.calls})
	})
}

// Whoever asks learns nothing about who has an account, neither from the answer nor from the work (P8).
func TestForgotIsAlikeForEverybody(t *testing.T) {
	tests := []struct {
		name    string
		person  func(*identity.Subject, *identity.Credential) // nil: nobody
		login   func(identity.Subject) string
		earlier int // requests within the hour
		mailed  bool
	}{
		{name: "known", person: func(*identity.Subject, *identity.Credential) {}, mailed: true},
		{name: "known, typed loudly", person: func(*identity.Subject, *identity.Credential) {}, login: func(s identity.Subject) string { return " " + strings.ToUpper(s.Email) }, mailed: true},
		{name: "known, in German", person: func(s *identity.Subject, _ *identity.Credential) { s.Locale = "de-CH" }, mailed: true},
		{name: "known, address not confirmed", person: func(s *identity.Subject, _ *identity.Credential) { s.VerifiedAt = time.Time{} }, mailed: true},
		{name: "the fifth within the hour", person: func(*identity.Subject, *identity.Credential) {}, earlier: 4, mailed: true},
		{name: "the sixth within the hour", person: func(*identity.Subject, *identity.Credential) {}, earlier: 5},
		{name: "suspended", person: func(s *identity.Subject, _ *identity.Credential) { s.SuspendedAt = s.CreatedAt }},
		{name: "unknown", login: func(identity.Subject) string { return "nobody@example.test" }},
		{name: "unknown, many times", login: func(identity.Subject) string { return "nobody-else@example.test" }, earlier: 7},
		{name: "impossible", login: func(identity.Subject) string { return "a\x00\xff" }},
		{name: "empty", login: func(identity.Subject) string { return "" }},
		{name: "very long", login: func(identity.Subject) string { return strings.Repeat("a", 10_000) + "@example.test" }},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		counting := &countingStore{Store: store}
		h.Service.Store = counting
		var work []string // of the first one, who is known
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				var s identity.Subject
				if tt.person != nil {
					s = h.Person(tt.person)
				}
				login := s.Email
				if tt.login != nil {
					login = tt.login(s)
				}
				for range tt.earlier {
					h.forgot(login)
				}
				h.mailed()
				before := len(h.messages())
				secret := h.forgot(login)
				if work == nil {
					work = counting.calls
				}
				if !slices.Contains(work, "message") || !slices.Equal(counting.calls, work) {
					t.Errorf("the work is %v, want %v as for a known login", counting.calls, work)
				}
				rows := h.messages()
				if len(rows) != before+1 || len(rows[0].Sealed) < 100 || rows[0].Template != deliver.PasswordReset {
					t.Fatalf("%d rows more in the outbox, the newest %+v", len(rows)-before, rows[0])
				}
				sent := h.mailed()
				if m := h.messages()[0]; m.SentAt.IsZero() || m.LastError != "" {
					t.Errorf("a row that tells itself from the others: %+v", m)
				}
				if !tt.mailed {
					if len(sent) != 0 {
						t.Errorf("sent %+v", sent)
					}
					h.want("a link that nobody was sent", h.look(secret), identity.TicketInvalid)
					h.want("spending it", h.reset(secret, fresh), identity.TicketInvalid)
					return
				}
				if len(sent) != 1 || sent[0].Recipient != s.Email || !strings.Contains(sent[0].Text, secret.Reveal()) {
					t.Errorf("sent %+v", sent)
				}
				h.want("the link", h.look(secret), nil)
			})
		}
		// The bound is of an hour.
		s := h.Person()
		for range 9 {
			h.forgot(s.Email)
		}
		if sent := h.mailed(); len(sent) != 5 {
			t.Errorf("%d mails in one hour, want 5", len(sent))
		}
		h.Clock.Advance(ttl)
		h.want("an hour later", h.look(h.forgot(s.Email)), nil)
		if sent := h.mailed(); len(sent) != 1 {
			t.Errorf("%d mails an hour later, want 1", len(sent))
		}
		h.View(func(r identity.Reader) error {
			events, err := r.Events(t.Context(), identity.EventFilter{Action: "recovery.request", SubjectID: s.ID, Limit: 100})
			if len(events) != 10 {
				t.Errorf("%d of 10 requests recorded", len(events))
			}
			return err
		})
	})
}

func TestReset(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person(func(s *identity.Subject, _ *identity.Credential) { s.VerifiedAt, s.MustVerify = time.Time{}, true })
		h.wantSignIn(s, coretest.Password, identity.Unverified)
		secret := h.forgot(s.Email)
		h.Clock.Advance(time.Minute)
		for range 3 { // mail scanners open links
			h.want("looking", h.look(secret), nil)
		}
		h.want("the right link", h.reset(secret, fresh), nil)
		h.wantSignIn(s, coretest.Password, identity.BadCredential)
		h.wantSignIn(s, fresh, nil) // and so her address is confirmed
		h.want("looking afterwards", h.look(secret), identity.TicketInvalid)
		h.want("a second time", h.reset(secret, fresher), identity.TicketInvalid)
		h.View(func(r identity.Reader) error {
			now, err := r.Subject(t.Context(), s.ID)
			if !now.VerifiedAt.Equal(h.Clock.Now()) {
				t.Errorf("confirmed at %v, want %v", now.VerifiedAt, h.Clock.Now())
			}
			events, _ := r.Events(t.Context(), identity.EventFilter{Action: "password.set"})
			if len(events) != 1 || !strings.Contains(string(events[0].Detail), "reset by link") || events[0].Door != coretest.Door {
				t.Errorf("recorded %+v", events)
			}
			return err
		})
	})
}

func TestLinksThatAreNoLongerGood(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *house, s identity.Subject)
		look  error
		reset error // TicketInvalid where nothing else is said
	}{
		{"expired", func(_ *testing.T, h *house, _ identity.Subject) { h.Clock.Advance(ttl) }, identity.TicketInvalid, nil},
		{"another link was used", func(t *testing.T, h *house, s identity.Subject) {
			if err := h.reset(h.forgot(s.Email), fresh); err != nil {
				t.Fatal(err)
			}
		}, identity.TicketInvalid, nil},
		{"she remembered and changed it", func(t *testing.T, h *house, s identity.Subject) {
			begun, err := h.signIn(s, coretest.Password)
			if err != nil {
				t.Fatal(err)
			}
			live, err := h.Sessions.Check(t.Context(), coretest.Form(coretest.Door), h.Sessions.Opaque(begun, identity.AccessToken), identity.AccessToken)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.SignIn.ChangeOwn(t.Context(), coretest.Caller(coretest.Door), live, coretest.Password, fresh); err != nil {
				t.Fatal(err)
			}
		}, identity.TicketInvalid, nil},
		{"she changed it while signing in", func(t *testing.T, h *house, s identity.Subject) {
			in := signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password, NewPassword: fresh}
			if _, err := h.SignIn.Password(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}, identity.TicketInvalid, nil},
		{"she was suspended", func(t *testing.T, h *house, s identity.Subject) {
			h.Update(func(tx identity.Tx) error {
				s, err := tx.Subject(t.Context(), s.ID)
				if err != nil {
					return err
				}
				s.SuspendedAt = h.Clock.Now()
				return tx.UpdateSubject(t.Context(), s)
			})
		}, nil, identity.Suspended},
		{"she was deleted", func(t *testing.T, h *house, s identity.Subject) {
			h.Update(func(tx identity.Tx) error { return tx.DeleteSubject(t.Context(), s.ID) })
		}, identity.TicketInvalid, nil},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s, bystander := h.Person(), h.Person()
				secret := h.forgot(s.Email)
				h.want("the link, before", h.look(secret), nil)
				tt.spoil(t, h, s)
				kept := h.forgot(bystander.Email)
				h.want("looking", h.look(secret), tt.look)
				h.want("spending", h.reset(secret, fresher), cmp.Or(tt.reset, error(identity.TicketInvalid)))
				h.want("somebody else's link", h.reset(kept, fresher), nil)
			})
		}
	})
}

func TestALinkIsGoodAtItsDoorOnly(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		secret := h.forgot(s.Email)
		elsewhere := coretest.Caller(coretest.Lax)
		_, err := h.Look(t.Context(), elsewhere, secret)
		h.want("looking at another door", err, identity.TicketInvalid)
		h.want("spending at another door", h.Reset(t.Context(), recovery.ResetInput{Caller: elsewhere, Token: secret, NewPassword: fresh}), identity.TicketInvalid)
		for _, guess := range []identity.Secret{"", "x", secret + "x", secret[:43], secret[:42], identity.Secret(strings.Repeat("A", 43)), "\x00"} {
			h.want("a guess", h.reset(guess, fresh), identity.TicketInvalid)
		}

		// A sign-in's ticket is none, though its holder proved the password.
		h.WithTOTP(s)
		out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
			Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password,
			Way: signin.Way{Steps: signin.Steps{Proof: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		h.want("a ticket of another purpose", h.reset(out.Ticket.Secret, fresh), identity.TicketInvalid)
		_, err = h.SignIn.Proof(t.Context(), signin.ProofInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: secret}, Code: h.Code()})
		h.want("a link for a sign-in step", err, identity.TicketInvalid)
		h.want("at its own door", h.reset(secret, fresh), nil)
	})
}

func TestARefusedPasswordLeavesTheLinkGood(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		secret := h.forgot(s.Email)
		h.want("weak", h.reset(secret, "short"), identity.WeakPassword)
		h.want("common", h.reset(secret, "password1"), identity.WeakPassword)
		h.want("the one she had", h.reset(secret, coretest.Password), identity.PasswordReused)
		h.wantSignIn(s, coretest.Password, nil)
		h.want("a good one", h.reset(secret, fresh), nil)
		h.wantSignIn(s, fresh, nil)
	})
}

func TestResetEndsSessionsAndKeepsTheFactor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s, bystander := h.Person(), h.Person()
		type begun struct {
			door identity.Door
			raw  string
		}
		begin := func(who identity.Subject, door identity.Door) begun {
			t.Helper()
			out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{Caller: coretest.Caller(door), Login: who.Email, Password: coretest.Password})
			if err != nil {
				t.Fatal(err)
			}
			return begun{door, h.Sessions.Opaque(out.Session, identity.AccessToken)}
		}
		check := func(b begun) error {
			_, err := h.Sessions.Check(t.Context(), coretest.Form(b.door), b.raw, identity.AccessToken)
			return err
		}
		hers, others := []begun{begin(s, coretest.Door), begin(s, coretest.Lax)}, begin(bystander, coretest.Door)
		h.WithTOTP(s)
		half := signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password, Way: signin.Way{Steps: signin.Steps{Proof: true}}}
		halfway, err := h.SignIn.Password(t.Context(), half)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range hers {
			h.want("before", check(b), nil)
		}
		if err := h.reset(h.forgot(s.Email), fresh); err != nil {
			t.Fatal(err)
		}
		for _, b := range hers {
			h.want("a session from before, at "+string(b.door), check(b), identity.TokenRevoked)
		}
		h.want("somebody else's", check(others), nil)
		proof := signin.ProofInput{Caller: half.Caller, Ticket: signin.TicketRef{Secret: halfway.Ticket.Secret}, Code: h.Code()}
		_, err = h.SignIn.Proof(t.Context(), proof)
		h.want("half way in with the old password", err, identity.BadCredential)

		// Who can read her mail has not got her second factor (ASVS 5.0, 6.4.3).
		h.wantSignIn(s, fresh, identity.FactorRequired)
		h.Clock.Advance(time.Minute)
		half.Password = fresh
		out, err := h.SignIn.Password(t.Context(), half)
		if err != nil || out.Ticket == nil {
			t.Fatalf("outcome %+v, %v; want the second step", out, err)
		}
		proof.Ticket.Secret, proof.Code = out.Ticket.Secret, h.Code()
		_, err = h.SignIn.Proof(t.Context(), proof)
		h.want("the second step", err, nil)
	})
}

func TestOneLinkHasOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		same, other := h.forgot(s.Email), h.forgot(s.Email)
		var all sync.WaitGroup
		var winners atomic.Int32
		var won atomic.Value
		for n := range 16 {
			secret := same
			if n%4 == 3 {
				secret = other // both links are for the password that stood
			}
			all.Go(func() {
				pw := identity.Secret(fmt.Sprintf("a quiet meadow with %d bells", n))
				switch err := h.reset(secret, pw); {
				case err == nil:
					winners.Add(1)
					won.Store(pw)
				case !errors.Is(err, identity.TicketInvalid):
					t.Errorf("lost with %v, want %v", err, identity.TicketInvalid)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Fatalf("%d set a password, want 1", winners.Load())
		}
		h.wantSignIn(s, won.Load().(identity.Secret), nil)
	})
}

// Somebody who came from elsewhere without a password can make one.
func TestALinkMakesAFirstPassword(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.Update(func(tx identity.Tx) error {
			c, err := tx.Credential(t.Context(), s.ID, identity.Password)
			if err != nil {
				return err
			}
			return tx.DeleteCredential(t.Context(), c.ID)
		})
		h.wantSignIn(s, coretest.Password, identity.BadCredential)
		h.want("the link", h.reset(h.forgot(s.Email), fresh), nil)
		h.wantSignIn(s, fresh, nil)
	})
}

// A mail address that no mail can go to is no reason for another answer.
func TestForgotForAnAddressThatIsNone(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, address := range []string{"operator", ""} {
			s := h.Person()
			h.Update(func(tx identity.Tx) error { // the login stays: what is typed and where mail goes are two things
				now, err := tx.Subject(t.Context(), s.ID)
				if err != nil {
					return err
				}
				now.Email = address
				return tx.UpdateSubject(t.Context(), now)
			})
			h.forgot(s.Email)
			if sent := h.mailed(); len(sent) != 0 {
				t.Errorf("sent %+v", sent)
			}
		}
	})
}
