package manage

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
)

// NewOrganisation is one to be made.
type NewOrganisation struct {
	ID         identity.OrganisationID // "": made
	Hash       string                  // "": made
	Key        string                  // "": the id
	Name       string                  // "": the key
	PolicyID   identity.PolicyID
	Attributes identity.Attributes
	ExpiresAt  time.Time
}

// CreateOrganisation makes one.
func (s *Service) CreateOrganisation(ctx context.Context, caller identity.Caller, in NewOrganisation) (identity.Organisation, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Organisation, error) {
		return s.CreateOrganisationIn(ctx, tx, caller, in)
	})
}

// CreateOrganisationIn is CreateOrganisation in the caller's transaction.
func (s *Service) CreateOrganisationIn(ctx context.Context, tx identity.Tx, caller identity.Caller, in NewOrganisation) (identity.Organisation, error) {
	now := s.Now()
	o := identity.Organisation{
		Key: in.Key, Name: in.Name, PolicyID: in.PolicyID, Attributes: in.Attributes, ExpiresAt: in.ExpiresAt, CreatedAt: now, UpdatedAt: now,
	}
	var err error
	if o.ID, err = newID(s, "id", in.ID); err != nil {
		return o, err
	}
	if o.Hash, err = s.newHash(in.Hash); err != nil {
		return o, err
	}
	if o.Key == "" {
		o.Key = string(o.ID)
	}
	if o.Name == "" {
		o.Name = o.Key
	}
	if err := s.checkOrganisation(ctx, tx, o, nil); err != nil {
		return o, err
	}
	if err := tx.CreateOrganisation(ctx, &o); err != nil {
		return o, takenKey(err)
	}
	return o, s.finish(ctx, tx, caller, identity.PolicyChanged, string(o.ID), audit.Entry{
		Action: "organisation.create", OrganisationID: o.ID, After: viewOrganisation(o),
	})
}

func takenKey(err error) error {
	if errors.Is(err, identity.Conflict) {
		return identity.Conflict.In("key", "is taken")
	}
	return err
}

// checkOrganisation judges what is about to be stored; held are the attributes that stand there already, which keep nobody from
// changing the rest.
func (s *Service) checkOrganisation(ctx context.Context, r identity.Reader, o identity.Organisation, held identity.Attributes) error {
	if err := key("key", o.Key); err != nil {
		return err
	}
	if o.Name == "" {
		return identity.Invalid.In("name", "is needed")
	}
	if err := line("name", o.Name, maxName); err != nil {
		return err
	}
	if err := checkAttributes(o.Attributes); err != nil {
		return err
	}
	for _, door := range slices.Sorted(maps.Keys(s.OfOrganisation)) {
		if text := o.Attributes[door]; text != nil && !SameJSON(text, held[door]) {
			if err := s.OfOrganisation[door](text); err != nil {
				return err
			}
		}
	}
	return policyStands(ctx, r, o.PolicyID)
}

func viewOrganisation(o identity.Organisation) map[string]any {
	v := map[string]any{"key": o.Key, "name": o.Name}
	if o.PolicyID != "" {
		v["policy"] = o.PolicyID
	}
	if !o.ExpiresAt.IsZero() {
		v["expires_at"] = o.ExpiresAt
	}
	if attributes := readable(o.Attributes); attributes != nil {
		v["attributes"] = attributes
	}
	return v
}

// readable gives attributes as the audit log keeps them: JSON, not base64 of it.
func readable(a identity.Attributes) map[identity.Door]json.RawMessage {
	if len(a) == 0 {
		return nil
	}
	v := make(map[identity.Door]json.RawMessage, len(a))
	for door, text := range a {
		v[door] = text
	}
	return v
}

// OrganisationChange is what is to be different; nil fields stay.
type OrganisationChange struct {
	Key        *string
	Name       *string
	PolicyID   *identity.PolicyID
	ExpiresAt  *time.Time
	Attributes identity.Attributes // as Change.Attributes
	Merge      identity.Attributes // as Change.Merge
}

// UpdateOrganisation changes one. A change that changes nothing writes nothing.
func (s *Service) UpdateOrganisation(ctx context.Context, caller identity.Caller, id identity.OrganisationID, c OrganisationChange) (identity.Organisation, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Organisation, error) {
		return s.UpdateOrganisationIn(ctx, tx, caller, id, c)
	})
}

// UpdateOrganisationIn is UpdateOrganisation in the caller's transaction.
func (s *Service) UpdateOrganisationIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.OrganisationID, c OrganisationChange) (identity.Organisation, error) {
	o, err := tx.Organisation(ctx, id)
	if err != nil {
		return o, err
	}
	before := o
	changed := set(&o.Key, c.Key)
	changed = set(&o.Name, c.Name) || changed
	changed = set(&o.PolicyID, c.PolicyID) || changed
	if c.ExpiresAt != nil && !c.ExpiresAt.Equal(o.ExpiresAt) {
		o.ExpiresAt, changed = *c.ExpiresAt, true
	}
	if o.Attributes, err = merged(o.Attributes, c.Attributes, c.Merge); err != nil {
		return o, err
	}
	if !changed && sameAttributes(before.Attributes, o.Attributes) {
		return before, nil
	}
	o.UpdatedAt = s.Now()
	if err := s.checkOrganisation(ctx, tx, o, before.Attributes); err != nil {
		return o, err
	}
	if err := tx.UpdateOrganisation(ctx, o); err != nil {
		return o, takenKey(err)
	}
	if !o.ExpiresAt.Equal(before.ExpiresAt) || !sameAttributes(before.Attributes, o.Attributes) {
		// Whether its owners may act as others may have changed.
		if err := s.Sessions.EndActingIn(ctx, tx, caller, identity.Acting{OrganisationID: id}, "organisation changed"); err != nil {
			return o, err
		}
	}
	return o, s.finish(ctx, tx, caller, identity.PolicyChanged, string(id), audit.Entry{
		Action: "organisation.update", OrganisationID: id, Before: viewOrganisation(before), After: viewOrganisation(o),
	})
}

// memberPage is how many members or clients one look takes when an organisation goes.
const memberPage = 500

// DeleteOrganisation removes one with its sites, memberships and clients, and ends the sessions that are in it.
func (s *Service) DeleteOrganisation(ctx context.Context, caller identity.Caller, id identity.OrganisationID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteOrganisationIn(ctx, tx, caller, id) })
}

// DeleteOrganisationIn is DeleteOrganisation in the caller's transaction.
func (s *Service) DeleteOrganisationIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.OrganisationID) error {
	o, err := tx.Organisation(ctx, id)
	if err != nil {
		return err
	}
	var after identity.SubjectID
	for {
		members, err := tx.Members(ctx, id, after, memberPage)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			break
		}
		for _, m := range members {
			if m.SubjectID == after {
				continue // one of several memberships
			}
			after = m.SubjectID
			if err := s.leave(ctx, tx, caller, m.SubjectID, id, "organisation deleted"); err != nil {
				return err
			}
		}
	}
	if err := s.voidLicences(ctx, tx, id); err != nil {
		return err
	}
	if err := DeleteClientsOfIn(ctx, tx, s.Log, s.Now(), caller, id, ""); err != nil {
		return err
	}
	if err := tx.DeleteOrganisation(ctx, id); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.PolicyChanged, string(id), audit.Entry{
		Action: "organisation.delete", OrganisationID: id, Before: viewOrganisation(o),
	})
}

// voidLicences revokes what devices hold of an organisation's licences, which go with it.
func (s *Service) voidLicences(ctx context.Context, tx identity.Tx, id identity.OrganisationID) error {
	last, err := tx.LastDocument(ctx, id)
	now := s.Now()
	if err != nil || !last.After(now) {
		return err
	}
	return tx.Revoke(ctx, &identity.Revocation{OrganisationID: id, RevokedAt: now, ExpiresAt: last})
}

// leave ends somebody's sessions in an organisation that she no longer belongs to.
func (s *Service) leave(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.SubjectID, organisation identity.OrganisationID, reason string) error {
	sessions, err := tx.SessionsOf(ctx, subject)
	if err != nil {
		return err
	}
	for _, session := range sessions {
		if session.OrganisationID == organisation {
			if _, err := s.Sessions.EndIn(ctx, tx, caller, session, reason); err != nil {
				return err
			}
		}
	}
	if len(sessions) >= manySessions {
		// There may be more than the list shows. Whoever has so many signs in by a script, and does it again.
		if err := s.Sessions.EndAllIn(ctx, tx, caller, subject, "", reason); err != nil {
			return err
		}
	}
	if err := s.Sessions.EndActingIn(ctx, tx, caller, identity.Acting{OrganisationID: organisation, PersonID: subject}, reason); err != nil {
		return err
	}
	return tx.Announce(ctx, identity.SubjectChanged, string(subject), s.Now())
}

// manySessions is how many a list gives at most.
const manySessions = 1000

// SaveSite makes a site (ID "") or changes one. Its organisation stays.
func (s *Service) SaveSite(ctx context.Context, caller identity.Caller, site identity.Site) (identity.Site, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Site, error) { return s.SaveSiteIn(ctx, tx, caller, site) })
}

// SaveSiteIn is SaveSite in the caller's transaction. An id that nobody has yet makes a site with it.
func (s *Service) SaveSiteIn(ctx context.Context, tx identity.Tx, caller identity.Caller, site identity.Site) (identity.Site, error) {
	if err := key("key", site.Key); err != nil {
		return site, err
	}
	if site.Name == "" {
		site.Name = site.Key
	}
	if err := line("name", site.Name, maxName); err != nil {
		return site, err
	}
	var before any
	action := "site.create"
	old, err := tx.Site(ctx, site.ID)
	switch {
	case err == nil:
		site.OrganisationID, site.CreatedAt = old.OrganisationID, old.CreatedAt
		if site == old {
			return old, nil
		}
		before, action = map[string]any{"key": old.Key, "name": old.Name}, "site.update"
	case !errors.Is(err, identity.NotFound):
		return site, err
	default:
		site.CreatedAt = s.Now()
		if site.ID, err = newID(s, "id", site.ID); err != nil {
			return site, err
		}
		if _, err := tx.Organisation(ctx, site.OrganisationID); errors.Is(err, identity.NotFound) {
			return site, identity.Invalid.In("organisation", "does not exist")
		} else if err != nil {
			return site, err
		}
	}
	if err := tx.SaveSite(ctx, site); err != nil {
		return site, takenKey(err)
	}
	return site, s.finish(ctx, tx, caller, identity.PolicyChanged, string(site.OrganisationID), audit.Entry{
		Action: action, OrganisationID: site.OrganisationID, Before: before, After: map[string]any{"key": site.Key, "name": site.Name},
	})
}

// DeleteSite removes a site with the memberships at it.
func (s *Service) DeleteSite(ctx context.Context, caller identity.Caller, id identity.SiteID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteSiteIn(ctx, tx, caller, id) })
}

// DeleteSiteIn is DeleteSite in the caller's transaction.
func (s *Service) DeleteSiteIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.SiteID) error {
	site, err := tx.Site(ctx, id)
	if err != nil {
		return err
	}
	var after identity.SubjectID
	for {
		page, err := tx.Members(ctx, site.OrganisationID, after, memberPage)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, m := range page {
			after = m.SubjectID
			if m.SiteID == id {
				if err := s.RemoveMembershipIn(ctx, tx, caller, m.SubjectID, m.ID); err != nil {
					return err
				}
			}
		}
	}
	if err := tx.DeleteSite(ctx, id); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.PolicyChanged, string(site.OrganisationID), audit.Entry{
		Action: "site.delete", OrganisationID: site.OrganisationID, Before: map[string]any{"key": site.Key, "name": site.Name},
	})
}

// SaveRole makes or changes a role.
func (s *Service) SaveRole(ctx context.Context, caller identity.Caller, role identity.Role) (identity.Role, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Role, error) { return s.SaveRoleIn(ctx, tx, caller, role) })
}

// SaveRoleIn is SaveRole in the caller's transaction.
func (s *Service) SaveRoleIn(ctx context.Context, tx identity.Tx, caller identity.Caller, role identity.Role) (identity.Role, error) {
	if err := key("key", role.Key); err != nil {
		return role, err
	}
	role.Privileges = slices.Clone(role.Privileges)
	slices.Sort(role.Privileges)
	if err := lines("privileges", role.Privileges, maxKey); err != nil {
		return role, err
	}
	var before any
	old, err := tx.Role(ctx, role.Key)
	switch {
	case err == nil:
		if slices.Equal(old.Privileges, role.Privileges) {
			return old, nil
		}
		before = map[string]any{"privileges": old.Privileges}
	case !errors.Is(err, identity.NotFound):
		return role, err
	}
	role.UpdatedAt = s.Now()
	if err := tx.SaveRole(ctx, role); err != nil {
		return role, err
	}
	return role, s.finish(ctx, tx, caller, identity.PolicyChanged, role.Key, audit.Entry{
		Action: "role.save", Before: before, After: map[string]any{"key": role.Key, "privileges": role.Privileges},
	})
}

// DeleteRole removes a role that nobody has.
func (s *Service) DeleteRole(ctx context.Context, caller identity.Caller, key string) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteRoleIn(ctx, tx, caller, key) })
}

// DeleteRoleIn is DeleteRole in the caller's transaction.
func (s *Service) DeleteRoleIn(ctx context.Context, tx identity.Tx, caller identity.Caller, key string) error {
	err := tx.DeleteRole(ctx, key)
	if errors.Is(err, identity.Conflict) {
		return identity.Conflict.In("key", "somebody still has this role")
	}
	if err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.PolicyChanged, key, audit.Entry{Action: "role.delete", Before: map[string]any{"key": key}})
}

// SaveMembership gives somebody a role at a place: an organisation, or one site of it. One that stands there is changed.
func (s *Service) SaveMembership(ctx context.Context, caller identity.Caller, m identity.Membership) (identity.Membership, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Membership, error) { return s.SaveMembershipIn(ctx, tx, caller, m) })
}

// SaveMembershipIn is SaveMembership in the caller's transaction.
func (s *Service) SaveMembershipIn(ctx context.Context, tx identity.Tx, caller identity.Caller, m identity.Membership) (identity.Membership, error) {
	if err := checkMembership(ctx, tx, m); err != nil {
		return m, err
	}
	all, err := tx.Memberships(ctx, m.SubjectID)
	if err != nil {
		return m, err
	}
	var before any
	at := slices.IndexFunc(all, func(o identity.Membership) bool { return o.OrganisationID == m.OrganisationID && o.SiteID == m.SiteID })
	if at >= 0 {
		old := all[at]
		m.ID, m.CreatedAt = old.ID, old.CreatedAt
		if m.Role == old.Role && sameAttributes(m.Attributes, old.Attributes) {
			return old, nil
		}
		before = viewMembership(old)
	} else {
		if len(all) >= maxMemberships {
			return m, identity.Invalid.In("membership", "there are too many already")
		}
		if m.ID, err = newID(s, "id", m.ID); err != nil {
			return m, err
		}
		m.CreatedAt = s.Now()
	}
	if err := tx.SaveMembership(ctx, m); err != nil {
		return m, err
	}
	if before != nil {
		// What she may do as another, or another as her, may have changed.
		if err := s.Sessions.EndActingIn(ctx, tx, caller, identity.Acting{OrganisationID: m.OrganisationID, PersonID: m.SubjectID}, "membership changed"); err != nil {
			return m, err
		}
	}
	return m, s.finish(ctx, tx, caller, identity.SubjectChanged, string(m.SubjectID), audit.Entry{
		Action: "membership.save", SubjectID: m.SubjectID, OrganisationID: m.OrganisationID, Before: before, After: viewMembership(m),
	})
}

// maxMemberships of one subject: each sign-in and each profile reads them all.
const maxMemberships = 500

func checkMembership(ctx context.Context, r identity.Reader, m identity.Membership) error {
	if err := checkAttributes(m.Attributes); err != nil {
		return err
	}
	missing := func(field string, err error) error {
		if errors.Is(err, identity.NotFound) {
			return identity.Invalid.In(field, "does not exist")
		}
		return err
	}
	if _, err := r.Subject(ctx, m.SubjectID); err != nil {
		return missing("subject", err)
	}
	if _, err := r.Organisation(ctx, m.OrganisationID); err != nil {
		return missing("organisation", err)
	}
	if m.SiteID != "" {
		site, err := r.Site(ctx, m.SiteID)
		if err != nil {
			return missing("site", err)
		}
		if site.OrganisationID != m.OrganisationID {
			return identity.Invalid.In("site", "is not in this organisation")
		}
	}
	if m.Role != "" {
		if _, err := r.Role(ctx, m.Role); err != nil {
			return missing("role", err)
		}
	}
	return nil
}

func viewMembership(m identity.Membership) map[string]any {
	v := map[string]any{"role": m.Role}
	if m.SiteID != "" {
		v["site"] = m.SiteID
	}
	if attributes := readable(m.Attributes); attributes != nil {
		v["attributes"] = attributes
	}
	return v
}

// RemoveMembership takes a membership away. With the last one in an organisation, her sessions in it end.
func (s *Service) RemoveMembership(ctx context.Context, caller identity.Caller, subject identity.SubjectID, id identity.MembershipID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.RemoveMembershipIn(ctx, tx, caller, subject, id) })
}

// RemoveMembershipIn is RemoveMembership in the caller's transaction.
func (s *Service) RemoveMembershipIn(ctx context.Context, tx identity.Tx, caller identity.Caller, subject identity.SubjectID, id identity.MembershipID) error {
	all, err := tx.Memberships(ctx, subject)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(m identity.Membership) bool { return m.ID == id })
	if at < 0 {
		return identity.NotFound.Because("no such membership")
	}
	gone := all[at]
	if err := tx.DeleteMembership(ctx, id); err != nil {
		return err
	}
	stays := slices.ContainsFunc(all, func(m identity.Membership) bool { return m.ID != id && m.OrganisationID == gone.OrganisationID })
	if !stays {
		if err := s.leave(ctx, tx, caller, subject, gone.OrganisationID, "no longer a member"); err != nil {
			return err
		}
	}
	return s.finish(ctx, tx, caller, identity.SubjectChanged, string(subject), audit.Entry{
		Action: "membership.remove", SubjectID: subject, OrganisationID: gone.OrganisationID, Before: viewMembership(gone),
	})
}

// SaveService lists another service of the installation, by type and public address. One that stands there is changed; one that
// registered itself is the operator's from then on.
func (s *Service) SaveService(ctx context.Context, caller identity.Caller, service identity.Service) (identity.Service, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Service, error) { return s.SaveServiceIn(ctx, tx, caller, service) })
}

// SaveServiceIn is SaveService in the caller's transaction.
func (s *Service) SaveServiceIn(ctx context.Context, tx identity.Tx, caller identity.Caller, service identity.Service) (identity.Service, error) {
	if err := key("type", service.Type); err != nil {
		return service, err
	}
	if err := address("uri", service.PublicURI); err != nil {
		return service, err
	}
	if service.PrivateURI != "" {
		if err := address("private_uri", service.PrivateURI); err != nil {
			return service, err
		}
	}
	all, err := tx.Services(ctx)
	if err != nil {
		return service, err
	}
	service.Sealed, service.ExpiresAt = nil, time.Time{}
	for _, old := range all {
		if old.Type != service.Type || old.PublicURI != service.PublicURI {
			continue
		}
		if old.PrivateURI == service.PrivateURI && old.ExpiresAt.IsZero() {
			return old, nil
		}
		service.Sealed = old.Sealed // one that had registered itself
	}
	service.UpdatedAt = s.Now()
	if err := tx.SaveService(ctx, &service); err != nil {
		return service, err
	}
	return service, s.finish(ctx, tx, caller, identity.ServicesChanged, service.Type, audit.Entry{
		Action: "service.save", After: map[string]any{"type": service.Type, "uri": service.PublicURI, "private_uri": service.PrivateURI},
	})
}

// DeleteService takes a service off the list.
func (s *Service) DeleteService(ctx context.Context, caller identity.Caller, number int64) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteServiceIn(ctx, tx, caller, number) })
}

// DeleteServiceIn is DeleteService in the caller's transaction.
func (s *Service) DeleteServiceIn(ctx context.Context, tx identity.Tx, caller identity.Caller, number int64) error {
	if err := tx.DeleteService(ctx, number); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, identity.ServicesChanged, "", audit.Entry{Action: "service.delete", Before: map[string]any{"number": number}})
}
