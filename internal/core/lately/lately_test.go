package lately_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/core/lately"
)

var start = time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)

// What cannot be written stays, what was written is gone, and a later use that came meanwhile wins.
func TestFlush(t *testing.T) {
	var u lately.Uses[string]
	for i := range 600 {
		u.Note(fmt.Sprintf("%03d", i), start)
	}
	u.Note("000", start.Add(-time.Hour))
	away := errors.New("the store is away")
	calls := 0
	left, err := u.Flush(func(some map[string]time.Time) error {
		if calls++; calls == 2 {
			u.Note("599", start.Add(time.Minute))
			return away
		}
		if len(some) != 256 || !some["000"].Equal(start) {
			t.Errorf("%d at once, the first at %v", len(some), some["000"])
		}
		return nil
	})
	if left != 344 || !errors.Is(err, away) || calls != 2 {
		t.Errorf("%d left after %d calls, %v", left, calls, err)
	}
	if _, ok := u.Last("000"); ok {
		t.Error("what was written is still there")
	}
	if at, ok := u.Last("599"); !ok || !at.Equal(start.Add(time.Minute)) {
		t.Errorf("the later use is %v", at)
	}
	written := 0
	if left, err := u.Flush(func(some map[string]time.Time) error { written += len(some); return nil }); left != 0 || err != nil || written != 344 {
		t.Errorf("%d left, %v, %d written", left, err, written)
	}
}

// Whoever notes while it is flushed loses nothing.
func TestNotesBesideFlush(t *testing.T) {
	var u lately.Uses[string]
	var mu sync.Mutex
	seen := map[string]bool{}
	write := func(some map[string]time.Time) error {
		mu.Lock()
		defer mu.Unlock()
		for id := range some {
			seen[id] = true
		}
		return nil
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 50 {
				u.Note(fmt.Sprint(i, "-", n), start)
				if n%10 == 0 {
					_, _ = u.Flush(write) // it never fails
				}
			}
		})
	}
	wg.Wait()
	if _, err := u.Flush(write); err != nil || len(seen) != 16*50 {
		t.Errorf("%d of %d written, %v", len(seen), 16*50, err)
	}
}

// The last flush has a context that lives, though the process is stopping.
func TestEveryFlushesAtTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	flushed := 0
	lately.Every(ctx, time.Hour, func(ctx context.Context) {
		if flushed++; ctx.Err() != nil {
			t.Error("the last flush cannot write")
		}
	})
	if flushed != 1 {
		t.Errorf("flushed %d times", flushed)
	}
}
