package sqlstore

import (
	"cmp"
	"context"
	"slices"

	"gatehouse/internal/identity"
)

const organisationColumns = `id, number, hash, org_key, name, COALESCE(policy_id, ''), attributes, created_at, updated_at, expires_at`

func scanOrganisation(r Rows, o *identity.Organisation) error {
	return r.Scan((*string)(&o.ID), &o.Number, &o.Hash, &o.Key, &o.Name, (*string)(&o.PolicyID),
		(*doorAttributes)(&o.Attributes), at(&o.CreatedAt), at(&o.UpdatedAt), at(&o.ExpiresAt))
}

func (r reader) Organisation(ctx context.Context, id identity.OrganisationID) (identity.Organisation, error) {
	return one(ctx, r.q, scanOrganisation, `SELECT `+organisationColumns+` FROM organisations WHERE id = $1`, string(id))
}

func (r reader) OrganisationByNumber(ctx context.Context, number int64) (identity.Organisation, error) {
	return one(ctx, r.q, scanOrganisation, `SELECT `+organisationColumns+` FROM organisations WHERE number = $1`, number)
}

func (r reader) OrganisationByHash(ctx context.Context, hash string) (identity.Organisation, error) {
	return one(ctx, r.q, scanOrganisation,
		`SELECT `+organisationColumns+` FROM organisations WHERE hash = $1 AND hash <> ''`, hash)
}

func (r reader) OrganisationByKey(ctx context.Context, key string) (identity.Organisation, error) {
	return one(ctx, r.q, scanOrganisation, `SELECT `+organisationColumns+` FROM organisations WHERE org_key = $1`, key)
}

const organisationsByID = `SELECT ` + organisationColumns + ` FROM organisations WHERE id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
	$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)`

func (r reader) OrganisationsByID(ctx context.Context, ids []identity.OrganisationID) ([]identity.Organisation, error) {
	var all []identity.Organisation
	for chunk := range slices.Chunk(ids, idChunk) {
		some, err := list(ctx, r.q, scanOrganisation, organisationsByID, chunkArgs(chunk)...)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b identity.Organisation) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b identity.Organisation) bool { return a.ID == b.ID }), nil
}

func (r reader) Organisations(ctx context.Context, after identity.OrganisationID, limit int) ([]identity.Organisation, error) {
	return list(ctx, r.q, scanOrganisation,
		`SELECT `+organisationColumns+` FROM organisations WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
}

func (t *tx) CreateOrganisation(ctx context.Context, o *identity.Organisation) error {
	attrs, err := attributes(o.Attributes)
	if err != nil {
		return err
	}
	o.Number, err = writeInt(ctx, t.q, `INSERT INTO organisations
		(id, hash, org_key, name, policy_id, attributes, created_at, updated_at, expires_at, name_folded)
		VALUES ($1, $2, $3, $4, NULLIF($5, ''), $6, $7, $8, $9, $10) RETURNING number`,
		string(o.ID), o.Hash, o.Key, o.Name, string(o.PolicyID), attrs, micros(o.CreatedAt), micros(o.UpdatedAt), micros(o.ExpiresAt), fold(o.Name))
	return err
}

func (t *tx) UpdateOrganisation(ctx context.Context, o identity.Organisation) error {
	attrs, err := attributes(o.Attributes)
	if err != nil {
		return err
	}
	return affect(ctx, t.q, `UPDATE organisations SET hash = $2, org_key = $3, name = $4, policy_id = NULLIF($5, ''),
		attributes = $6, updated_at = $7, expires_at = $8, name_folded = $9 WHERE id = $1`,
		string(o.ID), o.Hash, o.Key, o.Name, string(o.PolicyID), attrs, micros(o.UpdatedAt), micros(o.ExpiresAt), fold(o.Name))
}

func (t *tx) DeleteOrganisation(ctx context.Context, id identity.OrganisationID) error {
	return affect(ctx, t.q, `DELETE FROM organisations WHERE id = $1`, string(id)) // sites and memberships by foreign keys
}

const siteColumns = `id, organisation_id, site_key, name, created_at`

func scanSite(r Rows, s *identity.Site) error {
	return r.Scan((*string)(&s.ID), (*string)(&s.OrganisationID), &s.Key, &s.Name, at(&s.CreatedAt))
}

func (r reader) Site(ctx context.Context, id identity.SiteID) (identity.Site, error) {
	return one(ctx, r.q, scanSite, `SELECT `+siteColumns+` FROM sites WHERE id = $1`, string(id))
}

func (r reader) Sites(ctx context.Context, id identity.OrganisationID) ([]identity.Site, error) {
	return list(ctx, r.q, scanSite,
		`SELECT `+siteColumns+` FROM sites WHERE organisation_id = $1 ORDER BY name, id`, string(id))
}

func (t *tx) SaveSite(ctx context.Context, s identity.Site) error {
	_, err := exec(ctx, t.q, `INSERT INTO sites (`+siteColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET organisation_id = excluded.organisation_id, site_key = excluded.site_key, name = excluded.name`,
		string(s.ID), string(s.OrganisationID), s.Key, s.Name, micros(s.CreatedAt))
	return err
}

func (t *tx) DeleteSite(ctx context.Context, id identity.SiteID) error {
	return affect(ctx, t.q, `DELETE FROM sites WHERE id = $1`, string(id))
}

func scanRole(r Rows, v *identity.Role) error {
	return r.Scan(&v.Key, (*wordList[string])(&v.Privileges), at(&v.UpdatedAt))
}

func (r reader) Role(ctx context.Context, key string) (identity.Role, error) {
	return one(ctx, r.q, scanRole, `SELECT role_key, privileges, updated_at FROM roles WHERE role_key = $1`, key)
}

func (r reader) Roles(ctx context.Context) ([]identity.Role, error) {
	return list(ctx, r.q, scanRole, `SELECT role_key, privileges, updated_at FROM roles ORDER BY role_key`)
}

func (t *tx) SaveRole(ctx context.Context, r identity.Role) error {
	_, err := exec(ctx, t.q, `INSERT INTO roles (role_key, privileges, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (role_key) DO UPDATE SET privileges = excluded.privileges, updated_at = excluded.updated_at`,
		r.Key, words(r.Privileges), micros(r.UpdatedAt))
	return err
}

func (t *tx) DeleteRole(ctx context.Context, key string) error {
	return affect(ctx, t.q, `DELETE FROM roles WHERE role_key = $1`, key)
}

const membershipColumns = `id, subject_id, organisation_id, COALESCE(site_id, ''), COALESCE(role_key, ''), attributes, created_at`

func scanMembership(r Rows, m *identity.Membership) error {
	return r.Scan((*string)(&m.ID), (*string)(&m.SubjectID), (*string)(&m.OrganisationID), (*string)(&m.SiteID), &m.Role,
		(*doorAttributes)(&m.Attributes), at(&m.CreatedAt))
}

func (r reader) Memberships(ctx context.Context, id identity.SubjectID) ([]identity.Membership, error) {
	return list(ctx, r.q, scanMembership, `SELECT `+membershipColumns+` FROM memberships
		WHERE subject_id = $1 ORDER BY organisation_id, COALESCE(site_id, '')`, string(id))
}

// Members pages by subject; a subject's memberships of one organisation, one for each site at most, come together, so
// that a page may hold a few rows more than its limit of subjects.
func (r reader) Members(ctx context.Context, id identity.OrganisationID, after identity.SubjectID, limit int) ([]identity.Membership, error) {
	return list(ctx, r.q, scanMembership, `SELECT `+membershipColumns+` FROM memberships
		WHERE organisation_id = $1 AND subject_id IN (
			SELECT DISTINCT subject_id FROM memberships WHERE organisation_id = $1 AND subject_id > $2 ORDER BY subject_id LIMIT $3)
		ORDER BY subject_id, COALESCE(site_id, '')`, string(id), string(after), page(limit))
}

func (t *tx) SaveMembership(ctx context.Context, m identity.Membership) error {
	attrs, err := attributes(m.Attributes)
	if err != nil {
		return err
	}
	_, err = exec(ctx, t.q, `INSERT INTO memberships (id, subject_id, organisation_id, site_id, role_key, attributes, created_at)
		VALUES ($1, $2, $3, NULLIF($4, ''), NULLIF($5, ''), $6, $7)
		ON CONFLICT (id) DO UPDATE SET subject_id = excluded.subject_id, organisation_id = excluded.organisation_id,
		site_id = excluded.site_id, role_key = excluded.role_key, attributes = excluded.attributes`,
		string(m.ID), string(m.SubjectID), string(m.OrganisationID), string(m.SiteID), m.Role, attrs, micros(m.CreatedAt))
	return err
}

func (t *tx) DeleteMembership(ctx context.Context, id identity.MembershipID) error {
	return affect(ctx, t.q, `DELETE FROM memberships WHERE id = $1`, string(id))
}

func scanService(r Rows, s *identity.Service) error {
	return r.Scan(&s.Number, &s.Type, &s.PublicURI, &s.PrivateURI, (*bytes)(&s.Sealed), at(&s.ExpiresAt), at(&s.UpdatedAt))
}

func (r reader) Services(ctx context.Context) ([]identity.Service, error) {
	return list(ctx, r.q, scanService, `SELECT number, service_type, public_uri, private_uri, sealed, expires_at, updated_at FROM services ORDER BY number`)
}

func (t *tx) SaveService(ctx context.Context, s *identity.Service) (err error) {
	s.Number, err = writeInt(ctx, t.q, `INSERT INTO services (service_type, public_uri, private_uri, sealed, expires_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (service_type, public_uri) DO UPDATE SET private_uri = excluded.private_uri, sealed = excluded.sealed,
		expires_at = excluded.expires_at, updated_at = excluded.updated_at
		RETURNING number`, s.Type, s.PublicURI, s.PrivateURI, blob(s.Sealed), micros(s.ExpiresAt), micros(s.UpdatedAt))
	return err
}

func (t *tx) DeleteService(ctx context.Context, number int64) error {
	return affect(ctx, t.q, `DELETE FROM services WHERE number = $1`, number)
}
