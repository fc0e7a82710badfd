package sqlstore_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/identity"
	"gatehouse/internal/store/sqlstore"
	"gatehouse/internal/store/storetest"
)

// shelf is licences with what lists look at, as plain values.
type shelf struct {
	organisations []identity.Organisation
	agreements    map[identity.AgreementID]identity.Agreement
	devices       []identity.DeviceID
	licences      []identity.Licence
	named         map[identity.LicenceID][]identity.DeviceID
	root          identity.SubjectID   // a superadmin
	members       []identity.SubjectID // one of each organisation
}

var (
	codes      = []string{"AB", "ab-", "Zed", "zed-", "M", "m-"}
	names      = []string{"Edge Pro", "edge pro", "Trial", "ARCHIVE", ""}
	kinds      = []string{"trial", "Subscription", "TRIAL", "subscription", "other"}
	shelfDates = []time.Time{{}, {}, time.Unix(-5, 0), time.Unix(1, 0), time.Unix(9e8, 0), time.Unix(9e8, 1000), time.Unix(2e9, 0)}
)

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func stock(t *testing.T, store identity.Store, r *rand.Rand) *shelf {
	t.Helper()
	ctx := t.Context()
	s := &shelf{agreements: map[identity.AgreementID]identity.Agreement{}, named: map[identity.LicenceID][]identity.DeviceID{}}
	id := func(n int) string { return fmt.Sprintf("%08x-0000-7000-8000-%012x", r.Uint32(), n) }
	err := store.Update(ctx, func(tx identity.Tx) error {
		for i := range 3 {
			o := identity.Organisation{ID: identity.OrganisationID(id(i)), Key: fmt.Sprint("o", i), Name: []string{"Zed Works", "acme", "100% Edge"}[i]}
			m := identity.Subject{ID: identity.SubjectID(id(i)), Hash: fmt.Sprint("m", i), Kind: identity.Person}
			if err := tx.CreateOrganisation(ctx, &o); err != nil {
				return err
			}
			if err := tx.CreateSubject(ctx, &m); err != nil {
				return err
			}
			if err := tx.SaveMembership(ctx, identity.Membership{ID: identity.MembershipID(m.ID), SubjectID: m.ID, OrganisationID: o.ID}); err != nil {
				return err
			}
			d := identity.Device{ID: identity.DeviceID(id(i)), Key: fmt.Sprint("d", i), OrganisationID: o.ID}
			if err := tx.SaveDevice(ctx, d); err != nil {
				return err
			}
			s.organisations, s.members, s.devices = append(s.organisations, o), append(s.members, m.ID), append(s.devices, d.ID)
		}
		root := identity.Subject{ID: identity.SubjectID(id(9)), Hash: "root", Kind: identity.Person, Superadmin: true}
		s.root = root.ID
		if err := tx.CreateSubject(ctx, &root); err != nil {
			return err
		}
		var of []identity.AgreementID
		for i := range 2 * len(names) {
			a := identity.Agreement{ID: identity.AgreementID(id(i)), Key: fmt.Sprint("a", i), Name: names[i%len(names)], Kind: pick(r, kinds)}
			if err := tx.SaveAgreement(ctx, a); err != nil {
				return err
			}
			of = append(of, a.ID)
			s.agreements[a.ID] = a
		}
		for i := range 150 {
			l := identity.Licence{
				ID: identity.LicenceID(id(i)), Key: fmt.Sprint("l", i), Code: fmt.Sprint(pick(r, codes), i), AgreementID: of[min(r.IntN(len(of)), r.IntN(len(of)))],
				OrganisationID: pick(r, s.organisations).ID, StartsAt: pick(r, shelfDates), ExpiresAt: pick(r, shelfDates), Seats: 3,
			}
			if r.IntN(2) == 0 {
				l.ProviderID = pick(r, s.organisations).ID
			}
			if err := tx.CreateLicence(ctx, l); err != nil {
				return err
			}
			s.licences = append(s.licences, l)
			for _, d := range s.devices[:r.IntN(len(s.devices))] {
				if _, err := tx.TakeSeat(ctx, l.ID, d, time.Unix(1, 0)); err != nil {
					return err
				}
				s.named[l.ID] = append(s.named[l.ID], d)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// list is what a list should be: filter, sort, cut out the page.
func (s *shelf) list(org identity.OrganisationID, f identity.LicenceFilter) (page []identity.LicenceID, total int) {
	fold := strings.ToLower // nothing here needs more
	name := func(l identity.Licence) string { return fold(s.agreements[l.AgreementID].Name) }
	var all []identity.Licence
	for _, l := range s.licences {
		provider := ""
		for _, o := range s.organisations {
			if o.ID == l.ProviderID {
				provider = fold(o.Name)
			}
		}
		text := fold(f.Text)
		found := strings.Contains(fold(l.Code), text) || strings.Contains(name(l), text) || strings.Contains(provider, text)
		if (org == "" || l.OrganisationID == org) && (text == "" || found) && (f.DeviceID == "" || slices.Contains(s.named[l.ID], f.DeviceID)) &&
			(f.Kind == "" || fold(s.agreements[l.AgreementID].Kind) == fold(f.Kind)) &&
			(f.Agreement == "" || string(l.AgreementID) == fold(f.Agreement) || name(l) == fold(f.Agreement)) {
			all = append(all, l)
		}
	}
	order := f.Order
	if len(order) == 0 {
		order = []identity.LicenceOrder{{By: identity.ByStart, Descending: true}}
	}
	dates := func(a, b time.Time, sign int) int {
		if a.IsZero() != b.IsZero() { // last in either direction
			if a.IsZero() {
				return 1
			}
			return -1
		}
		return sign * a.Compare(b)
	}
	slices.SortFunc(all, func(a, b identity.Licence) int {
		for _, o := range order {
			sign, c := 1, 0
			if o.Descending {
				sign = -1
			}
			switch o.By {
			case identity.ByAgreementName:
				c = sign * cmp.Compare(name(a), name(b))
			case identity.ByLicenceCode:
				c = sign * cmp.Compare(fold(a.Code), fold(b.Code))
			case identity.ByStart:
				c = dates(a.StartsAt, b.StartsAt, sign)
			case identity.ByExpiry:
				c = dates(a.ExpiresAt, b.ExpiresAt, sign)
			}
			if c != 0 {
				return c
			}
		}
		return cmp.Compare(a.ID, b.ID)
	})
	for i, l := range all {
		if int64(i) >= f.Offset && len(page) < f.Limit {
			page = append(page, l.ID)
		}
	}
	return page, len(all)
}

// any makes up a filter, an order and a page.
func (s *shelf) any(r *rand.Rand) identity.LicenceFilter {
	var f identity.LicenceFilter
	if r.IntN(3) == 0 {
		f.Text = pick(r, []string{"zed", "EDGE", "1", "%", "_", "me", "' OR 1=1 --", "a"})
	}
	if r.IntN(3) == 0 {
		f.Kind = strings.ToUpper(pick(r, append(kinds, "none")))
	}
	if r.IntN(4) == 0 {
		f.Agreement = pick(r, []string{"EDGE PRO", "archive", "none", string(s.licences[0].AgreementID), strings.ToUpper(string(s.licences[1].AgreementID))})
	}
	if r.IntN(5) == 0 {
		f.DeviceID = pick(r, append(s.devices, "none"))
	}
	for range r.IntN(5) {
		by := pick(r, []identity.LicenceColumn{identity.ByAgreementName, identity.ByLicenceCode, identity.ByStart, identity.ByStart, identity.ByExpiry, identity.ByExpiry})
		f.Order = append(f.Order, identity.LicenceOrder{By: by, Descending: r.IntN(2) == 0})
	}
	f.Limit = pick(r, []int{1, 2, 7, 40, 150, 1000})
	f.Offset = pick(r, []int64{0, 0, 1, int64(r.IntN(20)), int64(r.IntN(160)), 149, 150, 1e18, math.MaxInt64})
	return f
}

// A list is what filtering, sorting and cutting give, for members and superadmins: complete, exactly counted, in an order that is the
// same on every page.
func TestLicenceListsAreComplete(t *testing.T) {
	storetest.EachEngine(t, func(t *testing.T, store identity.Store) {
		r := rand.New(rand.NewPCG(5, 43))
		s := stock(t, store, r)
		service := &licence.Service{Store: store, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
		for _, few := range []int64{0, 12, 10_000} {
			sqlstore.SetFewLicences(t, few)
			for range 500 {
				f := s.any(r)
				viewer := licence.Viewer{SubjectID: s.root}
				var org identity.OrganisationID
				switch n := r.IntN(6); n {
				case 0: // a superadmin looks at one
					org = pick(r, s.organisations).ID
					viewer.OrganisationID, viewer.Acting = org, true
				case 1: // a member
					i := r.IntN(len(s.members))
					org = s.organisations[i].ID
					viewer = licence.Viewer{SubjectID: s.members[i], OrganisationID: org}
				}
				got, err := service.List(t.Context(), viewer, f)
				if err != nil {
					t.Fatalf("%+v: %v", f, err)
				}
				var ids []identity.LicenceID
				for _, l := range got.Licences {
					ids = append(ids, l.ID)
				}
				if page, total := s.list(org, f); got.Total != total || !slices.Equal(ids, page) {
					t.Fatalf("of %q, %+v, few %d:\n%d of %d: %v\nwant %d of %d: %v", org, f, few, len(ids), got.Total, ids, len(page), total, page)
				}
			}
		}
	})
}
