package apikey

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// noteEvery is how often a key's last use is written at most, so that using one reads and does not write.
const noteEvery = time.Minute

// used are the last uses that are not written yet.
type used struct {
	mu sync.Mutex
	at map[identity.APIKeyID]time.Time
}

func (u *used) note(k identity.APIKey, now time.Time) {
	if now.Sub(k.LastUseAt) < noteEvery {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at == nil {
		u.at = map[identity.APIKeyID]time.Time{}
	}
	if now.After(u.at[k.ID]) {
		u.at[k.ID] = now
	}
}

func (u *used) last(id identity.APIKeyID) (time.Time, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.at[id]
	return at, ok
}

func (u *used) take() map[identity.APIKeyID]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.at
	u.at = nil
	return at
}

// Run writes the last uses down until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			s.Flush(last)
			cancel()
			return
		case <-tick.C:
			s.Flush(ctx)
		}
	}
}

// flushStep is how many one transaction writes: no more than others gladly wait for.
const flushStep = 256

// Flush writes them now. What cannot be written is lost: it says when a key was used, and decides nothing.
func (s *Service) Flush(ctx context.Context) {
	uses := s.used.take()
	for step := range slices.Chunk(slices.Sorted(maps.Keys(uses)), flushStep) {
		err := s.Store.Update(ctx, func(tx identity.Tx) error {
			for _, id := range step {
				if err := tx.TouchAPIKey(ctx, id, uses[id]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			logs.In(nil, logs.Sessions).WarnContext(ctx, "last uses of API keys not written", "keys", len(uses), "err", err)
			return
		}
	}
}
