// Package lately keeps in memory when things were used last, so that using one reads and does not write: it is written down once
// in a while, many at a time.
package lately

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// step is how many one transaction writes: no more than others gladly wait for.
const step = 256

// Uses are those that are not written yet. The zero value is ready.
type Uses[ID ~string] struct {
	mu sync.Mutex
	at map[ID]time.Time
}

// Note keeps a use, unless a later one is known.
func (u *Uses[ID]) Note(id ID, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[ID]time.Time{}
	}
	if at.After(u.at[id]) {
		u.at[id] = at
	}
}

// Last gives the last use, false where all is written.
func (u *Uses[ID]) Last(id ID) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.at[id]
	return at, ok
}

// Flush has them written, some at a time. Those that cannot be stay for the next time; left says how many.
func (u *Uses[ID]) Flush(write func(some map[ID]time.Time) error) (left int, err error) {
	u.mu.Lock()
	taken := u.at
	u.at = nil
	u.mu.Unlock()
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(taken)), step) {
		some := make(map[ID]time.Time, len(ids))
		for _, id := range ids {
			some[id] = taken[id]
		}
		if err = write(some); err != nil {
			break
		}
		for _, id := range ids {
			delete(taken, id)
		}
	}
	for id, at := range taken {
		u.Note(id, at)
	}
	return len(taken), err
}

// Every flushes again and again until ctx ends, and then once more, with a clock of its own: the process is stopping in good order.
func Every(ctx context.Context, every time.Duration, flush func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			flush(last)
			return
		case <-tick.C:
			flush(ctx)
		}
	}
}
