package sqlstore

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

const agreementColumns = `id, agreement_key, name, kind, provides, published_at, created_at, updated_at`

func scanAgreement(r Rows, a *identity.Agreement) error {
	return r.Scan((*string)(&a.ID), &a.Key, &a.Name, &a.Kind, (*wordList[string])(&a.Provides), at(&a.PublishedAt), at(&a.CreatedAt), at(&a.UpdatedAt))
}

func (r reader) Agreement(ctx context.Context, id identity.AgreementID) (identity.Agreement, error) {
	return one(ctx, r.q, scanAgreement, `SELECT `+agreementColumns+` FROM agreements WHERE id = $1`, string(id))
}

func (r reader) AgreementByKey(ctx context.Context, key string) (identity.Agreement, error) {
	return one(ctx, r.q, scanAgreement, `SELECT `+agreementColumns+` FROM agreements WHERE agreement_key = $1`, key)
}

func (r reader) Agreements(ctx context.Context, after identity.AgreementID, limit int) ([]identity.Agreement, error) {
	return list(ctx, r.q, scanAgreement,
		`SELECT `+agreementColumns+` FROM agreements WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
}

func (t *tx) SaveAgreement(ctx context.Context, a identity.Agreement) error {
	_, err := exec(ctx, t.q, `INSERT INTO agreements (`+agreementColumns+`, name_folded, kind_folded) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (id) DO UPDATE SET agreement_key = excluded.agreement_key, name = excluded.name, kind = excluded.kind, provides = excluded.provides,
		published_at = excluded.published_at, updated_at = excluded.updated_at, name_folded = excluded.name_folded, kind_folded = excluded.kind_folded`,
		string(a.ID), a.Key, a.Name, a.Kind, words(a.Provides), micros(a.PublishedAt), micros(a.CreatedAt), micros(a.UpdatedAt), fold(a.Name), fold(a.Kind))
	return err
}

func (t *tx) DeleteAgreement(ctx context.Context, id identity.AgreementID) error {
	return affect(ctx, t.q, `DELETE FROM agreements WHERE id = $1`, string(id))
}

const deviceColumns = `id, device_key, name, organisation_id, created_at, updated_at`

func scanDevice(r Rows, d *identity.Device) error {
	return r.Scan((*string)(&d.ID), &d.Key, &d.Name, (*string)(&d.OrganisationID), at(&d.CreatedAt), at(&d.UpdatedAt))
}

func (r reader) Device(ctx context.Context, id identity.DeviceID) (identity.Device, error) {
	return one(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM devices WHERE id = $1`, string(id))
}

func (r reader) DeviceByKey(ctx context.Context, key string) (identity.Device, error) {
	return one(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM devices WHERE device_key = $1`, key)
}

func (r reader) Devices(ctx context.Context, org identity.OrganisationID, after identity.DeviceID, limit int) ([]identity.Device, error) {
	if org == "" {
		return list(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM devices WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
	}
	return list(ctx, r.q, scanDevice, `SELECT `+deviceColumns+` FROM devices WHERE organisation_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
		string(org), string(after), page(limit))
}

func (t *tx) SaveDevice(ctx context.Context, d identity.Device) error {
	_, err := exec(ctx, t.q, `INSERT INTO devices (`+deviceColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (id) DO UPDATE SET device_key = excluded.device_key, name = excluded.name, updated_at = excluded.updated_at`,
		string(d.ID), d.Key, d.Name, string(d.OrganisationID), micros(d.CreatedAt), micros(d.UpdatedAt))
	return err
}

func (t *tx) DeleteDevice(ctx context.Context, id identity.DeviceID) error {
	if _, err := exec(ctx, t.q, `UPDATE licences SET taken = taken - 1 WHERE id IN (
		SELECT licence_id FROM licence_devices WHERE device_id = $1)`, string(id)); err != nil {
		return err
	}
	return affect(ctx, t.q, `DELETE FROM devices WHERE id = $1`, string(id)) // its places in licences by a foreign key
}

// Licences are read as l.
const licenceColumns = `l.id, l.licence_key, l.code, l.agreement_id, l.organisation_id, COALESCE(l.provider_id, ''), l.signed_by, l.signed_at, l.starts_at,
	l.expires_at, l.grace, l.paid_until_at, l.amount_per_month, l.discount_bp, l.catalogues, l.seats, l.taken, l.named, l.revoked_at, l.revoked_for,
	l.documents_end_at, l.notice_at, l.created_at, l.updated_at`

func scanLicence(r Rows, l *identity.Licence) error {
	err := r.Scan((*string)(&l.ID), &l.Key, &l.Code, (*string)(&l.AgreementID), (*string)(&l.OrganisationID), (*string)(&l.ProviderID),
		(*string)(&l.SignedBy), at(&l.SignedAt), at(&l.StartsAt), at(&l.ExpiresAt), (*span)(&l.Grace), at(&l.PaidUntilAt), &l.AmountPerMonth, &l.DiscountBP,
		(*wordList[string])(&l.Catalogues), &l.Seats, &l.Taken, (*truth)(&l.Named), at(&l.RevokedAt), &l.RevokedFor, at(&l.DocumentsEndAt), at(&l.NoticeAt),
		at(&l.CreatedAt), at(&l.UpdatedAt))
	l.Named = l.Named || l.Taken > 0 // a version before 0009 does not say so
	return err
}

func (r reader) Licence(ctx context.Context, id identity.LicenceID) (identity.Licence, error) {
	return one(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licences l WHERE l.id = $1`, string(id))
}

func (r reader) LicenceOf(ctx context.Context, org identity.OrganisationID, id identity.LicenceID) (identity.Licence, error) {
	return one(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licences l WHERE l.organisation_id = $1 AND l.id = $2`, string(org), string(id))
}

func (r reader) LicenceByKey(ctx context.Context, key string) (identity.Licence, error) {
	return one(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licences l WHERE l.licence_key = $1`, key)
}

func (r reader) EachLicence(ctx context.Context, after identity.LicenceID, limit int) ([]identity.Licence, error) {
	return list(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licences l WHERE l.id > $1 ORDER BY l.id LIMIT $2`, string(after), page(limit))
}

// What a licence's agreement and provider say, looked up for one row at a time: as joins, PostgreSQL would rather read all agreements and
// organisations than the hundred that a list needs.
const (
	agreementName = `(SELECT a.name_folded FROM agreements a WHERE a.id = l.agreement_id)`
	agreementKind = `(SELECT a.kind_folded FROM agreements a WHERE a.id = l.agreement_id)`
	// A version before 0004 wrote no folded name.
	organisationName = `COALESCE(NULLIF(p.name_folded, ''), LOWER(p.name))`
	providerName     = `(SELECT ` + organisationName + ` FROM organisations p WHERE p.id = l.provider_id)`
)

// licenceOrder is what each thing to order by is in SQL, and whether a licence may lack it.
var licenceOrder = map[identity.LicenceColumn]struct {
	column string
	lacks  string
}{
	identity.ByAgreementName: {column: agreementName},
	identity.ByLicenceCode:   {column: `l.code_folded`},
	identity.ByStart:         {column: `l.starts_at`, lacks: `(l.starts_at = 0)`},
	identity.ByExpiry:        {column: `l.expires_at`, lacks: `(l.expires_at = 0)`},
}

// licenceQuery is what a list and its count share.
type licenceQuery struct {
	with  string
	from  string
	where []string
	args  []any
}

func (q *licenceQuery) arg(v any) string {
	q.args = append(q.args, v)
	return "$" + strconv.Itoa(len(q.args))
}

func (q *licenceQuery) text() string {
	if len(q.where) == 0 {
		return q.from
	}
	return q.from + ` WHERE ` + strings.Join(q.where, ` AND `)
}

func (q *licenceQuery) page(offset, limit int64) string {
	text := ` LIMIT ` + q.arg(limit)
	if offset > 0 {
		text += ` OFFSET ` + q.arg(offset)
	}
	return text
}

// licencesBy is a list of an organisation's licences or a device's, filtered and sorted as they come. The organisation's are found by
// the key of the table, which begins with it.
func licencesBy(f identity.LicenceFilter) *licenceQuery {
	q := &licenceQuery{from: `licences l`}
	switch {
	case f.OrganisationID == "":
		q.from = `licence_devices d CROSS JOIN licences l` // SQLite keeps to the order of a CROSS JOIN
		q.where = append(q.where, `d.device_id = `+q.arg(string(f.DeviceID)), `l.id = d.licence_id`)
	case f.DeviceID != "":
		q.where = append(q.where, `l.organisation_id = `+q.arg(string(f.OrganisationID)),
			`EXISTS (SELECT 1 FROM licence_devices d WHERE d.licence_id = l.id AND d.device_id = `+q.arg(string(f.DeviceID))+`)`)
	default:
		q.where = append(q.where, `l.organisation_id = `+q.arg(string(f.OrganisationID)))
	}
	if f.Text != "" {
		text := q.arg(fold(f.Text))
		q.where = append(q.where, `(`+contains(`l.code_folded`, text)+` OR `+contains(agreementName, text)+` OR `+contains(providerName, text)+`)`)
	}
	if f.Kind != "" {
		q.where = append(q.where, agreementKind+` = `+q.arg(fold(f.Kind)))
	}
	if f.Agreement != "" {
		text := q.arg(fold(f.Agreement))
		q.where = append(q.where, `(l.agreement_id = `+text+` OR `+agreementName+` = `+text+`)`)
	}
	return q
}

// ordered leaves out what decides nothing: a second mention, and whatever follows the code, which no two licences share.
func ordered(all []identity.LicenceOrder) ([]identity.LicenceOrder, error) {
	var order []identity.LicenceOrder
	decided := false
	for _, o := range all {
		if _, known := licenceOrder[o.By]; !known {
			return nil, identity.Invalid.In("order", "names nothing that licences are ordered by")
		}
		if !decided && !slices.ContainsFunc(order, func(v identity.LicenceOrder) bool { return v.By == o.By }) {
			order = append(order, o)
		}
		decided = decided || o.By == identity.ByLicenceCode
	}
	return order, nil
}

func (r reader) Licences(ctx context.Context, f identity.LicenceFilter) ([]identity.Licence, error) {
	order, err := ordered(f.Order)
	if err != nil {
		return nil, err
	}
	limit := page(f.Limit)
	if f.OrganisationID == "" && f.DeviceID == "" {
		if checkText([]any{f.Text, f.Kind, f.Agreement}) != nil || f.Offset > math.MaxInt64-limit {
			return nil, nil // no row can match, or stand there
		}
		ids, err := r.allLicences(ctx, f).ids(order, f.Offset, limit)
		if err != nil {
			return nil, err
		}
		return r.licencesByID(ctx, ids)
	}
	var by []string
	for _, o := range order {
		column := licenceOrder[o.By]
		if column.lacks != "" {
			by = append(by, column.lacks)
		}
		by = append(by, column.column+direction(o))
	}
	q := licencesBy(f)
	return list(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM `+q.text()+` ORDER BY `+strings.Join(append(by, `l.id`), `, `)+q.page(f.Offset, limit), q.args...)
}

func (r reader) CountLicences(ctx context.Context, f identity.LicenceFilter) (int, error) {
	if checkText([]any{string(f.OrganisationID), string(f.DeviceID), f.Text, f.Kind, f.Agreement}) != nil {
		return 0, nil // no row can match
	}
	if f.OrganisationID == "" && f.DeviceID == "" {
		n, err := r.allLicences(ctx, f).count()
		return int(n), err
	}
	q := licencesBy(f)
	n, err := one(ctx, r.q, scanInt, `SELECT COUNT(*) FROM `+q.text(), q.args...)
	return int(n), err
}

const licencesByID = `SELECT ` + licenceColumns + ` FROM licences l WHERE l.id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
	$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)`

// licencesByID gives licences in the order of the ids.
func (r reader) licencesByID(ctx context.Context, ids []identity.LicenceID) ([]identity.Licence, error) {
	found := make(map[identity.LicenceID]identity.Licence, len(ids))
	for chunk := range slices.Chunk(ids, idChunk) {
		some, err := list(ctx, r.q, scanLicence, licencesByID, chunkArgs(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, l := range some {
			found[l.ID] = l
		}
	}
	var all []identity.Licence
	for _, id := range ids {
		if l, ok := found[id]; ok {
			all = append(all, l)
		}
	}
	return all, nil
}

func (r reader) DevicesOfLicence(ctx context.Context, id identity.LicenceID) ([]identity.Device, error) {
	return list(ctx, r.q, scanDevice, `SELECT v.id, v.device_key, v.name, v.organisation_id, v.created_at, v.updated_at
		FROM licence_devices d JOIN devices v ON v.id = d.device_id WHERE d.licence_id = $1 ORDER BY d.device_id LIMIT $2`, string(id), int64(maxPage))
}

func (r reader) LicencesOfDevice(ctx context.Context, id identity.DeviceID) ([]identity.Licence, error) {
	return list(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licence_devices d JOIN licences l ON l.id = d.licence_id
		WHERE d.device_id = $1 ORDER BY d.licence_id LIMIT $2`, string(id), int64(maxPage))
}

func (r reader) Entitling(ctx context.Context, org identity.OrganisationID, device identity.DeviceID, now time.Time) ([]identity.Agreement, error) {
	query := `SELECT ` + agreementColumns + ` FROM agreements WHERE id IN (SELECT l.agreement_id FROM licences l
		WHERE l.organisation_id = $1 AND l.revoked_at = 0 AND l.starts_at <= $2 AND (l.expires_at = 0 OR l.expires_at + l.grace > $2)
		AND EXISTS (SELECT 1 FROM organisations o WHERE o.id = l.organisation_id AND (o.expires_at = 0 OR o.expires_at > $2))`
	args := []any{string(org), micros(now)}
	if device != "" {
		query += ` AND (l.taken = 0 AND l.named = 0 OR EXISTS (SELECT 1 FROM licence_devices d WHERE d.licence_id = l.id AND d.device_id = $3))`
		args = append(args, string(device))
	}
	return list(ctx, r.q, scanAgreement, query+`) ORDER BY id`, args...)
}

func (t *tx) CreateLicence(ctx context.Context, l identity.Licence) error {
	_, err := exec(ctx, t.q, `INSERT INTO licences (id, licence_key, code, agreement_id, organisation_id, provider_id, signed_by, signed_at, starts_at,
		expires_at, grace, paid_until_at, amount_per_month, discount_bp, catalogues, seats, taken, revoked_at, revoked_for, documents_end_at,
		notice_at, created_at, updated_at, code_folded, named)
		VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 0, $17, $18, $19, $20, $21, $22, $23, $24)`,
		string(l.ID), l.Key, l.Code, string(l.AgreementID), string(l.OrganisationID), string(l.ProviderID), string(l.SignedBy), micros(l.SignedAt),
		micros(l.StartsAt), micros(l.ExpiresAt), l.Grace.Microseconds(), micros(l.PaidUntilAt), l.AmountPerMonth, int64(l.DiscountBP), words(l.Catalogues),
		int64(l.Seats), micros(l.RevokedAt), l.RevokedFor, micros(l.DocumentsEndAt), micros(l.NoticeAt), micros(l.CreatedAt), micros(l.UpdatedAt), fold(l.Code), flag(l.Named))
	return err
}

func (t *tx) UpdateLicence(ctx context.Context, l identity.Licence) error {
	return affect(ctx, t.q, `UPDATE licences SET licence_key = $2, code = $3, code_folded = $4, agreement_id = $5, provider_id = NULLIF($6, ''), signed_by = $7,
		signed_at = $8, starts_at = $9, expires_at = $10, grace = $11, paid_until_at = $12, amount_per_month = $13, discount_bp = $14, catalogues = $15,
		seats = $16, revoked_at = $17, revoked_for = $18, notice_at = $19, updated_at = $20, named = $21 WHERE id = $1`,
		string(l.ID), l.Key, l.Code, fold(l.Code), string(l.AgreementID), string(l.ProviderID), string(l.SignedBy), micros(l.SignedAt), micros(l.StartsAt),
		micros(l.ExpiresAt), l.Grace.Microseconds(), micros(l.PaidUntilAt), l.AmountPerMonth, int64(l.DiscountBP), words(l.Catalogues), int64(l.Seats),
		micros(l.RevokedAt), l.RevokedFor, micros(l.NoticeAt), micros(l.UpdatedAt), flag(l.Named))
}

func (t *tx) DeleteLicence(ctx context.Context, id identity.LicenceID) error {
	return affect(ctx, t.q, `DELETE FROM licences WHERE id = $1`, string(id)) // the rest by foreign keys
}

func (t *tx) TakeSeat(ctx context.Context, id identity.LicenceID, device identity.DeviceID, now time.Time) (bool, error) {
	taken, err := guard(ctx, t.q, `UPDATE licences SET taken = taken + 1, named = 1 WHERE id = $1 AND taken < seats`, string(id))
	if err != nil || !taken {
		return false, err
	}
	_, err = exec(ctx, t.q, `INSERT INTO licence_devices (licence_id, device_id, assigned_at) VALUES ($1, $2, $3)`, string(id), string(device), micros(now))
	return err == nil, err
}

func (t *tx) ReleaseSeat(ctx context.Context, id identity.LicenceID, device identity.DeviceID) (bool, error) {
	released, err := guard(ctx, t.q, `DELETE FROM licence_devices WHERE licence_id = $1 AND device_id = $2`, string(id), string(device))
	if err != nil || !released {
		return false, err
	}
	return true, affect(ctx, t.q, `UPDATE licences SET taken = taken - 1 WHERE id = $1`, string(id))
}

const renewalColumns = `id, licence_id, renewed_by, renewed_at, old_expires_at, new_expires_at, old_paid_until, new_paid_until, old_amount, new_amount,
	old_discount_bp, new_discount_bp`

func (r reader) Renewals(ctx context.Context, id identity.LicenceID) ([]identity.Renewal, error) {
	return list(ctx, r.q, func(r Rows, v *identity.Renewal) error {
		return r.Scan((*string)(&v.ID), (*string)(&v.LicenceID), (*string)(&v.By), at(&v.At), at(&v.OldExpiresAt), at(&v.NewExpiresAt),
			at(&v.OldPaidUntilAt), at(&v.NewPaidUntilAt), &v.OldAmount, &v.NewAmount, &v.OldDiscountBP, &v.NewDiscountBP)
	}, `SELECT `+renewalColumns+` FROM licence_renewals WHERE licence_id = $1 ORDER BY id LIMIT $2`, string(id), int64(maxPage))
}

func (t *tx) AddRenewal(ctx context.Context, v identity.Renewal) error {
	_, err := exec(ctx, t.q, `INSERT INTO licence_renewals (`+renewalColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		string(v.ID), string(v.LicenceID), string(v.By), micros(v.At), micros(v.OldExpiresAt), micros(v.NewExpiresAt), micros(v.OldPaidUntilAt),
		micros(v.NewPaidUntilAt), v.OldAmount, v.NewAmount, int64(v.OldDiscountBP), int64(v.NewDiscountBP))
	return err
}

func (r reader) DueLicences(ctx context.Context, now time.Time, limit int) ([]identity.Licence, error) {
	return list(ctx, r.q, scanLicence, `SELECT `+licenceColumns+` FROM licences l WHERE l.notice_at > 0 AND l.notice_at <= $1
		ORDER BY l.notice_at, l.id LIMIT $2`, micros(now), page(limit))
}

func (t *tx) MoveNotice(ctx context.Context, id identity.LicenceID, from, to time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE licences SET notice_at = $3 WHERE id = $1 AND notice_at = $2`, string(id), micros(from), micros(to))
}

func (t *tx) KeepDocuments(ctx context.Context, id identity.LicenceID, until time.Time) error {
	_, err := exec(ctx, t.q, `UPDATE licences SET documents_end_at = $2 WHERE id = $1 AND documents_end_at < $2`, string(id), micros(until))
	return err
}

func (t *tx) Revoke(ctx context.Context, v *identity.Revocation) (err error) {
	// Epochs are committed in their order: of two revocations at once on PostgreSQL, which both read the newest, one runs again. Else a document
	// could be printed under the later of them and escape the earlier one, and a list could grow without its epoch.
	if _, err := t.RevocationEpoch(ctx); err != nil {
		return err
	}
	if _, err := exec(ctx, t.q, `DELETE FROM licence_revocations WHERE licence_id = $1 AND organisation_id = $2`,
		string(v.LicenceID), string(v.OrganisationID)); err != nil {
		return err
	}
	v.Epoch, err = writeInt(ctx, t.q, `INSERT INTO licence_revocations (licence_id, organisation_id, revoked_at, expires_at) VALUES ($1, $2, $3, $4)
		RETURNING epoch`, string(v.LicenceID), string(v.OrganisationID), micros(v.RevokedAt), micros(v.ExpiresAt))
	return err
}

func (r reader) LastDocument(ctx context.Context, org identity.OrganisationID) (time.Time, error) {
	return one(ctx, r.q, func(r Rows, t *time.Time) error { return r.Scan(at(t)) },
		`SELECT COALESCE(MAX(documents_end_at), 0) FROM licences l WHERE l.organisation_id = $1`, string(org))
}

func (r reader) Revocations(ctx context.Context, after int64, limit int) ([]identity.Revocation, error) {
	return list(ctx, r.q, func(r Rows, v *identity.Revocation) error {
		return r.Scan(&v.Epoch, (*string)(&v.LicenceID), (*string)(&v.OrganisationID), at(&v.RevokedAt), at(&v.ExpiresAt))
	}, `SELECT epoch, licence_id, organisation_id, revoked_at, expires_at FROM licence_revocations WHERE epoch > $1 ORDER BY epoch LIMIT $2`, after, page(limit))
}

func (r reader) RevocationEpoch(ctx context.Context) (int64, error) {
	return one(ctx, r.q, scanInt, `SELECT COALESCE(MAX(epoch), 0) FROM licence_revocations`)
}
