package feed_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // a way past the store, to hold a transaction open

	"gatehouse/internal/core/feed"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/storetest"
)

type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.at.Add(d.Microseconds()) }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

// heard collects what a listener was told.
type heard struct {
	mu   sync.Mutex
	all  []string
	tell chan string
}

func listen() *heard { return &heard{tell: make(chan string, 1024)} }

func (h *heard) Listen(changes []identity.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range changes {
		h.all = append(h.all, string(c.Kind)+" "+c.ID)
		select {
		case h.tell <- string(c.Kind) + " " + c.ID:
		default:
		}
	}
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = nil
	return all
}

func (h *heard) expect(t *testing.T, want ...string) {
	t.Helper()
	if got := h.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
}

func announce(t testing.TB, store identity.Store, ids ...string) {
	t.Helper()
	err := store.Update(context.Background(), func(tx identity.Tx) error {
		for _, id := range ids {
			if err := tx.Announce(context.Background(), identity.SessionChanged, id, newClock().Now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func once(t testing.TB, tail *feed.Tail) {
	t.Helper()
	if err := tail.Once(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestTailHandsOverEachChangeOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		announce(t, store, "before")
		h, c := listen(), newClock()
		tail := &feed.Tail{Store: store, Now: c.Now, Listeners: []func([]identity.Change){h.Listen}}
		if !tail.Stale() {
			t.Error("fresh before the first reading")
		}
		once(t, tail)
		h.expect(t) // a new node has cached nothing
		announce(t, store, "a", "b")
		announce(t, store, "c")
		once(t, tail)
		h.expect(t, "session a", "session b", "session c")
		once(t, tail)
		h.expect(t)

		if c.Advance(5 * time.Second); tail.Stale() {
			t.Error("stale after 5 s")
		}
		if c.Advance(time.Microsecond); !tail.Stale() {
			t.Error("not stale after more than 5 s")
		}
		once(t, tail)
		if c.Advance(-time.Hour); !tail.Stale() {
			t.Error("a clock that was set back says how long ago the feed was read")
		}
		once(t, tail)
		if tail.Stale() || tail.Fresh() != 0 {
			t.Errorf("stale after a reading: %v", tail.Fresh())
		}
	})
}

func TestTailForgetsEverythingWhereItLostItsPlace(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h, c := listen(), newClock()
		tail := &feed.Tail{Store: store, Now: c.Now, Listeners: []func([]identity.Change){h.Listen}}
		once(t, tail)
		announce(t, store, "missed")
		c.Advance(time.Hour) // the sweeper may have been there
		once(t, tail)
		h.expect(t, "all ")
		announce(t, store, "a")
		once(t, tail)
		h.expect(t, "session a")

		many := make([]string, 21_000)
		for i := range many {
			many[i] = "x"
		}
		announce(t, store, many...)
		once(t, tail)
		h.expect(t, "all ")
		announce(t, store, "b")
		once(t, tail)
		h.expect(t, "session b")
	})
}

func TestOwnCommitsAreHeardAtOnce(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := listen()
		tail := &feed.Tail{Store: store, Now: newClock().Now, Listeners: []func([]identity.Change){h.Listen}}
		tail.Attach()
		announce(t, store, "a")
		h.expect(t, "session a") // without any reading
	})
}

func TestRunHearsAnotherWriter(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		h := listen()
		tail := &feed.Tail{Store: store, Now: time.Now, Poll: 5 * time.Millisecond, Listeners: []func([]identity.Change){h.Listen}}
		once(t, tail)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); tail.Run(ctx) }()
		announce(t, store, "a")
		select {
		case got := <-h.tell:
			if got != "session a" {
				t.Errorf("heard %q", got)
			}
		case <-time.After(10 * time.Second):
			t.Error("heard nothing")
		}
		stop()
		<-done
	})
}

// script is a feed whose rows appear in an order that no engine can be made to show on demand.
type script struct {
	identity.Store
	rows []int64
	fail error
	end  int64 // 0: the highest row
}

type scriptReader struct {
	identity.Reader
	*script
}

func (s *script) View(_ context.Context, read func(identity.Reader) error) error {
	if s.fail != nil {
		return s.fail
	}
	return read(scriptReader{nil, s})
}

func (r scriptReader) Changes(_ context.Context, after int64, limit int) ([]identity.Change, error) {
	have := map[int64]bool{}
	var top int64
	for _, seq := range r.rows {
		have[seq] = true
		top = max(top, seq)
	}
	var out []identity.Change
	for seq := after + 1; seq <= top && len(out) < limit; seq++ {
		if have[seq] {
			out = append(out, identity.Change{Seq: seq, Kind: identity.SessionChanged, ID: fmt.Sprint(seq)})
		}
	}
	return out, nil
}

func (r scriptReader) LastChange(context.Context) (int64, error) {
	end := r.end
	for _, seq := range r.rows {
		end = max(end, seq)
	}
	return end, nil
}

func TestLateCommitsAreFound(t *testing.T) {
	h, c, s := listen(), newClock(), &script{rows: []int64{1, 2, 5}}
	tail := &feed.Tail{Store: s, Now: c.Now, Listeners: []func([]identity.Change){h.Listen}}
	once(t, tail)
	step := func(want []string, rows ...int64) {
		t.Helper()
		s.rows = append(s.rows, rows...)
		once(t, tail)
		h.expect(t, want...)
	}
	step([]string{"session 4"}, 4) // open when the tail began
	step([]string{"session 10"}, 10)
	step([]string{"session 7", "session 12"}, 7, 12)
	c.Advance(9 * time.Second)
	step([]string{"session 6", "session 8", "session 11"}, 6, 8, 11)
	step([]string{"session 3", "session 9"}, 3, 9)
	step(nil)
	step([]string{"session 20"}, 20)
	c.Advance(11 * time.Second)
	step(nil)
	step([]string{"session 21"}, 15, 21) // no transaction lasts that long: 15 is not looked for any more

	// Many holes at once: every second number is missing, then comes.
	var odd, even []int64
	var wantOdd, wantEven []string
	for seq := int64(101); seq < 300; seq += 2 {
		odd, wantOdd = append(odd, seq), append(wantOdd, fmt.Sprint("session ", seq))
		even, wantEven = append(even, seq+1), append(wantEven, fmt.Sprint("session ", seq+1))
	}
	step(wantOdd, odd...)
	step(wantEven, even...)
}

func TestAStoreThatLostItsNewestRowsIsNoticed(t *testing.T) {
	h, c, s := listen(), newClock(), &script{rows: []int64{1, 2, 3}}
	tail := &feed.Tail{Store: s, Now: c.Now, Listeners: []func([]identity.Change){h.Listen}}
	once(t, tail)
	s.fail = identity.Unavailable
	if err := tail.Once(t.Context()); !errors.Is(err, identity.Unavailable) {
		t.Fatalf("err = %v", err)
	}
	s.fail = nil
	once(t, tail)
	h.expect(t) // the same store
	s.fail = identity.Unavailable
	_ = tail.Once(t.Context())
	s.fail, s.rows = nil, []int64{1}
	once(t, tail)
	h.expect(t, "all ")
	s.rows = append(s.rows, 2)
	once(t, tail)
	h.expect(t, "session 2")
}

// Two nodes on one PostgreSQL: what one commits, the other hears within a second, and with the poll alone as well.
func TestTwoNodes(t *testing.T) {
	for name, poll := range map[string]time.Duration{"woken": time.Hour, "polling": feed.DefaultPoll} {
		t.Run(name, func(t *testing.T) {
			url := storetest.PostgresURL(t)
			here, there := storetest.OpenPostgres(t, url), storetest.OpenPostgres(t, url)
			var other identity.Store = there
			if name == "polling" {
				other = deaf{there}
			}
			h := listen()
			tail := &feed.Tail{Store: other, Now: time.Now, Poll: poll, Listeners: []func([]identity.Change){h.Listen}}
			tail.Attach()
			once(t, tail)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); tail.Run(ctx) }()
			if name == "woken" { // listening begins beside this test: announce until it is heard
				for heard := false; !heard; {
					announce(t, here, "warm")
					select {
					case <-h.tell:
						heard = true
					case <-time.After(50 * time.Millisecond):
					}
				}
			}
			start := time.Now()
			announce(t, here, "a")
			for deadline := time.After(30 * time.Second); ; {
				select {
				case got := <-h.tell:
					if got == "session warm" {
						continue
					}
					if got != "session a" {
						t.Errorf("heard %q", got)
					}
				case <-deadline:
					t.Fatal("heard nothing")
				}
				break
			}
			t.Logf("heard after %v", time.Since(start))
			stop()
			<-done
		})
	}
}

// deaf is an engine without a signal.
type deaf struct{ identity.Store }

func (deaf) Wake() <-chan struct{} { return nil }

// A transaction that took its number early and commits late is heard all the same.
func TestOutOfOrderCommitsOnPostgres(t *testing.T) {
	url := storetest.PostgresURL(t)
	store := storetest.OpenPostgres(t, url)
	raw, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	h := listen()
	tail := &feed.Tail{Store: store, Now: newClock().Now, Listeners: []func([]identity.Change){h.Listen}}
	for _, begun := range []string{"before the tail", "after the tail"} {
		late, err := raw.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := late.ExecContext(t.Context(), `INSERT INTO changes (kind, ref, at) VALUES ('session', 'late', 0)`); err != nil {
			t.Fatal(err)
		}
		announce(t, store, "early")
		once(t, tail)
		if begun == "before the tail" {
			h.expect(t)
		} else {
			h.expect(t, "session early")
		}
		if err := late.Commit(); err != nil {
			t.Fatal(err)
		}
		once(t, tail)
		h.expect(t, "session late")
		once(t, tail)
		h.expect(t)
	}
}
