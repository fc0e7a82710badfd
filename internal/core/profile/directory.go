package profile

import (
	"context"
	"errors"
	"slices"

	"gatehouse/internal/core/login"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// Find gives the profile of whoever has a login, in any spelling, or an id. For operators: it says who exists.
func (s *Service) Find(ctx context.Context, typed string) (Profile, error) {
	var p Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		subject, err := Resolve(ctx, r, typed)
		if err != nil {
			return err
		}
		p, err = s.read(ctx, r, subject)
		return err
	})
	return p, err
}

// Resolve is Find inside another verb's transaction, for the subject alone.
func Resolve(ctx context.Context, r identity.Reader, typed string) (identity.Subject, error) {
	nobody := identity.NotFound.Because("nobody has this login")
	if identity.ValidID(typed) {
		if subject, err := r.Subject(ctx, identity.SubjectID(typed)); !errors.Is(err, identity.NotFound) {
			return subject, err
		}
	}
	folded, err := login.Fold(typed)
	if err != nil {
		return identity.Subject{}, nobody
	}
	subject, err := r.SubjectByLogin(ctx, string(folded))
	if errors.Is(err, identity.NotFound) {
		return identity.Subject{}, nobody
	}
	return subject, err
}

// view runs one read in a snapshot of its own.
func view[T any](ctx context.Context, s *Service, read func(identity.Reader) (T, error)) (T, error) {
	var v T
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		v, err = read(r)
		return err
	})
	return v, err
}

// OfNumber is Of by the integer that some doors show.
func (s *Service) OfNumber(ctx context.Context, number int64) (Profile, error) {
	return view(ctx, s, func(r identity.Reader) (Profile, error) {
		subject, err := r.SubjectByNumber(ctx, number)
		if err != nil {
			return Profile{}, err
		}
		return s.read(ctx, r, subject)
	})
}

// OfHash is Of by the hash that some doors show.
func (s *Service) OfHash(ctx context.Context, hash string) (Profile, error) {
	return view(ctx, s, func(r identity.Reader) (Profile, error) {
		subject, err := r.SubjectByHash(ctx, hash)
		if err != nil {
			return Profile{}, err
		}
		return s.read(ctx, r, subject)
	})
}

// Subjects lists by id, or by login where a prefix is asked for.
func (s *Service) Subjects(ctx context.Context, filter identity.SubjectFilter) ([]identity.Subject, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Subject, error) { return r.Subjects(ctx, filter) })
}

// SubjectsByID gives those asked for, in that order; unknown ones are left out.
func (s *Service) SubjectsByID(ctx context.Context, ids []identity.SubjectID) ([]identity.Subject, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Subject, error) { return r.SubjectsByID(ctx, ids) })
}

// Anybody says whether there is a subject at all: a house without one can be entered by nobody.
func (s *Service) Anybody(ctx context.Context) (bool, error) {
	return view(ctx, s, func(r identity.Reader) (bool, error) { return r.AnySubject(ctx) })
}

// Organisation reads one by id.
func (s *Service) Organisation(ctx context.Context, id identity.OrganisationID) (identity.Organisation, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, id) })
}

// OrganisationByNumber reads one by the integer that some doors show.
func (s *Service) OrganisationByNumber(ctx context.Context, number int64) (identity.Organisation, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByNumber(ctx, number) })
}

// OrganisationByHash reads one by the hash that some doors show.
func (s *Service) OrganisationByHash(ctx context.Context, hash string) (identity.Organisation, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByHash(ctx, hash) })
}

// OrganisationByKey reads one by the operator's name for it.
func (s *Service) OrganisationByKey(ctx context.Context, key string) (identity.Organisation, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Organisation, error) { return r.OrganisationByKey(ctx, key) })
}

// Organisations lists by id.
func (s *Service) Organisations(ctx context.Context, after identity.OrganisationID, limit int) ([]identity.Organisation, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Organisation, error) { return r.Organisations(ctx, after, limit) })
}

// Sites lists an organisation's, by name.
func (s *Service) Sites(ctx context.Context, id identity.OrganisationID) ([]identity.Site, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Site, error) { return r.Sites(ctx, id) })
}

// Members lists the memberships of an organisation by subject; limit counts subjects.
func (s *Service) Members(ctx context.Context, id identity.OrganisationID, after identity.SubjectID, limit int) ([]identity.Membership, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Membership, error) { return r.Members(ctx, id, after, limit) })
}

// Roles lists all, by key.
func (s *Service) Roles(ctx context.Context) ([]identity.Role, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Role, error) { return r.Roles(ctx) })
}

// AllPolicies lists the security policies, by key.
func (s *Service) AllPolicies(ctx context.Context) ([]identity.Policy, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Policy, error) { return r.Policies(ctx) })
}

// NamedPolicies lists those that an operator gave a name, for people to know and to be given: what stands inside an organisation's
// or a person's own part of a world file is hers alone.
func (s *Service) NamedPolicies(ctx context.Context) ([]identity.Policy, error) {
	all, err := s.AllPolicies(ctx)
	return slices.DeleteFunc(all, func(p identity.Policy) bool { return policy.Inline(p.Key) }), err
}

// DefaultPolicy gives the policy that holds for somebody without organisations and without one of her own, a stranger for
// example.
func (s *Service) DefaultPolicy(ctx context.Context) (identity.Policy, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Policy, error) {
		return s.Policies.Of(ctx, r, identity.Subject{}, nil)
	})
}

// Services lists the other services of the installation that stand now.
func (s *Service) Services(ctx context.Context) ([]identity.Service, error) {
	all, err := view(ctx, s, func(r identity.Reader) ([]identity.Service, error) { return r.Services(ctx) })
	return identity.StandingServices(all, s.Now()), err
}

// Client reads one by id.
func (s *Service) Client(ctx context.Context, id identity.ClientID) (identity.Client, error) {
	return view(ctx, s, func(r identity.Reader) (identity.Client, error) { return r.Client(ctx, id) })
}

// Clients lists by id.
func (s *Service) Clients(ctx context.Context, after identity.ClientID, limit int) ([]identity.Client, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Client, error) { return r.Clients(ctx, after, limit) })
}

// SessionsOf lists somebody's sessions that are alive, newest first.
func (s *Service) SessionsOf(ctx context.Context, id identity.SubjectID) ([]identity.Session, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Session, error) { return r.SessionsOf(ctx, id) })
}

// Sessions lists all by id.
func (s *Service) Sessions(ctx context.Context, after identity.SessionID, limit int) ([]identity.Session, error) {
	return view(ctx, s, func(r identity.Reader) ([]identity.Session, error) { return r.Sessions(ctx, after, limit) })
}
