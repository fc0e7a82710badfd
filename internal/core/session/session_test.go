package session_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/core/session"
	"gatehouse/internal/core/signin"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// signedIn begins a session at a door.
func signedIn(t *testing.T, c *coretest.Core, door identity.Door, s identity.Subject, change ...func(*signin.PasswordInput)) identity.Session {
	t.Helper()
	in := signin.PasswordInput{Caller: coretest.Caller(door), Login: s.Email, Password: coretest.Password}
	for _, f := range change {
		f(&in)
	}
	out, err := c.SignIn.Password(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Session
}

func access(c *coretest.Core, s identity.Session) string {
	return c.Sessions.Opaque(s, identity.AccessToken)
}
func refresh(c *coretest.Core, s identity.Session) string {
	return c.Sessions.Opaque(s, identity.RefreshToken)
}

func check(t *testing.T, c *coretest.Core, door identity.Door, raw string, want error) {
	t.Helper()
	if _, err := c.Sessions.Check(t.Context(), coretest.Form(door), raw, identity.AccessToken); !errors.Is(err, want) {
		t.Errorf("Check = %v, want %v", err, want)
	}
}

func rotate(t *testing.T, c *coretest.Core, door identity.Door, raw string) (identity.Session, error) {
	t.Helper()
	live, err := c.Sessions.Refresh(t.Context(), session.RefreshInput{
		Caller: coretest.Caller(door), Form: coretest.Form(door), Raw: raw, Rotate: true,
	})
	if err != nil {
		return identity.Session{}, err
	}
	return live.Session, nil
}

func TestATokenIsGoodForOneDoorAndKind(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := signedIn(t, c, coretest.Door, c.Person())
		for range 2 { // read, then remembered
			check(t, c, coretest.Door, access(c, s), nil)
			check(t, c, coretest.Lax, access(c, s), identity.TokenInvalid)
			check(t, c, coretest.Door, refresh(c, s), identity.TokenInvalid)
			check(t, c, coretest.Door, "", identity.TokenMissing)
			check(t, c, coretest.Door, "nonsense", identity.TokenInvalid)
		}
		if _, err := rotate(t, c, coretest.Door, access(c, s)); !errors.Is(err, identity.TokenInvalid) {
			t.Errorf("an access token refreshes: %v", err)
		}
	})
}

func TestEndsAreNoticedAtOnce(t *testing.T) {
	ends := []struct {
		name string
		end  func(*testing.T, *coretest.Core, identity.Session) error
	}{
		{"the session is ended", func(t *testing.T, c *coretest.Core, s identity.Session) error {
			ended, err := c.Sessions.End(t.Context(), coretest.Caller(coretest.Door), s.ID, "test")
			if !ended {
				t.Error("End says it ended nothing")
			}
			return err
		}},
		{"all are ended", func(t *testing.T, c *coretest.Core, s identity.Session) error {
			return c.Sessions.EndAll(t.Context(), coretest.Caller(coretest.Door), s.SubjectID, "", "test")
		}},
		{"the subject is suspended", func(t *testing.T, c *coretest.Core, s identity.Session) error {
			return c.Store.Update(t.Context(), func(tx identity.Tx) error {
				subject, err := tx.Subject(t.Context(), s.SubjectID)
				if err != nil {
					return err
				}
				subject.SuspendedAt = c.Clock.Now()
				if err := tx.UpdateSubject(t.Context(), subject); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.SubjectChanged, string(s.SubjectID), c.Clock.Now())
			})
		}},
		{"the subject is deleted", func(t *testing.T, c *coretest.Core, s identity.Session) error {
			return c.Store.Update(t.Context(), func(tx identity.Tx) error {
				if err := tx.DeleteSubject(t.Context(), s.SubjectID); err != nil {
					return err
				}
				return tx.Announce(t.Context(), identity.SubjectChanged, string(s.SubjectID), c.Clock.Now())
			})
		}},
	}
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, tt := range ends {
			t.Run(tt.name, func(t *testing.T) {
				s := signedIn(t, c, coretest.Door, c.Person())
				check(t, c, coretest.Door, access(c, s), nil)
				if err := tt.end(t, c, s); err != nil {
					t.Fatal(err)
				}
				_, err := c.Sessions.Check(t.Context(), coretest.Form(coretest.Door), access(c, s), identity.AccessToken)
				if !errors.Is(err, identity.TokenRevoked) && !errors.Is(err, identity.TokenInvalid) {
					t.Errorf("the old token gives %v", err)
				}
				if _, err := rotate(t, c, coretest.Door, refresh(c, s)); err == nil {
					t.Error("the old refresh token still works")
				}
			})
		}
	})
}

func TestTimes(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		p := c.Person()
		s := signedIn(t, c, coretest.Door, p)
		c.Clock.Advance(time.Hour - time.Second)
		check(t, c, coretest.Door, access(c, s), nil)
		c.Clock.Advance(time.Second)
		check(t, c, coretest.Door, access(c, s), identity.TokenExpired)

		idle := signedIn(t, c, coretest.Door, p, func(in *signin.PasswordInput) { in.Remember = true })
		c.Clock.Advance(24*time.Hour + time.Second)
		if _, err := rotate(t, c, coretest.Door, refresh(c, idle)); !errors.Is(err, identity.TokenExpired) {
			t.Errorf("after the idle end: %v, want %v", err, identity.TokenExpired)
		}

		used := signedIn(t, c, coretest.Door, p)
		for range 3 {
			c.Clock.Advance(50 * time.Minute) // each use starts the idle clock again; the last is beyond two hours
			check(t, c, coretest.Door, access(c, used), nil)
			c.Sessions.Flush(t.Context())
			var err error
			if used, err = rotate(t, c, coretest.Door, refresh(c, used)); err != nil {
				t.Fatal(err)
			}
		}
		// A refresh moves the end, but never past the absolute one.
		for range 200 {
			c.Clock.Advance(110 * time.Minute)
			next, err := rotate(t, c, coretest.Door, refresh(c, used))
			if err != nil {
				t.Fatal(err)
			}
			used = next
		}
		if used.ExpiresAt.After(used.AbsoluteAt) {
			t.Errorf("the end %v is past the absolute end %v", used.ExpiresAt, used.AbsoluteAt)
		}
	})
}

func TestASpentRefreshTokenEndsTheFamily(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		first := signedIn(t, c, coretest.Door, c.Person())
		second, err := rotate(t, c, coretest.Door, refresh(c, first))
		if err != nil {
			t.Fatal(err)
		}
		check(t, c, coretest.Door, access(c, first), identity.TokenRevoked) // one access token, no grace
		check(t, c, coretest.Door, access(c, second), nil)
		if _, err := rotate(t, c, coretest.Door, refresh(c, first)); !errors.Is(err, identity.TokenReused) {
			t.Errorf("the spent one: %v, want %v", err, identity.TokenReused)
		}
		check(t, c, coretest.Door, access(c, second), identity.TokenRevoked)
		if _, err := rotate(t, c, coretest.Door, refresh(c, second)); !errors.Is(err, identity.TokenRevoked) {
			t.Errorf("the successor, after the theft was seen: %v, want %v", err, identity.TokenRevoked)
		}
	})
}

func TestGraceAnswersTheSameSuccessor(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		first := signedIn(t, c, coretest.Lax, c.Person())
		second, err := rotate(t, c, coretest.Lax, refresh(c, first))
		if err != nil {
			t.Fatal(err)
		}
		c.Clock.Advance(59 * time.Second)
		again, err := rotate(t, c, coretest.Lax, refresh(c, first))
		if err != nil {
			t.Fatal(err)
		}
		if refresh(c, again) != refresh(c, second) || access(c, again) != access(c, second) {
			t.Error("another successor inside the grace")
		}
		check(t, c, coretest.Lax, access(c, first), nil)
		c.Clock.Advance(time.Second)
		check(t, c, coretest.Lax, access(c, first), identity.TokenRevoked)
		if _, err := rotate(t, c, coretest.Lax, refresh(c, first)); !errors.Is(err, identity.TokenReused) {
			t.Errorf("after the grace: %v, want %v", err, identity.TokenReused)
		}
	})
}

// Sixteen callers with one refresh token: where there is a grace they get one successor; where there is none, one wins.
func TestParallelRefresh(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		for _, door := range []identity.Door{coretest.Lax, coretest.Door} {
			s := signedIn(t, c, door, c.Person())
			var wg sync.WaitGroup
			successors := make(chan string, 16)
			for range cap(successors) {
				wg.Go(func() {
					if next, err := rotate(t, c, door, refresh(c, s)); err == nil {
						successors <- refresh(c, next)
					}
				})
			}
			wg.Wait()
			close(successors)
			winners := 0
			distinct := map[string]bool{}
			for raw := range successors {
				winners++
				distinct[raw] = true
			}
			if len(distinct) != 1 {
				t.Errorf("%s: %d different successors, want 1", door, len(distinct))
			}
			if want := map[identity.Door]int{coretest.Lax: 16, coretest.Door: 1}[door]; winners != want {
				t.Errorf("%s: %d winners, want %d", door, winners, want)
			}
		}
	})
}

func TestKeptRefreshTokensStayGood(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		first := signedIn(t, c, coretest.Lax, c.Person(), func(in *signin.PasswordInput) { in.KeepsSpent = true })
		for range 3 {
			c.Clock.Advance(time.Hour)
			if _, err := rotate(t, c, coretest.Lax, refresh(c, first)); err != nil {
				t.Fatal(err)
			}
		}
		c.Clock.Advance(5 * time.Hour)
		if _, err := rotate(t, c, coretest.Lax, refresh(c, first)); !errors.Is(err, identity.TokenExpired) {
			t.Errorf("past its own end: %v, want %v", err, identity.TokenExpired)
		}
	})
}

// While the feed cannot be read, what is remembered may be out of date: the store is asked each time.
func TestStaleFeedAsksTheStore(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := signedIn(t, c, coretest.Door, c.Person())
		check(t, c, coretest.Door, access(c, s), nil)
		c.Update(func(tx identity.Tx) error { // another node ends it, and the feed does not come through
			_, err := tx.EndSession(t.Context(), s.ID, "elsewhere", c.Clock.Now())
			return err
		})
		check(t, c, coretest.Door, access(c, s), nil)
		c.Stale.Store(true)
		check(t, c, coretest.Door, access(c, s), identity.TokenRevoked)
	})
}

// Without a word from the feed, a remembered token is read again after a minute.
func TestRememberedForAMinute(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := signedIn(t, c, coretest.Door, c.Person())
		check(t, c, coretest.Door, access(c, s), nil)
		c.Update(func(tx identity.Tx) error {
			_, err := tx.EndSession(t.Context(), s.ID, "elsewhere", c.Clock.Now())
			return err
		})
		c.Clock.Advance(time.Minute)
		check(t, c, coretest.Door, access(c, s), identity.TokenRevoked)
	})
}

func TestOneEnds(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		c := coretest.New(t, store)
		s := signedIn(t, c, coretest.Door, c.Person())
		var wg sync.WaitGroup
		winners := make(chan struct{}, 16)
		for range cap(winners) {
			wg.Go(func() {
				if ended, err := c.Sessions.End(t.Context(), coretest.Caller(coretest.Door), s.ID, "test"); err == nil && ended {
					winners <- struct{}{}
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 {
			t.Errorf("%d callers ended it, want 1", len(winners))
		}
	})
}
