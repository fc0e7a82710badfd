package phone_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/phone"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

func TestParse(t *testing.T) {
	for typed, want := range map[string]string{
		"+15145550100": "+15145550100", " +1 (514) 555-0100 ": "+15145550100", "+1.514.555.0100": "+15145550100", "+49 30 123456": "+4930123456",
		"+49/170/1234567": "+491701234567", "+44 7911 123456": "+447911123456",
		"": "", "+": "", "15145550100": "", "0015145550100": "", "514 555 0100": "", "+1514555010": "", "+1555": "", "+999123456789": "",
		"+15145550100 ext 5": "", "+15145550100;ext=5": "", "tel:+15145550100": "", "+1-800-FLOWERS": "", "++15145550100": "", "+１５１４５５５０１００": "",
		"+15145550100\r\nx": "", "+15145550100\x00": "", "+1 900 555 0100": "", "+44 9098790123": "",
		"+" + strings.Repeat("1", 1000): "", "+1514" + strings.Repeat(" ", 40) + "5550100": "",
	} {
		got, err := phone.Parse(typed)
		if got != want || (want == "") != errors.Is(err, identity.Invalid) {
			t.Errorf("Parse(%q) = %q, %v, want %q", typed, got, err, want)
		}
	}
	if err := phone.In("to", identity.Invalid.In(phone.FieldNumber, "x")); identity.Describe(err).Field != "to" {
		t.Errorf("In = %v", err)
	}
}

// What is a number stays the same number.
func FuzzParse(f *testing.F) {
	f.Add("+15145550100")
	f.Add("+1 (514) 555-0100")
	f.Add("+49 30 123456 x5")
	f.Fuzz(func(t *testing.T, typed string) {
		number, err := phone.Parse(typed)
		if err != nil {
			return
		}
		if again, err := phone.Parse(number); err != nil || again != number {
			t.Errorf("%q is %q is %q, %v", typed, number, again, err)
		}
	})
}

type house struct {
	*coretest.Core
	phones *phone.Service
	caller identity.Caller
	person identity.SubjectID
}

func build(t *testing.T, store identity.Store) *house {
	c := coretest.New(t, store)
	return &house{Core: c, caller: coretest.Caller(coretest.Door), person: c.Person().ID, phones: &phone.Service{
		Open: true, Store: store, Box: c.Box, Outbox: c.Outbox, Log: &audit.Log{Now: c.Clock.Now, Rand: coretest.SeededRand()},
		Now: c.Clock.Now, Rand: coretest.SeededRand(),
	}}
}

// as is somebody at a session of her own.
func (h *house) as(id identity.SubjectID) identity.Caller {
	c := h.caller
	c.SubjectID, c.ActorID, c.SessionID = id, id, "019b76da-a800-7000-8000-00000000cafe"
	return c
}

func (h *house) proven(id identity.SubjectID, number string) (proven bool) {
	h.View(func(r identity.Reader) (err error) {
		proven, err = h.phones.ProvenIn(context.Background(), r, id, number)
		return err
	})
	return proven
}

const number = "+15145550100"

func TestProof(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		other := h.Person().ID
		if err := h.phones.StartProof(t.Context(), h.as(h.person), "+1 514-555-0100"); err != nil {
			t.Fatal(err)
		}
		if sent := h.Sent(); len(sent) != 1 || sent[0].Recipient != number || sent[0].Channel != identity.SMS || !strings.Contains(sent[0].Text, "5 minutes") || !strings.Contains(sent[0].Text, "confirm") {
			t.Errorf("sent %+v", sent)
		}
		code := h.SentCode()
		elsewhere := h.as(h.person)
		elsewhere.Door = coretest.Lax
		for name, err := range map[string]error{
			"wrong":           h.phones.CompleteProof(t.Context(), h.as(h.person), number, "x"+code[1:]),
			"empty":           h.phones.CompleteProof(t.Context(), h.as(h.person), number, ""),
			"another number":  h.phones.CompleteProof(t.Context(), h.as(h.person), "+15145550101", code),
			"another person":  h.phones.CompleteProof(t.Context(), h.as(other), number, code),
			"another door":    h.phones.CompleteProof(t.Context(), elsewhere, number, code),
			"nobody's number": h.phones.CompleteProof(t.Context(), h.as("019b76da-a800-7000-8000-00000000dead"), number, code),
		} {
			if !errors.Is(err, identity.BadCode) && !errors.Is(err, identity.Denied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if h.proven(h.person, number) {
			t.Error("proven without the code")
		}
		if err := h.phones.CompleteProof(t.Context(), h.as(h.person), "+1 (514) 555-0100", code); err != nil {
			t.Fatal(err)
		}
		if !h.proven(h.person, "+1 514 555 0100") || h.proven(other, number) || h.proven(h.person, "+15145550101") {
			t.Error("the proof is not of this person and this number alone")
		}
		h.Update(func(tx identity.Tx) error {
			for caller, want := range map[identity.Caller]bool{{ActorID: h.person}: true, {SubjectID: h.person}: true, {ActorID: other, SubjectID: h.person}: false, {}: false} {
				if kept, proven, err := h.phones.Proven(t.Context(), tx, caller, "+1 514 555 0100"); err != nil || proven != want || kept != number {
					t.Errorf("Proven of %+v = %q, %v, %v", caller, kept, proven, err)
				}
			}
			return nil
		})
		if err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, code); !errors.Is(err, identity.BadCode) {
			t.Errorf("again: %v", err)
		}
		h.Clock.Advance(phone.TTL)
		if h.proven(h.person, number) {
			t.Error("the proof never ends")
		}
	})
}

func TestProofEnds(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		start := func(number string) string {
			t.Helper()
			h.Clock.Advance(time.Millisecond) // messages of one instant have no order
			if err := h.phones.StartProof(t.Context(), h.as(h.person), number); err != nil {
				t.Fatal(err)
			}
			return h.SentCode()
		}
		refused := func(what, number, code string) {
			t.Helper()
			if err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, code); !errors.Is(err, identity.BadCode) {
				t.Errorf("%s: %v", what, err)
			}
		}
		late := start(number)
		h.Clock.Advance(phone.TTL)
		refused("late", number, late)

		tried := start(number)
		for left := 4; left >= 0; left-- {
			err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, "wrong")
			if e := identity.Describe(err); e.Kind != identity.BadCode || e.TriesLeft != left {
				t.Errorf("%d tries left, want %d: %v", e.TriesLeft, left, err)
			}
		}
		refused("after five wrong ones", number, tried)

		before := start(number)
		start("+15145550101")
		refused("after another was asked for", number, before)

		suspended := start(number)
		h.Update(func(tx identity.Tx) error {
			s, err := tx.Subject(t.Context(), h.person)
			if err != nil {
				return err
			}
			s.SuspendedAt = h.Clock.Now()
			return tx.UpdateSubject(t.Context(), s)
		})
		for _, err := range []error{
			h.phones.CompleteProof(t.Context(), h.as(h.person), number, suspended), h.phones.StartProof(t.Context(), h.as(h.person), number),
		} {
			if !errors.Is(err, identity.Denied) {
				t.Errorf("suspended: %v", err)
			}
		}
	})
}

func TestOneProofOfOneCode(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		if err := h.phones.StartProof(t.Context(), h.as(h.person), number); err != nil {
			t.Fatal(err)
		}
		code := h.SentCode()
		var wg sync.WaitGroup
		won := make(chan struct{}, 16)
		for range 16 {
			wg.Go(func() {
				switch err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, code); {
				case err == nil:
					won <- struct{}{}
				case !errors.Is(err, identity.BadCode):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Errorf("%d proofs", len(won))
		}
	})
}

// However they ask, one number gets five SMS in an hour, one person ten, one network thirty.
func TestPumping(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		throttled := func(err error) bool {
			t.Helper()
			e := identity.Describe(err)
			if err != nil && (e.Kind != identity.Throttled || e.RetryAfter <= 0 || e.RetryAfter > time.Hour) {
				t.Errorf("refused with %v after %v", err, e.RetryAfter)
			}
			return err != nil
		}
		ask := func(id identity.SubjectID, number string) bool {
			t.Helper()
			return throttled(h.phones.StartProof(t.Context(), h.as(id), number))
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { throttled(h.phones.StartProof(t.Context(), h.as(h.person), number)) })
		}
		wg.Wait()
		if n := len(h.Sent()); n != 5 {
			t.Errorf("%d to one number", n)
		}
		one := h.Person().ID
		h.caller.Address = "192.0.2.8"
		for i := range 12 {
			if ask(one, fmt.Sprintf("+151455501%02d", 10+i)) != (i >= 10) {
				t.Errorf("ask %d of one person", i)
			}
		}
		h.caller.Address = "2001:db8::1"
		for i := range 33 {
			h.caller.Address = fmt.Sprintf("2001:db8::%d", i)
			if ask(h.Person().ID, fmt.Sprintf("+151455502%02d", i)) != (i >= 30) {
				t.Errorf("ask %d of one network", i)
			}
		}
		// Her sign-in is not theirs to stop.
		s := h.Person()
		h.WithTarget(s, identity.SMSCode, number)
		in := signin.PasswordInput{Caller: h.caller, Login: s.Email, Password: coretest.Password, Way: signin.Way{Steps: signin.Steps{Proof: true}}}
		if out, err := h.SignIn.Password(t.Context(), in); err != nil || out.Ticket == nil {
			t.Errorf("the number's owner signs in: %v", err)
		}
		h.Clock.Advance(time.Hour)
		if ask(h.person, number) {
			t.Error("refused after the hour")
		}
	})
}

func TestShut(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	h.phones.Open = false
	if err := h.phones.StartProof(t.Context(), h.as(h.person), number); !errors.Is(err, phone.ErrShut) {
		t.Error(err)
	}
	if err := h.phones.StartProof(t.Context(), h.as(h.person), "nonsense"); !errors.Is(err, identity.Invalid) {
		t.Error(err)
	}
	if err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, "041877"); !errors.Is(err, phone.ErrShut) {
		t.Error(err)
	}
	if n := len(h.Sent()); n > 0 {
		t.Errorf("%d messages", n)
	}
}

// Codes will go to the number, so a program with a key of hers proves none, nor does who acts as her, nor a service.
func TestNobodyElseProves(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	if err := h.phones.StartProof(t.Context(), h.as(h.person), number); err != nil {
		t.Fatal(err)
	}
	code := h.SentCode()
	key, acting := h.as(h.person), h.as(h.person)
	key.SessionID = ""
	acting.ActorID = h.Person().ID
	for name, caller := range map[string]identity.Caller{"a key": key, "somebody who acts as her": acting, "a service": h.caller} {
		if err := h.phones.StartProof(t.Context(), caller, number); !errors.Is(err, identity.Denied) {
			t.Errorf("%s starts: %v", name, err)
		}
		if err := h.phones.CompleteProof(t.Context(), caller, number, code); !errors.Is(err, identity.Denied) {
			t.Errorf("%s completes: %v", name, err)
		}
	}
	if n := len(h.Sent()); n != 1 || h.proven(h.person, number) {
		t.Errorf("%d messages, proven %v", n, h.proven(h.person, number))
	}
	if err := h.phones.CompleteProof(t.Context(), h.as(h.person), number, code); err != nil {
		t.Errorf("she herself: %v", err)
	}
}
