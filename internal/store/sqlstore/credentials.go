package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gatehouse/internal/identity"
)

const credentialColumns = `id, subject_id, kind, hash, sealed, target, previous, must_change, last_step, version, created_at, updated_at`

func scanCredential(r Rows, c *identity.Credential) error {
	return r.Scan((*string)(&c.ID), (*string)(&c.SubjectID), (*string)(&c.Kind), &c.Hash, (*bytes)(&c.Sealed), &c.Target,
		(*wordList[string])(&c.Previous), (*truth)(&c.MustChange), &c.LastStep, &c.Version, at(&c.CreatedAt), at(&c.UpdatedAt))
}

func (r reader) Credential(ctx context.Context, id identity.SubjectID, kind identity.CredentialKind) (identity.Credential, error) {
	return one(ctx, r.q, scanCredential,
		`SELECT `+credentialColumns+` FROM credentials WHERE subject_id = $1 AND kind = $2`, string(id), string(kind))
}

func (r reader) Credentials(ctx context.Context, id identity.SubjectID) ([]identity.Credential, error) {
	return list(ctx, r.q, scanCredential,
		`SELECT `+credentialColumns+` FROM credentials WHERE subject_id = $1 ORDER BY kind`, string(id))
}

// credentialsOf asks for as many as subjectsByID does.
const credentialsOf = `SELECT ` + credentialColumns + ` FROM credentials WHERE subject_id IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
	$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)`

func (r reader) CredentialsOf(ctx context.Context, ids []identity.SubjectID) ([]identity.Credential, error) {
	var all []identity.Credential
	for chunk := range slices.Chunk(ids, idChunk) {
		some, err := list(ctx, r.q, scanCredential, credentialsOf, chunkArgs(chunk)...)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	slices.SortFunc(all, func(a, b identity.Credential) int {
		return cmp.Or(cmp.Compare(a.SubjectID, b.SubjectID), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.CompactFunc(all, func(a, b identity.Credential) bool { return a.ID == b.ID }), nil
}

func (t *tx) CreateCredential(ctx context.Context, c identity.Credential) error {
	_, err := exec(ctx, t.q, `INSERT INTO credentials (`+credentialColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		string(c.ID), string(c.SubjectID), string(c.Kind), c.Hash, blob(c.Sealed), c.Target, words(c.Previous),
		flag(c.MustChange), c.LastStep, c.Version, micros(c.CreatedAt), micros(c.UpdatedAt))
	return err
}

func (t *tx) UpdateCredential(ctx context.Context, c identity.Credential) (bool, error) {
	// last_step is left alone: only SpendStep moves it, and a stale copy here would let a code work twice.
	return guard(ctx, t.q, `UPDATE credentials SET hash = $3, sealed = $4, target = $5, previous = $6, must_change = $7,
		updated_at = $8, version = version + 1 WHERE id = $1 AND version = $2`,
		string(c.ID), c.Version, c.Hash, blob(c.Sealed), c.Target, words(c.Previous), flag(c.MustChange), micros(c.UpdatedAt))
}

func (t *tx) SpendStep(ctx context.Context, id identity.CredentialID, step int64) (bool, error) {
	return guard(ctx, t.q, `UPDATE credentials SET last_step = $2 WHERE id = $1 AND last_step < $2`, string(id), step)
}

func (t *tx) DeleteCredential(ctx context.Context, id identity.CredentialID) error {
	return affect(ctx, t.q, `DELETE FROM credentials WHERE id = $1`, string(id))
}

func scanAttempts(r Rows, a *identity.Attempts) error {
	return r.Scan(&a.Key, &a.Count, at(&a.StartedAt), at(&a.ExpiresAt))
}

func (r reader) Attempts(ctx context.Context, key string) (identity.Attempts, error) {
	some, err := list(ctx, r.q, scanAttempts,
		`SELECT attempt_key, failures, started_at, expires_at FROM attempts WHERE attempt_key = $1`, key)
	if err != nil || len(some) == 0 {
		return identity.Attempts{Key: key}, err
	}
	return some[0], nil
}

func (t *tx) CountAttempt(ctx context.Context, key string, now time.Time, window time.Duration) (identity.Attempts, error) {
	some, err := write(ctx, t.q, scanAttempts, `INSERT INTO attempts (attempt_key, failures, started_at, expires_at)
		VALUES ($1, 1, $2, $3) ON CONFLICT (attempt_key) DO UPDATE SET
		failures = CASE WHEN attempts.expires_at <= excluded.started_at THEN 1 ELSE attempts.failures + 1 END,
		started_at = CASE WHEN attempts.expires_at <= excluded.started_at THEN excluded.started_at ELSE attempts.started_at END,
		expires_at = CASE WHEN attempts.expires_at <= excluded.started_at THEN excluded.expires_at ELSE attempts.expires_at END
		RETURNING attempt_key, failures, started_at, expires_at`, key, micros(now), micros(now.Add(window)))
	if err != nil {
		return identity.Attempts{}, err
	}
	return some[0], nil
}

func (t *tx) ClearAttempts(ctx context.Context, key string) error {
	_, err := exec(ctx, t.q, `DELETE FROM attempts WHERE attempt_key = $1`, key)
	return err
}
