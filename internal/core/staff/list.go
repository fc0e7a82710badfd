package staff

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"gatehouse/internal/core/login"
	"gatehouse/internal/core/profile"
	"gatehouse/internal/identity"
)

const maxSearch = 1000 // bytes; engines refuse patterns that are far longer

// MaxPage is the longest list that one call gives.
const MaxPage = 1000

// Read gives somebody to whoever may read her.
func (s *Service) Read(ctx context.Context, by By, kind identity.SubjectKind, id identity.SubjectID) (profile.Profile, error) {
	var read profile.Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		if err := s.Check(ctx, r, by, kind, Read, id); err != nil {
			return err
		}
		var err error
		read, err = s.head(ctx, r, id)
		return err
	})
	return read, err
}

// ReadByEmail is Read by the primary address, in any case.
func (s *Service) ReadByEmail(ctx context.Context, by By, kind identity.SubjectKind, email string) (profile.Profile, error) {
	var read profile.Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		id, err := byEmail(ctx, r, email)
		if err != nil {
			return err
		}
		if err := s.Check(ctx, r, by, kind, Read, id); err != nil { // nobody has the id ""
			return err
		}
		read, err = s.head(ctx, r, id)
		return err
	})
	return read, err
}

func byEmail(ctx context.Context, r identity.Reader, email string) (identity.SubjectID, error) {
	folded, err := login.Fold(email)
	if err != nil {
		return "", nil
	}
	subject, err := r.SubjectByLogin(ctx, string(folded))
	if errors.Is(err, identity.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if primary, err := login.Fold(subject.Email); err != nil || primary != folded { // an alias is not her address
		return "", nil
	}
	return subject.ID, nil
}

// Query chooses a page of a list.
type Query struct {
	Kind   identity.SubjectKind
	Offset int
	Limit  int
	Name   string // part of it
	Email  string // part of it
	Owner  string
}

// List gives a page, by id.
func (s *Service) List(ctx context.Context, by By, q Query) ([]profile.Profile, error) {
	round := s.landmarks.now()
	return s.list(ctx, by, func(r identity.Reader) ([]identity.Subject, error) { return s.page(ctx, r, round, q) })
}

// ByIDs gives those of a population that are asked for, in that order; unknown ones are left out.
func (s *Service) ByIDs(ctx context.Context, by By, kind identity.SubjectKind, ids []identity.SubjectID) ([]profile.Profile, error) {
	if len(ids) > MaxPage {
		return nil, identity.Invalid.In("select", "names too many")
	}
	return s.list(ctx, by, func(r identity.Reader) ([]identity.Subject, error) {
		found, err := r.SubjectsByID(ctx, ids)
		return slices.DeleteFunc(found, func(one identity.Subject) bool { return !ofKind(&one, kind) }), err
	})
}

// Count says how many there are.
func (s *Service) Count(ctx context.Context, by By, kind identity.SubjectKind, owner string) (int, error) {
	n := 0
	err := s.Store.View(ctx, func(r identity.Reader) error {
		if err := s.mayList(ctx, r, by); err != nil {
			return err
		}
		var err error
		n, err = r.CountSubjects(ctx, cmp.Or(kind, identity.Person), owner)
		return err
	})
	return n, err
}

func (s *Service) mayList(ctx context.Context, r identity.Reader, by By) error {
	_, role, err := s.actor(ctx, r, by, "")
	if err != nil {
		return err
	}
	return May(role, List, Subscriber, false)
}

func (s *Service) list(ctx context.Context, by By, read func(identity.Reader) ([]identity.Subject, error)) ([]profile.Profile, error) {
	var all []profile.Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		if err := s.mayList(ctx, r, by); err != nil {
			return err
		}
		subjects, err := read(r)
		if err != nil {
			return err
		}
		all, err = s.Profiles.Heads(ctx, r, subjects)
		return err
	})
	return all, err
}

func (s *Service) page(ctx context.Context, r identity.Reader, round int, q Query) ([]identity.Subject, error) {
	q.Kind = cmp.Or(q.Kind, identity.Person)
	if q.Limit <= 0 {
		return nil, nil
	}
	if q.Limit > MaxPage {
		return nil, identity.Invalid.In("limit", "is too large")
	}
	if len(q.Name) > maxSearch || len(q.Email) > maxSearch {
		return nil, nil // nobody has so long a name
	}
	filter := identity.SubjectFilter{Kind: q.Kind, Offset: q.Offset, Limit: q.Limit, Name: q.Name, Email: q.Email, Owner: q.Owner}
	if q.Name == "" && q.Email == "" && q.Owner == "" {
		found := false
		var err error
		if filter.After, filter.Offset, found, err = s.place(ctx, r, round, q.Kind, q.Offset); err != nil || !found {
			return nil, err
		}
	}
	return r.Subjects(ctx, filter)
}

// stride is how far landmarks are apart: a page at any offset skips fewer rows than this.
const stride = 500

// landmarks remember who stands where in the lists by id, so that a page far behind costs what the first one does. The zero value
// knows none.
type landmarks struct {
	mu    sync.Mutex
	round int // goes up whenever somebody was made or removed
	known map[identity.SubjectKind][]identity.SubjectID
}

// Changed forgets the landmarks that moved. It is a listener of the change feed. Somebody new usually has the newest id and stands
// behind all of them.
func (s *Service) Changed(changes []identity.Change) {
	l := &s.landmarks
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		switch c.Kind {
		case identity.EverythingChanged:
			l.round++
			clear(l.known)
		case identity.PopulationChanged:
			l.round++
			for kind, ids := range l.known { // of which kind she is, or was, is not said
				at, _ := slices.BinarySearch(ids, identity.SubjectID(c.ID))
				l.known[kind] = ids[:at]
			}
		}
	}
}

// place gives where a page begins: after whom, and how many to skip from there; found is false past the end.
//
// The k-th landmark is who stands last before offset k × stride. What is found here is kept only if nobody came or went since
// round, which was noted before the snapshot: of a change that the snapshot does not show, the feed told since, or will tell.
func (s *Service) place(ctx context.Context, r identity.Reader, round int, kind identity.SubjectKind, offset int) (after identity.SubjectID, skip int, found bool, err error) {
	k := offset / stride
	trusted := s.Stale == nil || !s.Stale()
	from := 0
	if trusted {
		from, after = s.landmarks.nearest(kind, k)
	}
	var fresh []identity.SubjectID
	for range k - from {
		after, err = r.NthSubject(ctx, kind, after, stride-1)
		if errors.Is(err, identity.NotFound) {
			break
		}
		if err != nil {
			return "", 0, false, err
		}
		fresh = append(fresh, after)
	}
	if trusted {
		s.landmarks.keep(kind, round, from, fresh)
	}
	return after, offset % stride, err == nil, nil
}

// nearest gives the last landmark up to the k-th; number 0 is the beginning.
func (l *landmarks) nearest(kind identity.SubjectKind, k int) (number int, id identity.SubjectID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := l.known[kind]
	if number = min(k, len(ids)); number > 0 {
		id = ids[number-1]
	}
	return number, id
}

// keep adds those that follow the first ones, unless somebody came or went.
func (l *landmarks) keep(kind identity.SubjectKind, round, first int, fresh []identity.SubjectID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.round != round || len(l.known[kind]) != first || len(fresh) == 0 {
		return
	}
	if l.known == nil {
		l.known = map[identity.SubjectKind][]identity.SubjectID{}
	}
	l.known[kind] = append(l.known[kind], fresh...)
}

func (l *landmarks) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.round
}
