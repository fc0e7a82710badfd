package world

import (
	"context"
	"fmt"
	"time"

	"gatehouse/internal/identity"
)

// timeForm is how instants stand in steps.
const timeForm = time.RFC3339

const pageSize = 500

// prune deletes what the file's lists do not have, from what refers to what is referred to.
func (a *applier) prune(ctx context.Context) error {
	for _, list := range []struct {
		name string
		part func(context.Context) error
	}{
		{"licences", a.pruneLicences}, {"clients", a.pruneClients}, {"devices", a.pruneDevices}, {"agreements", a.pruneAgreements},
		{"subjects", a.pruneSubjects}, {"services", a.pruneServices},
		{"identity_providers", a.pruneProviders},
		{"organisations", a.pruneOrganisations}, {"roles", a.pruneRoles}, {"policies", a.prunePolicies},
	} {
		if !a.w.has[list.name] {
			continue
		}
		if err := list.part(ctx); err != nil {
			return refused(a.w.File, record{place: place{line: 1, field: list.name}}, err)
		}
	}
	return nil
}

func (a *applier) pruneSubjects(ctx context.Context) error {
	keep := map[identity.SubjectID]bool{}
	for _, s := range a.w.Subjects {
		found, err := find(ctx, a.tx, s)
		if err != nil {
			return err
		}
		keep[found.ID] = true // it was made where it was missing
	}
	var after identity.SubjectID
	for {
		page, err := a.tx.Subjects(ctx, identity.SubjectFilter{After: after, Limit: pageSize})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, s := range page {
			after = s.ID
			if keep[s.ID] {
				continue
			}
			name := s.Email
			if name == "" {
				name = string(s.ID)
			}
			a.step(Delete, "subject", name)
			if err := a.Manage.DeleteIn(ctx, a.tx, a.o.Caller, s.ID); err != nil {
				return err
			}
		}
	}
}

func (a *applier) pruneClients(ctx context.Context) error {
	keep := map[identity.ClientID]bool{}
	for _, c := range a.w.Clients {
		keep[c.ID] = true
	}
	var after identity.ClientID
	for {
		page, err := a.tx.Clients(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, c := range page {
			after = c.ID
			if keep[c.ID] {
				continue
			}
			a.step(Delete, "client", string(c.ID))
			if err := a.Manage.DeleteClientIn(ctx, a.tx, a.o.Caller, c.ID); err != nil {
				return err
			}
		}
	}
}

func (a *applier) pruneServices(ctx context.Context) error {
	keep := map[string]bool{}
	for _, s := range a.w.Services {
		keep[s.Type+" "+s.PublicURI] = true
	}
	all, err := a.tx.Services(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		name := s.Type + " " + s.PublicURI
		if keep[name] || !s.ExpiresAt.IsZero() { // what registered itself is no part of the described world
			continue
		}
		a.step(Delete, "service", name)
		if err := a.Manage.DeleteServiceIn(ctx, a.tx, a.o.Caller, s.Number); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) pruneOrganisations(ctx context.Context) error {
	keep := map[string]*Organisation{}
	for i := range a.w.Organisations {
		keep[a.w.Organisations[i].Key] = &a.w.Organisations[i]
	}
	var after identity.OrganisationID
	for {
		page, err := a.tx.Organisations(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, o := range page {
			after = o.ID
			if kept := keep[o.Key]; kept != nil {
				if err := a.pruneSites(ctx, *kept, o); err != nil {
					return err
				}
				continue
			}
			if err := a.clientsGo(ctx, o.ID, "", fmt.Sprintf("the organisation %q", o.Key)); err != nil {
				return err
			}
			a.step(Delete, "organisation", o.Key)
			if err := a.Manage.DeleteOrganisationIn(ctx, a.tx, a.o.Caller, o.ID); err != nil {
				return err
			}
		}
	}
}

func (a *applier) pruneSites(ctx context.Context, o Organisation, stored identity.Organisation) error {
	if o.Sites == nil {
		return nil
	}
	keep := map[string]bool{}
	for _, s := range o.Sites {
		keep[s.Key] = true
	}
	sites, err := a.tx.Sites(ctx, stored.ID)
	if err != nil {
		return err
	}
	for _, s := range sites {
		if keep[s.Key] {
			continue
		}
		a.step(Delete, "site", stored.Key+"/"+s.Key)
		if err := a.Manage.DeleteSiteIn(ctx, a.tx, a.o.Caller, s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) pruneRoles(ctx context.Context) error {
	keep := map[string]bool{}
	for _, role := range a.w.Roles {
		keep[role.Key] = true
	}
	all, err := a.tx.Roles(ctx)
	if err != nil {
		return err
	}
	for _, role := range all {
		if keep[role.Key] {
			continue
		}
		a.step(Delete, "role", role.Key)
		if err := a.Manage.DeleteRoleIn(ctx, a.tx, a.o.Caller, role.Key); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) prunePolicies(ctx context.Context) error {
	keep := map[string]bool{}
	for _, p := range a.w.Policies {
		keep[p.Policy.Key] = true
	}
	all, err := a.tx.Policies(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if keep[p.Key] {
			continue
		}
		a.step(Delete, "policy", p.Key)
		if err := a.Manage.DeletePolicyIn(ctx, a.tx, a.o.Caller, p.ID); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) pruneProviders(ctx context.Context) error {
	keep := map[string]bool{}
	for _, p := range a.w.Providers {
		keep[p.Key] = true
	}
	all, err := a.tx.IdentityProviders(ctx)
	if err != nil {
		return err
	}
	for _, p := range all {
		if keep[p.Key] {
			continue
		}
		a.step(Delete, "identity provider", p.Key)
		if err := a.Manage.DeleteProviderIn(ctx, a.tx, a.o.Caller, p.Key); err != nil {
			return err
		}
	}
	return nil
}
