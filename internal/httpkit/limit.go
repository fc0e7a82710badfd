package httpkit

import (
	"sync"
	"time"
)

// Windows counts calls by key in fixed windows that begin with the first call, within a bound of keys.
type Windows struct {
	Limit  int // calls in one window; 0 = no limit
	Window time.Duration
	Now    func() time.Time

	mu    sync.Mutex
	keys  map[string]window
	sweep time.Time
}

type window struct {
	count int
	ends  time.Time
}

// maxKeys bounds the memory that strangers can make a counter take. Past it a sweep drops the windows that ended, and while all
// are open the count of a new key is not kept: the limits of each login and address in the store still hold.
const maxKeys = 100_000

// Take counts one call. left is how many more the window has, after how long it ends; ok is false past the limit.
func (l *Windows) Take(key string) (left int, ends time.Duration, ok bool) {
	if l.Limit <= 0 {
		return 0, 0, true
	}
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = map[string]window{}
	}
	w := l.keys[key]
	if !now.Before(w.ends) {
		w = window{ends: now.Add(l.Window)}
	}
	w.count++
	if len(l.keys) >= maxKeys && now.After(l.sweep) {
		for k, old := range l.keys {
			if !now.Before(old.ends) {
				delete(l.keys, k)
			}
		}
		l.sweep = now.Add(l.Window)
	}
	if _, known := l.keys[key]; known || len(l.keys) < maxKeys {
		l.keys[key] = w
	}
	return max(0, l.Limit-w.count), w.ends.Sub(now), w.count <= l.Limit
}
