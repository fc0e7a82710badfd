package storetest

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/identity"
)

func agreement(tb testing.TB, store identity.Store, change ...func(*identity.Agreement)) identity.AgreementID {
	tb.Helper()
	id := newID()
	a := identity.Agreement{ID: identity.AgreementID(id), Key: "agreement-" + id, Name: "Agreement", Kind: "trial", PublishedAt: epoch}
	for _, f := range change {
		f(&a)
	}
	update(tb, store, func(tx identity.Tx) error { return tx.SaveAgreement(tb.Context(), a) })
	return a.ID
}

func device(tb testing.TB, store identity.Store, org identity.OrganisationID) identity.DeviceID {
	tb.Helper()
	id := newID()
	d := identity.Device{ID: identity.DeviceID(id), Key: "device-" + id, OrganisationID: org}
	update(tb, store, func(tx identity.Tx) error { return tx.SaveDevice(tb.Context(), d) })
	return d.ID
}

func licence(tb testing.TB, store identity.Store, org identity.OrganisationID, of identity.AgreementID, change ...func(*identity.Licence)) identity.Licence {
	tb.Helper()
	id := newID()
	l := identity.Licence{ID: identity.LicenceID(id), Key: "licence-" + id, Code: id, OrganisationID: org, AgreementID: of, StartsAt: epoch, Seats: 1, CreatedAt: epoch}
	for _, f := range change {
		f(&l)
	}
	update(tb, store, func(tx identity.Tx) error { return tx.CreateLicence(tb.Context(), l) })
	return l
}

func TestAgreements(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		a := filled[identity.Agreement](t)
		get := func(r identity.Reader) (identity.Agreement, error) { return r.Agreement(ctx, a.ID) }
		absent(t, store, get)
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.SaveAgreement(ctx, a) })
			same(t, read(t, store, get), a)
			same(t, read(t, store, func(r identity.Reader) (identity.Agreement, error) { return r.AgreementByKey(ctx, a.Key) }), a)
			next := filled[identity.Agreement](t)
			next.ID, next.CreatedAt = a.ID, a.CreatedAt
			a = next
		}
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SaveAgreement(ctx, identity.Agreement{ID: "other", Key: read(t, store, get).Key})
		})
		l := licence(t, store, organisation(t, store), a.ID)
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { return tx.DeleteAgreement(ctx, a.ID) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteLicence(ctx, l.ID) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteAgreement(ctx, a.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteAgreement(ctx, a.ID) })
	})
}

func TestDevices(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		d := filled[identity.Device](t)
		d.OrganisationID = organisation(t, store)
		get := func(r identity.Reader) (identity.Device, error) { return r.Device(ctx, d.ID) }
		absent(t, store, get)
		for range 2 {
			update(t, store, func(tx identity.Tx) error { return tx.SaveDevice(ctx, d) })
			same(t, read(t, store, get), d)
			same(t, read(t, store, func(r identity.Reader) (identity.Device, error) { return r.DeviceByKey(ctx, d.Key) }), d)
			next := filled[identity.Device](t)
			next.ID, next.OrganisationID, next.CreatedAt = d.ID, d.OrganisationID, d.CreatedAt
			d = next
		}
		second, other := device(t, store, d.OrganisationID), device(t, store, organisation(t, store))
		list := func(org identity.OrganisationID, after identity.DeviceID, limit int) (ids []identity.DeviceID) {
			for _, v := range read(t, store, func(r identity.Reader) ([]identity.Device, error) { return r.Devices(ctx, org, after, limit) }) {
				ids = append(ids, v.ID)
			}
			return ids
		}
		same(t, list(d.OrganisationID, "", 10), []identity.DeviceID{second, d.ID})
		same(t, list("", "", 10), []identity.DeviceID{second, other, d.ID})
		same(t, list("", second, 1), []identity.DeviceID{other})
		same(t, list(d.OrganisationID, second, 10), []identity.DeviceID{d.ID})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.SaveDevice(ctx, identity.Device{ID: "x", Key: "x", OrganisationID: "nowhere"})
		})

		// Its seats are free when it goes.
		l := licence(t, store, d.OrganisationID, agreement(t, store))
		update(t, store, func(tx identity.Tx) error { _, err := tx.TakeSeat(ctx, l.ID, second, epoch); return err })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteDevice(ctx, second) })
		if l = read(t, store, func(r identity.Reader) (identity.Licence, error) { return r.Licence(ctx, l.ID) }); l.Taken != 0 {
			t.Errorf("%d seats are taken after the device went", l.Taken)
		}
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteDevice(ctx, second) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteOrganisation(ctx, d.OrganisationID) })
		absent(t, store, get)
		absent(t, store, func(r identity.Reader) (identity.Licence, error) { return r.Licence(ctx, l.ID) })
	})
}

func TestLicences(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		org, provider, of := organisation(t, store), organisation(t, store), agreement(t, store)
		l := filled[identity.Licence](t)
		l.OrganisationID, l.ProviderID, l.AgreementID, l.Taken = org, provider, of, 0
		get := func(r identity.Reader) (identity.Licence, error) { return r.Licence(ctx, l.ID) }
		absent(t, store, get)
		update(t, store, func(tx identity.Tx) error { return tx.CreateLicence(ctx, l) })
		same(t, read(t, store, get), l)
		same(t, read(t, store, func(r identity.Reader) (identity.Licence, error) { return r.LicenceByKey(ctx, l.Key) }), l)
		same(t, read(t, store, func(r identity.Reader) (identity.Licence, error) { return r.LicenceOf(ctx, org, l.ID) }), l)
		absent(t, store, func(r identity.Reader) (identity.Licence, error) { return r.LicenceOf(ctx, provider, l.ID) })
		same(t, read(t, store, func(r identity.Reader) ([]identity.Licence, error) { return r.EachLicence(ctx, "", 10) }), []identity.Licence{l})

		changed := filled[identity.Licence](t)
		changed.ID, changed.OrganisationID, changed.ProviderID, changed.AgreementID = l.ID, org, "", of
		changed.Taken, changed.DocumentsEndAt, changed.CreatedAt = 0, l.DocumentsEndAt, l.CreatedAt
		update(t, store, func(tx identity.Tx) error { return tx.UpdateLicence(ctx, changed) })
		same(t, read(t, store, get), changed)

		for _, until := range []time.Time{epoch.AddDate(2, 0, 0), epoch} { // forward only
			update(t, store, func(tx identity.Tx) error { return tx.KeepDocuments(ctx, l.ID, until) })
		}
		changed.DocumentsEndAt = epoch.AddDate(2, 0, 0)
		same(t, read(t, store, get), changed)

		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLicence(ctx, identity.Licence{ID: "a", Key: "a", Code: strings.ToUpper(changed.Code), OrganisationID: org, AgreementID: of})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLicence(ctx, identity.Licence{ID: "a", Key: changed.Key, Code: "a", OrganisationID: org, AgreementID: of})
		})
		refused(t, store, identity.Conflict, func(tx identity.Tx) error {
			return tx.CreateLicence(ctx, identity.Licence{ID: "a", Key: "a", Code: "a", OrganisationID: org, AgreementID: "none"})
		})
		refused(t, store, identity.NotFound, func(tx identity.Tx) error {
			return tx.UpdateLicence(ctx, identity.Licence{ID: "none", AgreementID: of})
		})

		// Who sells it may go, and the licence stays.
		changed.ProviderID = provider
		update(t, store, func(tx identity.Tx) error { return tx.UpdateLicence(ctx, changed) })
		update(t, store, func(tx identity.Tx) error { return tx.DeleteOrganisation(ctx, provider) })
		changed.ProviderID = ""
		same(t, read(t, store, get), changed)

		var history []identity.Renewal
		for range 2 {
			v := filled[identity.Renewal](t)
			v.ID, v.LicenceID = identity.RenewalID(newID()), l.ID
			history = append(history, v)
			update(t, store, func(tx identity.Tx) error { return tx.AddRenewal(ctx, v) })
		}
		renewals := func(r identity.Reader) ([]identity.Renewal, error) { return r.Renewals(ctx, l.ID) }
		same(t, read(t, store, renewals), history)
		update(t, store, func(tx identity.Tx) error { return tx.DeleteLicence(ctx, l.ID) })
		refused(t, store, identity.NotFound, func(tx identity.Tx) error { return tx.DeleteLicence(ctx, l.ID) })
		same(t, read(t, store, renewals), nil)
	})
}

func TestSeats(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		org := organisation(t, store)
		const free, racers = 3, 16
		l := licence(t, store, org, agreement(t, store), func(l *identity.Licence) { l.Seats = free })
		var devices []identity.DeviceID
		for range racers {
			devices = append(devices, device(t, store, org))
		}
		winners := race(t, racers, func(ctx context.Context, i int) (won bool, err error) {
			err = store.Update(ctx, func(tx identity.Tx) (err error) {
				won, err = tx.TakeSeat(ctx, l.ID, devices[i], epoch)
				return err
			})
			return won, err
		})
		named := read(t, store, func(r identity.Reader) ([]identity.Device, error) { return r.DevicesOfLicence(ctx, l.ID) })
		now := read(t, store, func(r identity.Reader) (identity.Licence, error) { return r.Licence(ctx, l.ID) })
		if winners != free || len(named) != free || now.Taken != free {
			t.Errorf("%d took one of %d seats, %d are named, %d counted", winners, free, len(named), now.Taken)
		}
		same(t, read(t, store, func(r identity.Reader) ([]identity.Licence, error) { return r.LicencesOfDevice(ctx, named[0].ID) }), []identity.Licence{now})
		released := race(t, racers, func(ctx context.Context, _ int) (won bool, err error) {
			err = store.Update(ctx, func(tx identity.Tx) (err error) {
				won, err = tx.ReleaseSeat(ctx, l.ID, named[0].ID)
				return err
			})
			return won, err
		})
		if now = read(t, store, func(r identity.Reader) (identity.Licence, error) { return r.Licence(ctx, l.ID) }); released != 1 || now.Taken != free-1 {
			t.Errorf("%d released one seat, %d are taken", released, now.Taken)
		}
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { _, err := tx.TakeSeat(ctx, l.ID, named[1].ID, epoch); return err })
		refused(t, store, identity.Conflict, func(tx identity.Tx) error { _, err := tx.TakeSeat(ctx, l.ID, "none", epoch); return err })
	})
}

func TestLicenceLists(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		mine, other := organisation(t, store), organisation(t, store)
		seller := identity.Organisation{ID: identity.OrganisationID(newID()), Key: "seller", Name: "Größe 100%"}
		update(t, store, func(tx identity.Tx) error { return tx.CreateOrganisation(ctx, &seller) })
		trial := agreement(t, store, func(a *identity.Agreement) { a.Name, a.Kind = "Éclair Trial", "Trial" })
		pro := agreement(t, store, func(a *identity.Agreement) { a.Name, a.Kind = "edge_pro", "subscription" })
		box := device(t, store, mine)
		day := func(n int) time.Time { return epoch.AddDate(0, 0, n) }
		add := func(org identity.OrganisationID, of identity.AgreementID, code string, starts, expires int, change ...func(*identity.Licence)) identity.LicenceID {
			return licence(t, store, org, of, append(change, func(l *identity.Licence) {
				l.Code, l.StartsAt, l.Seats, l.CreatedAt = code, day(starts), 5, day(len(code))
				if expires != 0 {
					l.ExpiresAt = day(expires)
				}
			})...).ID
		}
		one := add(mine, trial, "B", 1, 90)
		two := add(mine, pro, "aa", 2, 0)
		three := add(mine, pro, "C!%", 2, 30, func(l *identity.Licence) { l.ProviderID = seller.ID })
		four := add(other, pro, "dddd", 9, 30)
		for _, id := range []identity.LicenceID{two, four} {
			update(t, store, func(tx identity.Tx) error { _, err := tx.TakeSeat(ctx, id, box, epoch); return err })
		}
		by := func(column identity.LicenceColumn, down ...bool) []identity.LicenceOrder {
			return []identity.LicenceOrder{{By: column, Descending: len(down) > 0}}
		}
		for name, tt := range map[string]struct {
			filter identity.LicenceFilter
			want   []identity.LicenceID
			count  int
		}{
			"by id":                        {identity.LicenceFilter{OrganisationID: mine}, []identity.LicenceID{one, two, three}, 3},
			"by start":                     {identity.LicenceFilter{OrganisationID: mine, Order: by(identity.ByStart)}, []identity.LicenceID{one, two, three}, 3},
			"latest start":                 {identity.LicenceFilter{OrganisationID: mine, Order: by(identity.ByStart, true)}, []identity.LicenceID{two, three, one}, 3},
			"by code, without case":        {identity.LicenceFilter{OrganisationID: mine, Order: by(identity.ByLicenceCode)}, []identity.LicenceID{two, one, three}, 3},
			"by expiry, none last":         {identity.LicenceFilter{OrganisationID: mine, Order: by(identity.ByExpiry)}, []identity.LicenceID{three, one, two}, 3},
			"latest expiry, none last":     {identity.LicenceFilter{OrganisationID: mine, Order: by(identity.ByExpiry, true)}, []identity.LicenceID{one, three, two}, 3},
			"by agreement, then expiry":    {identity.LicenceFilter{OrganisationID: mine, Order: append(by(identity.ByAgreementName), by(identity.ByExpiry)...)}, []identity.LicenceID{three, two, one}, 3},
			"a page":                       {identity.LicenceFilter{OrganisationID: mine, Offset: 1, Limit: 1}, []identity.LicenceID{two}, 3},
			"past the end":                 {identity.LicenceFilter{OrganisationID: mine, Offset: 1 << 62}, nil, 3},
			"part of the agreement's name": {identity.LicenceFilter{OrganisationID: mine, Text: "éCLAIR"}, []identity.LicenceID{one}, 1},
			"part of the code":             {identity.LicenceFilter{OrganisationID: mine, Text: "c!"}, []identity.LicenceID{three}, 1},
			"part of the provider's name":  {identity.LicenceFilter{OrganisationID: mine, Text: "GRÖSSE"}, []identity.LicenceID{three}, 1},
			"a wildcard is itself":         {identity.LicenceFilter{OrganisationID: mine, Text: "%"}, []identity.LicenceID{three}, 1},
			"another wildcard":             {identity.LicenceFilter{OrganisationID: mine, Text: "E_P"}, []identity.LicenceID{two, three}, 2},
			"SQL is text":                  {identity.LicenceFilter{OrganisationID: mine, Text: "' OR 1=1 --"}, nil, 0},
			"a zero byte":                  {identity.LicenceFilter{OrganisationID: mine, Text: "\x00"}, nil, 0},
			"no text":                      {identity.LicenceFilter{OrganisationID: mine, Text: "\xff"}, nil, 0},
			"a device":                     {identity.LicenceFilter{OrganisationID: mine, DeviceID: box}, []identity.LicenceID{two}, 1},
			"an unknown device":            {identity.LicenceFilter{OrganisationID: mine, DeviceID: "none"}, nil, 0},
			"a kind":                       {identity.LicenceFilter{OrganisationID: mine, Kind: "tRIAL"}, []identity.LicenceID{one}, 1},
			"an agreement by name":         {identity.LicenceFilter{OrganisationID: mine, Agreement: "ÉCLAIR trial"}, []identity.LicenceID{one}, 1},
			"an agreement by id":           {identity.LicenceFilter{OrganisationID: mine, Agreement: string(pro)}, []identity.LicenceID{two, three}, 2},
			"all together":                 {identity.LicenceFilter{OrganisationID: mine, Agreement: string(pro), Kind: "subscription", DeviceID: box, Text: "a"}, []identity.LicenceID{two}, 1},
			"no such organisation":         {identity.LicenceFilter{OrganisationID: "none"}, nil, 0},
			"everybody's":                  {identity.LicenceFilter{Order: by(identity.ByStart, true)}, []identity.LicenceID{four, two, three, one}, 4},
			"everybody's, of a device":     {identity.LicenceFilter{DeviceID: box}, []identity.LicenceID{two, four}, 2},
			"everybody's, of a kind":       {identity.LicenceFilter{Kind: "SUBSCRIPTION", Text: "d"}, []identity.LicenceID{two, three, four}, 3},
		} {
			t.Run(name, func(t *testing.T) {
				var ids []identity.LicenceID
				for _, l := range read(t, store, func(r identity.Reader) ([]identity.Licence, error) { return r.Licences(ctx, tt.filter) }) {
					ids = append(ids, l.ID)
				}
				same(t, ids, tt.want)
				if n := read(t, store, func(r identity.Reader) (int, error) { return r.CountLicences(ctx, tt.filter) }); n != tt.count {
					t.Errorf("counted %d, want %d", n, tt.count)
				}
			})
		}
		err := store.View(ctx, func(r identity.Reader) error {
			_, err := r.Licences(ctx, identity.LicenceFilter{OrganisationID: mine, Order: by("l.id; DROP TABLE licences")})
			return err
		})
		if identity.KindOf(err) != identity.Invalid {
			t.Errorf("an order by something else: %v", err)
		}
	})
}

func TestEntitling(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		org := organisation(t, store)
		var all []identity.AgreementID
		for range 6 {
			all = append(all, agreement(t, store))
		}
		box, other := device(t, store, org), device(t, store, org)
		add := func(n int, change func(*identity.Licence)) identity.LicenceID {
			return licence(t, store, org, all[n], func(l *identity.Licence) {
				l.StartsAt, l.ExpiresAt, l.Grace = epoch, epoch.Add(time.Hour), time.Minute
				change(l)
			}).ID
		}
		add(0, func(*identity.Licence) {})
		add(0, func(*identity.Licence) {}) // twice is once
		add(1, func(l *identity.Licence) { l.ExpiresAt = time.Time{} })
		add(2, func(l *identity.Licence) { l.RevokedAt = epoch })
		add(3, func(l *identity.Licence) { l.StartsAt = epoch.Add(2 * time.Hour); l.ExpiresAt = time.Time{} })
		named := add(4, func(*identity.Licence) {})
		licence(t, store, organisation(t, store), all[5])
		update(t, store, func(tx identity.Tx) error { _, err := tx.TakeSeat(ctx, named, box, epoch); return err })
		for name, tt := range map[string]struct {
			device identity.DeviceID
			at     time.Duration
			want   []identity.AgreementID
		}{
			"now":                {"", 0, []identity.AgreementID{all[0], all[1], all[4]}},
			"in its grace":       {"", time.Hour + 59*time.Second, []identity.AgreementID{all[0], all[1], all[4]}},
			"after its grace":    {"", time.Hour + time.Minute, []identity.AgreementID{all[1]}},
			"later":              {"", 2 * time.Hour, []identity.AgreementID{all[1], all[3]}},
			"before":             {"", -time.Second, nil},
			"the device named":   {box, 0, []identity.AgreementID{all[0], all[1], all[4]}},
			"a device not named": {other, 0, []identity.AgreementID{all[0], all[1]}},
		} {
			t.Run(name, func(t *testing.T) {
				var ids []identity.AgreementID
				for _, a := range read(t, store, func(r identity.Reader) ([]identity.Agreement, error) {
					return r.Entitling(ctx, org, tt.device, epoch.Add(tt.at))
				}) {
					ids = append(ids, a.ID)
				}
				same(t, ids, tt.want)
			})
		}
		// An organisation that has expired may use nothing, whatever its licences say.
		o := read(t, store, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(ctx, org) })
		o.ExpiresAt = epoch.Add(time.Minute)
		update(t, store, func(tx identity.Tx) error { return tx.UpdateOrganisation(ctx, o) })
		for at, want := range map[time.Duration]int{time.Minute - time.Microsecond: 3, time.Minute: 0, 3 * time.Hour: 0} {
			got := read(t, store, func(r identity.Reader) ([]identity.Agreement, error) { return r.Entitling(ctx, org, "", epoch.Add(at)) })
			if len(got) != want {
				t.Errorf("%v after, of an organisation that has a minute: %d agreements, want %d", at, len(got), want)
			}
		}
	})
}

func TestOrganisationsByID(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		var want []identity.Organisation
		var ids []identity.OrganisationID
		for range 40 {
			id := organisation(t, store)
			want = append(want, read(t, store, func(r identity.Reader) (identity.Organisation, error) { return r.Organisation(t.Context(), id) }))
			ids = append([]identity.OrganisationID{id, "none"}, ids...)
		}
		get := func(ids []identity.OrganisationID) []identity.Organisation {
			return read(t, store, func(r identity.Reader) ([]identity.Organisation, error) { return r.OrganisationsByID(t.Context(), ids) })
		}
		same(t, get(append(ids, ids...)), want)
		same(t, get(nil), nil)
	})
}

func TestNotices(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		org, of := organisation(t, store), agreement(t, store)
		licence(t, store, org, of)
		late := licence(t, store, org, of, func(l *identity.Licence) { l.NoticeAt = epoch.Add(time.Hour) })
		due := licence(t, store, org, of, func(l *identity.Licence) { l.NoticeAt = epoch })
		list := func(at time.Time, limit int) (ids []identity.LicenceID) {
			for _, l := range read(t, store, func(r identity.Reader) ([]identity.Licence, error) { return r.DueLicences(ctx, at, limit) }) {
				ids = append(ids, l.ID)
			}
			return ids
		}
		same(t, list(epoch.Add(-time.Second), 9), nil)
		same(t, list(epoch, 9), []identity.LicenceID{due.ID})
		same(t, list(epoch.Add(time.Hour), 9), []identity.LicenceID{due.ID, late.ID})
		same(t, list(epoch.Add(time.Hour), 1), []identity.LicenceID{due.ID})
		winners := race(t, 16, func(ctx context.Context, _ int) (won bool, err error) {
			err = store.Update(ctx, func(tx identity.Tx) (err error) {
				won, err = tx.MoveNotice(ctx, due.ID, epoch, time.Time{})
				return err
			})
			return won, err
		})
		if winners != 1 {
			t.Errorf("%d told it", winners)
		}
		same(t, list(epoch.Add(time.Hour), 9), []identity.LicenceID{late.ID})
	})
}

func TestRevocations(t *testing.T) {
	EachEngine(t, func(t *testing.T, store identity.Store) {
		ctx := t.Context()
		current := func() int64 {
			return read(t, store, func(r identity.Reader) (int64, error) { return r.RevocationEpoch(ctx) })
		}
		list := func(after int64) []identity.Revocation {
			return read(t, store, func(r identity.Reader) ([]identity.Revocation, error) { return r.Revocations(ctx, after, 10) })
		}
		if current() != 0 {
			t.Error("an epoch before anything was revoked")
		}
		a := identity.Revocation{LicenceID: "a", RevokedAt: epoch, ExpiresAt: epoch}
		b := identity.Revocation{OrganisationID: "o", RevokedAt: epoch, ExpiresAt: epoch.Add(time.Hour)}
		for _, v := range []*identity.Revocation{&a, &b} {
			update(t, store, func(tx identity.Tx) error { return tx.Revoke(ctx, v) })
			if current() != v.Epoch || v.Epoch == 0 {
				t.Errorf("epoch %d after %d", current(), v.Epoch)
			}
		}
		same(t, list(0), []identity.Revocation{a, b})
		same(t, list(a.Epoch), []identity.Revocation{b})
		again := a
		update(t, store, func(tx identity.Tx) error { return tx.Revoke(ctx, &again) })
		if again.Epoch <= b.Epoch {
			t.Errorf("epoch %d after %d", again.Epoch, b.Epoch)
		}
		same(t, list(0), []identity.Revocation{b, again})

		// What is out of an organisation's licences.
		org, of := organisation(t, store), agreement(t, store)
		lastDocument := func(r identity.Reader) (time.Time, error) { return r.LastDocument(ctx, org) }
		same(t, read(t, store, lastDocument), time.Time{})
		for _, at := range []time.Time{{}, epoch.Add(time.Hour), epoch} {
			licence(t, store, org, of, func(l *identity.Licence) { l.DocumentsEndAt = at })
		}
		same(t, read(t, store, lastDocument), epoch.Add(time.Hour))

		// The newest outlives its end: the epoch is read from it.
		update(t, store, func(tx identity.Tx) error { _, err := tx.Sweep(ctx, epoch.AddDate(1, 0, 0), 100); return err })
		same(t, list(0), []identity.Revocation{again})
	})
}

// A revocation that began before another and is committed after it has the later epoch: a document that was printed between them, under
// the other's, must not count as newer than both.
func TestRevocationsAreCommittedInOrder(t *testing.T) {
	store := Postgres(t) // SQLite has one writer
	ctx := t.Context()
	slow := identity.Revocation{LicenceID: "slow", RevokedAt: epoch, ExpiresAt: epoch}
	quick := identity.Revocation{LicenceID: "quick", RevokedAt: epoch, ExpiresAt: epoch}
	for range 2 { // of none before them, and of some
		begun := false
		update(t, store, func(tx identity.Tx) error {
			if err := tx.Revoke(ctx, &slow); err != nil || begun {
				return err
			}
			begun = true
			update(t, store, func(tx identity.Tx) error { return tx.Revoke(ctx, &quick) })
			return nil
		})
		same(t, read(t, store, func(r identity.Reader) ([]identity.Revocation, error) { return r.Revocations(ctx, 0, 10) }), []identity.Revocation{quick, slow})
	}
}
