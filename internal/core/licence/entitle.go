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

// entitled is what one organisation or person may use, as read.
type entitled struct {
	words  []string
	readAt time.Time
}

// Changed forgets what was read. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		switch c.Kind {
		case identity.LicencesChanged, identity.EverythingChanged:
			s.known, s.changed = nil, s.Now()
			return
		case identity.SubjectChanged: // she may belong elsewhere now
			delete(s.known, c.ID)
		}
	}
}

// EntitlementsOf gives what somebody may use now: what the organisation in use may, or all organisations that she belongs to, where
// none is in use because the door that she came by has no word for it.
func (s *Service) EntitlementsOf(ctx context.Context, subject identity.SubjectID, inUse identity.OrganisationID) ([]string, error) {
	switch {
	case inUse != "":
		return s.Entitlements(ctx, inUse)
	case subject == "":
		return nil, nil
	}
	return s.remember(string(subject), func() ([]string, error) {
		var words []string
		err := s.Store.View(ctx, func(r identity.Reader) error {
			words = nil
			memberships, err := r.Memberships(ctx, subject)
			if err != nil {
				return err
			}
			for _, m := range memberships {
				agreements, err := r.Entitling(ctx, m.OrganisationID, "", s.Now())
				if err != nil {
					return err
				}
				for _, a := range agreements {
					words = append(words, a.Provides...)
				}
			}
			return nil
		})
		slices.Sort(words)
		return slices.Compact(words), err
	})
}

// Entitlements gives what an organisation may use now: what the agreements of its licences provide that hold, grace included. It is
// asked for with every token, and answers from memory for some seconds.
func (s *Service) Entitlements(ctx context.Context, org identity.OrganisationID) ([]string, error) {
	return s.remember(string(org), func() ([]string, error) { return s.DeviceEntitlements(ctx, org, "") })
}

func (s *Service) remember(whose string, read func() ([]string, error)) ([]string, error) {
	now := s.Now()
	s.mu.Lock()
	known, ok := s.known[whose]
	changed := s.changed
	s.mu.Unlock()
	if age := now.Sub(known.readAt); ok && age >= 0 && age < keptFor && (s.Stale == nil || !s.Stale()) {
		return known.words, nil
	}
	words, err := read()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed.Equal(changed) && (changed.IsZero() || now.Sub(changed) >= settled) {
		if s.known == nil || len(s.known) >= mostKept {
			s.known = map[string]entitled{}
		}
		s.known[whose] = entitled{words, now}
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
