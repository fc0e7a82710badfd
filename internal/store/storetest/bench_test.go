package storetest

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"gatehouse/internal/identity"
)

// Sixty-four callers, as in the mark for refresh (design, section 8).
const callers = 64

// BenchmarkFloor is the smallest honest program that does a durable rotation: one goroutine that takes what waits, spends
// the old row and inserts the new, and commits once for all.
func BenchmarkFloor(b *testing.B) {
	connector, err := sqlite.NewConnector("file:" + filepath.Join(b.TempDir(), "floor.db"))
	if err != nil {
		b.Fatal(err)
	}
	conn, err := connector.Connect(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	prepare := func(query string) func(args ...driver.NamedValue) {
		s, err := conn.(driver.ConnPrepareContext).PrepareContext(context.Background(), query)
		if err != nil {
			b.Fatal(err)
		}
		return func(args ...driver.NamedValue) {
			if _, err := s.(driver.StmtExecContext).ExecContext(context.Background(), args); err != nil {
				b.Error(err)
			}
		}
	}
	for _, setup := range []string{
		"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
		"CREATE TABLE tokens (hash TEXT PRIMARY KEY, family TEXT NOT NULL, used_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID",
	} {
		prepare(setup)()
	}
	begin, commit := prepare("BEGIN IMMEDIATE"), prepare("COMMIT")
	insert := prepare("INSERT INTO tokens VALUES ($1, $2, 0, $3)")
	spend := prepare("UPDATE tokens SET used_at = $2 WHERE hash = $1 AND used_at = 0")

	type rotation struct {
		old, next, family string
		done              chan struct{}
	}
	queue := make(chan *rotation, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		var group []*rotation
		for r := range queue {
			begin()
			for group = group[:0]; r != nil; {
				if r.old != "" {
					spend(driver.NamedValue{Ordinal: 1, Value: r.old}, driver.NamedValue{Ordinal: 2, Value: int64(1)})
				}
				insert(driver.NamedValue{Ordinal: 1, Value: r.next}, driver.NamedValue{Ordinal: 2, Value: r.family}, driver.NamedValue{Ordinal: 3, Value: int64(2)})
				group = append(group, r)
				r = nil
				select {
				case r = <-queue:
				default:
				}
			}
			commit()
			for _, r := range group {
				r.done <- struct{}{}
			}
		}
	})
	run(b, func(caller int) func() {
		generation := 0
		r := &rotation{family: fmt.Sprintf("01900000-0000-7000-8000-%012x", caller), done: make(chan struct{}, 1)}
		return func() {
			r.old, r.next = r.next, fmt.Sprintf("%064x-%d", caller, generation)
			generation++
			queue <- r
			<-r.done
		}
	})
	close(queue)
	writer.Wait()
}

// BenchmarkRefresh is what the core does for a refresh: look at the session, then look again and advance it in an update.
func BenchmarkRefresh(b *testing.B) {
	eachEngine(b, func(b *testing.B, store identity.Store) {
		ctx := context.Background()
		now := time.Now()
		run(b, func(caller int) func() {
			s := newSession(b, store, now)
			return func() {
				var before identity.Session
				if err := store.View(ctx, func(r identity.Reader) (err error) {
					before, err = r.Session(ctx, s)
					return err
				}); err != nil {
					b.Error(err)
				}
				if err := store.Update(ctx, func(tx identity.Tx) error {
					got, err := tx.Session(ctx, s)
					if err != nil {
						return err
					}
					if advanced, err := tx.AdvanceSession(ctx, s, got.Generation, now, got.ExpiresAt); err != nil || !advanced || got.Generation != before.Generation {
						b.Errorf("not advanced: %v", err)
					}
					return nil
				}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkUpdate is the engine alone: one small statement in each update.
func BenchmarkUpdate(b *testing.B) {
	eachEngine(b, func(b *testing.B, store identity.Store) {
		ctx := context.Background()
		now := time.Now()
		run(b, func(caller int) func() {
			s := newSession(b, store, now)
			generation := int64(0)
			return func() {
				if err := store.Update(ctx, func(tx identity.Tx) error {
					_, err := tx.AdvanceSession(ctx, s, generation, now, time.Time{})
					return err
				}); err != nil {
					b.Error(err)
				}
				generation++
			}
		})
	})
}

// BenchmarkView is a point read.
func BenchmarkView(b *testing.B) {
	eachEngine(b, func(b *testing.B, store identity.Store) {
		ctx := context.Background()
		s := newSession(b, store, time.Now())
		run(b, func(int) func() {
			return func() {
				if err := store.View(ctx, func(r identity.Reader) error {
					_, err := r.Session(ctx, s)
					return err
				}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func eachEngine(b *testing.B, bench func(b *testing.B, store identity.Store)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, Postgres(b)) })
}

func newSession(b *testing.B, store identity.Store, now time.Time) identity.SessionID {
	id := newID()
	if err := store.Update(context.Background(), func(tx identity.Tx) error {
		if err := tx.CreateSubject(context.Background(), &identity.Subject{ID: identity.SubjectID(id)}); err != nil {
			return err
		}
		return tx.CreateSession(context.Background(), identity.Session{
			ID: identity.SessionID(id), SubjectID: identity.SubjectID(id), Door: "oidc", ClientID: "client", AMR: []string{"pwd"},
			Scopes: []string{"openid", "profile"}, Address: "192.0.2.1", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/140",
			CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour), AbsoluteAt: now.Add(24 * time.Hour),
		})
	}); err != nil {
		b.Fatal(err)
	}
	return identity.SessionID(id)
}

// run shares b.N between the callers.
func run(b *testing.B, caller func(int) func()) {
	calls := make([]func(), callers)
	for i := range calls {
		calls[i] = caller(i)
	}
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var group sync.WaitGroup
	for _, call := range calls {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				call()
			}
		})
	}
	group.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
