package signin_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// The weakest kind that an organisation lets in: whoever has a weaker one only is refused, before and after she signs in.
func TestDemandedKinds(t *testing.T) {
	app := []identity.CredentialKind{identity.TOTP}
	sms := []identity.CredentialKind{identity.TOTP, identity.SMSCode}
	tests := []struct {
		name  string
		has   []identity.CredentialKind
		kinds []identity.CredentialKind
		want  []identity.CredentialKind // offered; nil: refused
	}{
		{"an app for any", app, nil, app},
		{"an app for an app", app, app, app},
		{"SMS for SMS", []identity.CredentialKind{identity.SMSCode}, sms, []identity.CredentialKind{identity.SMSCode}},
		{"SMS for an app", []identity.CredentialKind{identity.SMSCode}, app, nil},
		{"mail for SMS", []identity.CredentialKind{identity.EmailCode}, sms, nil},
		{"mail and an app for an app", []identity.CredentialKind{identity.EmailCode, identity.TOTP}, app, app},
		{"nothing for any", nil, nil, []identity.CredentialKind{identity.EmailCode}},
		{"nothing for SMS", nil, sms, nil},
		{"an app that is not enough is not replaced by her mailbox", app, []identity.CredentialKind{identity.EmailCode}, nil},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := c.Person()
				org := identity.OrganisationID("019b76da-a800-7000-8000-00000000000" + string(rune('1'+i)))
				company(t, c, org, time.Time{}, s)
				held := signedIn(t, c, s)
				for _, kind := range tt.has {
					if kind == identity.TOTP {
						c.WithTOTP(s)
					} else {
						c.WithTarget(s, kind, map[identity.CredentialKind]string{identity.SMSCode: number, identity.EmailCode: mailbox}[kind])
					}
				}
				kinds := func(identity.Organisation) []identity.CredentialKind { return tt.kinds }
				in := input(s.Email, coretest.Password)
				in.Steps.Proof, in.Landing, in.Demand, in.DemandKinds = true, signin.LastOrOnly, guarded, kinds
				first, err := c.SignIn.Password(t.Context(), in)
				second, entering := c.SignIn.Enter(t.Context(), signin.EnterInput{
					Caller: coretest.Caller(coretest.Door), Live: &session.Live{Session: held, Subject: s}, Organisation: org, Demand: identity.FactorNeeded, Kinds: tt.kinds,
				})
				for what, got := range map[string]struct {
					out signin.Outcome
					err error
				}{"signing in": {first, err}, "entering": {second, entering}} {
					if tt.want == nil {
						if !errors.Is(got.err, identity.FactorRequired) {
							t.Errorf("%s: %+v, %v, want a refusal", what, got.out, got.err)
						}
						continue
					}
					if got.err != nil || got.out.Ticket == nil || !slices.Equal(got.out.Ticket.Factors, tt.want) {
						t.Errorf("%s: %+v, %v, want %v offered", what, got.out, got.err, tt.want)
					}
				}
			})
		}
	})
}

// A session that was shown a weak factor is asked for a strong one where that is demanded, and then is not asked again.
func TestStrongerKindIsAskedForOnEntering(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		in := input(s.Email, coretest.Password)
		in.Steps.Proof = true
		out, err := c.SignIn.Password(t.Context(), in)
		must(t, err)
		out, err = c.SignIn.Proof(t.Context(), proof(out, c.SentCode()))
		must(t, err)
		held := out.Session
		company(t, c, works, time.Time{}, s)
		c.WithTOTP(s)
		into := enter(held, works, guarded)
		if out, err := c.SignIn.Enter(t.Context(), into); err != nil || out.Ticket != nil {
			t.Errorf("where any will do: %+v, %v", out, err)
		}
		into.Kinds = []identity.CredentialKind{identity.TOTP, identity.WebAuthn}
		out, err = c.SignIn.Enter(t.Context(), into)
		if err != nil || out.Ticket == nil || !slices.Equal(out.Ticket.Factors, []identity.CredentialKind{identity.TOTP}) {
			t.Fatalf("where an app is demanded: %+v, %v", out, err)
		}
		out, err = c.SignIn.Proof(t.Context(), proof(out, c.Code()))
		must(t, err)
		into.Live = &session.Live{Session: out.Session}
		if out, err := c.SignIn.Enter(t.Context(), into); err != nil || out.Ticket != nil {
			t.Errorf("afterwards: %+v, %v", out, err)
		}
	})
}

// Her mailbox is good for what a door's organisation or she herself asks, never for what the security policy demands.
func TestMailbox(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		own := func(s identity.Subject) signin.PasswordInput {
			in := input(s.Email, coretest.Password)
			in.Steps.Proof = true
			in.OwnDemand = func(identity.Subject) identity.Demand { return identity.FactorNeeded }
			return in
		}
		s := c.Person()
		out, err := c.SignIn.Password(t.Context(), own(s))
		must(t, err)
		if sent := c.Sent(); len(sent) != 1 || sent[0].Recipient != s.Email {
			t.Fatalf("sent %+v", sent)
		}
		code := c.SentCode()
		must(t, c.SignIn.Resend(t.Context(), signin.ResendInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: out.Ticket.Secret}}))
		if c.SentCode() != code {
			t.Error("another code was sent")
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(out, code)); err != nil {
			t.Errorf("the code: %v", err)
		}
		// Another address by then.
		out, err = c.SignIn.Password(t.Context(), own(s))
		must(t, err)
		code = c.SentCode()
		c.Update(func(tx identity.Tx) error {
			moved := s
			moved.Email = "moved@example.test"
			return tx.UpdateSubject(t.Context(), moved)
		})
		if _, err := c.SignIn.Proof(t.Context(), proof(out, code)); !errors.Is(err, identity.BadCode) && !errors.Is(err, identity.BadCredential) {
			t.Errorf("the code that went to her earlier address: %v", err)
		}
		c.Email.Open = false
		if _, err := c.SignIn.Password(t.Context(), own(c.Person())); !errors.Is(err, identity.FactorRequired) {
			t.Errorf("where no mail leaves the house: %v", err)
		}
		c.Email.Open = true
		for name, p := range map[string]identity.Policy{
			"a policy that demands a factor":  {SecondFactor: identity.FactorNeeded},
			"a policy that allows no mail":    {Factors: []identity.CredentialKind{identity.TOTP}},
			"a policy that has them switched": {SecondFactor: identity.FactorOff},
		} {
			p.ID, p.Key = "p", identity.DefaultPolicyKey
			c.Update(func(tx identity.Tx) error {
				if err := tx.SavePolicy(t.Context(), p); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.PolicyChanged, "p", c.Clock.Now())
			})
			if out, err := c.SignIn.Password(t.Context(), own(c.Person())); !errors.Is(err, identity.FactorRequired) {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
		}
	})
}

// linked gets somebody half way in, and gives the link in her mail.
func linked(t *testing.T, c *coretest.Core, s identity.Subject) (signin.Outcome, identity.Secret) {
	t.Helper()
	var shown identity.Secret
	in := input(s.Email, coretest.Password)
	in.Steps.Proof = true
	in.CodeLink = func(secret identity.Secret) string {
		shown = secret
		return "https://id.example.test/?x=" + secret.Reveal()
	}
	c.Clock.Advance(time.Millisecond)
	out, err := c.SignIn.Password(t.Context(), in)
	if err != nil || out.Ticket == nil || shown == "" {
		t.Fatalf("%+v, %v, link %q", out, err, shown)
	}
	if sent := c.Sent(); !strings.Contains(sent[len(sent)-1].Text, "https://id.example.test/?x="+shown.Reveal()) {
		t.Fatalf("sent %+v", sent)
	}
	return out, shown
}

func byLink(t *testing.T, c *coretest.Core, shown identity.Secret) (signin.Outcome, error) {
	t.Helper()
	return c.SignIn.ByLink(t.Context(), signin.LinkInput{Caller: coretest.Caller(coretest.Door), Secret: shown})
}

func TestByLink(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		half, shown := linked(t, c, s)
		done, err := byLink(t, c, shown)
		if err != nil || !slices.Equal(done.Session.AMR, []string{"pwd", "email", "mfa"}) || done.Session.SubjectID != s.ID {
			t.Fatalf("%+v, %v", done, err)
		}
		if _, err := byLink(t, c, shown); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("twice: %v", err)
		}
		if _, err := c.SignIn.Proof(t.Context(), proof(half, c.SentCode())); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("its code, afterwards: %v", err)
		}
	})
}

// A link is as good as the code beside it, and no better.
func TestLinksThatAreNoLongerGood(t *testing.T) {
	tests := map[string]func(t *testing.T, c *coretest.Core, s identity.Subject, half signin.Outcome){
		"the code was used": func(t *testing.T, c *coretest.Core, _ identity.Subject, half signin.Outcome) {
			_, err := c.SignIn.Proof(t.Context(), proof(half, c.SentCode()))
			must(t, err)
		},
		"too many wrong codes": func(t *testing.T, c *coretest.Core, _ identity.Subject, half signin.Outcome) {
			for range 5 {
				if _, err := c.SignIn.Proof(t.Context(), proof(half, "x")); !errors.Is(err, identity.BadCode) {
					t.Fatal(err)
				}
			}
		},
		"too late": func(_ *testing.T, c *coretest.Core, _ identity.Subject, _ signin.Outcome) {
			c.Clock.Advance(5 * time.Minute)
		},
		"she gave up": func(t *testing.T, c *coretest.Core, _ identity.Subject, half signin.Outcome) {
			must(t, c.SignIn.Abandon(t.Context(), coretest.Caller(coretest.Door), signin.TicketRef{Secret: half.Ticket.Secret}, signin.ProofDue))
		},
		"her mailbox is another": func(t *testing.T, c *coretest.Core, s identity.Subject, _ signin.Outcome) {
			c.Update(func(tx identity.Tx) error {
				old, err := tx.Credential(t.Context(), s.ID, identity.EmailCode)
				if err != nil {
					return err
				}
				return tx.DeleteCredential(t.Context(), old.ID)
			})
			c.WithTarget(s, identity.EmailCode, "other@example.test")
		},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for name, spoil := range tests {
			s := c.Person()
			c.WithTarget(s, identity.EmailCode, mailbox)
			half, shown := linked(t, c, s)
			spoil(t, c, s, half)
			if out, err := byLink(t, c, shown); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
		}
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		_, shown := linked(t, c, s)
		for name, in := range map[string]signin.LinkInput{
			"at another door":  {Caller: coretest.Caller(coretest.Lax), Secret: shown},
			"without its sign": {Caller: coretest.Caller(coretest.Door), Secret: shown[:40]},
			"nothing":          {Caller: coretest.Caller(coretest.Door)},
		} {
			if _, err := c.SignIn.ByLink(t.Context(), in); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := byLink(t, c, shown); err != nil {
			t.Errorf("the right one, after all that: %v", err)
		}
	})
}

// Sixteen follow the link and type the code beside it at the same moment: one is in.
func TestOneLinkOrCodeHasOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := c.Person()
		c.WithTarget(s, identity.EmailCode, mailbox)
		half, shown := linked(t, c, s)
		code := c.SentCode()
		var all sync.WaitGroup
		var winners atomic.Int32
		for n := range 16 {
			all.Go(func() {
				var err error
				if n%4 == 0 { // five tries are all that a step has
					_, err = c.SignIn.Proof(t.Context(), proof(half, code))
				} else {
					_, err = c.SignIn.ByLink(t.Context(), signin.LinkInput{Caller: coretest.Caller(coretest.Door), Secret: shown})
				}
				switch {
				case err == nil:
					winners.Add(1)
				case !errors.Is(err, identity.TicketInvalid):
					t.Errorf("lost with %v", err)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d winners", winners.Load())
		}
	})
}
