package world

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"gatehouse/internal/core/licence"
	"gatehouse/internal/core/manage"
	"gatehouse/internal/core/policy"
	"gatehouse/internal/identity"
)

// Agreement of the file.
type Agreement struct {
	record
	Key         string
	ID          identity.AgreementID
	Name        *string
	Kind        *string
	Provides    *[]string
	PublishedAt *time.Time // zero: a draft
}

// Device of the file.
type Device struct {
	record
	Key          string
	ID           identity.DeviceID
	Name         *string
	Organisation string
}

// Licence of the file.
type Licence struct {
	record
	Key            string
	ID             identity.LicenceID
	Code           *string
	Agreement      string
	Organisation   string
	Provider       *string // "": none
	Devices        *[]string
	Seats          *int
	EveryDevice    *bool // it is for all of the organisation, and names none
	StartsAt       *time.Time
	ExpiresAt      *time.Time // zero: never
	Grace          *time.Duration
	PaidUntilAt    *time.Time
	AmountPerMonth *int64
	DiscountBP     *int
	Catalogues     *[]string
	SignedBy       *string // a login or an id; "": nobody
	SignedAt       *time.Time
	Revoked        *bool
	RevokedFor     string // "": whatever stands
}

// orNull reads a value that may be taken away by writing null.
func orNull[T any](r *reader, into **T, read func(n *yaml.Node, field string) (T, bool)) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		at, ok := r.resolve(n, field)
		if !ok {
			return
		}
		var v T
		if !null(at) {
			if v, ok = read(n, field); !ok {
				return
			}
		}
		*into = &v
	}
}

func (r *reader) intoWhole(into **int) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		before := len(r.mistakes)
		if i := r.whole(n, field); len(r.mistakes) == before {
			*into = &i
		}
	}
}

func (r *reader) agreement(w *World, n *yaml.Node, field string) {
	var a Agreement
	a.record, _ = r.record(n, field, fields{
		"key": r.intoText(&a.Key), "id": intoID(r, &a.ID), "name": r.intoOptional(&a.Name), "kind": r.intoOptional(&a.Kind),
		"provides": r.intoTexts(&a.Provides), "published_at": orNull(r, &a.PublishedAt, r.instant),
	})
	r.need(a.record, "key", a.Key != "")
	w.Agreements = append(w.Agreements, a)
}

func (r *reader) device(w *World, n *yaml.Node, field string) {
	var d Device
	d.record, _ = r.record(n, field, fields{
		"key": r.intoText(&d.Key), "id": intoID(r, &d.ID), "name": r.intoOptional(&d.Name), "organisation": r.intoText(&d.Organisation),
	})
	r.need(d.record, "key", d.Key != "")
	r.need(d.record, "organisation", d.Organisation != "")
	w.Devices = append(w.Devices, d)
}

func (r *reader) licence(w *World, n *yaml.Node, field string) {
	var l Licence
	l.record, _ = r.record(n, field, fields{
		"key": r.intoText(&l.Key), "id": intoID(r, &l.ID), "code": r.intoOptional(&l.Code), "agreement": r.intoText(&l.Agreement),
		"organisation": r.intoText(&l.Organisation), "provider": orNull(r, &l.Provider, r.text),
		"device": func(n *yaml.Node, field string) {
			if key, ok := r.text(n, field); ok {
				l.Devices = &[]string{key}
			}
		},
		"devices": r.intoTexts(&l.Devices), "seats": r.intoWhole(&l.Seats), "every_device": r.intoTruth(&l.EveryDevice), "starts_at": r.intoInstant(&l.StartsAt),
		"expires_at": orNull(r, &l.ExpiresAt, r.instant),
		"grace": func(n *yaml.Node, field string) {
			before := len(r.mistakes)
			if d := r.duration(n, field); len(r.mistakes) == before {
				l.Grace = &d
			}
		},
		"paid_until": orNull(r, &l.PaidUntilAt, r.instant),
		"amount_per_month": func(n *yaml.Node, field string) {
			before := len(r.mistakes)
			if i := int64(r.whole(n, field)); len(r.mistakes) == before {
				l.AmountPerMonth = &i
			}
		},
		"discount_bp": r.intoWhole(&l.DiscountBP), "catalogues": r.intoTexts(&l.Catalogues), "signed_by": orNull(r, &l.SignedBy, r.text),
		"signed_at": orNull(r, &l.SignedAt, r.instant), "revoked": r.intoTruth(&l.Revoked),
		"revoked_for": r.intoText(&l.RevokedFor),
	})
	r.need(l.record, "key", l.Key != "")
	r.need(l.record, "agreement", l.Agreement != "")
	r.need(l.record, "organisation", l.Organisation != "")
	if l.RevokedFor != "" && (l.Revoked == nil || !*l.Revoked) {
		r.mistakes.add(r.file, l.at("revoked_for"), "is the reason of a licence that is revoked: write `revoked: true` beside it")
	}
	_, one := l.fields["device"]
	if _, several := l.fields["devices"]; one && several {
		r.mistakes.add(r.file, l.at("devices"), "is given beside device; one of them is enough")
	}
	if l.EveryDevice != nil && *l.EveryDevice && l.Devices != nil && len(*l.Devices) > 0 {
		r.mistakes.add(r.file, l.at("every_device"), "is given beside devices; a licence that names some is for those alone")
	}
	if l.Devices != nil {
		for i, key := range *l.Devices {
			if slices.Contains((*l.Devices)[:i], key) {
				r.mistakes.add(r.file, l.at("devices"), fmt.Sprintf("holds %q twice", key))
			}
		}
	}
	w.Licences = append(w.Licences, l)
}

func (r *reader) licenceRepeats(w *World, once func(kind, key string, at place, what string)) {
	for _, a := range w.Agreements {
		once("agreement", a.Key, a.at("key"), "is given twice")
		once("agreement id", string(a.ID), a.at("id"), "is given twice")
	}
	for _, d := range w.Devices {
		once("device", d.Key, d.at("key"), "is given twice")
		once("device id", string(d.ID), d.at("id"), "is given twice")
	}
	for _, l := range w.Licences {
		once("licence", l.Key, l.at("key"), "is given twice")
		once("licence id", string(l.ID), l.at("id"), "is given twice")
		if l.Code != nil {
			once("code", strings.ToLower(*l.Code), l.at("code"), "is given twice")
		}
	}
}

// licensingReferences is the part of references that is about licences, and about clients, which are bound to devices.
func (a *applier) licensingReferences(ctx context.Context, m *Mistakes, known map[string]bool, stands func(string, func() error) (bool, error)) error {
	for _, one := range a.w.Agreements {
		known["agreement "+one.Key] = true
	}
	for _, d := range a.w.Devices {
		known["device "+d.Key] = true
	}
	need := func(what, key string, at place, look func() error) error {
		if key == "" {
			return nil
		}
		ok, err := stands(what+" "+key, look)
		if err == nil && !ok {
			m.add(a.w.File, at, fmt.Sprintf("there is no %s %q", what, key))
		}
		return err
	}
	organisation := func(key string, at place) error {
		return need("organisation", key, at, func() error { _, err := a.tx.OrganisationByKey(ctx, key); return err })
	}
	device := func(key string, at place) error {
		return need("device", key, at, func() error { _, err := a.tx.DeviceByKey(ctx, key); return err })
	}
	if err := a.clientReferences(ctx, m, organisation, device); err != nil {
		return err
	}
	for _, d := range a.w.Devices {
		if err := organisation(d.Organisation, d.at("organisation")); err != nil {
			return err
		}
	}
	for _, l := range a.w.Licences {
		if err := need("agreement", l.Agreement, l.at("agreement"), func() error { _, err := a.tx.AgreementByKey(ctx, l.Agreement); return err }); err != nil {
			return err
		}
		if err := organisation(l.Organisation, l.at("organisation")); err != nil {
			return err
		}
		if l.Provider != nil {
			if err := organisation(*l.Provider, l.at("provider")); err != nil {
				return err
			}
		}
		for _, key := range devicesOf(l) {
			if err := device(key, l.at("device")); err != nil {
				return err
			}
		}
	}
	return nil
}

func devicesOf(l Licence) []string {
	if l.Devices == nil {
		return nil
	}
	return *l.Devices
}

// licensing goes on from what is referred to.
func (a *applier) licensing(ctx context.Context) error {
	for _, one := range a.w.Agreements {
		if err := a.each(ctx, one.record, func() error { return a.agreement(ctx, one) }); err != nil {
			return err
		}
	}
	for _, d := range a.w.Devices {
		if err := a.each(ctx, d.record, func() error { return a.device(ctx, d) }); err != nil {
			return err
		}
	}
	for _, l := range a.w.Licences {
		if err := a.each(ctx, l.record, func() error { return a.licence(ctx, l) }); err != nil {
			return err
		}
	}
	return nil
}

// found gives the record of a key, or of an id whose key changed; the zero value where there is none.
func found[T any, ID ~string](key string, id ID, byKey, byID func() (T, error)) (T, bool, error) {
	v, err := byKey()
	if errors.Is(err, identity.NotFound) && id != "" {
		v, err = byID()
	}
	if errors.Is(err, identity.NotFound) {
		var none T
		return none, false, nil
	}
	return v, err == nil, err
}

var otherID = identity.Conflict.In("id", "the record with this key has another id in the store")

func (a *applier) agreement(ctx context.Context, in Agreement) error {
	old, stood, err := found(in.Key, in.ID, func() (identity.Agreement, error) { return a.tx.AgreementByKey(ctx, in.Key) },
		func() (identity.Agreement, error) { return a.tx.Agreement(ctx, in.ID) })
	if err != nil {
		return err
	}
	want := old
	want.Key = in.Key
	if !stood {
		want.ID, want.PublishedAt = in.ID, a.Licences.Now()
	} else if in.ID != "" && in.ID != old.ID {
		return otherID
	}
	var changes []string
	differs(&changes, "key", old.Key, &in.Key)
	take(&changes, "name", &want.Name, in.Name)
	take(&changes, "kind", &want.Kind, in.Kind)
	if in.Provides != nil {
		words := slices.Sorted(slices.Values(*in.Provides))
		if differsList(&changes, "provides", old.Provides, &words) != nil {
			want.Provides = words
		}
	}
	takeInstant(&changes, "published_at", &want.PublishedAt, in.PublishedAt)
	switch {
	case !stood:
		a.step(Create, "agreement", in.Key)
	case len(changes) == 0:
		return nil
	default:
		a.step(Update, "agreement", in.Key, changes...)
	}
	_, err = a.Licences.SaveAgreementIn(ctx, a.tx, a.o.Caller, want)
	return err
}

// take is differs for a field of what is saved as a whole.
func take[T comparable](changes *[]string, field string, into *T, want *T) {
	if v := differs(changes, field, *into, want); v != nil {
		*into = *v
	}
}

func takeInstant(changes *[]string, field string, into *time.Time, want *time.Time) *time.Time {
	if want == nil || want.Equal(*into) {
		return nil
	}
	*changes = append(*changes, fmt.Sprintf("%s %s → %s", field, instantWord(*into), instantWord(*want)))
	*into = *want
	return want
}

func instantWord(at time.Time) string {
	if at.IsZero() {
		return "none"
	}
	return at.Format(timeForm)
}

func (a *applier) device(ctx context.Context, in Device) error {
	old, stood, err := found(in.Key, in.ID, func() (identity.Device, error) { return a.tx.DeviceByKey(ctx, in.Key) },
		func() (identity.Device, error) { return a.tx.Device(ctx, in.ID) })
	if err != nil {
		return err
	}
	o, err := a.tx.OrganisationByKey(ctx, in.Organisation)
	if err != nil {
		return err
	}
	want := old
	want.Key, want.OrganisationID = in.Key, o.ID
	if !stood {
		want.ID = in.ID
	} else if in.ID != "" && in.ID != old.ID {
		return otherID
	}
	var changes []string
	differs(&changes, "key", old.Key, &in.Key)
	take(&changes, "name", &want.Name, in.Name)
	switch {
	case !stood:
		a.step(Create, "device", in.Key)
	case len(changes) == 0 && want.OrganisationID == old.OrganisationID:
		return nil
	default:
		a.step(Update, "device", in.Key, changes...)
	}
	_, err = a.Licences.SaveDeviceIn(ctx, a.tx, a.o.Caller, want)
	return err
}

// refers finds what an entry names.
type refers struct {
	agreement    identity.AgreementID
	organisation identity.OrganisationID
	provider     *identity.OrganisationID
	signer       *identity.SubjectID
	devices      *[]identity.DeviceID
}

func (a *applier) refers(ctx context.Context, in Licence) (refers, error) {
	var to refers
	agreement, err := a.tx.AgreementByKey(ctx, in.Agreement)
	if err != nil {
		return to, err
	}
	o, err := a.tx.OrganisationByKey(ctx, in.Organisation)
	if err != nil {
		return to, err
	}
	to.agreement, to.organisation = agreement.ID, o.ID
	if in.Provider != nil {
		var provider identity.Organisation
		if *in.Provider != "" {
			if provider, err = a.tx.OrganisationByKey(ctx, *in.Provider); err != nil {
				return to, err
			}
		}
		to.provider = &provider.ID
	}
	if in.SignedBy != nil {
		id, err := a.person(ctx, *in.SignedBy)
		if err != nil {
			return to, err
		}
		to.signer = &id
	}
	if in.Devices != nil {
		ids := []identity.DeviceID{}
		for _, key := range *in.Devices {
			d, err := a.tx.DeviceByKey(ctx, key)
			if err != nil {
				return to, err
			}
			ids = append(ids, d.ID)
		}
		to.devices = &ids
	}
	return to, nil
}

// person finds somebody by a login or an id.
func (a *applier) person(ctx context.Context, name string) (identity.SubjectID, error) {
	switch {
	case name == "":
		return "", nil
	case identity.ValidID(name):
		return identity.SubjectID(name), nil // who is gone has signed all the same
	}
	nobody := identity.Invalid.In("signed_by", fmt.Sprintf("there is nobody with the login %q", name))
	l, err := manage.NewLogin(manage.FieldAlias, name, time.Time{})
	if strings.Contains(name, "@") {
		l, err = manage.NewLogin(manage.FieldEmail, name, time.Time{})
	}
	if err != nil {
		return "", nobody
	}
	s, err := a.tx.SubjectByLogin(ctx, l.Folded)
	if errors.Is(err, identity.NotFound) {
		return "", nobody
	}
	return s.ID, err
}

func (a *applier) licence(ctx context.Context, in Licence) error {
	to, err := a.refers(ctx, in)
	if err != nil {
		return err
	}
	old, stood, err := found(in.Key, in.ID, func() (identity.Licence, error) { return a.tx.LicenceByKey(ctx, in.Key) },
		func() (identity.Licence, error) { return a.tx.Licence(ctx, in.ID) })
	if err != nil {
		return err
	}
	if !stood {
		return a.newLicence(ctx, in, to)
	}
	switch {
	case in.ID != "" && in.ID != old.ID:
		return otherID
	case to.organisation != old.OrganisationID:
		return identity.Conflict.In("organisation", "a licence stays with its organisation; revoke it and make another")
	}
	var changes []string
	var named *bool
	if every := differs(&changes, "every_device", !old.Named, in.EveryDevice); every != nil {
		named = new(bool)
		*named = !*every
	}
	change := licence.Change{
		Named: named,
		Key:   differs(&changes, "key", old.Key, &in.Key), Code: differs(&changes, "code", old.Code, in.Code),
		Seats: differs(&changes, "seats", old.Seats, in.Seats), Grace: differs(&changes, "grace", old.Grace, in.Grace),
		AmountPerMonth: differs(&changes, "amount_per_month", old.AmountPerMonth, in.AmountPerMonth),
		DiscountBP:     differs(&changes, "discount_bp", old.DiscountBP, in.DiscountBP),
		Catalogues:     differsList(&changes, "catalogues", old.Catalogues, in.Catalogues),
		Revoked:        differs(&changes, "revoked", !old.RevokedAt.IsZero(), in.Revoked), Reason: in.RevokedFor,
	}
	if in.RevokedFor != "" && differs(&changes, "revoked_for", old.RevokedFor, &in.RevokedFor) != nil {
		change.Revoked = in.Revoked
	}
	for _, f := range []struct {
		name     string
		old      time.Time
		in, into **time.Time
	}{
		{"starts_at", old.StartsAt, &in.StartsAt, &change.StartsAt}, {"expires_at", old.ExpiresAt, &in.ExpiresAt, &change.ExpiresAt},
		{"paid_until", old.PaidUntilAt, &in.PaidUntilAt, &change.PaidUntilAt}, {"signed_at", old.SignedAt, &in.SignedAt, &change.SignedAt},
	} {
		*f.into = takeInstant(&changes, f.name, &f.old, *f.in)
	}
	if to.agreement != old.AgreementID {
		change.AgreementID, changes = &to.agreement, append(changes, "agreement "+shown(in.Agreement))
	}
	if to.provider != nil && *to.provider != old.ProviderID {
		change.ProviderID, changes = to.provider, append(changes, "provider "+shown(*in.Provider))
	}
	if to.signer != nil && *to.signer != old.SignedBy {
		change.SignedBy, changes = to.signer, append(changes, "signed_by "+shown(*in.SignedBy))
	}
	if change.Devices, err = a.devicesDiffer(ctx, &changes, old, in, to); err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	a.step(Update, "licence", in.Key, changes...)
	_, err = a.Licences.UpdateIn(ctx, a.tx, a.o.Caller, old.ID, change)
	return err
}

func (a *applier) devicesDiffer(ctx context.Context, changes *[]string, old identity.Licence, in Licence, to refers) (*[]identity.DeviceID, error) {
	if to.devices == nil {
		return nil, nil
	}
	named, err := a.tx.DevicesOfLicence(ctx, old.ID)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, d := range named {
		keys = append(keys, d.Key)
	}
	slices.Sort(keys)
	want := slices.Sorted(slices.Values(*in.Devices))
	if differsList(changes, "devices", keys, &want) == nil {
		return nil, nil
	}
	return to.devices, nil
}

func (a *applier) newLicence(ctx context.Context, in Licence, to refers) error {
	n := licence.New{ID: in.ID, Key: in.Key, AgreementID: to.agreement, OrganisationID: to.organisation, Grace: in.Grace}
	into(&n.Code, in.Code)
	into(&n.ProviderID, to.provider)
	into(&n.SignedBy, to.signer)
	into(&n.SignedAt, in.SignedAt)
	into(&n.StartsAt, in.StartsAt)
	into(&n.ExpiresAt, in.ExpiresAt)
	into(&n.PaidUntilAt, in.PaidUntilAt)
	into(&n.AmountPerMonth, in.AmountPerMonth)
	into(&n.DiscountBP, in.DiscountBP)
	into(&n.Catalogues, in.Catalogues)
	into(&n.Seats, in.Seats)
	into(&n.Devices, to.devices)
	n.Named = in.EveryDevice != nil && !*in.EveryDevice
	into(&n.Revoked, in.Revoked)
	n.RevokedFor = in.RevokedFor
	if in.Seats != nil && *in.Seats == 0 {
		return identity.Invalid.In("seats", "must be at least 1")
	}
	a.step(Create, "licence", in.Key)
	_, err := a.Licences.CreateIn(ctx, a.tx, a.o.Caller, n)
	return err
}

func into[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (a *applier) pruneLicences(ctx context.Context) error {
	keep := map[string]bool{}
	for _, l := range a.w.Licences {
		keep[l.Key] = true
	}
	var after identity.LicenceID
	for {
		page, err := a.tx.EachLicence(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, l := range page {
			if after = l.ID; keep[l.Key] {
				continue
			}
			a.step(Delete, "licence", l.Key)
			if err := a.Licences.DeleteIn(ctx, a.tx, a.o.Caller, l.ID); err != nil {
				return err
			}
		}
	}
}

func (a *applier) pruneDevices(ctx context.Context) error {
	keep := map[string]bool{}
	for _, d := range a.w.Devices {
		keep[d.Key] = true
	}
	var after identity.DeviceID
	for {
		page, err := a.tx.Devices(ctx, "", after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, d := range page {
			if after = d.ID; keep[d.Key] {
				continue
			}
			if err := a.clientsGo(ctx, d.OrganisationID, d.ID, fmt.Sprintf("the device %q", d.Key)); err != nil {
				return err
			}
			a.step(Delete, "device", d.Key)
			if err := a.Licences.DeleteDeviceIn(ctx, a.tx, a.o.Caller, d.ID); err != nil {
				return err
			}
		}
	}
}

func (a *applier) pruneAgreements(ctx context.Context) error {
	keep := map[string]bool{}
	for _, one := range a.w.Agreements {
		keep[one.Key] = true
	}
	var after identity.AgreementID
	for {
		page, err := a.tx.Agreements(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, one := range page {
			if after = one.ID; keep[one.Key] {
				continue
			}
			a.step(Delete, "agreement", one.Key)
			if err := a.Licences.DeleteAgreementIn(ctx, a.tx, a.o.Caller, one.ID); err != nil {
				return err
			}
		}
	}
}

type (
	fileAgreement struct {
		Key         string     `yaml:"key"`
		ID          string     `yaml:"id"`
		Name        string     `yaml:"name"`
		Kind        string     `yaml:"kind"`
		Provides    []string   `yaml:"provides,flow"`
		PublishedAt *time.Time `yaml:"published_at"`
	}
	fileDevice struct {
		Key          string `yaml:"key"`
		ID           string `yaml:"id"`
		Name         string `yaml:"name"`
		Organisation string `yaml:"organisation"`
	}
	fileLicence struct {
		Key            string     `yaml:"key"`
		ID             string     `yaml:"id"`
		Code           string     `yaml:"code"`
		Agreement      string     `yaml:"agreement"`
		Organisation   string     `yaml:"organisation"`
		Provider       any        `yaml:"provider"`
		Devices        []string   `yaml:"devices,flow"`
		Seats          int        `yaml:"seats"`
		EveryDevice    bool       `yaml:"every_device"`
		StartsAt       time.Time  `yaml:"starts_at"`
		ExpiresAt      *time.Time `yaml:"expires_at"`
		Grace          string     `yaml:"grace"`
		PaidUntil      *time.Time `yaml:"paid_until"`
		AmountPerMonth int64      `yaml:"amount_per_month"`
		DiscountBP     int        `yaml:"discount_bp"`
		Catalogues     []string   `yaml:"catalogues,flow"`
		SignedBy       any        `yaml:"signed_by"`
		SignedAt       *time.Time `yaml:"signed_at"`
		Revoked        bool       `yaml:"revoked"`
		RevokedFor     string     `yaml:"revoked_for,omitempty"`
	}
)

func optional(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}

func orNone(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (e *exporter) readAgreements(ctx context.Context) error {
	e.file.Agreements = []fileAgreement{}
	var after identity.AgreementID
	for {
		page, err := e.r.Agreements(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, a := range page {
			after = a.ID
			e.agreements[a.ID] = a.Key
			e.file.Agreements = append(e.file.Agreements, fileAgreement{a.Key, string(a.ID), a.Name, a.Kind, listed(a.Provides), optional(a.PublishedAt)})
		}
	}
}

func (e *exporter) readDevices(ctx context.Context) error {
	e.file.Devices = []fileDevice{}
	var after identity.DeviceID
	for {
		page, err := e.r.Devices(ctx, "", after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, d := range page {
			after = d.ID
			e.file.Devices = append(e.file.Devices, fileDevice{d.Key, string(d.ID), d.Name, e.organisations[d.OrganisationID]})
			e.devices[d.ID] = d.Key
		}
	}
}

func (e *exporter) readLicences(ctx context.Context) error {
	e.file.Licences = []fileLicence{}
	var after identity.LicenceID
	for {
		page, err := e.r.EachLicence(ctx, after, pageSize)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, l := range page {
			after = l.ID
			f := fileLicence{
				Key: l.Key, ID: string(l.ID), Code: l.Code, Agreement: e.agreements[l.AgreementID], Organisation: e.organisations[l.OrganisationID],
				Provider: orNone(e.organisations[l.ProviderID]), Devices: []string{}, Seats: l.Seats, EveryDevice: !l.Named, StartsAt: l.StartsAt, ExpiresAt: optional(l.ExpiresAt),
				Grace: policy.Span(l.Grace), PaidUntil: optional(l.PaidUntilAt), AmountPerMonth: l.AmountPerMonth, DiscountBP: l.DiscountBP,
				Catalogues: listed(l.Catalogues), SignedBy: orNone(string(l.SignedBy)), SignedAt: optional(l.SignedAt), Revoked: !l.RevokedAt.IsZero(),
				RevokedFor: l.RevokedFor,
			}
			devices, err := e.r.DevicesOfLicence(ctx, l.ID)
			if err != nil {
				return err
			}
			for _, d := range devices {
				f.Devices = append(f.Devices, d.Key)
			}
			slices.Sort(f.Devices)
			e.file.Licences = append(e.file.Licences, f)
		}
	}
}
