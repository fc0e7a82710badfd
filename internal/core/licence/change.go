package licence

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

const (
	maxSeats  = 1000              // as many as one list of devices shows
	maxAmount = 1_000_000_000_000 // minor units
)

// New is a licence to be made.
type New struct {
	ID             identity.LicenceID // "": made. One that has an id was made before, elsewhere
	Key            string             // "": the id
	Code           string             // "": made, a random UUID
	AgreementID    identity.AgreementID
	OrganisationID identity.OrganisationID
	ProviderID     identity.OrganisationID
	SignedBy       identity.SubjectID
	SignedAt       time.Time
	StartsAt       time.Time // zero: now
	ExpiresAt      time.Time // zero: never
	Grace          *time.Duration
	PaidUntilAt    time.Time
	AmountPerMonth int64
	DiscountBP     int
	Catalogues     []string
	Seats          int  // 0: as many as Devices, at least one
	Named          bool // it is for the devices that it names, though it names none yet
	Devices        []identity.DeviceID
	Revoked        bool
	RevokedFor     string
}

// Create makes a licence.
func (s *Service) Create(ctx context.Context, caller identity.Caller, in New) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) { return s.CreateIn(ctx, tx, caller, in) })
}

// CreateIn is Create in the caller's transaction.
func (s *Service) CreateIn(ctx context.Context, tx identity.Tx, caller identity.Caller, in New) (identity.Licence, error) {
	now := s.Now()
	l := identity.Licence{
		Key: in.Key, Code: in.Code, AgreementID: in.AgreementID, OrganisationID: in.OrganisationID, ProviderID: in.ProviderID, SignedBy: in.SignedBy,
		SignedAt: in.SignedAt, StartsAt: in.StartsAt, ExpiresAt: in.ExpiresAt, Grace: s.Terms.Grace, PaidUntilAt: in.PaidUntilAt,
		AmountPerMonth: in.AmountPerMonth, DiscountBP: in.DiscountBP, Catalogues: in.Catalogues, Seats: in.Seats, Named: in.Named, CreatedAt: now, UpdatedAt: now,
	}
	var err error
	if l.ID, err = newID(s, in.ID); err != nil {
		return l, err
	}
	if l.Key == "" {
		l.Key = string(l.ID)
	}
	if l.Code == "" {
		if l.Code, err = s.newCode(); err != nil {
			return l, err
		}
	}
	if l.StartsAt.IsZero() {
		l.StartsAt = now
	}
	if in.Grace != nil {
		l.Grace = *in.Grace
	}
	if l.Seats == 0 {
		l.Seats = max(1, len(in.Devices))
	}
	if in.Revoked {
		l.RevokedAt, l.RevokedFor = now, reason(in.RevokedFor)
	}
	if l.ExpiresAt.IsZero() || now.Before(l.ExpiresAt) { // what was over before it was known is no news
		l.NoticeAt = s.noticeAt(l, now)
	}
	if err := s.check(ctx, tx, l, identity.Licence{}, in.ID != ""); err != nil {
		return l, err
	}
	if _, err := tx.Organisation(ctx, l.OrganisationID); err != nil {
		return l, stands(err, "organisation", "organisation")
	}
	if err := tx.CreateLicence(ctx, l); err != nil {
		return l, s.taken(ctx, tx, l, err)
	}
	if err := s.finish(ctx, tx, caller, l.OrganisationID, audit.Entry{Action: "licence.create", OrganisationID: l.OrganisationID, After: view(l)}); err != nil {
		return l, err
	}
	return s.devicesIn(ctx, tx, caller, l, in.Devices)
}

// taken says which of its names another licence has.
func (s *Service) taken(ctx context.Context, r identity.Reader, l identity.Licence, err error) error {
	if !errors.Is(err, identity.Conflict) {
		return err
	}
	return identity.Conflict.In("key", "is taken, or the code, or the id")
}

// newCode makes a random UUID (RFC 9562, section 5.4).
func (s *Service) newCode() (string, error) {
	var u [16]byte
	if _, err := io.ReadFull(s.Rand, u[:]); err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}

// check refuses what no licence can say; old is the one before, zero for a new one. One that was made before, in another store, may be of an
// agreement that has been taken back since.
func (s *Service) check(ctx context.Context, r identity.Reader, l, old identity.Licence, madeBefore bool) error {
	if err := errors.Join(manage.CheckKey("key", l.Key), manage.CheckLine("code", l.Code), manage.CheckLines("catalogues", l.Catalogues)); err != nil {
		return err
	}
	for _, id := range l.Catalogues {
		if !identity.ValidID(id) {
			return identity.Invalid.In("catalogues", "must hold UUIDs in lower case")
		}
	}
	switch {
	case l.Code == "":
		return identity.Invalid.In("code", "is needed")
	case !l.ExpiresAt.IsZero() && !l.ExpiresAt.After(l.StartsAt):
		return identity.Invalid.In("expires_at", "must be after starts_at")
	case l.Grace < 0 || l.Grace > MaxGrace:
		return identity.Invalid.In("grace", fmt.Sprintf("must be from 0 to %d days", int(MaxGrace.Hours()/24)))
	case l.AmountPerMonth < 0 || l.AmountPerMonth > maxAmount:
		return identity.Invalid.In("amount_per_month", "is out of bounds")
	case l.DiscountBP < 0 || l.DiscountBP > 10_000:
		return identity.Invalid.In("discount_bp", "must be from 0 to 10000")
	case l.Seats < 1 || l.Seats > maxSeats:
		return identity.Invalid.In("seats", fmt.Sprintf("must be from 1 to %d", maxSeats))
	case !l.Named && l.Taken > 0:
		return identity.Conflict.In("every_device", fmt.Sprintf("%d devices are named; release them first", l.Taken))
	case l.Seats < l.Taken:
		return identity.Conflict.In("seats", fmt.Sprintf("%d devices are named; release some first", l.Taken))
	}
	for _, f := range []struct {
		field string
		at    time.Time
	}{{"starts_at", l.StartsAt}, {"expires_at", l.ExpiresAt}, {"paid_until", l.PaidUntilAt}, {"signed_at", l.SignedAt}} {
		if !f.at.IsZero() && (f.at.Year() < 1970 || f.at.Year() > 9000) {
			return identity.Invalid.In(f.field, "is out of bounds")
		}
	}
	if l.AgreementID != old.AgreementID {
		a, err := r.Agreement(ctx, l.AgreementID)
		if err != nil {
			return stands(err, "agreement", "agreement")
		}
		if !madeBefore && (a.PublishedAt.IsZero() || a.PublishedAt.After(s.Now())) {
			return identity.Conflict.In("agreement", "is not published yet")
		}
	}
	if l.ProviderID != "" && l.ProviderID != old.ProviderID {
		if _, err := r.Organisation(ctx, l.ProviderID); err != nil {
			return stands(err, "provider", "organisation")
		}
	}
	if l.SignedBy != "" && !identity.ValidID(string(l.SignedBy)) { // who has gone since has signed all the same
		return identity.Invalid.In("signed_by", "must be the id of a person")
	}
	return nil
}

func view(l identity.Licence) map[string]any {
	v := map[string]any{
		"id": l.ID, "key": l.Key, "agreement": l.AgreementID, "starts_at": l.StartsAt, "seats": l.Seats, "every_device": !l.Named, "grace": l.Grace.String(),
		"amount_per_month": l.AmountPerMonth, "discount_bp": l.DiscountBP,
	}
	for name, at := range map[string]time.Time{"expires_at": l.ExpiresAt, "paid_until": l.PaidUntilAt, "signed_at": l.SignedAt, "revoked_at": l.RevokedAt} {
		if !at.IsZero() {
			v[name] = at
		}
	}
	if l.ProviderID != "" {
		v["provider"] = l.ProviderID
	}
	if l.SignedBy != "" {
		v["signed_by"] = l.SignedBy
	}
	if len(l.Catalogues) > 0 {
		v["catalogues"] = l.Catalogues
	}
	return v
}

// Change is what is to be different; nil fields stay.
type Change struct {
	Key            *string
	Code           *string
	AgreementID    *identity.AgreementID
	ProviderID     *identity.OrganisationID
	SignedBy       *identity.SubjectID
	SignedAt       *time.Time
	StartsAt       *time.Time
	ExpiresAt      *time.Time // zero: never
	Grace          *time.Duration
	PaidUntilAt    *time.Time
	AmountPerMonth *int64
	DiscountBP     *int
	Catalogues     *[]string
	Seats          *int
	Devices        *[]identity.DeviceID // all that it is to name
	Named          *bool                // false: it is for every device of the organisation, and must name none
	Revoked        *bool                // false gives a revoked one back
	Reason         string               // of Revoked; puts right that of one that is revoked already
}

func reason(text string) string { return audit.Line(text, 1000) }

// Update changes a licence. A change that changes nothing writes nothing.
func (s *Service) Update(ctx context.Context, caller identity.Caller, id identity.LicenceID, c Change) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) { return s.UpdateIn(ctx, tx, caller, id, c) })
}

// UpdateIn is Update in the caller's transaction. What it changes of the term and its price is kept as history. Documents that
// promise what does not hold any more are revoked.
func (s *Service) UpdateIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.LicenceID, c Change) (identity.Licence, error) {
	old, err := tx.Licence(ctx, id)
	if err != nil {
		return old, err
	}
	now := s.Now()
	l := apply(old, c, now)
	// Devices go first where seats do, and come last where seats come.
	if c.Devices != nil {
		if l, err = s.keepDevices(ctx, tx, caller, l, *c.Devices); err != nil {
			return l, err
		}
	}
	if !same(old, l) {
		l.UpdatedAt = now
		if !l.ExpiresAt.Equal(old.ExpiresAt) || l.RevokedAt.IsZero() != old.RevokedAt.IsZero() {
			l.NoticeAt = s.movedNotice(l, old, now)
		}
		if err := s.check(ctx, tx, l, old, false); err != nil {
			return l, err
		}
		if err := tx.UpdateLicence(ctx, l); err != nil {
			return l, s.taken(ctx, tx, l, err)
		}
		if err := s.keepHistory(ctx, tx, caller, old, l); err != nil {
			return l, err
		}
		if promisesLess(old, l) {
			if err := s.void(ctx, tx, l); err != nil {
				return l, err
			}
		}
		if err := s.finish(ctx, tx, caller, l.OrganisationID, audit.Entry{
			Action: action(old, l), OrganisationID: l.OrganisationID, Reason: c.Reason, Before: view(old), After: view(l),
		}); err != nil {
			return l, err
		}
	}
	if c.Devices == nil {
		return l, nil
	}
	return s.devicesIn(ctx, tx, caller, l, *c.Devices)
}

func apply(l identity.Licence, c Change, now time.Time) identity.Licence {
	set(&l.Key, c.Key)
	set(&l.Code, c.Code)
	set(&l.AgreementID, c.AgreementID)
	set(&l.ProviderID, c.ProviderID)
	set(&l.SignedBy, c.SignedBy)
	set(&l.SignedAt, c.SignedAt)
	set(&l.StartsAt, c.StartsAt)
	set(&l.ExpiresAt, c.ExpiresAt)
	set(&l.Grace, c.Grace)
	set(&l.PaidUntilAt, c.PaidUntilAt)
	set(&l.AmountPerMonth, c.AmountPerMonth)
	set(&l.DiscountBP, c.DiscountBP)
	set(&l.Catalogues, c.Catalogues)
	set(&l.Seats, c.Seats)
	set(&l.Named, c.Named)
	if c.Revoked != nil && *c.Revoked != !l.RevokedAt.IsZero() {
		l.RevokedAt, l.RevokedFor = time.Time{}, ""
		if *c.Revoked {
			l.RevokedAt, l.RevokedFor = now, reason(c.Reason)
		}
	} else if c.Revoked != nil && *c.Revoked && c.Reason != "" {
		l.RevokedFor = reason(c.Reason)
	}
	return l
}

func set[T any](into, value *T) {
	if value != nil {
		*into = *value
	}
}

func same(a, b identity.Licence) bool {
	return a.Key == b.Key && a.Code == b.Code && a.AgreementID == b.AgreementID && a.ProviderID == b.ProviderID && a.SignedBy == b.SignedBy &&
		a.SignedAt.Equal(b.SignedAt) && a.StartsAt.Equal(b.StartsAt) && a.Grace == b.Grace && !termsDiffer(a, b) &&
		slices.Equal(a.Catalogues, b.Catalogues) && a.Seats == b.Seats && a.Named == b.Named && a.RevokedAt.Equal(b.RevokedAt) &&
		a.RevokedFor == b.RevokedFor
}

// termsDiffer is about what history is kept of.
func termsDiffer(a, b identity.Licence) bool {
	return !a.ExpiresAt.Equal(b.ExpiresAt) || !a.PaidUntilAt.Equal(b.PaidUntilAt) || a.AmountPerMonth != b.AmountPerMonth || a.DiscountBP != b.DiscountBP
}

func later(a, b identity.Licence) bool { // b ends later than a
	return !a.ExpiresAt.IsZero() && (b.ExpiresAt.IsZero() || b.ExpiresAt.After(a.ExpiresAt))
}

func action(old, l identity.Licence) string {
	switch {
	case old.RevokedAt.IsZero() && !l.RevokedAt.IsZero():
		return "licence.revoke"
	case !old.RevokedAt.IsZero() && l.RevokedAt.IsZero():
		return "licence.restore"
	case later(old, l):
		return "licence.renew"
	}
	return "licence.update"
}

// promisesLess says whether documents of old promise more than those of l.
func promisesLess(old, l identity.Licence) bool {
	return old.RevokedAt.IsZero() && !l.RevokedAt.IsZero() || later(l, old) || l.StartsAt.After(old.StartsAt) || l.AgreementID != old.AgreementID ||
		l.Grace < old.Grace || l.Named && !old.Named
}

// void revokes what is out of a licence. Where nothing is, there is nothing to tell devices.
func (s *Service) void(ctx context.Context, tx identity.Tx, l identity.Licence) error {
	now := s.Now()
	if !l.DocumentsEndAt.After(now) {
		return nil
	}
	return tx.Revoke(ctx, &identity.Revocation{LicenceID: l.ID, RevokedAt: now, ExpiresAt: l.DocumentsEndAt})
}

func (s *Service) keepHistory(ctx context.Context, tx identity.Tx, caller identity.Caller, old, l identity.Licence) error {
	if !termsDiffer(old, l) {
		return nil
	}
	id, err := newID[identity.RenewalID](s, "")
	if err != nil {
		return err
	}
	by := caller.ActorID
	if by == "" {
		by = caller.SubjectID
	}
	return tx.AddRenewal(ctx, identity.Renewal{
		ID: id, LicenceID: l.ID, By: by, At: s.Now(), OldExpiresAt: old.ExpiresAt, NewExpiresAt: l.ExpiresAt,
		OldPaidUntilAt: old.PaidUntilAt, NewPaidUntilAt: l.PaidUntilAt, OldAmount: old.AmountPerMonth, NewAmount: l.AmountPerMonth,
		OldDiscountBP: old.DiscountBP, NewDiscountBP: l.DiscountBP,
	})
}

// Term is what a renewal agrees.
type Term struct {
	ExpiresAt      time.Time // zero: never again
	PaidUntilAt    *time.Time
	AmountPerMonth *int64
	DiscountBP     *int
}

// Renew lets a licence end later than it would. An expired one holds again then; a revoked one has to be given back first.
func (s *Service) Renew(ctx context.Context, caller identity.Caller, id identity.LicenceID, t Term) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) {
		l, err := tx.Licence(ctx, id)
		switch {
		case err != nil:
			return l, err
		case !l.RevokedAt.IsZero():
			return l, identity.Conflict.Because("the licence is revoked")
		case !later(l, identity.Licence{ExpiresAt: t.ExpiresAt}):
			return l, identity.Invalid.In("expires_at", "must be later than before")
		}
		return s.UpdateIn(ctx, tx, caller, id, Change{ExpiresAt: &t.ExpiresAt, PaidUntilAt: t.PaidUntilAt, AmountPerMonth: t.AmountPerMonth, DiscountBP: t.DiscountBP})
	})
}

// Revoke ends a licence now. Documents that are out are on the next revocation list.
func (s *Service) Revoke(ctx context.Context, caller identity.Caller, id identity.LicenceID, reason string) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) {
		l, err := tx.Licence(ctx, id)
		switch {
		case err != nil:
			return l, err
		case !l.RevokedAt.IsZero():
			return l, identity.Conflict.Because("the licence is revoked already")
		}
		yes := true
		return s.UpdateIn(ctx, tx, caller, id, Change{Revoked: &yes, Reason: reason})
	})
}

// DeleteIn removes a licence with its history. What is out of it is revoked.
func (s *Service) DeleteIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.LicenceID) error {
	l, err := tx.Licence(ctx, id)
	if err != nil {
		return err
	}
	if err := s.void(ctx, tx, l); err != nil {
		return err
	}
	if err := tx.DeleteLicence(ctx, id); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, l.OrganisationID, audit.Entry{Action: "licence.delete", OrganisationID: l.OrganisationID, Before: view(l)})
}

// Assign has a licence name a device, if a seat is free. One that it names already is fine.
func (s *Service) Assign(ctx context.Context, caller identity.Caller, id identity.LicenceID, device identity.DeviceID) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) {
		l, err := tx.Licence(ctx, id)
		if err != nil {
			return l, err
		}
		if !l.RevokedAt.IsZero() {
			return l, identity.Conflict.Because("the licence is revoked")
		}
		named, err := tx.DevicesOfLicence(ctx, id)
		if err != nil {
			return l, err
		}
		return s.assignIn(ctx, tx, caller, l, named, device)
	})
}

func (s *Service) assignIn(ctx context.Context, tx identity.Tx, caller identity.Caller, l identity.Licence, named []identity.Device, id identity.DeviceID) (identity.Licence, error) {
	if slices.ContainsFunc(named, func(d identity.Device) bool { return d.ID == id }) {
		return l, nil
	}
	device, err := tx.Device(ctx, id)
	if errors.Is(err, identity.NotFound) || err == nil && device.OrganisationID != l.OrganisationID {
		return l, identity.Invalid.In("device", "the organisation has no such device")
	}
	if err != nil {
		return l, err
	}
	if len(named) == 0 { // what is out is for whichever device of the organisation, and the licence is for this one from now on
		if err := s.void(ctx, tx, l); err != nil {
			return l, err
		}
	}
	taken, err := tx.TakeSeat(ctx, l.ID, id, s.Now())
	switch {
	case err != nil:
		return l, err
	case !taken:
		return l, identity.Conflict.In("device", fmt.Sprintf("no seat is free: all %d are taken", l.Seats))
	}
	l.Taken, l.Named = l.Taken+1, true
	return l, s.finish(ctx, tx, caller, l.OrganisationID, audit.Entry{
		Action: "licence.assign", OrganisationID: l.OrganisationID, After: map[string]any{"id": l.ID, "key": l.Key, "device": id, "taken": l.Taken, "seats": l.Seats},
	})
}

// Release frees the seat of a device. A licence that names no device then is good for none until one is assigned, or Change says that
// it is for all: whose seat was taken away must not get everybody's. What is out of the licence is revoked, since it could go on working: devices that it goes on
// naming need new documents where revocation lists are carried.
func (s *Service) Release(ctx context.Context, caller identity.Caller, id identity.LicenceID, device identity.DeviceID) (identity.Licence, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Licence, error) {
		l, err := tx.Licence(ctx, id)
		if err != nil {
			return l, err
		}
		d, err := tx.Device(ctx, device)
		if err != nil {
			return l, stands(err, "device", "device")
		}
		if err := s.releaseIn(ctx, tx, caller, l, d); err != nil {
			return l, err
		}
		return tx.Licence(ctx, id)
	})
}

func (s *Service) releaseIn(ctx context.Context, tx identity.Tx, caller identity.Caller, l identity.Licence, d identity.Device) error {
	released, err := tx.ReleaseSeat(ctx, l.ID, d.ID)
	if err != nil {
		return err
	}
	if !released {
		return identity.Conflict.In("device", "the licence does not name it")
	}
	if err := s.void(ctx, tx, l); err != nil {
		return err
	}
	return s.finish(ctx, tx, caller, l.OrganisationID, audit.Entry{
		Action: "licence.release", OrganisationID: l.OrganisationID, Before: map[string]any{"id": l.ID, "key": l.Key, "device": d.ID},
	})
}

// keepDevices releases those that are not to be named any more.
func (s *Service) keepDevices(ctx context.Context, tx identity.Tx, caller identity.Caller, l identity.Licence, want []identity.DeviceID) (identity.Licence, error) {
	named, err := tx.DevicesOfLicence(ctx, l.ID)
	if err != nil {
		return l, err
	}
	for _, d := range named {
		if slices.Contains(want, d.ID) {
			continue
		}
		if err := s.releaseIn(ctx, tx, caller, l, d); err != nil {
			return l, err
		}
		l.Taken--
	}
	return l, nil
}

// devicesIn assigns those that are not named yet.
func (s *Service) devicesIn(ctx context.Context, tx identity.Tx, caller identity.Caller, l identity.Licence, want []identity.DeviceID) (identity.Licence, error) {
	if len(want) > maxSeats {
		return l, identity.Invalid.In("devices", fmt.Sprintf("must not hold more than %d entries", maxSeats))
	}
	if len(want) == 0 {
		return l, nil
	}
	named, err := tx.DevicesOfLicence(ctx, l.ID)
	if err != nil {
		return l, err
	}
	for _, id := range want {
		before := l.Taken
		if l, err = s.assignIn(ctx, tx, caller, l, named, id); err != nil {
			return l, err
		}
		if l.Taken > before {
			named = append(named, identity.Device{ID: id})
		}
	}
	return l, nil
}
