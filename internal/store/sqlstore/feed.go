package sqlstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gatehouse/internal/identity"
)

const messageColumns = `id, channel, recipient, template, sealed, attempts, last_error, lease_owner, created_at, next_at,
	lease_until, sent_at, given_up_at, expires_at`

func scanMessage(r Rows, m *identity.Message) error {
	return r.Scan((*string)(&m.ID), (*string)(&m.Channel), &m.Recipient, &m.Template, (*bytes)(&m.Sealed), &m.Attempts,
		&m.LastError, &m.LeaseOwner, at(&m.CreatedAt), at(&m.NextAt), at(&m.LeaseUntil), at(&m.SentAt), at(&m.GivenUpAt), at(&m.ExpiresAt))
}

func (r reader) Message(ctx context.Context, id identity.MessageID) (identity.Message, error) {
	return one(ctx, r.q, scanMessage, `SELECT `+messageColumns+` FROM outbox WHERE id = $1`, string(id))
}

func (r reader) Messages(ctx context.Context, state identity.MessageState, before identity.MessageID, limit int) ([]identity.Message, error) {
	query := `SELECT ` + messageColumns + ` FROM outbox WHERE `
	switch state {
	case identity.MessageWaiting:
		query += `sent_at = 0 AND given_up_at = 0 AND `
	case identity.MessageSent:
		query += `sent_at <> 0 AND `
	case identity.MessageGivenUp:
		query += `given_up_at <> 0 AND `
	}
	if before == "" {
		before = "\U0010FFFF" // above every id
	}
	return list(ctx, r.q, scanMessage, query+`id < $1 ORDER BY id DESC LIMIT $2`, string(before), page(limit))
}

func (t *tx) Enqueue(ctx context.Context, m identity.Message) error {
	_, err := exec(ctx, t.q, `INSERT INTO outbox (`+messageColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		string(m.ID), string(m.Channel), m.Recipient, m.Template, blob(m.Sealed), int64(m.Attempts), m.LastError, m.LeaseOwner,
		micros(m.CreatedAt), micros(m.NextAt), micros(m.LeaseUntil), micros(m.SentAt), micros(m.GivenUpAt), micros(m.ExpiresAt))
	return err
}

func (t *tx) ClaimMessages(ctx context.Context, owner string, now time.Time, lease time.Duration, limit int) ([]identity.Message, error) {
	claimed, err := write(ctx, t.q, scanMessage, `UPDATE outbox SET lease_owner = $1, lease_until = $3 WHERE id IN (
		SELECT id FROM outbox WHERE sent_at = 0 AND given_up_at = 0 AND next_at <= $2 AND lease_until <= $2
		ORDER BY next_at, id LIMIT $4`+t.skipLocked+`) RETURNING `+messageColumns,
		owner, micros(now), micros(now.Add(lease)), page(limit))
	slices.SortFunc(claimed, func(a, b identity.Message) int { // RETURNING promises no order
		return cmp.Or(a.NextAt.Compare(b.NextAt), cmp.Compare(a.ID, b.ID))
	})
	return claimed, err
}

func (t *tx) FinishMessage(ctx context.Context, m identity.Message) (bool, error) {
	return guard(ctx, t.q, `UPDATE outbox SET attempts = $3, last_error = $4, next_at = $5, sent_at = $6, given_up_at = $7,
		lease_owner = '', lease_until = 0 WHERE id = $1 AND lease_owner = $2`,
		string(m.ID), m.LeaseOwner, int64(m.Attempts), m.LastError, micros(m.NextAt), micros(m.SentAt), micros(m.GivenUpAt))
}

func (r reader) Changes(ctx context.Context, after int64, limit int) ([]identity.Change, error) {
	return list(ctx, r.q, func(r Rows, c *identity.Change) error {
		return r.Scan(&c.Seq, (*string)(&c.Kind), &c.ID, at(&c.At))
	}, `SELECT seq, kind, ref, at FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2`, after, page(limit))
}

func (r reader) LastChange(ctx context.Context) (int64, error) {
	return one(ctx, r.q, scanInt, `SELECT COALESCE(MAX(seq), 0) FROM changes`)
}

func (t *tx) Announce(ctx context.Context, kind identity.ChangeKind, id string, now time.Time) error {
	seq, err := writeInt(ctx, t.q, `INSERT INTO changes (kind, ref, at) VALUES ($1, $2, $3) RETURNING seq`,
		string(kind), id, micros(now))
	if err != nil {
		return err
	}
	t.announced = append(t.announced, identity.Change{Seq: seq, Kind: kind, ID: id, At: now})
	return nil
}

func (t *tx) Lease(ctx context.Context, name, owner string, now time.Time, ttl time.Duration) (bool, error) {
	return guard(ctx, t.q, `INSERT INTO leases (name, owner, expires_at) VALUES ($1, $2, $4)
		ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
		WHERE leases.owner = excluded.owner OR leases.expires_at <= $3`,
		name, owner, micros(now), micros(now.Add(ttl)))
}

func (t *tx) EndLeases(ctx context.Context) error {
	if _, err := exec(ctx, t.q, `DELETE FROM leases`); err != nil {
		return err
	}
	_, err := exec(ctx, t.q, `UPDATE outbox SET lease_owner = '', lease_until = 0 WHERE sent_at = 0 AND given_up_at = 0 AND lease_until <> 0`)
	return err
}

// How long rows outlive their end.
const (
	// tokenMemory lets a door tell "expired" from "unknown".
	tokenMemory = 24 * time.Hour
	// ticketMemory is shorter: spent, expired and unknown tickets are one answer.
	ticketMemory = time.Hour
	// recoveryMemory lets an operator see what became of a request.
	recoveryMemory = 7 * 24 * time.Hour
	// revokedMemory covers clocks that disagree about when the token ended.
	revokedMemory = 5 * time.Minute
	// changeMemory is many times what a node may fall behind before it stops trusting its feed.
	changeMemory = 10 * time.Minute
)

// Sweep deletes through indexes on the end, a bounded number of rows from each table, so that it never holds the writer
// for long however much has ended at once.
func (t *tx) Sweep(ctx context.Context, now time.Time, limit int) (int, error) {
	over := now.Add(-tokenMemory)
	// Refresh moved the ends of some sessions and left sweep_at: those are filed anew before the rest is deleted.
	if _, err := exec(ctx, t.q, `UPDATE sessions SET sweep_at = expires_at WHERE id IN (
		SELECT id FROM sessions WHERE sweep_at < $1 ORDER BY sweep_at LIMIT $2) AND sweep_at <> expires_at`,
		micros(over), page(limit)); err != nil {
		return 0, err
	}
	var swept int64
	for _, step := range [...]struct {
		query string
		until time.Time
	}{
		{`DELETE FROM sessions WHERE id IN (
			SELECT id FROM sessions WHERE sweep_at < $1 ORDER BY sweep_at LIMIT $2) AND expires_at < $1`, over},
		{`DELETE FROM opaque_tokens WHERE hash IN (
			SELECT hash FROM opaque_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, over},
		{`DELETE FROM revoked_tokens WHERE id IN (
			SELECT id FROM revoked_tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now.Add(-revokedMemory)},
		{`DELETE FROM tickets WHERE id IN (
			SELECT id FROM tickets WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now.Add(-ticketMemory)},
		{`DELETE FROM attempts WHERE attempt_key IN (
			SELECT attempt_key FROM attempts WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now},
		{`DELETE FROM outbox WHERE id IN (
			SELECT id FROM outbox WHERE expires_at > 0 AND expires_at < $1 ORDER BY expires_at LIMIT $2)`, now},
		{`DELETE FROM api_keys WHERE id IN (
			SELECT id FROM api_keys WHERE expires_at > 0 AND expires_at < $1 ORDER BY expires_at LIMIT $2)`, over},
		{`DELETE FROM recoveries WHERE id IN (
			SELECT id FROM recoveries WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now.Add(-recoveryMemory)},
		{`DELETE FROM browsers WHERE hash IN (
			SELECT hash FROM browsers WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)`, now},
		{`DELETE FROM services WHERE number IN (
			SELECT number FROM services WHERE expires_at > 0 AND expires_at < $1 ORDER BY expires_at LIMIT $2)`, over},
		// The newest one stays: the epoch is read from it, and never goes back.
		{`DELETE FROM licence_revocations WHERE epoch IN (
			SELECT epoch FROM licence_revocations WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
			AND epoch < (SELECT MAX(epoch) FROM licence_revocations)`, over},
		// The oldest changes by seq, which is the order in which they grow old.
		{`DELETE FROM changes WHERE seq IN (
			SELECT seq FROM (SELECT seq, at FROM changes ORDER BY seq LIMIT $2) AS oldest WHERE at < $1)`, now.Add(-changeMemory)},
	} {
		n, err := exec(ctx, t.q, step.query, micros(step.until), page(limit))
		if err != nil {
			return 0, err
		}
		swept += n
	}
	return int(swept), nil
}
