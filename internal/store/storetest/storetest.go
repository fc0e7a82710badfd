// Package storetest gives tests real stores, and holds the suite that both engines pass.
//
// Nothing here skips: where PostgreSQL is not installed, the test fails and says what to install.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/postgres"
	"gatehouse/internal/store/sqlite"
)

// EachEngine runs a test on a fresh SQLite file and on a fresh PostgreSQL schema.
func EachEngine(t *testing.T, test func(t *testing.T, store identity.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// chosen are the engines of the tests that do not take Fresh's usual one, by the test's name.
var chosen sync.Map

// Use makes Fresh give this test, and the tests inside it, stores of another engine: t.Run gives no way to hand it down through
// the houses that tests of a door build.
func Use(tb testing.TB, open func(testing.TB) identity.Store) {
	tb.Helper()
	chosen.Store(tb.Name(), open)
	tb.Cleanup(func() { chosen.Delete(tb.Name()) })
}

// Fresh gives a fresh store of the engine that the test or one around it has named with Use, else SQLite.
func Fresh(tb testing.TB) identity.Store {
	tb.Helper()
	for name := tb.Name(); name != ""; name = name[:max(0, strings.LastIndexByte(name, '/'))] {
		if open, ok := chosen.Load(name); ok {
			return open.(func(testing.TB) identity.Store)(tb)
		}
	}
	return SQLite(tb)
}

// SQLite gives a store on a fresh file, closed when the test ends.
func SQLite(tb testing.TB) identity.Store {
	tb.Helper()
	return OpenSQLite(tb, SQLiteDir(tb))
}

// OpenSQLite gives a store on the file in a data directory, closed when the test ends.
func OpenSQLite(tb testing.TB, dir string) identity.Store {
	tb.Helper()
	store, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	return opened(tb, store, err)
}

// SQLiteDir gives a data directory with an empty database, for tests that open it themselves.
func SQLiteDir(tb testing.TB) string {
	tb.Helper()
	file, err := empty()
	if err != nil {
		tb.Fatalf("make an empty database: %v", err)
	}
	dir := tb.TempDir()
	if err := os.WriteFile(filepath.Join(dir, sqlite.FileName), file, 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// empty is the file of a database without rows, made once in a process: copying it is quicker than migrating.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	store, err := sqlite.Open(context.Background(), sqlite.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, sqlite.FileName))
})

// Postgres gives a store in a fresh schema, closed when the test ends.
func Postgres(tb testing.TB) identity.Store {
	tb.Helper()
	return OpenPostgres(tb, PostgresURL(tb))
}

// OpenPostgres gives a store at a URL, closed when the test ends: another node, where the URL is that of a store.
func OpenPostgres(tb testing.TB, url string) identity.Store {
	tb.Helper()
	store, err := postgres.Open(context.Background(), postgres.Options{URL: url})
	return opened(tb, store, err)
}

func opened[S identity.Store](tb testing.TB, store S, err error) S {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := store.Close(); err != nil {
			tb.Errorf("close the store: %v", err)
		}
	})
	return store
}
