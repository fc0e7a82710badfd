package session_test

import (
	"testing"
	"time"

	"gatehouse/internal/core/coretest"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

// A process that is killed loses at most a minute of an idle clock, and writes it at most once in forty seconds, however often the
// session is used.
func TestIdleClockLosesAtMostAMinute(t *testing.T) {
	const writesEvery = 40 * time.Second // session.Service.Run
	store := &widest{Store: storetest.SQLite(t)}
	c := coretest.New(t, store)
	s := signedIn(t, c, coretest.Door, c.Person())
	const uses = 600
	for i := range uses {
		c.Clock.Advance(time.Second)
		check(t, c, coretest.Door, access(c, s), nil)
		if time.Duration(i+1)*time.Second%writesEvery == 0 {
			c.Sessions.Flush(t.Context())
		}
		// Were the process killed now, this is what the next one would read.
		var seen time.Time
		c.View(func(r identity.Reader) error {
			row, err := r.Session(t.Context(), s.ID)
			seen = row.SeenAt
			return err
		})
		if lost := c.Clock.Now().Sub(seen); lost > time.Minute {
			t.Fatalf("after %d s it would lose %v", i+1, lost)
		}
	}
	if most := uses * int(time.Second/time.Millisecond) / int(writesEvery/time.Millisecond); store.n > most {
		t.Errorf("%d writes for %d uses, want at most %d", store.n, uses, most)
	}
}
