// Package profile answers who somebody is, where she belongs and what she may do there: the read side of the doors.
//
// Everything of one answer comes from one snapshot. Credentials are told by kind and date, never shown.
package profile

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// Service reads profiles and lists.
type Service struct {
	Store    identity.Store
	Policies *policy.Service
	Stale    func() bool // the change feed cannot be read: ask the store, not memory; nil: never
	Now      func() time.Time

	recent recent
}

// Profile is one subject with all that doors show of her.
type Profile struct {
	Subject       identity.Subject
	Logins        []identity.Login          // the primary one first
	Organisations []Access                  // by name
	Factors       []identity.CredentialKind // second factors that she has
	Targets       map[identity.CredentialKind]string
	HasPassword   bool
	PasswordSetAt time.Time       // zero: none
	MustChange    bool            // her password must be changed at the next sign-in
	Policy        identity.Policy // the effective one
	OwnPolicy     string          // key of the policy that is hers beside her organisations'
}

// Access is one organisation that she belongs to.
type Access struct {
	Organisation identity.Organisation
	Memberships  []Place
	Sites        []identity.Site // all of the organisation's, by name
}

// Place is one membership with what it refers to.
type Place struct {
	Membership identity.Membership
	Site       identity.Site // zero: the whole organisation
	Role       identity.Role // zero: only a door's own role matters
}

// SiteRoles are the roles that somebody has at one site.
type SiteRoles struct {
	Site  identity.Site
	Roles []identity.Role // by key
}

// Reach gives the sites at which she has a role, by name: those of her memberships, and all where one is for the whole
// organisation.
func (a Access) Reach() []SiteRoles {
	var reach []SiteRoles
	for _, site := range a.Sites {
		here := SiteRoles{Site: site}
		for _, p := range a.Memberships {
			if p.Role.Key != "" && (p.Site.ID == "" || p.Site.ID == site.ID) &&
				!slices.ContainsFunc(here.Roles, func(r identity.Role) bool { return r.Key == p.Role.Key }) {
				here.Roles = append(here.Roles, p.Role)
			}
		}
		if len(here.Roles) > 0 {
			slices.SortFunc(here.Roles, func(a, b identity.Role) int { return cmp.Compare(a.Key, b.Key) })
			reach = append(reach, here)
		}
	}
	return reach
}

// Roles gives all her roles in the organisation, by key, wherever in it they hold.
func (a Access) Roles() []identity.Role {
	var roles []identity.Role
	for _, p := range a.Memberships {
		if p.Role.Key != "" && !slices.ContainsFunc(roles, func(r identity.Role) bool { return r.Key == p.Role.Key }) {
			roles = append(roles, p.Role)
		}
	}
	slices.SortFunc(roles, func(a, b identity.Role) int { return cmp.Compare(a.Key, b.Key) })
	return roles
}

// Attributes gives a door's own JSON of her membership: that of the whole organisation first, then of the first site that has
// any; nil where none has.
func (a Access) Attributes(door identity.Door) []byte {
	for _, p := range a.Memberships {
		if json := p.Membership.Attributes[door]; json != nil {
			return json
		}
	}
	return nil
}

// In gives her access to one organisation.
func (p Profile) In(id identity.OrganisationID) (Access, bool) {
	i := slices.IndexFunc(p.Organisations, func(a Access) bool { return a.Organisation.ID == id })
	if i < 0 {
		return Access{}, false
	}
	return p.Organisations[i], true
}

// HasFactor says whether she has that second factor.
func (p Profile) HasFactor(kind identity.CredentialKind) bool {
	return slices.Contains(p.Factors, kind)
}

// Of reads a profile.
func (s *Service) Of(ctx context.Context, id identity.SubjectID) (Profile, error) {
	var p Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		subject, err := r.Subject(ctx, id)
		if err != nil {
			return err
		}
		p, err = s.read(ctx, r, subject)
		return err
	})
	return p, err
}

// OfIn is Of inside another verb's transaction.
func (s *Service) OfIn(ctx context.Context, r identity.Reader, id identity.SubjectID) (Profile, error) {
	subject, err := r.Subject(ctx, id)
	if err != nil {
		return Profile{}, err
	}
	return s.read(ctx, r, subject)
}

func (s *Service) read(ctx context.Context, r identity.Reader, subject identity.Subject) (Profile, error) {
	p := Profile{Subject: subject}
	var err error
	if p.Logins, err = r.Logins(ctx, subject.ID); err != nil {
		return Profile{}, err
	}
	if p.Organisations, err = access(ctx, r, subject.ID); err != nil {
		return Profile{}, err
	}
	organisations := make([]identity.Organisation, len(p.Organisations))
	for i, a := range p.Organisations {
		organisations[i] = a.Organisation
	}
	if p.Policy, err = s.Policies.Of(ctx, r, subject, organisations); err != nil {
		return Profile{}, err
	}
	if p.OwnPolicy, err = s.Policies.Key(ctx, r, subject.PolicyID); err != nil {
		return Profile{}, err
	}
	credentials, err := r.Credentials(ctx, subject.ID)
	if err != nil {
		return Profile{}, err
	}
	for _, c := range credentials {
		p.hold(c)
	}
	return p, nil
}

// hold takes a credential of hers in.
func (p *Profile) hold(c identity.Credential) {
	if c.Kind == identity.Password {
		p.HasPassword, p.PasswordSetAt, p.MustChange = true, c.UpdatedAt, c.MustChange
		return
	}
	p.Factors = append(p.Factors, c.Kind)
	if c.Target != "" {
		if p.Targets == nil {
			p.Targets = map[identity.CredentialKind]string{}
		}
		p.Targets[c.Kind] = c.Target
	}
}

// Heads gives the profiles of many in few readings, in the order given: without logins, organisations and the effective policy,
// for lists that show none of them.
func (s *Service) Heads(ctx context.Context, r identity.Reader, subjects []identity.Subject) ([]Profile, error) {
	ids := make([]identity.SubjectID, len(subjects))
	for i := range subjects {
		ids[i] = subjects[i].ID
	}
	credentials, err := r.CredentialsOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	all := make([]Profile, len(subjects))
	for i, subject := range subjects {
		p := &all[i]
		p.Subject = subject
		if p.OwnPolicy, err = s.Policies.Key(ctx, r, subject.PolicyID); err != nil {
			return nil, err
		}
		at, _ := slices.BinarySearchFunc(credentials, subject.ID, func(c identity.Credential, id identity.SubjectID) int { return cmp.Compare(c.SubjectID, id) })
		for ; at < len(credentials) && credentials[at].SubjectID == subject.ID; at++ {
			p.hold(credentials[at])
		}
	}
	return all, nil
}

func access(ctx context.Context, r identity.Reader, id identity.SubjectID) ([]Access, error) {
	memberships, err := r.Memberships(ctx, id)
	if err != nil {
		return nil, err
	}
	roles := map[string]identity.Role{}
	var all []Access
	for _, m := range memberships { // those of one organisation stand together
		if last := len(all) - 1; last < 0 || all[last].Organisation.ID != m.OrganisationID {
			organisation, err := r.Organisation(ctx, m.OrganisationID)
			if err != nil {
				return nil, err
			}
			sites, err := r.Sites(ctx, m.OrganisationID)
			if err != nil {
				return nil, err
			}
			all = append(all, Access{Organisation: organisation, Sites: sites})
		}
		a := &all[len(all)-1]
		place := Place{Membership: m}
		if m.SiteID != "" {
			if i := slices.IndexFunc(a.Sites, func(site identity.Site) bool { return site.ID == m.SiteID }); i >= 0 {
				place.Site = a.Sites[i]
			} else if place.Site, err = r.Site(ctx, m.SiteID); err != nil {
				return nil, err
			}
		}
		if m.Role != "" {
			role, known := roles[m.Role]
			if !known {
				if role, err = r.Role(ctx, m.Role); err != nil {
					return nil, err
				}
				roles[m.Role] = role
			}
			place.Role = role
		}
		a.Memberships = append(a.Memberships, place)
	}
	slices.SortFunc(all, func(a, b Access) int {
		return cmp.Or(cmp.Compare(a.Organisation.Name, b.Organisation.Name), cmp.Compare(a.Organisation.ID, b.Organisation.ID))
	})
	return all, nil
}

// MayRead says whether one person may know about another: herself, whoever shares an organisation with her that can still be
// entered, and everybody for a superadmin. For anybody else nobody is there: identity.NotFound.
func (s *Service) MayRead(caller, target Profile) error {
	if caller.Subject.ID == target.Subject.ID || caller.Subject.Superadmin {
		return nil
	}
	for _, a := range caller.Organisations {
		if _, both := target.In(a.Organisation.ID); both && !a.Organisation.ExpiredAt(s.Now()) {
			return nil
		}
	}
	return identity.NotFound.Because("no such person")
}

// MayChange says whether one person may change another: herself, and everybody for a superadmin. Who may read only gets
// identity.Denied, who may not even that identity.NotFound.
func (s *Service) MayChange(caller, target Profile) error {
	if caller.Subject.ID == target.Subject.ID || caller.Subject.Superadmin {
		return nil
	}
	if err := s.MayRead(caller, target); err != nil {
		return err
	}
	return identity.Denied.Because("only this person and superadmins may change this")
}

// ToRead gives a profile to somebody who asks for it, if she may read it.
func (s *Service) ToRead(ctx context.Context, caller, target identity.SubjectID) (Profile, error) {
	return s.shown(ctx, caller, target, s.MayRead)
}

// ToChange gives a profile to somebody who is about to change it, if she may.
func (s *Service) ToChange(ctx context.Context, caller, target identity.SubjectID) (Profile, error) {
	return s.shown(ctx, caller, target, s.MayChange)
}

func (s *Service) shown(ctx context.Context, caller, target identity.SubjectID, may func(caller, target Profile) error) (Profile, error) {
	var shown Profile
	err := s.Store.View(ctx, func(r identity.Reader) error {
		asks, err := s.OfIn(ctx, r, caller)
		if errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("this account is gone")
		}
		if err != nil {
			return err
		}
		if caller == target {
			shown = asks
			return nil
		}
		about, err := s.OfIn(ctx, r, target)
		if errors.Is(err, identity.NotFound) {
			return identity.NotFound.Because("no such person")
		}
		if err != nil {
			return err
		}
		shown = about
		return may(asks, about)
	})
	if err != nil {
		return Profile{}, err
	}
	return shown, nil
}
