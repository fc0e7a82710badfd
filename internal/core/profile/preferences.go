package profile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/identity"
)

// Preference is one thing that a door's clients remember for somebody.
type Preference struct {
	Tag   string `json:"tag"`
	Value string `json:"value"`
}

// Preferences gives what a door's clients remember for somebody, in the order that they sent, and since when; the zero time where
// they never did.
func (s *Service) Preferences(ctx context.Context, id identity.SubjectID, door identity.Door) ([]Preference, time.Time, error) {
	var kept identity.Preferences
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		kept, err = r.Preferences(ctx, id, door)
		return err
	})
	if errors.Is(err, identity.NotFound) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	var list []Preference
	if err := json.Unmarshal(kept.Data, &list); err != nil {
		return nil, time.Time{}, fmt.Errorf("preferences of %s at %s: %w", id, door, err)
	}
	return list, kept.UpdatedAt, nil
}
