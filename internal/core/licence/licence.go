// Package licence gives organisations what agreements provide, for a time: agreements, devices, licences with their seats, the
// documents that devices check without a network, and word in time when a licence ends.
//
// Changing verbs trust their caller, as those of core/manage do: who may ask for them was decided before. Reading verbs do not: they
// take a Viewer and show what is hers. Each change writes its audit row in its own transaction. A verb ending in In is the same
// inside another verb's transaction.
package licence

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/core/audit"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/identity"
)

// Signer prints signed documents; keys.Ring does.
type Signer interface {
	Sign(alg, typ string, claims any) (string, error)
	SignList(alg, typ string, claims any) (string, error)
}

// Outbox writes mails and calls, in the transaction that causes them.
type Outbox interface {
	Mail(ctx context.Context, tx identity.Tx, to, template, language string, data map[string]string) error
	Call(ctx context.Context, tx identity.Tx, method, target string, header map[string]string, body string) error
}

// Terms are what the operator decides for all licences.
type Terms struct {
	Lease    time.Duration // of a document, unless the licence ends before
	Grace    time.Duration // of a licence that is made without one of its own
	EndsSoon time.Duration // how long before its end its people are told; 0: not
	// Webhook is called at the same times; "": nobody is. WebhookKey signs what it is sent; "": nothing does.
	Webhook    string
	WebhookKey identity.Secret
}

// MaxGrace bounds the grace of a licence: what a document's signature must outlive.
const MaxGrace = 90 * 24 * time.Hour

// Service is licensing.
type Service struct {
	Store  identity.Store
	Log    *audit.Log
	Keys   Signer
	Outbox Outbox
	Issuer string // whom documents name; whose discovery names the keys
	Terms  Terms
	// Told says whether a member is told when a licence of the organisation ends, in a door's words for owners and administrators.
	Told  func(identity.Membership) bool
	Stale func() bool // the change feed cannot be read: ask the store each time; nil: it always can
	Now   func() time.Time
	Rand  io.Reader

	mu      sync.Mutex
	known   map[Holder]entitled
	changed time.Time // when a licence last did
}

// update runs a verb in a transaction of its own.
func update[T any](ctx context.Context, s *Service, verb func(identity.Tx) (T, error)) (T, error) {
	var v T
	err := s.Store.Update(ctx, func(tx identity.Tx) (err error) {
		v, err = verb(tx)
		return err
	})
	return v, err
}

// newID makes an id, or takes the one that the caller fixed.
func newID[ID ~string](s *Service, fixed ID) (ID, error) {
	if fixed != "" {
		if !identity.ValidID(string(fixed)) {
			return "", identity.Invalid.In("id", "must be a UUID in lower case")
		}
		return fixed, nil
	}
	id, err := identity.NewID(s.Now(), s.Rand)
	return ID(id), err
}

// finish is what every verb ends with: other nodes hear whose entitlements may have changed ("": anybody's), and the log has a row.
func (s *Service) finish(ctx context.Context, tx identity.Tx, caller identity.Caller, whose identity.OrganisationID, e audit.Entry) error {
	if err := tx.Announce(ctx, identity.LicencesChanged, string(whose), s.Now()); err != nil {
		return err
	}
	return s.Log.Record(ctx, tx, caller, e)
}

func takenKey(err error, field string) error {
	if errors.Is(err, identity.Conflict) {
		return identity.Conflict.In(field, "is taken")
	}
	return err
}

// stands turns "not found" of what a field refers to into the field's mistake.
func stands(err error, field, what string) error {
	if errors.Is(err, identity.NotFound) {
		return identity.Invalid.In(field, "there is no such "+what)
	}
	return err
}

// bounds on what a document has to hold (verify/licence).
const (
	maxWord     = 128     // bytes of an entitlement or a kind
	maxProvides = 4 << 10 // bytes of all entitlements of an agreement
)

// SaveAgreement makes an agreement (ID "") or changes one. One that is published at no time is a draft, of which no licence is made.
func (s *Service) SaveAgreement(ctx context.Context, caller identity.Caller, a identity.Agreement) (identity.Agreement, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Agreement, error) { return s.SaveAgreementIn(ctx, tx, caller, a) })
}

// SaveAgreementIn is SaveAgreement in the caller's transaction.
func (s *Service) SaveAgreementIn(ctx context.Context, tx identity.Tx, caller identity.Caller, a identity.Agreement) (identity.Agreement, error) {
	a.Provides = slices.Clone(a.Provides)
	slices.Sort(a.Provides)
	if len(a.Provides) == 0 {
		a.Provides = nil
	}
	if a.Name == "" {
		a.Name = a.Key
	}
	if err := checkAgreement(a); err != nil {
		return a, err
	}
	a.CreatedAt, a.UpdatedAt = s.Now(), s.Now()
	var before any
	old, err := tx.Agreement(ctx, a.ID)
	switch {
	case err == nil:
		a.CreatedAt = old.CreatedAt
		if SameAgreement(a, old) {
			return old, nil
		}
		before = viewAgreement(old)
	case !errors.Is(err, identity.NotFound):
		return a, err
	default:
		if a.ID, err = newID(s, a.ID); err != nil {
			return a, err
		}
	}
	if err := tx.SaveAgreement(ctx, a); err != nil {
		return a, takenKey(err, "key")
	}
	return a, s.finish(ctx, tx, caller, "", audit.Entry{Action: "agreement.save", Before: before, After: viewAgreement(a)})
}

// SameAgreement says whether two say the same, whenever they were saved.
func SameAgreement(a, b identity.Agreement) bool {
	return a.Key == b.Key && a.Name == b.Name && a.Kind == b.Kind && slices.Equal(a.Provides, b.Provides) && a.PublishedAt.Equal(b.PublishedAt)
}

func checkAgreement(a identity.Agreement) error {
	if err := manage.CheckKey("key", a.Key); err != nil {
		return err
	}
	if err := manage.CheckLine("name", a.Name); err != nil {
		return err
	}
	switch {
	case a.Kind == "":
		return identity.Invalid.In("kind", "is needed")
	case len(a.Kind) > maxWord:
		return identity.Invalid.In("kind", fmt.Sprintf("must not be longer than %d bytes", maxWord))
	}
	if err := manage.CheckLine("kind", a.Kind); err != nil {
		return err
	}
	if err := manage.CheckLines("provides", a.Provides); err != nil {
		return err
	}
	all := 0
	for _, word := range a.Provides {
		if len(word) > maxWord {
			return identity.Invalid.In("provides", fmt.Sprintf("must not hold an entry longer than %d bytes", maxWord))
		}
		all += len(word)
	}
	if all > maxProvides {
		return identity.Invalid.In("provides", fmt.Sprintf("must not hold more than %d bytes", maxProvides))
	}
	return nil
}

func viewAgreement(a identity.Agreement) map[string]any {
	v := map[string]any{"id": a.ID, "key": a.Key, "name": a.Name, "kind": a.Kind, "provides": a.Provides}
	if !a.PublishedAt.IsZero() {
		v["published_at"] = a.PublishedAt
	}
	return v
}

// DeleteAgreementIn removes one that no licence is of.
func (s *Service) DeleteAgreementIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.AgreementID) error {
	a, err := tx.Agreement(ctx, id)
	if err != nil {
		return err
	}
	if err := tx.DeleteAgreement(ctx, id); err != nil {
		if errors.Is(err, identity.Conflict) {
			return identity.Conflict.Because(fmt.Sprintf("licences are of the agreement %q", a.Key))
		}
		return err
	}
	return s.finish(ctx, tx, caller, "", audit.Entry{Action: "agreement.delete", Before: viewAgreement(a)})
}

// SaveDevice registers a device (ID "") or changes one. It stays in its organisation.
func (s *Service) SaveDevice(ctx context.Context, caller identity.Caller, d identity.Device) (identity.Device, error) {
	return update(ctx, s, func(tx identity.Tx) (identity.Device, error) { return s.SaveDeviceIn(ctx, tx, caller, d) })
}

// SaveDeviceIn is SaveDevice in the caller's transaction.
func (s *Service) SaveDeviceIn(ctx context.Context, tx identity.Tx, caller identity.Caller, d identity.Device) (identity.Device, error) {
	d.CreatedAt, d.UpdatedAt = s.Now(), s.Now()
	var before any
	old, err := tx.Device(ctx, d.ID)
	switch {
	case err == nil:
		if d.OrganisationID != old.OrganisationID {
			return d, identity.Conflict.In("organisation", "a device stays in its organisation; register it anew")
		}
		d.CreatedAt, before = old.CreatedAt, viewDevice(old)
	case !errors.Is(err, identity.NotFound):
		return d, err
	default:
		if d.ID, err = newID(s, d.ID); err != nil {
			return d, err
		}
		if _, err := tx.Organisation(ctx, d.OrganisationID); err != nil {
			return d, stands(err, "organisation", "organisation")
		}
	}
	if d.Key == "" {
		d.Key = string(d.ID)
	}
	if d.Name == "" {
		d.Name = d.Key
	}
	if err := errors.Join(manage.CheckKey("key", d.Key), manage.CheckLine("name", d.Name)); err != nil {
		return d, err
	}
	if before != nil && d.Key == old.Key && d.Name == old.Name {
		return old, nil
	}
	if err := tx.SaveDevice(ctx, d); err != nil {
		return d, takenKey(err, "key")
	}
	return d, s.Log.Record(ctx, tx, caller, audit.Entry{Action: "device.save", OrganisationID: d.OrganisationID, Before: before, After: viewDevice(d)})
}

func viewDevice(d identity.Device) map[string]any {
	return map[string]any{"id": d.ID, "key": d.Key, "name": d.Name}
}

// DeleteDevice removes a device.
func (s *Service) DeleteDevice(ctx context.Context, caller identity.Caller, id identity.DeviceID) error {
	return s.Store.Update(ctx, func(tx identity.Tx) error { return s.DeleteDeviceIn(ctx, tx, caller, id) })
}

// DeleteDeviceIn removes one. Licences that name it have a seat free then, what it holds of them is revoked, those that named it alone are good for no device until another is assigned, and the clients that sign in
// as it go with it.
func (s *Service) DeleteDeviceIn(ctx context.Context, tx identity.Tx, caller identity.Caller, id identity.DeviceID) error {
	d, err := tx.Device(ctx, id)
	if err != nil {
		return err
	}
	for {
		named, err := tx.LicencesOfDevice(ctx, id)
		if err != nil {
			return err
		}
		if len(named) == 0 {
			break
		}
		for _, l := range named {
			if err := s.releaseIn(ctx, tx, caller, l, d); err != nil {
				return err
			}
		}
	}
	if err := manage.DeleteClientsOfIn(ctx, tx, s.Log, s.Now(), caller, d.OrganisationID, id); err != nil {
		return err
	}
	if err := tx.DeleteDevice(ctx, id); err != nil {
		return err
	}
	return s.Log.Record(ctx, tx, caller, audit.Entry{Action: "device.delete", OrganisationID: d.OrganisationID, Before: viewDevice(d)})
}
