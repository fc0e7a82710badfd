package licence

import (
	"context"
	"slices"
	"time"

	"gatehouse/internal/core/session"
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

// Holder is who may use something: an organisation, one device of hers, or a person whatever organisation she uses. Each of them is
// remembered for itself: what a device may use is less than what its organisation may.
type Holder struct {
	SubjectID      identity.SubjectID
	OrganisationID identity.OrganisationID // in use; "": the door that she came by has no word for it
	DeviceID       identity.DeviceID       // of the organisation's; "": none
}

// HolderOf is who shows a token: a person with the organisation that she uses, by whichever program she came, or the organisation or
// device whose program shows a token of its own. Of a program of the house's it is nobody.
func HolderOf(live *session.Live) Holder {
	if t := &live.Token; live.Session.ID == "" {
		return Holder{OrganisationID: t.OrganisationID, DeviceID: t.DeviceID}
	}
	return Holder{SubjectID: live.Session.SubjectID, OrganisationID: live.Session.OrganisationID}
}

// entitled is what a holder may use, as read.
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
			delete(s.known, Holder{SubjectID: identity.SubjectID(c.ID)})
		}
	}
}

// Entitlements gives what somebody may use now: what the agreements of an organisation's licences provide that hold, grace included,
// until the organisation itself has expired. Of a device it is what licences say that name it or are for every device; of a person, what
// all organisations may that she belongs to, where none is in use. It is asked for with every token, and answers from memory for some
// seconds.
func (s *Service) Entitlements(ctx context.Context, of Holder) ([]string, error) {
	switch {
	case of.OrganisationID != "":
		of.SubjectID = "" // the same for all who use it
	case of.SubjectID == "":
		return nil, nil
	}
	return s.remember(of, func() ([]string, error) {
		var words []string
		err := s.Store.View(ctx, func(r identity.Reader) error {
			words = nil
			organisations := []identity.OrganisationID{of.OrganisationID}
			if of.OrganisationID == "" {
				memberships, err := r.Memberships(ctx, of.SubjectID)
				if err != nil {
					return err
				}
				organisations = nil
				for _, m := range memberships {
					organisations = append(organisations, m.OrganisationID)
				}
			}
			for _, organisation := range organisations {
				agreements, err := r.Entitling(ctx, organisation, of.DeviceID, s.Now())
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

func (s *Service) remember(whose Holder, read func() ([]string, error)) ([]string, error) {
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
			s.known = map[Holder]entitled{}
		}
		s.known[whose] = entitled{words, now}
	}
	return words, nil
}
