package licence

import (
	"context"
	"slices"
	"time"

	"gatehouse/internal/identity"
)

const (
	// keptFor bounds what is remembered: an end is noticed so soon, and what the feed did not tell of.
	keptFor = 10 * time.Second
	// settled is how long after a change nothing is kept: longer than a look at the store lasts that began before it.
	settled = 30 * time.Second
	// mostKept bounds the memory that it takes.
	mostKept = 20_000
)

// entitled is what one organisation may use, as read.
type entitled struct {
	words  []string
	readAt time.Time
}

// Changed forgets what was read. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	for _, c := range changes {
		if c.Kind == identity.LicencesChanged || c.Kind == identity.EverythingChanged {
			s.mu.Lock()
			s.known, s.changed = nil, s.Now()
			s.mu.Unlock()
			return
		}
	}
}

// Entitlements gives what an organisation may use now: what the agreements of its licences provide that hold, grace included. It is
// asked for with every token, and answers from memory for some seconds.
func (s *Service) Entitlements(ctx context.Context, org identity.OrganisationID) ([]string, error) {
	if org == "" {
		return nil, nil
	}
	now := s.Now()
	s.mu.Lock()
	known, ok := s.known[org]
	changed := s.changed
	s.mu.Unlock()
	if age := now.Sub(known.readAt); ok && age >= 0 && age < keptFor && (s.Stale == nil || !s.Stale()) {
		return known.words, nil
	}
	words, err := s.DeviceEntitlements(ctx, org, "")
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed.Equal(changed) && (changed.IsZero() || now.Sub(changed) >= settled) {
		if s.known == nil || len(s.known) >= mostKept {
			s.known = map[identity.OrganisationID]entitled{}
		}
		s.known[org] = entitled{words, now}
	}
	return words, nil
}

// DeviceEntitlements gives what one device of an organisation may use now: by licences that name it or no device at all. "" is
// whichever device.
func (s *Service) DeviceEntitlements(ctx context.Context, org identity.OrganisationID, device identity.DeviceID) ([]string, error) {
	var words []string
	err := s.Store.View(ctx, func(r identity.Reader) error {
		words = nil
		agreements, err := r.Entitling(ctx, org, device, s.Now())
		for _, a := range agreements {
			words = append(words, a.Provides...)
		}
		return err
	})
	slices.Sort(words)
	return slices.Compact(words), err
}
