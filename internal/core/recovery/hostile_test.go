package recovery_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/recovery"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// Five mails an hour are five to the person, by whichever of her logins a stranger asks for them.
func TestSeveralLoginsGiveNoMoreMails(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		h.Update(func(tx identity.Tx) error {
			return tx.CreateLogin(t.Context(), identity.Login{
				SubjectID: s.ID, Kind: identity.UsernameLogin, Typed: "ada", Folded: "ada", Skeleton: "ada", CreatedAt: h.Clock.Now(),
			})
		})
		for range 5 {
			h.forgot(s.Email)
			h.forgot("ada")
		}
		if sent := h.mailed(); len(sent) != 5 {
			t.Errorf("%d mails, want 5", len(sent))
		}
	})
}

// One network cannot fill the outbox. It learns no more from that than from any other answer, and others are served.
func TestOneNetworkAsksForSoManyLinks(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		s := h.Person()
		ask := func(address, login string) error {
			caller := coretest.Caller(coretest.Door)
			caller.Address = address
			return h.Forgot(t.Context(), recovery.ForgotInput{
				Caller: caller, Login: login,
				Link: recovery.Link{TTL: ttl, Address: func(identity.Secret) string { return "https://id.example.test/" }},
			})
		}
		for i := range 60 {
			if err := ask(fmt.Sprintf("2001:db8::%x", i), fmt.Sprintf("nobody%d@example.test", i)); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		waiting := len(h.messages())
		for _, login := range []string{s.Email, "nobody@example.test"} {
			if err := ask("2001:db8::ffff", login); !errors.Is(err, identity.Throttled) || identity.Describe(err).RetryAfter <= 0 {
				t.Errorf("%s, past the limit: %v, want %v with a time", login, err, identity.Throttled)
			}
		}
		if len(h.messages()) != waiting {
			t.Error("a message was written past the limit")
		}
		if err := ask("2001:db8:0:1::1", s.Email); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		h.Clock.Advance(time.Hour)
		if err := ask("2001:db8::1", s.Email); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}
