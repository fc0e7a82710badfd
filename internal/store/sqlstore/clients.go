package sqlstore

import (
	"context"

	"gatehouse/internal/identity"
)

const clientColumns = `id, name, secret_hash, grants, scopes, redirect_uris, audiences, signing_alg, attributes,
	created_at, updated_at, suspended_at, COALESCE(organisation_id, ''), COALESCE(device_id, '')`

func scanClient(r Rows, c *identity.Client) error {
	return r.Scan((*string)(&c.ID), &c.Name, &c.SecretHash, (*wordList[string])(&c.Grants), (*wordList[string])(&c.Scopes),
		(*wordList[string])(&c.RedirectURIs), (*wordList[string])(&c.Audiences), &c.SigningAlg,
		(*doorAttributes)(&c.Attributes), at(&c.CreatedAt), at(&c.UpdatedAt), at(&c.SuspendedAt),
		(*string)(&c.OrganisationID), (*string)(&c.DeviceID))
}

func (r reader) Client(ctx context.Context, id identity.ClientID) (identity.Client, error) {
	return one(ctx, r.q, scanClient, `SELECT `+clientColumns+` FROM clients WHERE id = $1`, string(id))
}

func (r reader) Clients(ctx context.Context, after identity.ClientID, limit int) ([]identity.Client, error) {
	return list(ctx, r.q, scanClient,
		`SELECT `+clientColumns+` FROM clients WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
}

func (r reader) ClientsOf(ctx context.Context, org identity.OrganisationID, device identity.DeviceID, after identity.ClientID, limit int) ([]identity.Client, error) {
	if device != "" {
		return list(ctx, r.q, scanClient, `SELECT `+clientColumns+` FROM clients WHERE device_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
			string(device), string(after), page(limit))
	}
	return list(ctx, r.q, scanClient, `SELECT `+clientColumns+` FROM clients WHERE organisation_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
		string(org), string(after), page(limit))
}

func (t *tx) CreateClient(ctx context.Context, c identity.Client) error {
	attrs, err := attributes(c.Attributes)
	if err != nil {
		return err
	}
	_, err = exec(ctx, t.q, `INSERT INTO clients (id, name, secret_hash, grants, scopes, redirect_uris, audiences, signing_alg, attributes,
		created_at, updated_at, suspended_at, organisation_id, device_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, NULLIF($13, ''), NULLIF($14, ''))`,
		string(c.ID), c.Name, c.SecretHash, words(c.Grants), words(c.Scopes), words(c.RedirectURIs), words(c.Audiences),
		c.SigningAlg, attrs, micros(c.CreatedAt), micros(c.UpdatedAt), micros(c.SuspendedAt), string(c.OrganisationID), string(c.DeviceID))
	return err
}

func (t *tx) UpdateClient(ctx context.Context, c identity.Client) error {
	attrs, err := attributes(c.Attributes)
	if err != nil {
		return err
	}
	return affect(ctx, t.q, `UPDATE clients SET name = $2, secret_hash = $3, grants = $4, scopes = $5, redirect_uris = $6,
		audiences = $7, signing_alg = $8, attributes = $9, updated_at = $10, suspended_at = $11,
		organisation_id = NULLIF($12, ''), device_id = NULLIF($13, '') WHERE id = $1`,
		string(c.ID), c.Name, c.SecretHash, words(c.Grants), words(c.Scopes), words(c.RedirectURIs), words(c.Audiences),
		c.SigningAlg, attrs, micros(c.UpdatedAt), micros(c.SuspendedAt), string(c.OrganisationID), string(c.DeviceID))
}

func (t *tx) DeleteClient(ctx context.Context, id identity.ClientID) error {
	return affect(ctx, t.q, `DELETE FROM clients WHERE id = $1`, string(id))
}

const keyColumns = `id, algorithm, public, sealed, created_at, activates_at, retires_at, expires_at`

func (r reader) SigningKeys(ctx context.Context) ([]identity.SigningKey, error) {
	return list(ctx, r.q, func(r Rows, k *identity.SigningKey) error {
		return r.Scan((*string)(&k.ID), &k.Algorithm, (*bytes)(&k.Public), (*bytes)(&k.Sealed), at(&k.CreatedAt),
			at(&k.ActivatesAt), at(&k.RetiresAt), at(&k.ExpiresAt))
	}, `SELECT `+keyColumns+` FROM signing_keys ORDER BY created_at, id`)
}

func (t *tx) CreateSigningKey(ctx context.Context, k identity.SigningKey) error {
	_, err := exec(ctx, t.q, `INSERT INTO signing_keys (`+keyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		string(k.ID), k.Algorithm, blob(k.Public), blob(k.Sealed), micros(k.CreatedAt), micros(k.ActivatesAt),
		micros(k.RetiresAt), micros(k.ExpiresAt))
	return err
}

func (t *tx) UpdateSigningKey(ctx context.Context, k identity.SigningKey) error {
	return affect(ctx, t.q, `UPDATE signing_keys SET algorithm = $2, public = $3, sealed = $4, activates_at = $5,
		retires_at = $6, expires_at = $7 WHERE id = $1`,
		string(k.ID), k.Algorithm, blob(k.Public), blob(k.Sealed), micros(k.ActivatesAt), micros(k.RetiresAt), micros(k.ExpiresAt))
}

func (t *tx) DeleteSigningKey(ctx context.Context, id identity.KeyID) error {
	return affect(ctx, t.q, `DELETE FROM signing_keys WHERE id = $1`, string(id))
}

func scanSetting(r Rows, s *identity.Setting) error {
	return r.Scan(&s.Name, (*bytes)(&s.Sealed), at(&s.UpdatedAt))
}

func (r reader) Setting(ctx context.Context, name string) (identity.Setting, error) {
	return one(ctx, r.q, scanSetting, `SELECT name, sealed, updated_at FROM settings WHERE name = $1`, name)
}

func (r reader) Settings(ctx context.Context, prefix string) ([]identity.Setting, error) {
	return list(ctx, r.q, scanSetting, `SELECT name, sealed, updated_at FROM settings WHERE name >= $1 AND name < $2 ORDER BY name LIMIT $3`,
		prefix, beyond(prefix), int64(maxPage))
}

func (t *tx) CreateSetting(ctx context.Context, s identity.Setting) (bool, error) {
	return guard(ctx, t.q, `INSERT INTO settings (name, sealed, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`,
		s.Name, blob(s.Sealed), micros(s.UpdatedAt))
}

func (t *tx) SaveSetting(ctx context.Context, s identity.Setting) error {
	_, err := exec(ctx, t.q, `INSERT INTO settings (name, sealed, updated_at) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at`,
		s.Name, blob(s.Sealed), micros(s.UpdatedAt))
	return err
}

func (t *tx) DeleteSetting(ctx context.Context, name string) error {
	return affect(ctx, t.q, `DELETE FROM settings WHERE name = $1`, name)
}
