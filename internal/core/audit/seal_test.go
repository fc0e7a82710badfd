package audit_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the other way into the databases
	_ "modernc.org/sqlite"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
	"gatehouse/internal/keys"
	"gatehouse/internal/store/sqlite"
	"gatehouse/internal/store/storetest"
)

type clock struct{ at atomic.Int64 }

func (c *clock) Now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) Advance(d time.Duration) { c.at.Add(d.Microseconds()) }

// house is a store with a log, its sealer, and a way around both.
type house struct {
	t      *testing.T
	store  identity.Store
	raw    *sql.DB
	clock  *clock
	log    *audit.Log
	ring   *keys.Ring
	sealer *audit.Sealer
}

func build(t *testing.T, store identity.Store, raw *sql.DB) *house {
	t.Helper()
	h := &house{t: t, store: store, raw: raw, clock: new(clock)}
	h.clock.at.Store(time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).UnixMicro())
	h.log = &audit.Log{Now: h.clock.Now, Rand: rand.Reader}
	box, err := keys.NewBox(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	if h.ring, err = keys.NewRing(keys.Options{Store: store, Box: box, Now: h.clock.Now, Rand: rand.Reader}); err != nil {
		t.Fatal(err)
	}
	if err := h.ring.Ensure(t.Context(), keys.EdDSA); err != nil {
		t.Fatal(err)
	}
	h.sealer = h.newSealer("one")
	return h
}

func (h *house) newSealer(owner string) *audit.Sealer {
	return &audit.Sealer{Store: h.store, Ring: h.ring, Owner: owner, Now: h.clock.Now}
}

func (h *house) write(n int) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(tx identity.Tx) error {
		for i := range n {
			if err := h.log.Record(h.t.Context(), tx, identity.Caller{Door: "nx"}, audit.Entry{Action: "signin", Reason: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) seal(want int) {
	h.t.Helper()
	if n, err := h.sealer.SealOnce(h.t.Context()); err != nil || n != want {
		h.t.Fatalf("sealed %d, %v, want %d", n, err, want)
	}
}

// sealed writes and seals n rows and gives the clock a minute, so that a checkpoint covers them.
func (h *house) sealed(n int) {
	h.t.Helper()
	h.write(n)
	h.clock.Advance(time.Minute)
	h.seal(n)
}

func (h *house) exec(query string, args ...any) {
	h.t.Helper()
	if _, err := h.raw.ExecContext(h.t.Context(), query, args...); err != nil {
		h.t.Fatalf("%s: %v", query, err)
	}
}

func (h *house) verify() (audit.Summary, []string) {
	h.t.Helper()
	var found []string
	sum, err := h.sealer.Verify(h.t.Context(), func(p audit.Problem) {
		if (p.Kind == audit.Changed || p.Kind == audit.Inserted) && p.EventID == "" {
			h.t.Errorf("no event id: %+v", p)
		}
		found = append(found, fmt.Sprintf("%s %d", p.Kind, p.Position))
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return sum, found
}

func (h *house) expect(want ...string) {
	h.t.Helper()
	if _, found := h.verify(); !slices.Equal(found, want) {
		h.t.Errorf("found %q, want %q", found, want)
	}
}

func TestSealedLogIsSound(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		h.expect()
		h.seal(0)
		h.write(3)
		h.seal(3)
		h.write(1200)
		h.seal(1200)
		h.seal(0)
		sum, found := h.verify()
		if len(found) != 0 || sum.Rows != 1203 || sum.Position != 1203 || sum.Signed != 1003 || len(sum.Chain) != 32 {
			t.Errorf("%+v, %q", sum, found)
		}
		h.write(5)
		h.seal(5)
		if sum, _ := h.verify(); sum.Signed != 1003 || sum.Position != 1208 {
			t.Errorf("a checkpoint within the same minute: %+v", sum)
		}
		h.clock.Advance(time.Minute)
		h.seal(0)
		if sum, _ := h.verify(); sum.Signed != 1208 {
			t.Errorf("no checkpoint after a minute: %+v", sum)
		}
		h.write(1)
		if err := h.sealer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		// After a stop in good order the next one need not wait for the lease.
		h.sealer = h.newSealer("two")
		h.write(1)
		h.seal(1)
		if sum, found := h.verify(); sum.Signed != 1209 || sum.Position != 1210 || len(found) != 0 {
			t.Errorf("%+v %q", sum, found)
		}
	})
}

func TestTamperingIsFound(t *testing.T) {
	columns := "id, at, action, outcome, actor_id, subject_id, session_id, client_id, organisation_id, door, address, request_id, detail, position, chain"
	copyOf := func(position int64) string {
		return fmt.Sprintf(`INSERT INTO events (%s) SELECT 'forged', at, action, outcome, 'mallory', subject_id, session_id, client_id,
			organisation_id, door, address, request_id, detail, %d, chain FROM events WHERE position = 3`, columns, position)
	}
	tests := []struct {
		name string
		do   []string
		want []string
	}{
		{"untouched", nil, nil},
		{"changed", []string{`UPDATE events SET outcome = 'locked' WHERE position = 4`}, []string{"changed 4"}},
		{"first changed", []string{`UPDATE events SET actor_id = 'x' WHERE position = 1`}, []string{"changed 1"}},
		{"last changed", []string{`UPDATE events SET at = at + 1 WHERE position = 10`}, []string{"changed 10"}},
		{"two neighbours changed", []string{`UPDATE events SET detail = '{}' WHERE position IN (4, 5)`}, []string{"changed 4", "changed 5"}},
		{"letters moved to the next column", []string{`UPDATE events SET action = 'sig', outcome = 'nin' WHERE position = 4`}, []string{"changed 4"}},
		{"its chain value too", []string{`UPDATE events SET outcome = 'locked', chain = (SELECT chain FROM events WHERE position = 1) WHERE position = 4`},
			[]string{"changed 4", "changed 5"}}, // nothing is left that the next row could be checked against
		{"its chain value only", []string{`UPDATE events SET chain = (SELECT chain FROM events WHERE position = 1) WHERE position = 4`}, []string{"changed 4"}},
		{"removed", []string{`DELETE FROM events WHERE position = 4`}, []string{"removed 4"}},
		{"first removed", []string{`DELETE FROM events WHERE position = 1`}, []string{"removed 1"}},
		{"last removed", []string{`DELETE FROM events WHERE position = 10`}, []string{"removed 10"}},
		{"all removed", []string{`DELETE FROM events`}, []string{"removed 1"}},
		{"several removed", []string{`DELETE FROM events WHERE position IN (2, 3, 7)`}, []string{"removed 2", "removed 7"}},
		{"taken out of the chain", []string{`UPDATE events SET position = 0 WHERE position = 4`}, []string{"removed 4"}},
		{"inserted", []string{
			`UPDATE events SET position = position + 1000 WHERE position >= 4`, copyOf(4),
			`UPDATE events SET position = position - 999 WHERE position >= 1000`,
		}, []string{"inserted 4"}},
		{"inserted first", []string{
			`UPDATE events SET position = position + 1000`, copyOf(1) + `+1000`,
			`UPDATE events SET position = position - 999 WHERE position >= 1000`,
		}, []string{"inserted 1"}},
		{"appended", []string{copyOf(11)}, []string{"changed 11"}},
		{"checkpoint forged", []string{`UPDATE checkpoints SET signature = 'x' WHERE position = 10`}, []string{"checkpoint 10"}},
		{"checkpoint's chain value changed", []string{`UPDATE checkpoints SET chain = (SELECT chain FROM events WHERE position = 1) WHERE position = 5`}, []string{"checkpoint 5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, h *house) {
				h.sealed(5)
				h.sealed(5)
				for _, query := range tt.do {
					if strings.HasSuffix(query, "+1000") { // copies the row that was moved away
						query = strings.Replace(strings.TrimSuffix(query, "+1000"), "position = 3", "position = 1003", 1)
					}
					h.exec(query)
				}
				h.expect(tt.want...)
			})
		})
	}
}

// forge makes the whole log consistent in itself after a change, as somebody with the database and this program could.
func (h *house) forge() {
	h.t.Helper()
	h.exec(`UPDATE events SET actor_id = 'mallory' WHERE position = 3`)
	h.exec(`DELETE FROM checkpoints`)
	h.exec(`UPDATE events SET position = 0`)
	other := &audit.Sealer{Store: h.store, Ring: forger{h.ring}, Owner: "one", Now: h.clock.Now}
	if _, err := other.SealOnce(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.exec(`DELETE FROM checkpoints`)
}

// forger has no key.
type forger struct{ *keys.Ring }

func (forger) Sign(string, string, any) (string, error) { return "x.y.z", nil }

func TestAForgedLogIsNotMadeGoodByItsNextCheckpoint(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		h.sealed(5)
		h.sealed(5)
		kept := h.checkpoints()
		h.forge()
		for _, c := range kept { // the real ones, put back to look complete
			h.exec(`INSERT INTO checkpoints (position, chain, at, signature, anchor) VALUES ($1, $2, $3, $4, 0)`, c.Position, c.Chain, c.At.UnixMicro(), c.Signature)
		}
		h.expect("checkpoint 5", "checkpoint 10")
		h.sealed(5) // the sealer remembers another head
		if _, found := h.verify(); !slices.Contains(found, "broken 11") {
			t.Errorf("found %q", found)
		}
		// It stays found, also by another node, when nothing else of it can be seen any more.
		h.exec(`DELETE FROM checkpoints WHERE position <= 10`)
		h.sealer = h.newSealer("one")
		h.sealed(5)
		if _, found := h.verify(); !slices.Contains(found, "broken 11") {
			t.Errorf("another node found %q", found)
		}
	})
}

func (h *house) checkpoints() (all []identity.Checkpoint) {
	h.t.Helper()
	err := h.store.View(h.t.Context(), func(r identity.Reader) (err error) {
		all, err = r.Checkpoints(h.t.Context(), 0, 100)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func TestAnotherNodeGoesOnOnlyFromWhatIsProven(t *testing.T) {
	tests := []struct {
		name   string
		tamper []string
		want   string
	}{
		{"sound", nil, ""},
		{"unsigned row changed", []string{`UPDATE events SET outcome = 'x' WHERE position = 7`}, "broken 7"},
		{"unsigned row removed", []string{`DELETE FROM events WHERE position = 7`}, "broken 7"},
		{"signed rows removed", []string{`DELETE FROM events WHERE position > 3`}, "broken 4"},
		{"checkpoint forged", []string{`UPDATE checkpoints SET signature = 'x'`}, "broken 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, h *house) {
				h.sealed(5)
				h.write(4)
				h.seal(4) // within the minute: not signed
				for _, query := range tt.tamper {
					h.exec(query)
				}
				h.clock.Advance(time.Minute)
				h.sealer = h.newSealer("two")
				h.sealed(2)
				_, found := h.verify()
				if tt.want == "" && len(found) > 0 || tt.want != "" && !slices.Contains(found, tt.want) {
					t.Errorf("found %q, want %q", found, tt.want)
				}
			})
		})
	}
}

func TestRetention(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		for range 4 {
			h.sealed(300)
			h.clock.Advance(24 * time.Hour)
		}
		start := h.clock.Now()
		prune := func(want int) {
			t.Helper()
			if n, err := h.sealer.Prune(t.Context(), start.Add(-49*time.Hour)); err != nil || n != want {
				t.Fatalf("pruned %d, %v, want %d", n, err, want)
			}
		}
		prune(600)
		prune(0)
		sum, found := h.verify()
		if len(found) > 0 || sum.From != 600 || sum.Rows != 600 || sum.Position != 1200 {
			t.Errorf("%+v, %q", sum, found)
		}
		if first := h.checkpoints()[0]; first.Position != 600 || !first.Anchor {
			t.Errorf("the first checkpoint left is %+v", first)
		}
		h.sealed(10) // the next checkpoint knows the new start
		h.expect()
		h.exec(`DELETE FROM events WHERE position <= 700`)
		h.expect("removed 601")
		h.exec(`DELETE FROM checkpoints WHERE anchor = 1`)
		if _, found := h.verify(); !slices.Contains(found, "checkpoint 600") {
			t.Errorf("a missing start: %q", found)
		}
	})
}

func TestRetentionOfEverything(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		h.sealed(10)
		h.write(3)
		h.seal(3)
		if n, err := h.sealer.Prune(t.Context(), h.clock.Now().Add(time.Hour)); err != nil || n != 10 {
			t.Fatalf("pruned %d, %v: rows that no checkpoint covers must stay", n, err)
		}
		h.expect()
		h.clock.Advance(time.Minute)
		h.seal(0)
		if n, err := h.sealer.Prune(t.Context(), h.clock.Now().Add(time.Hour)); err != nil || n != 3 {
			t.Fatalf("pruned %d, %v", n, err)
		}
		h.expect()
		h.sealer = h.newSealer("one")
		h.sealed(4)
		sum, found := h.verify()
		if len(found) > 0 || sum.From != 13 || sum.Position != 17 {
			t.Errorf("%+v %q", sum, found)
		}
	})
}

func TestAnIdleLogsCheckpointOutlivesItsKey(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		h.sealed(3)
		for range 40 { // weeks: two rotations and the end of the first key
			h.clock.Advance(7 * 24 * time.Hour)
			if err := h.ring.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.seal(0)
		}
		if sum, found := h.verify(); sum.Signed != 3 || len(found) > 0 {
			t.Errorf("%+v %q", sum, found)
		}
	})
}

func TestManyNodesSealOneChain(t *testing.T) {
	eachEngine(t, func(t *testing.T, h *house) {
		const writers, each = 4, 50
		var wg sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		var nodes sync.WaitGroup
		for i := range 3 {
			s := h.newSealer(fmt.Sprint("node", i))
			s.Now = time.Now
			nodes.Go(func() { s.Run(ctx) })
			for range writers {
				wg.Go(func() {
					for range each {
						h.write(1)
						s.Notify()
					}
				})
			}
		}
		wg.Wait()
		var sum audit.Summary
		for deadline := time.After(30 * time.Second); sum.Rows < 3*writers*each; {
			sum, _ = h.verify()
			select {
			case <-deadline:
				t.Fatalf("%+v", sum)
			default:
			}
		}
		stop()
		nodes.Wait()
		if sum, found := h.verify(); len(found) > 0 || sum.Position != 3*writers*each || sum.Signed != sum.Position {
			t.Errorf("%+v %q", sum, found)
		}
	})
}

// eachEngine gives a house on each engine, with the database opened a second time beside the store.
func eachEngine(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		dir := storetest.SQLiteDir(t)
		raw := open(t, "sqlite", "file:"+filepath.Join(dir, sqlite.FileName)+"?_pragma=busy_timeout(10000)")
		test(t, build(t, storetest.OpenSQLite(t, dir), raw))
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.PostgresURL(t)
		test(t, build(t, storetest.OpenPostgres(t, url), open(t, "pgx", url)))
	})
}

func open(t *testing.T, driver, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
