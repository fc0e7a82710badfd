package sqlite

import (
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
	var waited time.Duration
	for pause := 250 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		held, err := tryLock(t.file)
		if held {
			return func() { _ = unlock(t.file) }
		}
		if err != nil || waited >= busyTimeout {
			return func() {}
		}
		time.Sleep(pause)
		waited += pause
	}
}

func (t turn) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}
