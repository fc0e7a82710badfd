package sqlstore

import (
	"context"
	"time"

	"gatehouse/internal/identity"
)

const recoveryColumns = `id, subject_id, door, address, state, hash, created_at, decided_at, used_at, expires_at`

func scanRecovery(r Rows, v *identity.Recovery) error {
	return r.Scan((*string)(&v.ID), (*string)(&v.SubjectID), (*string)(&v.Door), &v.Address, (*string)(&v.State), (*bytes)(&v.Hash),
		at(&v.CreatedAt), at(&v.DecidedAt), at(&v.UsedAt), at(&v.ExpiresAt))
}

func (r reader) Recovery(ctx context.Context, id identity.RecoveryID) (identity.Recovery, error) {
	return one(ctx, r.q, scanRecovery, `SELECT `+recoveryColumns+` FROM recoveries WHERE id = $1`, string(id))
}

func (r reader) RecoveriesOf(ctx context.Context, id identity.SubjectID) ([]identity.Recovery, error) {
	return list(ctx, r.q, scanRecovery, `SELECT `+recoveryColumns+` FROM recoveries
		WHERE subject_id = $1 ORDER BY id DESC LIMIT $2`, string(id), int64(maxPage))
}

func (r reader) Recoveries(ctx context.Context, state identity.RecoveryState, after identity.RecoveryID, limit int) ([]identity.Recovery, error) {
	if state == "" {
		return list(ctx, r.q, scanRecovery, `SELECT `+recoveryColumns+` FROM recoveries WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
	}
	return list(ctx, r.q, scanRecovery, `SELECT `+recoveryColumns+` FROM recoveries WHERE state = $1 AND id > $2 ORDER BY id LIMIT $3`,
		string(state), string(after), page(limit))
}

func (t *tx) CreateRecovery(ctx context.Context, v identity.Recovery) error {
	_, err := exec(ctx, t.q, `INSERT INTO recoveries (`+recoveryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		string(v.ID), string(v.SubjectID), string(v.Door), v.Address, string(v.State), blob(v.Hash),
		micros(v.CreatedAt), micros(v.DecidedAt), micros(v.UsedAt), micros(v.ExpiresAt))
	return err
}

func (t *tx) DecideRecovery(ctx context.Context, v identity.Recovery, now time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE recoveries SET state = $2, hash = $3, decided_at = $4, expires_at = $5
		WHERE id = $1 AND state = 'waiting' AND expires_at > $4`,
		string(v.ID), string(v.State), blob(v.Hash), micros(now), micros(v.ExpiresAt))
}

func (t *tx) SpendRecovery(ctx context.Context, id identity.RecoveryID, now time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE recoveries SET state = 'used', used_at = $2
		WHERE id = $1 AND state = 'approved' AND expires_at > $2`, string(id), micros(now))
}

const browserColumns = `hash, subject_id, door, session_id, user_agent, created_at, expires_at`

func (r reader) Browser(ctx context.Context, hash []byte) (identity.Browser, error) {
	return one(ctx, r.q, func(r Rows, d *identity.Browser) error {
		return r.Scan((*bytes)(&d.Hash), (*string)(&d.SubjectID), (*string)(&d.Door), (*string)(&d.SessionID), &d.UserAgent, at(&d.CreatedAt), at(&d.ExpiresAt))
	}, `SELECT `+browserColumns+` FROM browsers WHERE hash = $1`, blob(hash))
}

func (t *tx) CreateBrowser(ctx context.Context, d identity.Browser) error {
	_, err := exec(ctx, t.q, `INSERT INTO browsers (`+browserColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		blob(d.Hash), string(d.SubjectID), string(d.Door), string(d.SessionID), d.UserAgent, micros(d.CreatedAt), micros(d.ExpiresAt))
	return err
}

func (t *tx) SeeBrowser(ctx context.Context, hash []byte, session identity.SessionID) error {
	return affect(ctx, t.q, `UPDATE browsers SET session_id = $2 WHERE hash = $1`, blob(hash), string(session))
}

func (t *tx) DeleteBrowsersOf(ctx context.Context, id identity.SubjectID, session identity.SessionID) error {
	_, err := exec(ctx, t.q, `DELETE FROM browsers WHERE subject_id = $1 AND (CAST($2 AS TEXT) = '' OR session_id = $2)`, string(id), string(session))
	return err
}
