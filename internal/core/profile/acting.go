package profile

import (
	"context"
	"errors"

	"gatehouse/internal/identity"
)

// MayActFor says whether somebody may act for an organisation: a member while it can be entered, and a superadmin for any that
// there is. For anybody else, and for one that is not there, the answer is the same: identity.Denied.
func (s *Service) MayActFor(ctx context.Context, id identity.SubjectID, organisation identity.OrganisationID) error {
	refused := identity.Denied.Because("you may not act for this organisation")
	return s.Store.View(ctx, func(r identity.Reader) error {
		subject, err := r.Subject(ctx, id)
		if errors.Is(err, identity.NotFound) {
			return identity.TokenRevoked.Because("this account is gone")
		}
		if err != nil {
			return err
		}
		o, err := r.Organisation(ctx, organisation)
		if errors.Is(err, identity.NotFound) {
			return refused
		}
		if err != nil || subject.Superadmin {
			return err
		}
		memberships, err := r.Memberships(ctx, id)
		if err != nil {
			return err
		}
		for _, m := range memberships {
			if m.OrganisationID == organisation && !o.ExpiredAt(s.Now()) {
				return nil
			}
		}
		return refused
	})
}
