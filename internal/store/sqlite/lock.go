package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// LockData holds the data directory for one serving process, until unlock or the end of the process. The other verbs of
// the command line do not ask for it: they work beside a running node.
func LockData(dir string) (unlock func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be made: let this user write its parent, or set GATEHOUSE_DATA (%w)", dir, err)
	}
	path := filepath.Join(dir, "serve.lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened for writing: mount its disk for writing and let this user write there (%w)", path, err)
	}
	held, err := tryLock(file)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s cannot be locked: keep the data directory on a local disk (%w)", path, err)
	}
	if !held {
		holder := ""
		if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
			holder = " (process " + strings.TrimSpace(string(text)) + ")"
		}
		_ = file.Close()
		return nil, fmt.Errorf("another gatehouse%s serves %s: stop it first, or give this one its own GATEHOUSE_DATA", holder, dir)
	}
	// For the message above only; the lock is what counts, and it goes with the process however that ends.
	if err := file.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(file, "%d\n", os.Getpid())
	}
	return file.Close, nil
}

// lockFile waits for a lock.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := tryLock(file)
		switch {
		case err != nil:
			_ = file.Close()
			return nil, err
		case held:
			return func() { _ = file.Close() }, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = file.Close()
			return nil, ctx.Err()
		}
	}
}
