package sqlstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"gatehouse/internal/identity"
)

const sessionColumns = `id, subject_id, door, client_id, organisation_id, actor_id, amr, scopes, remember, keeps_spent,
	generation, address, user_agent, attributes, previous_sign_in, authenticated_at, created_at, refreshed_at, seen_at,
	idle_ttl, expires_at, absolute_at, ended_at, end_reason, origin_id`

func scanSession(r Rows, s *identity.Session) error {
	return r.Scan((*string)(&s.ID), (*string)(&s.SubjectID), (*string)(&s.Door), (*string)(&s.ClientID),
		(*string)(&s.OrganisationID), (*string)(&s.ActorID), (*wordList[string])(&s.AMR), (*wordList[string])(&s.Scopes),
		(*truth)(&s.Remember), (*truth)(&s.KeepsSpent), &s.Generation, &s.Address, &s.UserAgent, (*document)(&s.Attributes),
		at(&s.PreviousSignIn), at(&s.AuthenticatedAt), at(&s.CreatedAt), at(&s.RefreshedAt), at(&s.SeenAt),
		(*span)(&s.IdleTTL), at(&s.ExpiresAt), at(&s.AbsoluteAt), at(&s.EndedAt), &s.EndReason,
		(*string)(&s.OriginID))
}

func (r reader) Session(ctx context.Context, id identity.SessionID) (identity.Session, error) {
	return one(ctx, r.q, scanSession, `SELECT `+sessionColumns+` FROM sessions WHERE id = $1`, string(id))
}

// SessionsOf gives those that nobody ended; the caller knows what time it is, and so which have run out.
func (r reader) SessionsOf(ctx context.Context, id identity.SubjectID) ([]identity.Session, error) {
	return list(ctx, r.q, scanSession, `SELECT `+sessionColumns+` FROM sessions
		WHERE subject_id = $1 AND ended_at = 0 ORDER BY id DESC LIMIT $2`, string(id), int64(maxPage))
}

func (r reader) Sessions(ctx context.Context, after identity.SessionID, limit int) ([]identity.Session, error) {
	return list(ctx, r.q, scanSession,
		`SELECT `+sessionColumns+` FROM sessions WHERE id > $1 ORDER BY id LIMIT $2`, string(after), page(limit))
}

// CreateSession sets sweep_at beside expires_at: only the first is indexed and refresh leaves it alone, so that refresh
// touches no index. The sweeper re-files a session whose end moved meanwhile.
func (t *tx) CreateSession(ctx context.Context, s identity.Session) error {
	_, err := exec(ctx, t.q, `INSERT INTO sessions (`+sessionColumns+`, sweep_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $21)`,
		string(s.ID), string(s.SubjectID), string(s.Door), string(s.ClientID), string(s.OrganisationID), string(s.ActorID),
		words(s.AMR), words(s.Scopes), flag(s.Remember), flag(s.KeepsSpent), s.Generation, s.Address, s.UserAgent, string(s.Attributes),
		micros(s.PreviousSignIn), micros(s.AuthenticatedAt), micros(s.CreatedAt), micros(s.RefreshedAt), micros(s.SeenAt),
		s.IdleTTL.Microseconds(), micros(s.ExpiresAt), micros(s.AbsoluteAt), micros(s.EndedAt), s.EndReason,
		string(s.OriginID))
	return err
}

func (t *tx) UpdateSession(ctx context.Context, s identity.Session) error {
	return affect(ctx, t.q, `UPDATE sessions SET door = $2, client_id = $3, organisation_id = $4, amr = $5, scopes = $6,
		remember = $7, keeps_spent = $8, address = $9, user_agent = $10, attributes = $11, previous_sign_in = $12,
		authenticated_at = $13, idle_ttl = $14, expires_at = $15,
		absolute_at = $16 WHERE id = $1`,
		string(s.ID), string(s.Door), string(s.ClientID), string(s.OrganisationID), words(s.AMR), words(s.Scopes),
		flag(s.Remember), flag(s.KeepsSpent), s.Address, s.UserAgent, string(s.Attributes), micros(s.PreviousSignIn),
		micros(s.AuthenticatedAt), s.IdleTTL.Microseconds(), micros(s.ExpiresAt), micros(s.AbsoluteAt))
}

// AdvanceSession counts as a use, so it moves seen_at too. A zero expiresAt leaves the end where it is.
func (t *tx) AdvanceSession(ctx context.Context, id identity.SessionID, generation int64, now, expiresAt time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE sessions SET generation = generation + 1, refreshed_at = $3,
		seen_at = CASE WHEN seen_at < $3 THEN $3 ELSE seen_at END,
		expires_at = CASE WHEN CAST($4 AS BIGINT) = 0 THEN expires_at ELSE CAST($4 AS BIGINT) END
		WHERE id = $1 AND generation = $2 AND ended_at = 0 AND expires_at > $3 AND (idle_ttl = 0 OR seen_at + idle_ttl > $3)`,
		string(id), generation, micros(now), micros(expiresAt))
}

func (t *tx) TouchSessions(ctx context.Context, seen map[identity.SessionID]time.Time) error {
	for _, id := range slices.Sorted(maps.Keys(seen)) { // in one order everywhere, so that two nodes cannot deadlock
		if _, err := exec(ctx, t.q, `UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2 AND ended_at = 0`,
			string(id), micros(seen[id])); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) EndSession(ctx context.Context, id identity.SessionID, reason string, now time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE sessions SET ended_at = $3, end_reason = $2 WHERE id = $1 AND ended_at = 0`,
		string(id), reason, micros(now))
}

func (t *tx) EndSessionsOf(ctx context.Context, id identity.SubjectID, keep identity.SessionID, reason string, now time.Time) ([]identity.Session, error) {
	var ended []identity.Session
	for _, query := range [...]string{ // two statements, for an OR over two columns finds no index
		`UPDATE sessions SET ended_at = $4, end_reason = $3 WHERE subject_id = $1 AND id <> $2 AND ended_at = 0 RETURNING ` + sessionColumns,
		`UPDATE sessions SET ended_at = $4, end_reason = $3 WHERE actor_id = $1 AND actor_id <> '' AND id <> $2 AND ended_at = 0 RETURNING ` + sessionColumns,
	} {
		some, err := write(ctx, t.q, scanSession, query, string(id), string(keep), reason, micros(now))
		if err != nil {
			return nil, err
		}
		ended = append(ended, some...)
	}
	inOrder(ended)
	return ended, nil
}

// inOrder, because RETURNING promises none.
func inOrder(sessions []identity.Session) {
	slices.SortFunc(sessions, func(a, b identity.Session) int { return cmp.Compare(a.ID, b.ID) })
}

func (t *tx) EndActing(ctx context.Context, which identity.Acting, reason string, now time.Time) ([]identity.Session, error) {
	// The index on actor_id holds such sessions only, and they are few.
	ended, err := write(ctx, t.q, scanSession, `UPDATE sessions SET ended_at = $2, end_reason = $1 WHERE actor_id <> '' AND ended_at = 0
		AND (CAST($3 AS TEXT) = '' OR origin_id = $3) AND (CAST($4 AS TEXT) = '' OR subject_id = $4)
		AND (CAST($5 AS TEXT) = '' OR organisation_id = $5) AND (CAST($6 AS TEXT) = '' OR subject_id = $6 OR actor_id = $6)
		RETURNING `+sessionColumns,
		reason, micros(now), string(which.OriginID), string(which.SubjectID), string(which.OrganisationID), string(which.PersonID))
	inOrder(ended)
	return ended, err
}

func (t *tx) EnterSession(ctx context.Context, id identity.SessionID, generation int64, org identity.OrganisationID, now time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE sessions SET organisation_id = $3, generation = generation + 1, refreshed_at = $4,
		seen_at = CASE WHEN seen_at < $4 THEN $4 ELSE seen_at END
		WHERE id = $1 AND generation = $2 AND actor_id = '' AND ended_at = 0 AND expires_at > $4 AND (idle_ttl = 0 OR seen_at + idle_ttl > $4)
		AND (CAST($3 AS TEXT) = '' OR EXISTS (SELECT 1 FROM memberships m JOIN organisations o ON o.id = m.organisation_id
			WHERE m.subject_id = sessions.subject_id AND m.organisation_id = $3 AND (o.expires_at = 0 OR o.expires_at > $4)))`,
		string(id), generation, string(org), micros(now))
}

func (r reader) OpaqueToken(ctx context.Context, hash []byte) (identity.OpaqueToken, error) {
	return one(ctx, r.q, func(r Rows, t *identity.OpaqueToken) error {
		return r.Scan((*bytes)(&t.Hash), (*string)(&t.SessionID), (*string)(&t.Kind), &t.Generation, at(&t.CreatedAt), at(&t.ExpiresAt))
	}, `SELECT hash, session_id, kind, generation, created_at, expires_at FROM opaque_tokens WHERE hash = $1`, blob(hash))
}

func (t *tx) CreateOpaqueToken(ctx context.Context, o identity.OpaqueToken) error {
	_, err := exec(ctx, t.q, `INSERT INTO opaque_tokens (hash, session_id, kind, generation, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		blob(o.Hash), string(o.SessionID), string(o.Kind), o.Generation, micros(o.CreatedAt), micros(o.ExpiresAt))
	return err
}

func (t *tx) DeleteOpaqueToken(ctx context.Context, hash []byte) error {
	_, err := exec(ctx, t.q, `DELETE FROM opaque_tokens WHERE hash = $1`, blob(hash))
	return err
}

func (r reader) RevokedToken(ctx context.Context, id string) (identity.RevokedToken, error) {
	return one(ctx, r.q, func(r Rows, t *identity.RevokedToken) error { return r.Scan(&t.ID, at(&t.ExpiresAt)) },
		`SELECT id, expires_at FROM revoked_tokens WHERE id = $1`, id)
}

func (t *tx) RevokeToken(ctx context.Context, r identity.RevokedToken) error {
	_, err := exec(ctx, t.q, `INSERT INTO revoked_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`,
		r.ID, micros(r.ExpiresAt))
	return err
}

const ticketColumns = `id, hash, purpose, door, subject_id, data, tries_left, created_at, expires_at, spent_at`

func scanTicket(r Rows, t *identity.Ticket) error {
	return r.Scan((*string)(&t.ID), (*bytes)(&t.Hash), &t.Purpose, (*string)(&t.Door), (*string)(&t.SubjectID),
		(*document)(&t.Data), &t.TriesLeft, at(&t.CreatedAt), at(&t.ExpiresAt), at(&t.SpentAt))
}

func (r reader) Ticket(ctx context.Context, id identity.TicketID) (identity.Ticket, error) {
	return one(ctx, r.q, scanTicket, `SELECT `+ticketColumns+` FROM tickets WHERE id = $1`, string(id))
}

func (r reader) TicketByHash(ctx context.Context, hash []byte) (identity.Ticket, error) {
	return one(ctx, r.q, scanTicket, `SELECT `+ticketColumns+` FROM tickets WHERE hash = $1`, blob(hash))
}

func (t *tx) CreateTicket(ctx context.Context, v identity.Ticket) error {
	_, err := exec(ctx, t.q, `INSERT INTO tickets (`+ticketColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		string(v.ID), blob(v.Hash), v.Purpose, string(v.Door), string(v.SubjectID), string(v.Data), int64(v.TriesLeft),
		micros(v.CreatedAt), micros(v.ExpiresAt), micros(v.SpentAt))
	return err
}

func (t *tx) SpendTicket(ctx context.Context, id identity.TicketID, now time.Time) (bool, error) {
	return guard(ctx, t.q, `UPDATE tickets SET spent_at = $2
		WHERE id = $1 AND spent_at = 0 AND expires_at > $2`, string(id), micros(now))
}

func (t *tx) TryTicket(ctx context.Context, id identity.TicketID, now time.Time) (int, bool, error) {
	left, err := write(ctx, t.q, scanInt, `UPDATE tickets SET tries_left = tries_left - 1
		WHERE id = $1 AND spent_at = 0 AND expires_at > $2 AND tries_left > 0 RETURNING tries_left`, string(id), micros(now))
	if err != nil || len(left) == 0 {
		return 0, false, err
	}
	return int(left[0]), true, nil
}

// DeleteTicketsOf removes those of one purpose, or of every purpose if it is "".
func (t *tx) DeleteTicketsOf(ctx context.Context, id identity.SubjectID, purpose string) error {
	if id == "" {
		return nil // tickets about nobody known belong to nobody
	}
	_, err := exec(ctx, t.q, `DELETE FROM tickets
		WHERE subject_id = $1 AND subject_id <> '' AND (CAST($2 AS TEXT) = '' OR purpose = $2)`, string(id), purpose)
	return err
}
