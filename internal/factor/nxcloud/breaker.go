package nxcloud

import (
	"sync"
	"time"
)

const (
	tolerated = 5                // failures in a row before the cloud is left alone
	firstRest = 5 * time.Second  // for so long at first
	longRest  = 60 * time.Second // doubled with each failed try up to this
)

// breaker keeps callers from an upstream that does not answer. After a rest one caller tries; the others wait for how that goes.
type breaker struct {
	mu       sync.Mutex
	failures int
	rest     time.Duration
	until    time.Time
	trying   bool
}

// enter says whether a call may be made now, and if not, when to ask again. Who may must leave.
func (b *breaker) enter(now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < tolerated {
		return 0, true
	}
	if left := b.until.Sub(now); left > 0 {
		// A clock that was set back must not keep the cloud shut for longer than a rest.
		if left <= b.rest {
			return left, false
		}
	}
	if b.trying {
		return time.Second, false
	}
	b.trying = true
	return 0, true
}

type verdict int

const (
	answered verdict = iota // yes or no
	failed                  // neither
	gone                    // the caller went away: that says nothing of the cloud
)

// leave hears how the call went, and says whether the cloud has just been shut out or let in again.
func (b *breaker) leave(now time.Time, v verdict) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.failures >= tolerated
	switch v {
	case answered:
		b.failures, b.rest, b.trying = 0, 0, false
		return was
	case gone:
		b.trying = false
		return false
	}
	b.failures++
	if b.failures < tolerated {
		return false
	}
	if was && !b.trying { // a call that had begun before
		return false
	}
	b.trying = false
	b.rest = min(max(2*b.rest, firstRest), longRest)
	b.until = now.Add(b.rest)
	return !was
}

func (b *breaker) shut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failures >= tolerated
}
