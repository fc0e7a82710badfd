package recovery_test

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/deliver"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// initiated asks for help, and gives what the link carries, whether or not anybody is sent it.
func (h *house) initiated(login string) identity.Secret {
	h.t.Helper()
	var secret identity.Secret
	if err := h.Initiate(h.t.Context(), recovery.ForgotInput{Caller: coretest.Caller(coretest.Door), Login: login, Link: linkTo(&secret)}); err != nil {
		h.t.Fatalf("Initiate(%q) = %v", login, err)
	}
	return secret
}

func (h *house) confirm(secret identity.Secret) (identity.Recovery, error) {
	return h.Confirm(h.t.Context(), recovery.ConfirmInput{Caller: coretest.Caller(coretest.Door), Secret: secret})
}

func (h *house) approve(id identity.RecoveryID) error {
	_, err := h.Approve(h.t.Context(), admin, id)
	return err
}

var code = regexp.MustCompile(`\b[2-9A-HJ-NP-Z]{10}\b`)

// recovered walks somebody through to the code in her mail.
func (h *house) recovered(s identity.Subject) string {
	h.t.Helper()
	waits, err := h.confirm(h.initiated(s.Email))
	if err != nil {
		h.t.Fatal(err)
	}
	h.mailed()
	if err := h.approve(waits.ID); err != nil {
		h.t.Fatal(err)
	}
	sent := h.mailed()
	if len(sent) != 1 || sent[0].Recipient != s.Email || sent[0].Template != deliver.RecoveryCode {
		h.t.Fatalf("sent %+v", sent)
	}
	return code.FindString(sent[0].Text)
}

// half gets somebody half way in.
func (h *house) half(s identity.Subject) identity.Secret {
	h.t.Helper()
	out, err := h.SignIn.Password(h.t.Context(), signin.PasswordInput{
		Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password,
		Way: signin.Way{Steps: signin.Steps{Proof: true}},
	})
	if err != nil || out.Ticket == nil {
		h.t.Fatalf("%+v, %v, want a second step", out, err)
	}
	return out.Ticket.Secret
}

func (h *house) enter(ticket identity.Secret, code string) (identity.Session, error) {
	out, err := h.SignIn.Proof(h.t.Context(), signin.ProofInput{Caller: coretest.Caller(coretest.Door), Ticket: signin.TicketRef{Secret: ticket}, Code: code})
	return out.Session, err
}

func (h *house) events(action string) []identity.Event {
	h.t.Helper()
	var list []identity.Event
	h.View(func(r identity.Reader) (err error) {
		list, err = r.Events(h.t.Context(), identity.EventFilter{Action: action, Limit: 100})
		return err
	})
	return list
}

func TestRecovery(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s, bystander := h.Person(), h.Person()
		h.WithTOTP(s)
		h.WithTOTP(bystander)
		before := h.half(s) // a step that was open already takes the code too
		secret := h.initiated(s.Email)
		sent := h.mailed()
		if len(sent) != 1 || sent[0].Recipient != s.Email || sent[0].Template != deliver.RecoveryConfirm || !strings.Contains(sent[0].Text, secret.Reveal()) {
			t.Fatalf("sent %+v", sent)
		}
		h.want("for a new password", h.reset(secret, fresh), identity.TicketInvalid)
		h.want("to confirm an address", h.verify(secret), identity.TicketInvalid)
		waits, err := h.confirm(secret)
		h.want("confirming", err, nil)
		_, err = h.confirm(secret)
		h.want("confirming twice", err, identity.TicketInvalid)
		again, err := h.confirm(h.initiated(s.Email))
		if err != nil || again.ID != waits.ID {
			t.Errorf("asked twice: %+v, %v, want the one that waits", again, err)
		}
		h.mailed()
		if _, err := h.enter(before, "AAAAAAAAAA"); !errors.Is(err, identity.BadCode) {
			t.Errorf("before an operator has looked: %v", err)
		}
		h.want("approving", h.approve(waits.ID), nil)
		h.want("approving twice", h.approve(waits.ID), identity.Conflict)
		_, err = h.Deny(t.Context(), admin, waits.ID)
		h.want("denying what was approved", err, identity.Conflict)
		sent = h.mailed()
		if len(sent) != 1 || sent[0].Template != deliver.RecoveryCode {
			t.Fatalf("sent %+v", sent)
		}
		mailed := code.FindString(sent[0].Text)
		h.View(func(r identity.Reader) error {
			kept, err := r.Recovery(t.Context(), waits.ID)
			if len(kept.Hash) != 32 || strings.Contains(string(kept.Hash), mailed) || kept.State != identity.RecoveryApproved || !kept.ExpiresAt.Equal(h.Clock.Now().Add(24*time.Hour)) {
				t.Errorf("kept %+v", kept)
			}
			return err
		})
		if _, err := h.enter(h.half(bystander), mailed); !errors.Is(err, identity.BadCode) {
			t.Errorf("for somebody else: %v", err)
		}
		h.wantSignIn(s, coretest.Password, identity.FactorRequired) // where there is no second step there is no way round it
		session, err := h.enter(before, strings.ToLower(mailed[:5]+" "+mailed[5:]))
		if err != nil || strings.Join(session.AMR, " ") != "pwd recovery mfa" {
			t.Fatalf("with the code: %+v, %v", session, err)
		}
		sent = h.mailed()
		if len(sent) != 1 || sent[0].Recipient != s.Email || sent[0].Template != deliver.RecoveryUsed {
			t.Errorf("told %+v", sent)
		}
		ticket := h.half(s) // the factor stays
		if _, err := h.enter(ticket, mailed); !errors.Is(err, identity.BadCode) {
			t.Errorf("twice: %v", err)
		}
		if _, err := h.enter(ticket, h.Code()); err != nil {
			t.Errorf("the app, afterwards: %v", err)
		}
		for action, actor := range map[string]identity.SubjectID{
			"factor.recovery.approve": admin.ActorID, "factor.recovery.use": s.ID,
		} {
			if e := h.events(action); len(e) != 1 || e[0].SubjectID != s.ID || e[0].ActorID != actor || strings.Contains(string(e[0].Detail), mailed) {
				t.Errorf("%s recorded as %+v", action, e)
			}
		}
		if n := len(h.events("factor.recovery.request")); n != 2 {
			t.Errorf("%d requests recorded, want 2", n)
		}
	})
}

func TestRecoveryCodesThatAreNoLongerGood(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, h *house, s identity.Subject)
		want  error
	}{
		{"a day later", func(_ *testing.T, h *house, _ identity.Subject) { h.Clock.Advance(24 * time.Hour) }, identity.BadCode},
		{"just in time", func(_ *testing.T, h *house, _ identity.Subject) { h.Clock.Advance(24*time.Hour - time.Second) }, nil},
		{"her address is another", func(t *testing.T, h *house, s identity.Subject) {
			next := "moved-" + s.Email
			if _, err := h.Manage.Update(t.Context(), admin, s.ID, manage.Change{Email: &next}); err != nil {
				t.Fatal(err)
			}
		}, identity.BadCode},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := h.Person()
				h.WithTOTP(s)
				mailed := h.recovered(s)
				tt.spoil(t, h, s)
				s = h.subject(s.ID)
				h.Update(func(tx identity.Tx) error { // her login goes on, whatever her address is
					if _, err := tx.SubjectByLogin(t.Context(), s.Email); errors.Is(err, identity.NotFound) {
						return tx.CreateLogin(t.Context(), identity.Login{SubjectID: s.ID, Kind: identity.EmailLogin, Typed: s.Email, Folded: s.Email, Skeleton: s.Email})
					}
					return nil
				})
				_, err := h.enter(h.half(s), mailed)
				h.want("the code", err, tt.want)
			})
		}
		s := h.Person()
		waits, err := h.confirm(h.initiated(s.Email))
		h.want("confirming", err, nil)
		h.Clock.Advance(7 * 24 * time.Hour)
		h.want("approving what waited too long", h.approve(waits.ID), identity.Conflict)
		s = h.Person()
		waits, err = h.confirm(h.initiated(s.Email))
		h.want("confirming", err, nil)
		next := "moved-" + s.Email
		if _, err := h.Manage.Update(t.Context(), admin, s.ID, manage.Change{Email: &next}); err != nil {
			t.Fatal(err)
		}
		h.want("approving for another address", h.approve(waits.ID), identity.Conflict)
		h.want("approving nothing", h.approve("0a000000-0000-4000-8000-000000000001"), identity.NotFound)
	})
}

// Whoever has no factor left that can be used is let in by what an operator approved, and by nothing less.
func TestRecoveryWhereNothingElseIsLeft(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.WithTarget(s, identity.SMSCode, "+15145550100")
		h.SMS.Open = false
		in := signin.PasswordInput{Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password, Way: signin.Way{Steps: signin.Steps{Proof: true}}}
		_, err := h.SignIn.Password(t.Context(), in)
		h.want("before", err, identity.FactorRequired)
		mailed := h.recovered(s)
		if _, err := h.enter(h.half(s), mailed); err != nil {
			t.Errorf("with the code: %v", err)
		}
		_, err = h.SignIn.Password(t.Context(), in)
		h.want("afterwards", err, identity.FactorRequired)
	})
}

func TestApprovalAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		secret := h.initiated(s.Email)
		h.mailed()
		got, err := h.Confirm(t.Context(), recovery.ConfirmInput{Caller: coretest.Caller(coretest.Door), Secret: secret, AtOnce: true})
		if err != nil || got.State != identity.RecoveryApproved {
			t.Fatalf("%+v, %v", got, err)
		}
		if sent := h.mailed(); len(sent) != 1 || sent[0].Template != deliver.RecoveryCode {
			t.Errorf("sent %+v", sent)
		}
	})
}

// A stranger learns nothing, and fills no mailbox: mails of this kind count with those for forgotten passwords.
func TestInitiateIsAlikeAndBounded(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		counting := &countingStore{Store: store}
		initiated := func(login string) identity.Secret {
			h.Service.Store = counting
			defer func() { h.Service.Store = store }()
			return h.initiated(login)
		}
		s := h.Person()
		initiated(s.Email)
		work := strings.Join(counting.calls, " ")
		for _, login := range []string{"nobody@example.test", "", "a\x00\xff", strings.Repeat("a", 10_000)} {
			before := len(h.messages())
			secret := initiated(login)
			if got := strings.Join(counting.calls, " "); got != work || len(h.messages()) != before+1 {
				t.Errorf("%.20q: the work is %s, want %s", login, got, work)
			}
			_, err := h.confirm(secret)
			h.want("a link that nobody was sent", err, identity.TicketInvalid)
		}
		for range 3 {
			h.initiated(s.Email)
			h.forgot(s.Email)
		}
		if sent := h.mailed(); len(sent) != 5 {
			t.Errorf("%d mails, want 5", len(sent))
		}
		var err error
		for range 1001 {
			var secret identity.Secret
			caller := coretest.Caller(coretest.Door)
			caller.Address = ""
			if err = h.Initiate(t.Context(), recovery.ForgotInput{Caller: caller, Login: "nobody@example.test", Link: linkTo(&secret)}); err != nil {
				break
			}
		}
		if !errors.Is(err, identity.Throttled) || identity.Describe(err).RetryAfter <= 0 {
			t.Errorf("past the bound of all: %v", err)
		}
		h.forgot(s.Email) // links for passwords are another matter
	})
}

// Sixteen operators, and sixteen hands with one code.
func TestRecoveryRaces(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		race := func(what string, loses identity.Kind, do func(n int) error) {
			t.Helper()
			var all sync.WaitGroup
			var winners atomic.Int32
			for n := range 16 {
				all.Go(func() {
					switch err := do(n); {
					case err == nil:
						winners.Add(1)
					case !errors.Is(err, loses):
						t.Errorf("%s: lost with %v, want %v", what, err, loses)
					}
				})
			}
			all.Wait()
			if winners.Load() != 1 {
				t.Errorf("%s: %d winners", what, winners.Load())
			}
		}
		s := h.Person()
		h.WithTOTP(s)
		secret := h.initiated(s.Email)
		race("confirming", identity.TicketInvalid, func(int) error {
			_, err := h.confirm(secret)
			return err
		})
		waiting, err := h.Recoveries(t.Context(), identity.RecoveryWaiting, "", 10)
		if err != nil || len(waiting) != 1 {
			t.Fatalf("%+v, %v", waiting, err)
		}
		race("deciding", identity.Conflict, func(n int) error {
			if n%2 == 0 {
				return h.approve(waiting[0].ID)
			}
			_, err := h.Deny(t.Context(), admin, waiting[0].ID)
			return err
		})
		h.mailed()
		mailed := h.recovered(s)
		tickets := make([]identity.Secret, 16)
		for n := range tickets {
			tickets[n] = h.half(s)
		}
		var refusals atomic.Int32
		race("a code at sixteen steps", identity.BadCode, func(n int) error {
			_, err := h.enter(tickets[n], mailed)
			if errors.Is(err, identity.Locked) { // ten wrong codes in a row end all tries
				refusals.Add(1)
				return identity.BadCode
			}
			return err
		})
	})
}

// printed gives somebody ten codes, as an operator.
func (h *house) printed(s identity.Subject) []identity.Secret {
	h.t.Helper()
	codes, err := h.PrintCodes(h.t.Context(), admin, s.ID)
	if err != nil || len(codes) != 10 {
		h.t.Fatalf("%d codes, %v", len(codes), err)
	}
	return codes
}

func TestPrintedCodes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		_, err := h.PrintCodes(t.Context(), admin, s.ID)
		h.want("without a factor", err, identity.Conflict)
		_, err = h.PrintCodes(t.Context(), admin, "0a000000-0000-4000-8000-000000000001")
		h.want("for nobody", err, identity.NotFound)
		h.WithTOTP(s)
		old := h.printed(s)
		codes := h.printed(s)
		if _, err := h.enter(h.half(s), old[0].Reveal()); !errors.Is(err, identity.BadCode) {
			t.Errorf("a code from before: %v", err)
		}
		for i, c := range codes {
			ticket := h.half(s)
			session, err := h.enter(ticket, strings.ToLower(c.Reveal()))
			if err != nil || strings.Join(session.AMR, " ") != "pwd recovery mfa" {
				t.Fatalf("code %d: %+v, %v", i, session, err)
			}
			if _, err := h.enter(h.half(s), c.Reveal()); !errors.Is(err, identity.BadCode) {
				t.Errorf("code %d, twice: %v", i, err)
			}
		}
		sent := h.mailed()
		if len(sent) != 10 || sent[0].Template != deliver.RecoveryUsed {
			t.Fatalf("told %d times: %+v", len(sent), sent)
		}
		all := ""
		for _, m := range sent {
			all += m.Text
		}
		if !strings.Contains(all, "9 are left") || !strings.Contains(all, "1 is left") || !strings.Contains(all, "0 are left") {
			t.Errorf("told %s", all)
		}
		out, err := h.SignIn.Password(t.Context(), signin.PasswordInput{
			Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password,
			Way: signin.Way{Steps: signin.Steps{Proof: true}},
		})
		if err != nil || len(out.Ticket.Factors) != 1 {
			t.Errorf("offered when all are used: %+v, %v", out.Ticket, err)
		}
	})
}

// Codes stand in for a factor, and are none: alone they neither ask for a second step nor satisfy one that is demanded.
func TestPrintedCodesAreNoFactorAlone(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.WithTOTP(s)
		h.printed(s)
		h.Update(func(tx identity.Tx) error { // as no verb of ours leaves her
			c, err := tx.Credential(t.Context(), s.ID, identity.TOTP)
			if err != nil {
				return err
			}
			return tx.DeleteCredential(t.Context(), c.ID)
		})
		h.wantSignIn(s, coretest.Password, nil)
		in := signin.PasswordInput{
			Caller: coretest.Caller(coretest.Door), Login: s.Email, Password: coretest.Password,
			OwnDemand: func(identity.Subject) identity.Demand { return identity.FactorNeeded },
			Way:       signin.Way{Steps: signin.Steps{Proof: true}},
		}
		h.Email.Open = false
		_, err := h.SignIn.Password(t.Context(), in)
		h.want("where a factor is demanded", err, identity.FactorRequired)
	})
}

// They go with the last factor, and stay with another one.
func TestPrintedCodesGoWithTheFactor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.WithTOTP(s)
		h.WithTarget(s, identity.EmailCode, "ada@mailbox.test")
		h.printed(s)
		for _, step := range []struct {
			kind identity.CredentialKind
			left int
		}{{identity.TOTP, 3}, {identity.EmailCode, 1}} {
			h.Update(func(tx identity.Tx) error { return h.Manage.RemoveFactorIn(t.Context(), tx, admin, s.ID, step.kind) })
			h.View(func(r identity.Reader) error {
				all, err := r.Credentials(t.Context(), s.ID)
				if len(all) != step.left {
					t.Errorf("without %s: %d credentials, want %d", step.kind, len(all), step.left)
				}
				return err
			})
		}
	})
}

func TestPrintingOnesOwnCodes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s, boss := h.Person(), h.Person()
		weak, err := h.signIn(s, coretest.Password)
		h.want("signing in", err, nil)
		h.WithTOTP(s)
		strong, err := h.enter(h.half(s), h.Code())
		h.want("signing in with a code", err, nil)
		acting := strong
		acting.ActorID = boss.ID
		caller := coretest.Caller(coretest.Door)
		for name, tt := range map[string]struct {
			held identity.Session
			want error
		}{
			"her password alone": {weak, identity.Denied}, "nobody": {identity.Session{SubjectID: s.ID}, identity.Denied},
			"somebody who acts as her": {acting, identity.Denied}, "herself": {strong, nil},
		} {
			codes, err := h.PrintOwnCodes(t.Context(), caller, &session.Live{Session: tt.held, Subject: s})
			h.want(name, err, tt.want)
			if (len(codes) == 10) != (tt.want == nil) {
				t.Errorf("%s: %d codes", name, len(codes))
			}
		}
		if e := h.events("factor.recovery.codes"); len(e) != 1 || e[0].SubjectID != s.ID {
			t.Errorf("recorded %+v", e)
		}
	})
}

func TestOnePrintedCodeHasOneWinner(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.WithTOTP(s)
		codes := h.printed(s)
		tickets := make([]identity.Secret, 16)
		for n := range tickets {
			tickets[n] = h.half(s)
		}
		var all sync.WaitGroup
		var winners atomic.Int32
		for n := range 16 {
			all.Go(func() {
				if _, err := h.enter(tickets[n], codes[0].Reveal()); err == nil {
					winners.Add(1)
				} else if !errors.Is(err, identity.BadCode) && !errors.Is(err, identity.Locked) {
					t.Errorf("lost with %v", err)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d winners", winners.Load())
		}
		h.Clock.Advance(16 * time.Minute)
		for _, c := range codes[1:3] { // different ones at the same moment are all good
			tickets = append(tickets, h.half(s))
			all.Go(func() {
				if _, err := h.enter(tickets[len(tickets)-1], c.Reveal()); err != nil {
					t.Errorf("another code: %v", err)
				}
			})
			all.Wait()
		}
	})
}

// Five wrong codes end a step, and the sixth, right one opens nothing.
func TestFiveWrongRecoveryCodes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.WithTOTP(s)
		mailed, printed := h.recovered(s), h.printed(s)
		ticket := h.half(s)
		for range 5 {
			if _, err := h.enter(ticket, "AAAAA-AAAAA"); !errors.Is(err, identity.BadCode) {
				t.Fatalf("a wrong one: %v", err)
			}
		}
		for _, right := range []string{mailed, printed[0].Reveal(), h.Code()} {
			if _, err := h.enter(ticket, right); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("the sixth: %v", err)
			}
		}
		if _, err := h.enter(h.half(s), mailed); err != nil { // it was not spent by that
			t.Errorf("at a new step: %v", err)
		}
	})
}
