package sqlite

import (
	"context"
	"os"
	"time"
)

// turn is a place in the queue of processes that write to one file. SQLite's waiting looks at the write lock now and
// then, and behind a process that commits without pause it may find the lock held every time, until it gives up. So a
// process takes this lock before it asks for that one and gives it back as soon as it has that one: whoever waits keeps
// the others from overtaking.
type turn struct {
	file *os.File // nil: take is free, and SQLite's own lock is what orders
}

func openTurn(path string) turn {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return turn{}
	}
	return turn{file}
}

// take waits for the turn, as long as a writer waits for SQLite's lock. It is a courtesy: without it the write lock still
// keeps writers apart, so its failures are nobody's error.
func (t turn) take() (release func()) {
	if t.file == nil {
		return func() {}
	}
	if held, err := tryLock(t.file); err == nil && held { // the usual case: nobody else writes
		return func() { _ = unlock(t.file) }
	}
	ctx, cancel := context.WithTimeout(context.Background(), busyTimeout)
	defer cancel()
	if waitLock(ctx, t.file, time.Millisecond) != nil {
		return func() {}
	}
	return func() { _ = unlock(t.file) }
}

func (t turn) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}
