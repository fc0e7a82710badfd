package sqlstore

import (
	"context"
	"time"

	"gatehouse/internal/identity"
)

const providerColumns = `provider_key, kind, name, issuer, client_id, sealed, tenants, email_trust, create_accounts,
	created_at, updated_at, suspended_at`

func scanProvider(r Rows, p *identity.IdentityProvider) error {
	return r.Scan(&p.Key, (*string)(&p.Kind), &p.Name, &p.Issuer, &p.ClientID, (*bytes)(&p.Sealed), (*wordList[string])(&p.Tenants),
		(*string)(&p.EmailTrust), (*truth)(&p.CreateAccounts), at(&p.CreatedAt), at(&p.UpdatedAt), at(&p.SuspendedAt))
}

func (r reader) IdentityProvider(ctx context.Context, key string) (identity.IdentityProvider, error) {
	return one(ctx, r.q, scanProvider, `SELECT `+providerColumns+` FROM identity_providers WHERE provider_key = $1`, key)
}

func (r reader) IdentityProviders(ctx context.Context) ([]identity.IdentityProvider, error) {
	return list(ctx, r.q, scanProvider,
		`SELECT `+providerColumns+` FROM identity_providers ORDER BY provider_key LIMIT $1`, int64(maxPage))
}

func (t *tx) SaveIdentityProvider(ctx context.Context, p identity.IdentityProvider) error {
	_, err := exec(ctx, t.q, `INSERT INTO identity_providers (`+providerColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (provider_key) DO UPDATE SET kind = excluded.kind, name = excluded.name, issuer = excluded.issuer,
		client_id = excluded.client_id, sealed = excluded.sealed, tenants = excluded.tenants, email_trust = excluded.email_trust,
		create_accounts = excluded.create_accounts, updated_at = excluded.updated_at, suspended_at = excluded.suspended_at`,
		p.Key, string(p.Kind), p.Name, p.Issuer, p.ClientID, blob(p.Sealed), words(p.Tenants), string(p.EmailTrust),
		flag(p.CreateAccounts), micros(p.CreatedAt), micros(p.UpdatedAt), micros(p.SuspendedAt))
	return err
}

func (t *tx) DeleteIdentityProvider(ctx context.Context, key string) error {
	return affect(ctx, t.q, `DELETE FROM identity_providers WHERE provider_key = $1`, key)
}

const linkedColumns = `authority, external_id, subject_id, provider_key, email, created_at, last_use_at`

func scanLinked(r Rows, l *identity.LinkedIdentity) error {
	return r.Scan(&l.Authority, &l.ExternalID, (*string)(&l.SubjectID), &l.Provider, &l.Email, at(&l.CreatedAt), at(&l.LastUseAt))
}

func (r reader) LinkedIdentity(ctx context.Context, authority, externalID string) (identity.LinkedIdentity, error) {
	return one(ctx, r.q, scanLinked, `SELECT `+linkedColumns+` FROM linked_identities
		WHERE authority = $1 AND external_id = $2`, authority, externalID)
}

func (r reader) LinkedIdentitiesOf(ctx context.Context, id identity.SubjectID) ([]identity.LinkedIdentity, error) {
	return list(ctx, r.q, scanLinked, `SELECT `+linkedColumns+` FROM linked_identities
		WHERE subject_id = $1 ORDER BY authority, external_id LIMIT $2`, string(id), int64(maxPage))
}

func (t *tx) CreateLinkedIdentity(ctx context.Context, l identity.LinkedIdentity) error {
	_, err := exec(ctx, t.q, `INSERT INTO linked_identities (`+linkedColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		l.Authority, l.ExternalID, string(l.SubjectID), l.Provider, l.Email, micros(l.CreatedAt), micros(l.LastUseAt))
	return err
}

func (t *tx) TouchLinkedIdentity(ctx context.Context, authority, externalID string, when time.Time) error {
	_, err := exec(ctx, t.q, `UPDATE linked_identities SET last_use_at = $3
		WHERE authority = $1 AND external_id = $2 AND last_use_at < $3`, authority, externalID, micros(when))
	return err
}

func (t *tx) DeleteLinkedIdentity(ctx context.Context, id identity.SubjectID, authority, externalID string) error {
	return affect(ctx, t.q, `DELETE FROM linked_identities
		WHERE subject_id = $1 AND authority = $2 AND external_id = $3`, string(id), authority, externalID)
}
