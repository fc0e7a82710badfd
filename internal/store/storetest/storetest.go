// Package storetest gives tests real stores, and holds the suite that both engines pass.
//
// Nothing here skips: where PostgreSQL is not installed, the test fails and says what to install.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlite"
)

// EachEngine runs a test on a fresh SQLite file and on a fresh PostgreSQL schema.
func EachEngine(t *testing.T, test func(t *testing.T, store identity.Store)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
}

// SQLite gives a store on a fresh file, closed when the test ends.
func SQLite(tb testing.TB) identity.Store {
	tb.Helper()
	store, err := sqlite.Open(tb.Context(), sqlite.Options{Dir: SQLiteDir(tb)})
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
