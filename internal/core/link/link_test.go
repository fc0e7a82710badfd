package link_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/link"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/storetest"
)

const (
	purpose = "test"
	ttl     = time.Hour
)

type house struct {
	*link.Service
	t     *testing.T
	store identity.Store
	clock *coretest.Clock
}

func build(t *testing.T, store identity.Store) *house {
	t.Helper()
	box, err := keys.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	clock := coretest.NewClock(coretest.Start.Add(1234567 * time.Nanosecond))
	return &house{Service: &link.Service{Keys: box, Now: clock.Now, Rand: coretest.SeededRand()}, t: t, store: store, clock: clock}
}

func (h *house) made(form link.Form, change ...func(*link.New)) identity.Secret {
	h.t.Helper()
	in := link.New{Purpose: purpose, Door: coretest.Door, SubjectID: "0a000000-0000-4000-8000-000000000001", ExpiresAt: h.clock.Now().Add(ttl)}
	for _, f := range change {
		f(&in)
	}
	id, err := h.Secret(form)
	if err != nil {
		h.t.Fatal(err)
	}
	var shown identity.Secret
	if err := h.store.Update(h.t.Context(), func(tx identity.Tx) (err error) {
		shown, err = h.Make(h.t.Context(), tx, id, in)
		return err
	}); err != nil {
		h.t.Fatal(err)
	}
	return shown
}

func (h *house) take(door identity.Door, shown identity.Secret, purposes ...string) error {
	return h.store.Update(h.t.Context(), func(tx identity.Tx) error {
		_, err := h.Take(h.t.Context(), tx, door, shown, purposes...)
		return err
	})
}

func TestForms(t *testing.T) {
	h := build(t, storetest.SQLite(t))
	for form, length := range map[link.Form]int{link.Opaque: 43, link.UUID: 36, link.Hex: 40} {
		shown := h.made(form)
		id, signature, ok := strings.Cut(shown.Reveal(), ".")
		if !ok || len(id) != length || len(signature) != 64 || strings.Trim(signature, "0123456789abcdef") != "" {
			t.Errorf("form %d: %s", form, shown.Reveal())
		}
		if err := h.take(coretest.Door, shown, "other", purpose); err != nil {
			t.Errorf("form %d: %v", form, err)
		}
		if err := h.take(coretest.Door, shown, purpose); !errors.Is(err, identity.TicketInvalid) {
			t.Errorf("form %d, twice: %v", form, err)
		}
	}
}

// counted is a reader that writes down which statements are asked for; others than TicketByHash panic.
type counted struct {
	identity.Reader // nil
	real            identity.Reader
	calls           int
}

func (c *counted) TicketByHash(ctx context.Context, hash []byte) (identity.Ticket, error) {
	c.calls++
	return c.real.TicketByHash(ctx, hash)
}

// macs counts what is signed.
type macs struct {
	real link.MAC
	n    atomic.Int32
}

func (m *macs) MAC(purpose string, parts ...[]byte) []byte {
	m.n.Add(1)
	return m.real.MAC(purpose, parts...)
}

// All ways of being wrong are one: the same error, one look at the store, one signature; and none spends the link.
func TestAllWrongLinksAreAlike(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		signing := &macs{real: h.Keys}
		h.Keys = signing
		good := h.made(link.Hex)
		id, signature, _ := strings.Cut(good.Reveal(), ".")
		_, foreign, _ := strings.Cut(h.made(link.Hex).Reveal(), ".")
		other := h.made(link.Hex, func(n *link.New) { n.Purpose = "other" })
		otherID, otherSignature, _ := strings.Cut(other.Reveal(), ".")
		spent := h.made(link.Hex)
		if err := h.take(coretest.Door, spent, purpose); err != nil {
			t.Fatal(err)
		}
		flipped := []byte(signature)
		flipped[63] ^= 1
		tests := map[string]identity.Secret{
			"nothing": "", "the dot alone": ".", "no signature": identity.Secret(id), "an empty signature": identity.Secret(id + "."),
			"unknown":             identity.Secret(strings.Repeat("0", 40) + "." + signature),
			"another's signature": identity.Secret(id + "." + foreign), "a bit flipped": identity.Secret(id + "." + string(flipped)),
			"in capitals":        identity.Secret(id + "." + strings.ToUpper(signature)),
			"the id in capitals": identity.Secret(strings.ToUpper(id) + "." + signature),
			"something behind":   good + "0", "cut": good[:len(good)-1], "half a signature": identity.Secret(id + "." + signature[:32]), "twice signed": good + "." + identity.Secret(signature),
			"spent": spent, "another purpose": other, "our purpose, signed for another": identity.Secret(id + "." + otherSignature),
			"another purpose, signed for ours": identity.Secret(otherID + "." + signature),
			"a decoy":                          h.made(link.Hex, func(n *link.New) { n.SubjectID = "" }),
			"another door's":                   h.made(link.Hex, func(n *link.New) { n.Door = coretest.Lax }),
			"expired":                          h.made(link.Hex, func(n *link.New) { n.ExpiresAt = h.clock.Now() }),
			"no text":                          "\x00\xff.\xff", "very long": identity.Secret(strings.Repeat("a", 1<<16) + "." + signature),
		}
		for name, shown := range tests {
			before := signing.n.Load()
			err := store.View(t.Context(), func(r identity.Reader) error {
				c := &counted{real: r}
				_, err := h.Open(t.Context(), c, coretest.Door, shown, purpose)
				if c.calls != 1 {
					t.Errorf("%s: %d looks at the store, want 1", name, c.calls)
				}
				return err
			})
			if !errors.Is(err, identity.TicketInvalid) || err.Error() != link.Refused.Error() {
				t.Errorf("%s: %v", name, err)
			}
			if n := signing.n.Load() - before; n != 1 {
				t.Errorf("%s: %d signatures, want 1", name, n)
			}
			if err := h.take(coretest.Door, shown, purpose); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("%s, spending: %v", name, err)
			}
		}
		if err := h.take(coretest.Door, good, purpose); err != nil {
			t.Errorf("the good one, afterwards: %v", err)
		}
	})
}

// Whoever can write to the store makes no link of what he finds there, nor prolongs one, nor moves it to another purpose or door.
func TestTheStoreAloneMakesNoLink(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		for name, change := range map[string]func(*identity.Ticket){
			"purpose": func(t *identity.Ticket) { t.Purpose = "other" },
			"door":    func(t *identity.Ticket) { t.Door = coretest.Lax },
			"end":     func(t *identity.Ticket) { t.ExpiresAt = t.ExpiresAt.Add(time.Hour) },
		} {
			shown := h.made(link.Opaque)
			id, _, _ := strings.Cut(shown.Reveal(), ".")
			hash := sha256.Sum256([]byte(id))
			var moved identity.Ticket
			if err := store.Update(t.Context(), func(tx identity.Tx) error {
				found, err := tx.TicketByHash(t.Context(), hash[:])
				if err != nil {
					return err
				}
				moved = found
				if err := tx.DeleteTicketsOf(t.Context(), found.SubjectID, ""); err != nil {
					return err
				}
				change(&moved)
				return tx.CreateTicket(t.Context(), moved)
			}); err != nil {
				t.Fatal(err)
			}
			if err := h.take(moved.Door, shown, moved.Purpose); !errors.Is(err, identity.TicketInvalid) {
				t.Errorf("another %s: %v", name, err)
			}
		}
	})
}

func TestOneLinkHasOneTaker(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := build(t, store)
		shown := h.made(link.UUID)
		var all sync.WaitGroup
		var winners atomic.Int32
		for range 16 {
			all.Go(func() {
				switch err := h.take(coretest.Door, shown, purpose); {
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
