package apikey

import (
	"context"
	"maps"
	"slices"
	"time"

	"gatehouse/internal/core/lately"
	"gatehouse/internal/identity"
	"gatehouse/internal/logs"
)

// noteEvery is how often a key's last use is written at most.
const noteEvery = time.Minute

// note keeps a use that is worth writing.
func (s *Service) note(k identity.APIKey) {
	if now := s.Now(); now.Sub(k.LastUseAt) >= noteEvery {
		s.used.Note(k.ID, now)
	}
}

// Run writes the last uses down until ctx ends.
func (s *Service) Run(ctx context.Context) { lately.Every(ctx, noteEvery, s.Flush) }

// Flush writes them now.
func (s *Service) Flush(ctx context.Context) {
	left, err := s.used.Flush(func(some map[identity.APIKeyID]time.Time) error {
		return s.Store.Update(ctx, func(tx identity.Tx) error {
			for _, id := range slices.Sorted(maps.Keys(some)) { // in one order, or two nodes would wait for each other
				if err := tx.TouchAPIKey(ctx, id, some[id]); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		logs.In(nil, logs.Sessions).WarnContext(ctx, "last uses of API keys not written; will try again", "keys", left, "err", err)
	}
}
