package signin_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

const (
	number  = "+15145550100"
	mailbox = "ada@example.test"
)

// due signs in as far as the second factor.
func due(t *testing.T, c *coretest.Core, s identity.Subject) signin.Outcome {
	t.Helper()
	c.Clock.Advance(time.Millisecond) // messages of one instant have no order
	in := input(s.Email, coretest.Password)
	in.Steps.Proof = true
	out, err := c.SignIn.Password(t.Context(), in)
	if err != nil || out.Ticket == nil {
		t.Fatalf("Password = %+v, %v, want a ticket", out, err)
	}
	return out
}

func again(t *testing.T, c *coretest.Core, out signin.Outcome) error {
	t.Helper()
	c.Clock.Advance(time.Millisecond)
	return c.SignIn.Resend(t.Context(), signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}})
}

func TestCodesBySMSAndMail(t *testing.T) {
	tests := []struct {
		kind       identity.CredentialKind
		to, amr    string
		channel    identity.Channel
		otherWords string
	}{
		{identity.SMSCode, number, "sms", identity.SMS, "minutes"},
		{identity.EmailCode, mailbox, "email", identity.Mail, "Person"},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, tt := range tests {
			s := c.Person()
			c.WithTarget(s, tt.kind, tt.to)
			before := len(c.Sent())
			out := due(t, c, s)
			if !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{tt.kind}) {
				t.Errorf("offered %v", out.Ticket.Factors)
			}
			sent := c.Sent()[before:]
			if len(sent) != 1 || sent[0].Recipient != tt.to || sent[0].Channel != tt.channel || !strings.Contains(sent[0].Text, tt.otherWords) {
				t.Fatalf("sent %+v", sent)
			}
			code := c.SentCode()
			c.View(func(r identity.Reader) error {
				row, err := r.Ticket(t.Context(), out.Ticket.ID)
				if strings.Contains(string(row.Data), code) {
					t.Error("the ticket holds the code in clear")
				}
				return err
			})
			if _, err := c.SignIn.Proof(t.Context(), proof(out, "x"+code[1:])); !errors.Is(err, identity.BadCode) {
				t.Errorf("a wrong code: %v", err)
			}
			done, err := c.SignIn.Proof(t.Context(), proof(out, code))
			if err != nil || !slices.Contains(done.Session.AMR, tt.amr) || !slices.Contains(done.Session.AMR, "mfa") {
				t.Errorf("Proof = %+v, %v", done.Session, err)
			}
			if _, err := c.SignIn.Proof(t.Context(), proof(out, code)); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("again: %v", err)
			}
			if next := due(t, c, s); c.SentCode() == code {
				t.Error("the next sign-in sends the same code")
			} else if _, err := c.SignIn.Proof(t.Context(), proof(next, code)); !errors.Is(err, identity.BadCode) {
				t.Errorf("a code of another sign-in: %v", err)
			}
		}
	})
}

// One message for one sign-in, by the strongest channel; none where an app shows the code.
func TestOneCodeIsSent(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		c.WithTarget(s, identity.SMSCode, number)
		if out := due(t, c, s); !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.SMSCode}) || len(c.Sent()) != 1 {
			t.Errorf("offered %v, sent %+v", out.Ticket.Factors, c.Sent())
		}
		c.SMS.Open = false
		if out := due(t, c, s); !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.EmailCode}) || len(c.Sent()) != 2 {
			t.Errorf("without SMS: offered %v, sent %+v", out.Ticket.Factors, c.Sent())
		}
		c.WithTOTP(s)
		if out := due(t, c, s); !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.TOTP}) || len(c.Sent()) != 2 {
			t.Errorf("with an app: offered %v, sent %+v", out.Ticket.Factors, c.Sent())
		}
	})
}

// Who has a factor that cannot be sent is refused, not let in without.
func TestNothingCanBeSent(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		c.SMS.Open, c.Email.Open = false, false
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		c.WithTarget(s, identity.SMSCode, number)
		in := input(s.Email, coretest.Password)
		for _, steps := range []signin.Steps{{}, {Proof: true}} {
			in.Steps = steps
			if out, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.FactorRequired) || out.Session.ID != "" || out.Ticket != nil {
				t.Errorf("%+v: %+v, %v", steps, out, err)
			}
		}
		if n := len(c.Sent()); n > 0 {
			t.Errorf("%d messages", n)
		}
	})
}

// A door without a second step has nothing sent.
func TestNoStepNoMessage(t *testing.T) {
	c := coretest.New(t, storetest.SQLite(t))
	s := c.Person()
	c.WithTarget(s, identity.SMSCode, number)
	if out, err := c.SignIn.Password(t.Context(), input(s.Email, coretest.Password)); !errors.Is(err, identity.FactorRequired) || out.Session.ID != "" || len(c.Sent()) > 0 {
		t.Errorf("%+v, %v, sent %+v", out, err, c.Sent())
	}
	in := input(s.Email, "wrong")
	in.Steps.Proof = true
	if _, err := c.SignIn.Password(t.Context(), in); !errors.Is(err, identity.BadCredential) || len(c.Sent()) > 0 {
		t.Errorf("with a wrong password: %v, sent %+v", err, c.Sent())
	}
}

func TestResend(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.SMSCode, number)
		out := due(t, c, s)
		code := c.SentCode()
		c.Clock.Advance(4 * time.Minute)
		for range 3 {
			if err := again(t, c, out); err != nil {
				t.Fatal(err)
			}
			if c.SentCode() != code {
				t.Error("another code was sent")
			}
		}
		sent := c.Sent()
		if last := sent[len(sent)-1]; len(sent) != 4 || !strings.Contains(last.Text, "within 1 minute.") || last.Until.Before(out.Ticket.ExpiresAt.Add(-time.Second)) {
			t.Errorf("%d sent, the last says %q", len(sent), last.Text)
		}
		if err := again(t, c, out); !errors.Is(err, identity.Throttled) || len(c.Sent()) != 4 {
			t.Errorf("the fourth time: %v, %d sent", err, len(c.Sent()))
		}
		c.Clock.Advance(time.Minute)
		if err := again(t, c, out); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("late: %v", err)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, code)); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("the code lived longer: %v", err)
		}
	})
}

func TestResendRefuses(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		elsewhere := coretest.Caller(coretest.Lax)
		for name, spoil := range map[string]func(signin.Outcome) signin.ResendInput{
			"unknown": func(signin.Outcome) signin.ResendInput {
				return signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: "unknown"}}
			},
			"another door": func(out signin.Outcome) signin.ResendInput {
				return signin.ResendInput{Caller: elsewhere, Ticket: signin.TicketRef{Secret: out.Ticket.Secret}}
			},
			"spent": func(out signin.Outcome) signin.ResendInput {
				if _, err := c.SignIn.Proof(t.Context(), proof(out, c.SentCode())); err != nil {
					t.Error(err)
				}
				return signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}}
			},
			"tried too often": func(out signin.Outcome) signin.ResendInput {
				for range 5 {
					_, _ = c.SignIn.Proof(t.Context(), proof(out, "wrong"))
				}
				return signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{ID: out.Ticket.ID}}
			},
		} {
			in := spoil(due(t, c, s))
			before := len(c.Sent())
			if err := c.SignIn.Resend(t.Context(), in); !errors.Is(err, identity.TicketInvalid) || len(c.Sent()) != before {
				t.Errorf("%s: %v, %d sent", name, err, len(c.Sent())-before)
			}
		}
		app := c.Person()
		c.WithTOTP(app)
		if err := again(t, c, due(t, c, app)); !errors.Is(err, identity.Invalid) {
			t.Errorf("an authenticator's: %v", err)
		}
		change := c.Person(func(_ *identity.Subject, cred *identity.Credential) { cred.MustChange = true })
		in := input(change.Email, coretest.Password)
		in.Steps.Change = true
		out, err := c.SignIn.Password(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if err := again(t, c, out); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("a ticket for another step: %v", err)
		}
	})
}

// What happens to her or to her number while she waits for the code counts.
func TestCodesAreOfTheNumberAtTheTime(t *testing.T) {
	changes := map[string]func(*coretest.Core, identity.Tx, identity.Subject, identity.Credential) error{
		"the number was replaced": func(c *coretest.Core, tx identity.Tx, s identity.Subject, old identity.Credential) error {
			if err := tx.DeleteCredential(t.Context(), old.ID); err != nil {
				return err
			}
			id, err := identity.NewID(c.Clock.Now(), c.SignIn.Rand)
			old.ID, old.Target = identity.CredentialID(id), "+15145550199"
			return errors.Join(err, tx.CreateCredential(t.Context(), old))
		},
		"it was removed": func(_ *coretest.Core, tx identity.Tx, _ identity.Subject, old identity.Credential) error {
			return tx.DeleteCredential(t.Context(), old.ID)
		},
		"she was suspended": func(c *coretest.Core, tx identity.Tx, s identity.Subject, _ identity.Credential) error {
			s.SuspendedAt = c.Clock.Now()
			return tx.UpdateSubject(t.Context(), s)
		},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for name, change := range changes {
			s := c.Person()
			c.WithTarget(s, identity.SMSCode, "+151455502"+s.Email[6:7]+"0")
			out := due(t, c, s)
			code, before := c.SentCode(), len(c.Sent())
			c.Update(func(tx identity.Tx) error {
				old, err := tx.Credential(t.Context(), s.ID, identity.SMSCode)
				if err != nil {
					return err
				}
				return change(c, tx, s, old)
			})
			if err := again(t, c, out); !errors.Is(err, identity.TicketInvalid) || len(c.Sent()) != before {
				t.Errorf("%s: resent with %v", name, err)
			}
			if done, err := c.SignIn.Proof(t.Context(), proof(out, code)); err == nil || identity.KindOf(err) == identity.Internal || done.Session.ID != "" {
				t.Errorf("%s: Proof = %+v, %v", name, done, err)
			}
		}
	})
}

func TestOneSessionOfOneSentCode(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.SMSCode, number)
		out := due(t, c, s)
		code := c.SentCode()
		var wg sync.WaitGroup
		won := make(chan identity.SessionID, 16)
		for i := range 16 {
			wg.Go(func() {
				if i%4 == 3 { // a resend beside them gives nobody a second go
					_ = c.SignIn.Resend(t.Context(), signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}})
					return
				}
				if done, err := c.SignIn.Proof(t.Context(), proof(out, code)); err == nil {
					won <- done.Session.ID
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Errorf("%d sessions", len(won))
		}
	})
}

// Whoever has her password cannot have her sent more than ten codes an hour, resent ones included, nor five to one number.
func TestCodesAreBounded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for kind, want := range map[identity.CredentialKind]int{identity.EmailCode: 10, identity.SMSCode: 5} {
			s := c.Person()
			c.WithTarget(s, kind, map[identity.CredentialKind]string{identity.EmailCode: mailbox, identity.SMSCode: number}[kind])
			before := len(c.Sent())
			in := input(s.Email, coretest.Password)
			in.Steps.Proof = true
			var refused error
			for range 8 {
				out, err := c.SignIn.Password(t.Context(), in)
				if err != nil {
					refused = err
					continue
				}
				if err := again(t, c, out); err != nil {
					refused = err
				}
			}
			if e := identity.Describe(refused); e.Kind != identity.Throttled || e.RetryAfter <= 0 {
				t.Errorf("%s: refused with %v", kind, refused)
			}
			if sent := len(c.Sent()) - before; sent != want {
				t.Errorf("%s: %d sent, want %d", kind, sent, want)
			}
			c.Clock.Advance(time.Hour)
			due(t, c, s)
		}
		// Where one channel is used up the next one serves.
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		c.WithTarget(s, identity.SMSCode, "+15145550177")
		for range 5 {
			due(t, c, s)
		}
		if out := due(t, c, s); !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.EmailCode}) {
			t.Errorf("offered %v", out.Ticket.Factors)
		}
	})
}

// An update that the store runs again sends one message, with the code that the ticket knows.
func TestOneMessageThoughTheUpdateRunsAgain(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, twice{store})
		s := c.Person()
		c.WithTarget(s, identity.SMSCode, number)
		out := due(t, c, s)
		if n := len(c.Sent()); n != 1 {
			t.Errorf("%d messages", n)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, c.SentCode())); err != nil {
			t.Error(err)
		}
	})
}
