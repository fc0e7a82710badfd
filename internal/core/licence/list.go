package licence

import (
	"context"
	"errors"
	"slices"

	"gatehouse/internal/identity"
)

// Viewer is who looks: a member sees the licences of the organisation that she uses, until that has ended, a superadmin those of all
// unless she has chosen one to act for.
type Viewer struct {
	SubjectID      identity.SubjectID
	OrganisationID identity.OrganisationID // in use; "": none
	Acting         bool                    // she chose it for this call
}

// Shown is a licence with what it refers to.
type Shown struct {
	identity.Licence
	Agreement    identity.Agreement
	Organisation identity.Organisation
	Provider     identity.Organisation // zero: none
	Signed       identity.Subject      // zero: nobody, or she is gone
}

// Page is a part of a list.
type Page struct {
	Licences []Shown
	Total    int // in all pages
}

// scope says whose licences the viewer may see.
func (s *Service) scope(ctx context.Context, r identity.Reader, v Viewer) (org identity.OrganisationID, all bool, err error) {
	subject, err := r.Subject(ctx, v.SubjectID)
	if errors.Is(err, identity.NotFound) {
		return "", false, identity.TokenRevoked.Because("this account is gone")
	}
	if err != nil {
		return "", false, err
	}
	if subject.Superadmin {
		return v.OrganisationID, !v.Acting || v.OrganisationID == "", nil
	}
	memberships, err := r.Memberships(ctx, v.SubjectID)
	if err != nil {
		return "", false, err
	}
	if !slices.ContainsFunc(memberships, func(m identity.Membership) bool { return m.OrganisationID == v.OrganisationID }) {
		return "", false, nil
	}
	o, err := r.Organisation(ctx, v.OrganisationID)
	if err != nil || o.ExpiredAt(s.Now()) { // her session may be older than that
		return "", false, err
	}
	return o.ID, false, nil
}

// maxText is the longest text, in bytes, that a name could have as its part, and that SQLite takes for a pattern.
const maxText = 4 << 10

// fullPage is what a store gives at most at once.
const fullPage = 1000

// List gives a page of what the viewer may see, without an order by the latest start.
func (s *Service) List(ctx context.Context, v Viewer, f identity.LicenceFilter) (Page, error) {
	if len(f.Order) == 0 {
		f.Order = []identity.LicenceOrder{{By: identity.ByStart, Descending: true}}
	}
	var page Page
	err := s.Store.View(ctx, func(r identity.Reader) error {
		org, all, err := s.scope(ctx, r, v)
		if err != nil || org == "" && !all || len(f.Text) > maxText {
			return err
		}
		if f.OrganisationID = org; all {
			f.OrganisationID = ""
		}
		if f.Offset > 0 { // past the end there is nothing to look for
			if page.Total, err = r.CountLicences(ctx, f); err != nil || int64(page.Total) <= f.Offset {
				return err
			}
		}
		list, err := r.Licences(ctx, f)
		if err != nil {
			return err
		}
		if f.Offset == 0 {
			if page.Total = len(list); len(list) >= min(max(f.Limit, 1), fullPage) { // else these are all, and need no count
				if page.Total, err = r.CountLicences(ctx, f); err != nil {
					return err
				}
			}
		}
		page.Licences, err = complete(ctx, r, list)
		return err
	})
	return page, err
}

// complete reads what licences refer to, each record once.
func complete(ctx context.Context, r identity.Reader, list []identity.Licence) ([]Shown, error) {
	agreements := map[identity.AgreementID]identity.Agreement{}
	organisations := map[identity.OrganisationID]identity.Organisation{"": {}}
	signers := map[identity.SubjectID]identity.Subject{}
	var ids []identity.SubjectID
	var places []identity.OrganisationID
	for _, l := range list {
		for _, id := range []identity.OrganisationID{l.OrganisationID, l.ProviderID} {
			if _, known := organisations[id]; !known {
				organisations[id] = identity.Organisation{}
				places = append(places, id)
			}
		}
		if _, known := signers[l.SignedBy]; !known && l.SignedBy != "" {
			signers[l.SignedBy] = identity.Subject{}
			ids = append(ids, l.SignedBy)
		}
	}
	people, err := r.SubjectsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, p := range people {
		signers[p.ID] = p
	}
	found, err := r.OrganisationsByID(ctx, places)
	if err != nil {
		return nil, err
	}
	for _, o := range found {
		organisations[o.ID] = o
	}
	all := make([]Shown, len(list))
	for i, l := range list {
		if _, known := agreements[l.AgreementID]; !known {
			if agreements[l.AgreementID], err = r.Agreement(ctx, l.AgreementID); err != nil {
				return nil, err
			}
		}
		all[i] = Shown{l, agreements[l.AgreementID], organisations[l.OrganisationID], organisations[l.ProviderID], signers[l.SignedBy]}
	}
	return all, nil
}

// Show gives one licence, or NotFound where it is not the viewer's to see.
func (s *Service) Show(ctx context.Context, v Viewer, id identity.LicenceID) (Shown, error) {
	var shown Shown
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		shown, err = s.show(ctx, r, v, id)
		return err
	})
	return shown, err
}

func (s *Service) show(ctx context.Context, r identity.Reader, v Viewer, id identity.LicenceID) (Shown, error) {
	org, all, err := s.scope(ctx, r, v)
	if err != nil {
		return Shown{}, err
	}
	var l identity.Licence
	if all {
		l, err = r.Licence(ctx, id)
	} else {
		// One statement for a licence of somebody else's and for none, so that both take the same time.
		l, err = r.LicenceOf(ctx, org, id)
	}
	if errors.Is(err, identity.NotFound) {
		return Shown{}, identity.NotFound.Because("no such licence")
	}
	if err != nil {
		return Shown{}, err
	}
	one, err := complete(ctx, r, []identity.Licence{l})
	if err != nil {
		return Shown{}, err
	}
	return one[0], nil
}

// Details is a licence with all that is kept of it, for operators.
type Details struct {
	Shown
	Devices  []identity.Device
	Renewals []identity.Renewal
}

// Find gives a licence by its id or key.
func (s *Service) Find(ctx context.Context, name string) (Details, error) {
	var d Details
	err := s.Store.View(ctx, func(r identity.Reader) error {
		l, err := r.LicenceByKey(ctx, name)
		if errors.Is(err, identity.NotFound) {
			l, err = r.Licence(ctx, identity.LicenceID(name))
		}
		if err != nil {
			return err
		}
		one, err := complete(ctx, r, []identity.Licence{l})
		if err != nil {
			return err
		}
		d.Shown = one[0]
		if d.Devices, err = r.DevicesOfLicence(ctx, l.ID); err != nil {
			return err
		}
		d.Renewals, err = r.Renewals(ctx, l.ID)
		return err
	})
	return d, err
}

// All gives a page of all licences by id, or of one organisation's by start, for operators.
func (s *Service) All(ctx context.Context, org identity.OrganisationID, after identity.LicenceID, offset int64, limit int) (all []Shown, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) error {
		var list []identity.Licence
		if org == "" {
			list, err = r.EachLicence(ctx, after, limit)
		} else {
			list, err = r.Licences(ctx, identity.LicenceFilter{
				OrganisationID: org, Order: []identity.LicenceOrder{{By: identity.ByStart, Descending: true}}, Offset: offset, Limit: limit,
			})
		}
		if err != nil {
			return err
		}
		all, err = complete(ctx, r, list)
		return err
	})
	return all, err
}

// Agreements gives a page by id.
func (s *Service) Agreements(ctx context.Context, after identity.AgreementID, limit int) (all []identity.Agreement, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		all, err = r.Agreements(ctx, after, limit)
		return err
	})
	return all, err
}

// AgreementByKey gives one.
func (s *Service) AgreementByKey(ctx context.Context, key string) (a identity.Agreement, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		a, err = r.AgreementByKey(ctx, key)
		return err
	})
	return a, err
}

// Devices gives a page by id, of one organisation's or ("") all.
func (s *Service) Devices(ctx context.Context, org identity.OrganisationID, after identity.DeviceID, limit int) (all []identity.Device, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		all, err = r.Devices(ctx, org, after, limit)
		return err
	})
	return all, err
}

// Device gives one by its id or key.
func (s *Service) Device(ctx context.Context, name string) (d identity.Device, err error) {
	err = s.Store.View(ctx, func(r identity.Reader) (err error) {
		d, err = r.DeviceByKey(ctx, name)
		if errors.Is(err, identity.NotFound) {
			d, err = r.Device(ctx, identity.DeviceID(name))
		}
		return err
	})
	return d, err
}
