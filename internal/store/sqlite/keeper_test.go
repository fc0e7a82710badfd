package sqlite_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlite"
	"gatehouse/internal/store/storetest"
)

// The log is folded into the database while others write, so that it does not grow with what is written.
func TestLogIsFolded(t *testing.T) {
	dir := storetest.SQLiteDir(t)
	store := storetest.OpenSQLite(t, dir)
	const writers, each, size = 16, 200, 32 << 10 // 100 MiB in all
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range each {
				value := bytes.Repeat([]byte{byte(i), byte(w)}, size/2) // what is the same is not written again
				if err := store.Update(context.Background(), func(tx identity.Tx) error {
					return tx.SaveSetting(context.Background(), identity.Setting{Name: fmt.Sprint(w), Sealed: value})
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	log, err := os.Stat(filepath.Join(dir, sqlite.FileName+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if log.Size() > writers*each*size/2 {
		t.Errorf("the log has %d MiB after 100 MiB were written", log.Size()>>20)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, sqlite.FileName+"-wal")); !os.IsNotExist(err) {
		t.Errorf("the log is left after Close: %v", err)
	}
}
