// Package policy works out which security policy holds for a person: the default, her organisations' and her own, and of
// each field the stricter rule.
package policy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/internal/identity"
)

// BuiltIn holds where the store has no policy under identity.DefaultPolicyKey: eight characters, since every door can ask a
// second factor (NIST SP 800-63B-4, 3.1.1.2), nothing about character classes or age, ten failures in fifteen minutes.
var BuiltIn = identity.Policy{
	Key:          identity.DefaultPolicyKey,
	Password:     identity.PasswordRule{MinLength: 8, History: 5},
	SecondFactor: identity.FactorOptional,
	Lockout:      identity.Lockout{Tries: 10, Window: 15 * time.Minute},
}

// Keys of policies that have no name of their own begin with these: they belong to one organisation or person.
const (
	OfOrganisation = "organisation:"
	OfSubject      = "subject:"
)

// Inline says whether a key is such a one.
func Inline(key string) bool {
	return strings.HasPrefix(key, OfOrganisation) || strings.HasPrefix(key, OfSubject)
}

// NoFactor stands in Policy.Factors where two policies allow no factor in common: then none is allowed.
const NoFactor identity.CredentialKind = "none"

// Service answers from memory; policies change rarely, and the feed says when.
type Service struct {
	Now   func() time.Time
	Stale func() bool // the feed cannot be read: ask the store each time; nil: it always can

	mu      sync.RWMutex
	known   map[identity.PolicyID]identity.Policy // nil: to be read
	readAt  time.Time
	changed time.Time // when a policy last did
}

// keptFor bounds what is remembered without a word from the feed: a transaction that outlasts the tail's patience is never told of.
const keptFor = time.Minute

// settled is how long after a change nothing is kept: longer than any look at the store lasts. One that began before the change
// still sees what was, and kept for good it would undo the change here.
const settled = 30 * time.Second

// Changed forgets what was read. It is a listener of the change feed.
func (s *Service) Changed(changes []identity.Change) {
	for _, c := range changes {
		if c.Kind == identity.PolicyChanged || c.Kind == identity.EverythingChanged {
			s.mu.Lock()
			s.known, s.changed = nil, s.Now()
			s.mu.Unlock()
			return
		}
	}
}

// remembered gives what was read, if it may still be taken for what is.
func (s *Service) remembered(now time.Time) (map[identity.PolicyID]identity.Policy, bool) {
	s.mu.RLock()
	known, readAt := s.known, s.readAt
	s.mu.RUnlock()
	age := now.Sub(readAt)
	return known, known != nil && age >= 0 && age < keptFor && (s.Stale == nil || !s.Stale())
}

func (s *Service) all(ctx context.Context, r identity.Reader) (map[identity.PolicyID]identity.Policy, error) {
	now := s.Now()
	if known, ok := s.remembered(now); ok {
		return known, nil
	}
	s.mu.RLock()
	changed := s.changed
	s.mu.RUnlock()
	list, err := r.Policies(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[identity.PolicyID]identity.Policy, len(list))
	for _, p := range list {
		known[p.ID] = p
	}
	if _, writes := r.(identity.Tx); writes {
		return known, nil // it may hold what is never committed
	}
	s.mu.Lock()
	if s.changed.Equal(changed) && (changed.IsZero() || now.Sub(changed) >= settled) {
		s.known, s.readAt = known, now
	}
	s.mu.Unlock()
	return known, nil
}

// Unmeetable gives the keys of policies, in order, that require a second factor and allow none that the house offers.
func Unmeetable(ctx context.Context, store identity.Store, offers func(identity.CredentialKind) bool) (keys []string, err error) {
	err = store.View(ctx, func(r identity.Reader) error {
		all, err := r.Policies(ctx)
		for _, p := range all {
			meets := func(kind identity.CredentialKind) bool { return Allows(p, kind) && offers(kind) }
			if p.SecondFactor == identity.FactorNeeded && !slices.ContainsFunc(primary, meets) {
				keys = append(keys, p.Key)
			}
		}
		return err
	})
	slices.Sort(keys)
	return keys, err
}

// primary are the second factors that need no other one; recovery codes do.
var primary = []identity.CredentialKind{identity.TOTP, identity.EmailCode, identity.SMSCode}

// Of gives the policy that holds for a subject with these organisations.
func (s *Service) Of(ctx context.Context, r identity.Reader, subject identity.Subject, organisations []identity.Organisation) (identity.Policy, error) {
	known, err := s.all(ctx, r)
	if err != nil {
		return identity.Policy{}, err
	}
	effective := BuiltIn
	for _, p := range known {
		if p.Key == identity.DefaultPolicyKey {
			effective = p
			if p.SecondFactor == "" { // or an organisation's "off" would be the only word on it
				effective.SecondFactor = BuiltIn.SecondFactor
			}
		}
	}
	if p, ok := known[subject.PolicyID]; ok {
		effective = Stricter(effective, p)
	}
	for _, o := range organisations {
		if p, ok := known[o.PolicyID]; ok {
			effective = Stricter(effective, p)
		}
	}
	return effective, nil
}

// Key gives the operator's name of a policy, "" where there is none.
func (s *Service) Key(ctx context.Context, r identity.Reader, id identity.PolicyID) (string, error) {
	if id == "" {
		return "", nil
	}
	known, err := s.all(ctx, r)
	return known[id].Key, err
}

// OfMember is Of with the organisations read from her memberships.
func (s *Service) OfMember(ctx context.Context, r identity.Reader, subject identity.Subject) (identity.Policy, error) {
	organisations, err := Organisations(ctx, r, subject.ID)
	if err != nil {
		return identity.Policy{}, err
	}
	return s.Of(ctx, r, subject, organisations)
}

// Lockout gives the bound on guessing a login: the strictest of all policies, for everybody. A bound of each login's own
// would tell a stranger, by when it locks, which logins exist and whose members they are.
func (s *Service) Lockout(ctx context.Context, r identity.Reader) (identity.Lockout, error) {
	known, err := s.all(ctx, r)
	if err != nil {
		return identity.Lockout{}, err
	}
	strictest := BuiltIn.Lockout
	for _, p := range known {
		if p.Key == identity.DefaultPolicyKey && p.Lockout.Tries > 0 {
			strictest = p.Lockout
		}
	}
	for _, p := range known {
		strictest.Tries = fewer(strictest.Tries, p.Lockout.Tries)
		strictest.Window = max(strictest.Window, p.Lockout.Window)
	}
	return strictest, nil
}

// Organisations gives those that a subject belongs to, each once, in the order of her memberships.
func Organisations(ctx context.Context, r identity.Reader, id identity.SubjectID) ([]identity.Organisation, error) {
	memberships, err := r.Memberships(ctx, id)
	if err != nil {
		return nil, err
	}
	var organisations []identity.Organisation
	for i, m := range memberships {
		if slices.ContainsFunc(memberships[:i], func(o identity.Membership) bool { return o.OrganisationID == m.OrganisationID }) {
			continue
		}
		o, err := r.Organisation(ctx, m.OrganisationID)
		if errors.Is(err, identity.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		organisations = append(organisations, o)
	}
	return organisations, nil
}

// Stricter takes the stricter rule of each field; a zero field demands nothing. It is commutative and associative but for
// what is not a rule (id, key, description, times), which stays a's, and the order of lists.
func Stricter(a, b identity.Policy) identity.Policy {
	a.Password = StricterPassword(a.Password, b.Password)
	if demandRank(b.SecondFactor) > demandRank(a.SecondFactor) {
		a.SecondFactor = b.SecondFactor
	}
	a.Factors = common(a.Factors, b.Factors)
	a.SessionIdle = shorter(a.SessionIdle, b.SessionIdle)
	a.SessionMax = shorter(a.SessionMax, b.SessionMax)
	a.Lockout.Tries = fewer(a.Lockout.Tries, b.Lockout.Tries)
	a.Lockout.Window = max(a.Lockout.Window, b.Lockout.Window)
	a.Hours = both(a.Hours, b.Hours, SameSchedule)
	a.Networks = both(a.Networks, b.Networks, slices.Equal)
	return a
}

// StricterPassword is Stricter for the password rule alone; doors add theirs with it.
func StricterPassword(a, b identity.PasswordRule) identity.PasswordRule {
	return identity.PasswordRule{
		MinLength:  max(a.MinLength, b.MinLength),
		Classes:    max(a.Classes, b.Classes),
		History:    max(a.History, b.History),
		MaxAgeDays: fewer(a.MaxAgeDays, b.MaxAgeDays),
		MinScore:   max(a.MinScore, b.MinScore),
	}
}

// Allows says whether the policy lets this kind be a second factor.
func Allows(p identity.Policy, kind identity.CredentialKind) bool {
	return p.SecondFactor != identity.FactorOff && (len(p.Factors) == 0 || slices.Contains(p.Factors, kind))
}

func demandRank(d identity.Demand) int {
	switch d {
	case identity.FactorNeeded:
		return 3
	case identity.FactorOptional:
		return 2
	case identity.FactorOff:
		return 1
	}
	return 0 // no opinion
}

func common(a, b []identity.CredentialKind) []identity.CredentialKind {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	var both []identity.CredentialKind
	for _, k := range a {
		if slices.Contains(b, k) {
			both = append(both, k)
		}
	}
	if len(both) == 0 {
		return []identity.CredentialKind{NoFactor}
	}
	return both
}

// both gives what each of two lists demands, once. It never writes into a's: that one belongs to what everybody reads.
func both[T any](a, b []T, same func(T, T) bool) []T {
	list := slices.Clip(a)
	for _, v := range b {
		if !slices.ContainsFunc(list, func(have T) bool { return same(have, v) }) {
			list = append(list, v)
		}
	}
	return list
}

// SameSchedule says whether two are written alike.
func SameSchedule(a, b identity.Schedule) bool {
	return a.Zone == b.Zone && slices.EqualFunc(a.Windows, b.Windows, func(x, y identity.Window) bool {
		return x.From == y.From && x.Until == y.Until && slices.Equal(x.Days, y.Days)
	})
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func fewer(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
