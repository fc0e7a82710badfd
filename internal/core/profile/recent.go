package profile

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"gatehouse/internal/identity"
)

const (
	recentWeight = 32 << 20 // bytes that the profiles kept may weigh
	recentFor    = time.Minute
)

// recent keeps profiles that were read within the last minute, for doors that print one with every token. It forgets what changed,
// at once here and within a second elsewhere; only when somebody signed in last, and where, is told as it was when it was read.
type recent struct {
	once    sync.Once
	kept    *otter.Cache[identity.SubjectID, *read]
	changes atomic.Int64 // counts what made something be forgotten
}

type read struct {
	profile Profile
	at      time.Time
}

func (c *recent) start() {
	c.once.Do(func() {
		c.kept = otter.Must(&otter.Options[identity.SubjectID, *read]{
			MaximumWeight: recentWeight,
			Weigher: func(_ identity.SubjectID, r *read) uint32 {
				weight := 1024
				for _, a := range r.profile.Organisations {
					weight += 512 + 128*(len(a.Memberships)+len(a.Sites))
					for _, json := range a.Organisation.Attributes {
						weight += len(json)
					}
				}
				return uint32(weight)
			},
		})
	})
}

// Changed forgets what changed. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	s.recent.start()
	for _, c := range changes {
		switch c.Kind {
		case identity.SubjectChanged:
			s.recent.changes.Add(1)
			s.recent.kept.Invalidate(identity.SubjectID(c.ID))
		case identity.PolicyChanged, identity.EverythingChanged:
			s.recent.changes.Add(1)
			s.recent.kept.InvalidateAll()
		}
	}
}

// OfSession is Of for whoever a session is about, as read within the last minute and not changed since. Where somebody acts as her
// it shows the one organisation that this is for.
func (s *Service) OfSession(ctx context.Context, session *identity.Session) (Profile, error) {
	p, err := s.recently(ctx, session.SubjectID)
	if err == nil && session.ActorID != "" {
		p.Organisations = slices.DeleteFunc(slices.Clone(p.Organisations), func(a Access) bool { return a.Organisation.ID != session.OrganisationID })
	}
	return p, err
}

func (s *Service) recently(ctx context.Context, id identity.SubjectID) (Profile, error) {
	s.recent.start()
	now := s.Now()
	if held, ok := s.recent.kept.GetIfPresent(id); ok && !s.stale() {
		if age := now.Sub(held.at); age >= 0 && age < recentFor {
			return held.profile, nil
		}
	}
	// What changes while it is read may be missing in what is read: then it is not kept.
	before := s.recent.changes.Load()
	p, err := s.Of(ctx, id)
	if err != nil {
		return p, err
	}
	s.recent.kept.Set(id, &read{p, now})
	if s.recent.changes.Load() != before {
		s.recent.kept.Invalidate(id)
	}
	return p, nil
}

func (s *Service) stale() bool { return s.Stale != nil && s.Stale() }
