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
	if err := waitLock(ctx, file, 10*time.Millisecond); err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

// waitLock looks at the lock now and again until it is ours: a lock that blocks could not be given up.
func waitLock(ctx context.Context, file *os.File, every time.Duration) error {
	if held, err := tryLock(file); held || err != nil {
		return err
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if held, err := tryLock(file); held || err != nil {
			return err
		}
	}
}
