package httpkit

import (
	"context"
	"sync"
	"time"
)

// Bounded is context.WithTimeout for operations that mostly answer from memory: the timer starts when somebody first waits on the
// context. A timer that nobody needs costs more than looking up a token, because setting it wakes a sleeping thread.
func Bounded(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	b := &bounded{parent: parent, d: d}
	return b, b.end
}

type bounded struct {
	parent context.Context
	d      time.Duration

	mu     sync.Mutex
	armed  context.Context // nil: nobody waited yet
	cancel context.CancelFunc
	ended  bool
}

func (b *bounded) arm() context.Context {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed == nil {
		b.armed, b.cancel = context.WithTimeout(b.parent, b.d)
		if b.ended {
			b.cancel()
		}
	}
	return b.armed
}

func (b *bounded) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	if b.cancel != nil {
		b.cancel()
	}
}

func (b *bounded) Deadline() (time.Time, bool) { return b.arm().Deadline() }
func (b *bounded) Done() <-chan struct{}       { return b.arm().Done() }

func (b *bounded) Err() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.armed != nil:
		return b.armed.Err()
	case b.ended:
		return context.Canceled
	}
	return b.parent.Err()
}

// Value asks the armed context where there is one: package context finds a parent's cancellation that way, and would otherwise
// keep a goroutine for each child.
func (b *bounded) Value(key any) any {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.armed != nil {
		return b.armed.Value(key)
	}
	return b.parent.Value(key)
}
