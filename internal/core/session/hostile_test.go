package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A client that was suspended or removed takes the tokens of its sessions with it, not only its own.
func TestAClientTakesItsTokensWithIt(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		change := func(write func(tx identity.Tx) error) {
			t.Helper()
			c.Update(func(tx identity.Tx) error {
				if err := write(tx); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.ClientChanged, "app", c.Clock.Now())
			})
		}
		client := identity.Client{ID: "app", Name: "App", CreatedAt: c.Clock.Now(), UpdatedAt: c.Clock.Now()}
		change(func(tx identity.Tx) error { return tx.CreateClient(t.Context(), client) })
		s := signedIn(t, c, coretest.Door, c.Person(), func(in *signin.PasswordInput) { in.ClientID = client.ID })
		check(t, c, coretest.Door, access(c, s), nil)

		client.SuspendedAt = c.Clock.Now()
		change(func(tx identity.Tx) error { return tx.UpdateClient(t.Context(), client) })
		check(t, c, coretest.Door, access(c, s), identity.TokenRevoked)
		if _, err := rotate(t, c, coretest.Door, refresh(c, s)); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("refresh for a suspended client: %v, want %v", err, identity.TokenRevoked)
		}

		client.SuspendedAt = time.Time{}
		change(func(tx identity.Tx) error { return tx.UpdateClient(t.Context(), client) })
		check(t, c, coretest.Door, access(c, s), nil)
		change(func(tx identity.Tx) error { return tx.DeleteClient(t.Context(), client.ID) })
		check(t, c, coretest.Door, access(c, s), identity.TokenRevoked)
	})
}

// A clock that is set back makes what is remembered no younger.
func TestAClockSetBackKeepsNothingAlive(t *testing.T) {
	c := coretest.New(t, storetest.SQLite(t))
	s := signedIn(t, c, coretest.Door, c.Person())
	check(t, c, coretest.Door, access(c, s), nil)
	c.Update(func(tx identity.Tx) error { // elsewhere, and the feed does not tell
		_, err := tx.EndSession(t.Context(), s.ID, "elsewhere", c.Clock.Now())
		return err
	})
	c.Clock.Advance(-time.Second)
	check(t, c, coretest.Door, access(c, s), identity.TokenRevoked)
}

// widest notes the most idle clocks that one update has written.
type widest struct {
	identity.Store
	most int
	n    int // how often any were written
}

func (s *widest) Update(ctx context.Context, write func(identity.Tx) error) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return write(widestTx{tx, s}) })
}

type widestTx struct {
	identity.Tx
	s *widest
}

func (tx widestTx) TouchSessions(ctx context.Context, seen map[identity.SessionID]time.Time) error {
	tx.s.most = max(tx.s.most, len(seen))
	tx.s.n++
	return tx.Tx.TouchSessions(ctx, seen)
}

// Idle clocks are written in small steps, so that nobody's sign-in waits for all of them.
func TestIdleClocksAreWrittenInSteps(t *testing.T) {
	store := &widest{Store: storetest.SQLite(t)}
	c := coretest.New(t, store)
	p := c.Person()
	var sessions []identity.Session
	c.Update(func(tx identity.Tx) error {
		sessions = nil
		for range 600 {
			s, err := c.Sessions.Begin(t.Context(), tx, session.Start{Caller: coretest.Caller(coretest.Door), Subject: p})
			if err != nil {
				return err
			}
			sessions = append(sessions, s)
		}
		return nil
	})
	c.Clock.Advance(time.Minute)
	for _, s := range sessions {
		check(t, c, coretest.Door, access(c, s), nil)
	}
	c.Sessions.Flush(t.Context())
	if store.most == 0 || store.most > 256 {
		t.Errorf("one update wrote %d idle clocks", store.most)
	}
	c.View(func(r identity.Reader) error {
		for _, s := range sessions {
			read, err := r.Session(t.Context(), s.ID)
			if err != nil {
				return err
			}
			if !read.SeenAt.Equal(c.Clock.Now()) {
				t.Errorf("a session was seen at %v", read.SeenAt)
				break
			}
		}
		return nil
	})
}

// What a browser calls itself keeps nobody out, and cannot break the line that shows it.
func TestAnyUserAgentSignsIn(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, agent := range []string{"M\xfcller/1.0", "a\x00b", "a" + strings.Repeat("é", 200), "a\r\nb\u202e\u0085", "\xff\xfe"} {
			s := signedIn(t, c, coretest.Door, c.Person(), func(in *signin.PasswordInput) { in.Caller.UserAgent = agent })
			c.View(func(r identity.Reader) error {
				kept, err := r.Session(t.Context(), s.ID)
				if err == nil && (len(kept.UserAgent) > 256 || !utf8.ValidString(kept.UserAgent) || strings.ContainsAny(kept.UserAgent, "\r\n\x00\u202e\u0085")) {
					t.Errorf("%q is kept as %q", agent, kept.UserAgent)
				}
				return err
			})
		}
	})
}
