package session_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// plain is a door whose access tokens live out their time: nothing is announced when its sessions are refreshed.
const plain identity.Door = "plain"

// looks counts snapshots.
type looks struct {
	identity.Store
	views atomic.Int64
}

func (s *looks) View(ctx context.Context, read func(identity.Reader) error) error {
	s.views.Add(1)
	return s.Store.View(ctx, read)
}

func plainCore(t *testing.T, store identity.Store) *coretest.Core {
	c := coretest.New(t, store)
	c.Sessions.Rules[plain] = session.Rules{
		AccessTTL: 10 * time.Minute, SessionTTL: 24 * time.Hour, MaxTTL: 48 * time.Hour,
		Rotates: true, Grace: 10 * time.Second, Opaque: []identity.TokenKind{identity.RefreshToken},
	}
	return c
}

// The refresh of a family that was refreshed a moment ago costs its one durable write and no look before it.
func TestARememberedFamilyCostsOneWrite(t *testing.T) {
	store := &looks{Store: storetest.SQLite(t)}
	c := plainCore(t, store)
	s := signedIn(t, c, plain, c.Person())
	for i := range 5 {
		c.Clock.Advance(10 * time.Second)
		before := store.views.Load()
		next, err := rotate(t, c, plain, refresh(c, s))
		if err != nil {
			t.Fatal(err)
		}
		if next.Generation != s.Generation+1 {
			t.Errorf("generation %d after %d", next.Generation, s.Generation)
		}
		if looked := store.views.Load() - before; i > 0 && looked != 0 {
			t.Errorf("refresh %d looked %d times", i, looked)
		}
		s = next
	}
	c.Clock.Advance(time.Minute)
	before := store.views.Load()
	if _, err := rotate(t, c, plain, refresh(c, s)); err != nil {
		t.Fatal(err)
	}
	if store.views.Load() == before {
		t.Error("remembered for more than a minute")
	}
}

// What is remembered of a family never outlives what another node did to it, nor what was done here.
func TestARememberedFamilyIsNoProof(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := plainCore(t, store)
		elsewhere := func(f func(identity.Tx, identity.Session) error) func(identity.Session) {
			return func(s identity.Session) { c.Update(func(tx identity.Tx) error { return f(tx, s) }) }
		}
		cases := map[string]struct {
			meanwhile func(identity.Session)
			want      error
		}{
			"spent on another node": {elsewhere(func(tx identity.Tx, s identity.Session) error {
				c.Clock.Advance(time.Minute / 4) // out of the grace before the token comes here
				_, err := tx.AdvanceSession(t.Context(), s.ID, s.Generation, c.Clock.Now().Add(-11*time.Second), s.ExpiresAt)
				return err
			}), identity.TokenReused},
			"ended on another node, unheard": {elsewhere(func(tx identity.Tx, s identity.Session) error {
				_, err := tx.EndSession(t.Context(), s.ID, "elsewhere", c.Clock.Now())
				return err
			}), identity.TokenRevoked},
			"ended here": {func(s identity.Session) {
				if _, err := c.Sessions.End(t.Context(), coretest.Caller(plain), s.ID, "signed out"); err != nil {
					t.Fatal(err)
				}
			}, identity.TokenRevoked},
			"suspended, heard": {elsewhere(func(tx identity.Tx, s identity.Session) error {
				person, err := tx.Subject(t.Context(), s.SubjectID)
				if err != nil {
					return err
				}
				person.SuspendedAt = c.Clock.Now()
				if err := tx.UpdateSubject(t.Context(), person); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.SubjectChanged, string(person.ID), c.Clock.Now())
			}), identity.TokenRevoked},
		}
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				s := signedIn(t, c, plain, c.Person())
				s, err := rotate(t, c, plain, refresh(c, s))
				if err != nil {
					t.Fatal(err)
				}
				tc.meanwhile(s)
				if _, err := rotate(t, c, plain, refresh(c, s)); !errors.Is(err, tc.want) {
					t.Errorf("refresh = %v, want %v", err, tc.want)
				}
			})
		}
	})
}
