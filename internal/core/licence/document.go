package licence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/identity"
	verify "gatehouse/verify/licence"
)

// Document is a printed licence.
type Document struct {
	Text string
	verify.Claims
}

// DocumentFor prints a licence that the viewer may see, see Issue.
func (s *Service) DocumentFor(ctx context.Context, caller identity.Caller, v Viewer, id identity.LicenceID, device identity.DeviceID) (Document, error) {
	return s.document(ctx, caller, device, DocumentsPerHour, func(r identity.Reader) (Shown, error) { return s.show(ctx, r, v, id) })
}

// DocumentsPerHour are printed of one licence for one device, or for its organisation, at most: each is a row of the log.
const DocumentsPerHour = 120

// Issue prints a licence for a device, "" for the one that it names, or for its organisation where it names none. A licence that has
// expired or was revoked yields none: Denied.
func (s *Service) Issue(ctx context.Context, caller identity.Caller, id identity.LicenceID, device identity.DeviceID) (Document, error) {
	return s.document(ctx, caller, device, 0, func(r identity.Reader) (Shown, error) {
		l, err := r.Licence(ctx, id)
		if err != nil {
			return Shown{}, err
		}
		one, err := complete(ctx, r, []identity.Licence{l})
		if err != nil {
			return Shown{}, err
		}
		return one[0], nil
	})
}

func (s *Service) document(ctx context.Context, caller identity.Caller, device identity.DeviceID, perHour int, find func(identity.Reader) (Shown, error)) (Document, error) {
	var d Document
	var refusal error
	err := s.Store.Update(ctx, func(tx identity.Tx) error {
		refusal = nil
		l, err := find(tx)
		if err != nil {
			return err
		}
		now := s.Now().UTC()
		if err := s.mayPrint(l, now); err != nil {
			return err
		}
		named, err := tx.DevicesOfLicence(ctx, l.ID)
		if err != nil {
			return err
		}
		whose, err := forDevice(l.Licence, named, device)
		if err != nil {
			return err
		}
		if refusal, err = s.bound(ctx, tx, l.ID, whose, perHour, now); err != nil || refusal != nil {
			return err
		}
		if d.Claims, err = s.claims(ctx, tx, l, whose, now); err != nil {
			return err
		}
		// Until then a revocation has to be on the list: the tolerance of a device's clock comes on top.
		if err := tx.KeepDocuments(ctx, l.ID, d.GraceEndsAt.Add(24*time.Hour)); err != nil {
			return err
		}
		return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "licence.document", OrganisationID: l.OrganisationID, After: map[string]any{
			"id": l.ID, "key": l.Key, "document": d.ID, "device": d.Device, "lease_end": d.ExpiresAt, "grace_end": d.GraceEndsAt, "epoch": d.RevocationEpoch,
		}})
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return Document{}, err
	}
	d.Text, err = s.Keys.Sign(verify.Algorithm, verify.Type, d.Claims)
	return d, err
}

// bound counts a document; its refusal travels beside the transaction, so that the count outlives it.
func (s *Service) bound(ctx context.Context, tx identity.Tx, id identity.LicenceID, device identity.DeviceID, perHour int, now time.Time) (refusal, err error) {
	if perHour == 0 {
		return nil, nil
	}
	count, err := tx.CountAttempt(ctx, "licence-document:"+string(id)+":"+string(device), now, time.Hour)
	if err != nil || count.Count <= perHour {
		return nil, err
	}
	return identity.Throttled.After(count.ExpiresAt.Sub(now), "too many documents of this licence; wait and try again"), nil
}

func (s *Service) mayPrint(l Shown, now time.Time) error {
	switch l.StateAt(now) {
	case identity.LicenceRevoked:
		return identity.Denied.Because("the licence is revoked")
	case identity.LicenceExpired, identity.LicenceGrace:
		return identity.Denied.Because("the licence has expired")
	}
	if l.Organisation.ExpiredAt(now) {
		return identity.Denied.Because("the organisation has expired")
	}
	return nil
}

// forDevice says whom a document is for.
func forDevice(l identity.Licence, named []identity.Device, asked identity.DeviceID) (identity.DeviceID, error) {
	switch {
	case len(named) == 0 && l.Named:
		return "", identity.Denied.Because("the licence names no device; assign one")
	case asked == "" && len(named) == 0:
		return "", nil
	case asked == "" && len(named) == 1:
		return named[0].ID, nil
	case asked == "":
		return "", identity.Invalid.In("device", "is needed: the licence names several")
	case !slices.ContainsFunc(named, func(d identity.Device) bool { return d.ID == asked }):
		return "", identity.Invalid.In("device", "is not named by the licence")
	}
	return asked, nil
}

func (s *Service) claims(ctx context.Context, r identity.Reader, l Shown, device identity.DeviceID, now time.Time) (verify.Claims, error) {
	epoch, err := r.RevocationEpoch(ctx)
	if err != nil {
		return verify.Claims{}, err
	}
	id, err := identity.NewID(now, s.Rand)
	if err != nil {
		return verify.Claims{}, err
	}
	from := now
	if l.StartsAt.After(from) {
		from = l.StartsAt
	}
	ends := from.Add(s.Terms.Lease)
	if !l.ExpiresAt.IsZero() && l.ExpiresAt.Before(ends) {
		ends = l.ExpiresAt
	}
	c := verify.Claims{
		Issuer: s.Issuer, ID: id, Licence: string(l.ID), Device: string(device), IssuedAt: now.Truncate(time.Second),
		Organisation: string(l.OrganisationID), OrganisationName: l.Organisation.Name, AgreementKind: l.Agreement.Kind, AgreementName: l.Agreement.Name,
		Entitlements: l.Agreement.Provides, NotBefore: from.Truncate(time.Second), ExpiresAt: ends.Truncate(time.Second),
		GraceEndsAt: ends.Add(l.Grace).Truncate(time.Second), RevocationEpoch: epoch,
	}
	if !c.ExpiresAt.After(c.NotBefore) { // within its last second
		return c, identity.Denied.Because("the licence has expired")
	}
	if err := c.Validate(); err != nil {
		return c, identity.Invalid.Because("no document can hold this licence: " + err.Error())
	}
	return c, nil
}

// revocationPage is how many lines one look takes.
const revocationPage = 1000

// Revocations prints the revocation list: what devices must not take from documents that are out.
func (s *Service) Revocations(ctx context.Context) (string, verify.Revocations, error) {
	list := verify.Revocations{
		Issuer: s.Issuer, IssuedAt: s.Now().UTC().Truncate(time.Second), Licences: map[string]int64{}, Organisations: map[string]int64{},
	}
	err := s.Store.View(ctx, func(r identity.Reader) (err error) {
		if list.Epoch, err = r.RevocationEpoch(ctx); err != nil {
			return err
		}
		for after := int64(0); ; {
			page, err := r.Revocations(ctx, after, revocationPage)
			if err != nil {
				return err
			}
			for _, v := range page {
				after = v.Epoch
				if !v.ExpiresAt.After(list.IssuedAt) { // what it voids has ended by itself
					continue
				}
				if v.OrganisationID != "" {
					list.Organisations[string(v.OrganisationID)] = v.Epoch
				} else {
					list.Licences[string(v.LicenceID)] = v.Epoch
				}
			}
			if len(page) < revocationPage {
				return nil
			}
		}
	})
	if err != nil {
		return "", list, err
	}
	if err := list.Validate(); err != nil {
		return "", list, identity.TooLarge.Wrap(fmt.Errorf("print the revocation list: %w", err))
	}
	text, err := s.Keys.SignList(verify.Algorithm, verify.RevocationsType, list)
	return text, list, err
}

// Verified is what a document says, and what it is worth now.
type Verified struct {
	verify.Claims
	State   verify.State
	Refused error // why it is worth nothing; then Claims may be empty
}

// Verify checks a document as a device would, with nothing but the files that a device has. list "" is no revocation list.
func Verify(document, jwks, list string, issuer string, binding verify.Binding, memory verify.Store, now func() time.Time) (Verified, error) {
	keys, err := verify.ParseKeys([]byte(jwks))
	if err != nil {
		return Verified{}, identity.Invalid.Because("the keys cannot be read: " + err.Error())
	}
	v := &verify.Verifier{Keys: keys, Issuer: issuer, Now: now, Store: memory}
	if list != "" {
		if v.Revocations, err = verify.ParseRevocations(list, keys); err != nil {
			return Verified{Refused: err}, nil
		}
	}
	var out Verified
	out.Claims, out.State, out.Refused = v.Verify(document, binding)
	if errors.Is(out.Refused, verify.ErrMemory) {
		return out, out.Refused
	}
	return out, nil
}
