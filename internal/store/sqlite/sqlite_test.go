package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
)

func openEngine(t *testing.T, dir string) *engine {
	t.Helper()
	e, err := open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return e
}

func do(e *engine, statement string, args ...any) error {
	return e.Update(context.Background(), func(q sqlstore.Querier) error {
		_, err := q.Exec(context.Background(), statement, args...)
		return err
	})
}

// Whoever starts the house is told in one line what is wrong and what to do.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(dir string) error
		says    []string
	}{
		{"not a database", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat("not a database ", 300)), 0o600)
		}, []string{"damaged or not a database", "restore a backup"}},
		{"a directory in its place", func(dir string) error {
			return os.Mkdir(filepath.Join(dir, FileName), 0o700)
		}, []string{"cannot be opened", "let this user write"}},
		{"a file in the directory's place", func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, []string{"cannot be made", "GATEHOUSE_DATA"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := errors.Join(os.Mkdir(dir, 0o700), tt.prepare(dir)); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), Options{Dir: dir})
			if err == nil {
				t.Fatal("opened")
			}
			for _, words := range append(tt.says, filepath.Base(dir)) {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is more than one line", err)
			}
		})
	}
}

// Whoever composes many queries fills no memory with them, and nobody loses the statement whose rows she reads.
func TestStatementsAreBounded(t *testing.T) {
	e := openEngine(t, t.TempDir())
	c, err := e.dialReader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	held, err := c.query("SELECT 1 UNION SELECT 2")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for i := range 3 * maxStatements {
		r, err := c.query(fmt.Sprintf("SELECT %d", i))
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if !r.Next() || r.Scan(&n) != nil || n != i {
			t.Fatalf("SELECT %d gives %d, %v", i, n, r.Err())
		}
		r.Close()
	}
	if n := len(c.statements); n > maxStatements {
		t.Errorf("%d statements are kept", n)
	}
	for want := 1; want <= 2; want++ {
		var n int
		if !held.Next() || held.Scan(&n) != nil || n != want {
			t.Errorf("row %d is %d, %v", want, n, held.Err())
		}
	}
}

// Nobody but the owner reads the database or its side files, however wide the umask.
func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	e := openEngine(t, dir)
	if err := do(e, `INSERT INTO settings (name, sealed, updated_at) VALUES ('a', $1, 0)`, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", FileName, FileName + "-wal", FileName + "-shm", "migrate.lock", "turn.lock"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// A path may hold what means something in a URL.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b", "50%41", "q?mode=memory", "h#x", "ü&=;"} {
		dir := filepath.Join(t.TempDir(), name)
		e := openEngine(t, dir)
		if err := do(e, `INSERT INTO settings (name, sealed, updated_at) VALUES ('a', $1, 0)`, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, FileName)); err != nil || info.Size() == 0 {
			t.Errorf("%s: the database is elsewhere: %v", name, err)
		}
	}
}

// A full disk refuses what does not fit, all of a group alike, and damages nothing.
func TestDiskFull(t *testing.T) {
	e := openEngine(t, t.TempDir())
	insert := `INSERT INTO settings (name, sealed, updated_at) VALUES ($1, $2, 0)`
	if err := errors.Join(do(e, insert, "before", []byte("x")), do(e, `PRAGMA max_page_count = 150`)); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d"} {
		group.Go(func() {
			err := do(e, insert, name, make([]byte, 1<<20))
			if !errors.Is(err, identity.Unavailable) || !strings.Contains(err.Error(), "disk full") {
				t.Errorf("insert of %s = %v", name, err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(do(e, `PRAGMA max_page_count = 1000000`), do(e, insert, "after", make([]byte, 1<<20))); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	if err := e.View(t.Context(), func(q sqlstore.Querier) error {
		for query, want := range map[string]string{
			`SELECT group_concat(name, ',') FROM (SELECT name FROM settings ORDER BY name)`: "after,before",
			`PRAGMA integrity_check`: "ok",
		} {
			r, err := q.Query(t.Context(), query)
			if err != nil {
				return err
			}
			var got string
			if r.Next() {
				err = r.Scan(&got)
			}
			r.Close()
			if err != nil || got != want {
				t.Errorf("%s = %q, %v, want %q", query, got, err, want)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Another program that will not let go of the file is an outage, not an error of the caller, and passes with it.
func TestLockedOut(t *testing.T) {
	e := openEngine(t, t.TempDir())
	if err := do(e, `PRAGMA busy_timeout = 1`); err != nil {
		t.Fatal(err)
	}
	other, err := e.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if _, err := other.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	insert := `INSERT INTO settings (name, sealed, updated_at) VALUES ('a', $1, 0)`
	if err := do(e, insert, []byte("x")); !errors.Is(err, identity.Unavailable) {
		t.Errorf("locked out: %v", err)
	}
	if err := e.Ping(t.Context()); err != nil {
		t.Errorf("a reader waits for a writer: %v", err)
	}
	if _, err := other.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := do(e, insert, []byte("x")); err != nil {
		t.Errorf("let in again: %v", err)
	}
}

// What a function keeps of its transaction is of no use afterwards.
func TestTransactionEnds(t *testing.T) {
	e := openEngine(t, t.TempDir())
	var kept sqlstore.Querier
	if err := e.Update(t.Context(), func(q sqlstore.Querier) error {
		kept = q
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Exec(t.Context(), `DELETE FROM settings`); !errors.Is(err, errDone) {
		t.Errorf("Exec = %v", err)
	}
	if _, err := kept.Query(t.Context(), `SELECT 1`); !errors.Is(err, errDone) {
		t.Errorf("Query = %v", err)
	}
	err := e.View(t.Context(), func(q sqlstore.Querier) error {
		_, err := q.Exec(t.Context(), `DELETE FROM settings`)
		return err
	})
	if err == nil {
		t.Error("a view wrote")
	}
}

// A long statement ends when its caller has gone, and the connection goes on.
func TestLongQueryEndsWithItsCaller(t *testing.T) {
	e := openEngine(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := e.View(t.Context(), func(q sqlstore.Querier) error {
		r, err := q.QueryLong(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n`)
		if err == nil {
			r.Close()
		}
		return err
	})
	if !errors.Is(err, identity.Unavailable) {
		t.Errorf("a query without an end: %v", err)
	}
	if idle := len(e.readers.idle); idle != 1 {
		t.Errorf("%d idle readers", idle)
	}
	if err := e.Ping(t.Context()); err != nil {
		t.Errorf("the reader after it: %v", err)
	}
}

// A statement whose rows are being read cannot be run again under them; sqlstore reads to the end first.
func TestStatementInUse(t *testing.T) {
	e := openEngine(t, t.TempDir())
	err := e.View(t.Context(), func(q sqlstore.Querier) error {
		r, err := q.Query(t.Context(), `SELECT 1`)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = q.Query(t.Context(), `SELECT 1`)
		return err
	})
	if err == nil {
		t.Error("two readers of one statement")
	}
}
