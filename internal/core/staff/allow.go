package staff

import (
	"context"

	"gatehouse/internal/identity"
)

// Allow says inside another verb's transaction whether who asks may do what is done with nobody in particular: nil, Denied, or
// TokenRevoked where who asks is gone.
func (s *Service) Allow(ctx context.Context, r identity.Reader, by By, act Act) error {
	_, role, err := s.actor(ctx, r, by)
	if err != nil {
		return err
	}
	return May(role, act, Subscriber, false)
}
