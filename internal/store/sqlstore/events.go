package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/identity"
)

const eventColumns = `id, seq, at, action, outcome, actor_id, subject_id, session_id, client_id, organisation_id, door,
	address, request_id, detail, position, chain`

func scanEvent(r Rows, e *identity.Event) error {
	return r.Scan((*string)(&e.ID), &e.Seq, at(&e.At), &e.Action, &e.Outcome, (*string)(&e.ActorID), (*string)(&e.SubjectID),
		(*string)(&e.SessionID), (*string)(&e.ClientID), (*string)(&e.OrganisationID), (*string)(&e.Door), &e.Address,
		&e.RequestID, (*document)(&e.Detail), &e.Position, (*bytes)(&e.Chain))
}

// Events reads one index backwards, so that a page costs the same in a long log.
func (r reader) Events(ctx context.Context, f identity.EventFilter) ([]identity.Event, error) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if f.Before > 0 {
		where = append(where, `seq < `+arg(f.Before))
	}
	if f.Door != "" {
		where = append(where, `door = `+arg(string(f.Door)))
	}
	if f.Action != "" {
		where = append(where, `action = `+arg(f.Action))
	}
	if !f.Since.IsZero() {
		first, err := r.firstEventSince(ctx, f.Since)
		if err != nil {
			return nil, err
		}
		where = append(where, `seq >= `+arg(first), `at >= `+arg(micros(f.Since)))
	}
	limit := arg(page(f.Limit))
	find := func(conditions ...string) ([]identity.Event, error) {
		query := `SELECT ` + eventColumns + ` FROM events`
		if all := append(conditions, where...); len(all) > 0 {
			query += ` WHERE ` + strings.Join(all, ` AND `)
		}
		return list(ctx, r.q, scanEvent, query+` ORDER BY seq DESC LIMIT `+limit, args...)
	}
	if f.SubjectID == "" {
		return find()
	}
	// Two reads of two indexes, merged: an OR over two columns would read the log.
	id := arg(string(f.SubjectID))
	about, err := find(`subject_id = `+id, `subject_id <> ''`)
	if err != nil {
		return nil, err
	}
	acted, err := find(`actor_id = `+id, `actor_id <> ''`, `actor_id <> subject_id`)
	if err != nil {
		return nil, err
	}
	both := append(about, acted...)
	slices.SortFunc(both, func(a, b identity.Event) int { return cmp.Compare(b.Seq, a.Seq) })
	return both[:min(len(both), int(page(f.Limit)))], nil
}

// slack is how far apart in time neighbours of the log may be, in either direction: clocks of nodes differ, and are set.
const slack = 24 * time.Hour

// firstEventSince finds where to stop reading backwards. Rows follow each other in time but for the slack, so it is a
// binary search over seq: some twenty point reads in place of one more index that every write would pay for.
func (r reader) firstEventSince(ctx context.Context, since time.Time) (int64, error) {
	newest, err := one(ctx, r.q, scanInt, `SELECT COALESCE(MAX(seq), 0) FROM events`)
	if err != nil {
		return 0, err
	}
	type row struct {
		seq int64
		at  time.Time
	}
	low, high := int64(0), newest+1 // everything below low is too old; high is not known to be
	for low < high {
		middle := low + (high-low)/2
		next, err := list(ctx, r.q, func(r Rows, v *row) error { return r.Scan(&v.seq, at(&v.at)) },
			`SELECT seq, at FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1`, middle)
		if err != nil {
			return 0, err
		}
		if len(next) > 0 && next[0].at.Before(since.Add(-slack)) {
			low = next[0].seq + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

func (r reader) SealedEvents(ctx context.Context, after int64, limit int) ([]identity.Event, error) {
	return list(ctx, r.q, scanEvent, `SELECT `+eventColumns+` FROM events
		WHERE position > 0 AND position > $1 ORDER BY position LIMIT $2`, after, page(limit))
}

func (r reader) UnsealedEvents(ctx context.Context, limit int) ([]identity.Event, error) {
	return list(ctx, r.q, scanEvent, `SELECT `+eventColumns+` FROM events WHERE position = 0 ORDER BY seq LIMIT $1`, page(limit))
}

func (r reader) LastSealedEvent(ctx context.Context) (identity.Event, error) {
	return one(ctx, r.q, scanEvent, `SELECT `+eventColumns+` FROM events WHERE position > 0 ORDER BY position DESC LIMIT 1`)
}

const checkpointColumns = `position, chain, at, signature, anchor`

func scanCheckpoint(r Rows, c *identity.Checkpoint) error {
	return r.Scan(&c.Position, (*bytes)(&c.Chain), at(&c.At), &c.Signature, (*truth)(&c.Anchor))
}

func (r reader) Checkpoints(ctx context.Context, after int64, limit int) ([]identity.Checkpoint, error) {
	return list(ctx, r.q, scanCheckpoint,
		`SELECT `+checkpointColumns+` FROM checkpoints WHERE position > $1 ORDER BY position LIMIT $2`, after, page(limit))
}

func (r reader) LastCheckpoint(ctx context.Context) (identity.Checkpoint, error) {
	return one(ctx, r.q, scanCheckpoint, `SELECT `+checkpointColumns+` FROM checkpoints ORDER BY position DESC LIMIT 1`)
}

func (t *tx) Record(ctx context.Context, e *identity.Event) (err error) {
	e.Seq, err = writeInt(ctx, t.q, `INSERT INTO events (id, at, action, outcome, actor_id, subject_id, session_id, client_id,
		organisation_id, door, address, request_id, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		RETURNING seq`,
		string(e.ID), micros(e.At), e.Action, e.Outcome, string(e.ActorID), string(e.SubjectID), string(e.SessionID),
		string(e.ClientID), string(e.OrganisationID), string(e.Door), e.Address, e.RequestID, string(e.Detail))
	return err
}

func (t *tx) SealEvents(ctx context.Context, sealed []identity.Event) error {
	for _, e := range sealed {
		done, err := guard(ctx, t.q, `UPDATE events SET position = $2, chain = $3 WHERE seq = $1 AND position = 0`,
			e.Seq, e.Position, blob(e.Chain))
		if err != nil {
			return err
		}
		if !done {
			return identity.Conflict.Wrap(fmt.Errorf("event %d is sealed already", e.Seq))
		}
	}
	return nil
}

func (t *tx) SaveCheckpoint(ctx context.Context, c identity.Checkpoint) error {
	_, err := exec(ctx, t.q, `INSERT INTO checkpoints (`+checkpointColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (position) DO UPDATE SET chain = excluded.chain, at = excluded.at, signature = excluded.signature, anchor = excluded.anchor`,
		c.Position, blob(c.Chain), micros(c.At), c.Signature, flag(c.Anchor))
	return err
}

func (t *tx) PruneEvents(ctx context.Context, upTo int64, limit int) (int, error) {
	n, err := exec(ctx, t.q, `DELETE FROM events WHERE seq IN (
		SELECT seq FROM events WHERE position > 0 AND position <= $1 ORDER BY position LIMIT $2)`, upTo, page(limit))
	if err != nil {
		return 0, err
	}
	// The checkpoint at upTo is where the log starts now; those before it vouch for nothing that is left.
	_, err = exec(ctx, t.q, `DELETE FROM checkpoints WHERE position IN (
		SELECT position FROM checkpoints WHERE position < $1 ORDER BY position LIMIT $2)`, upTo, page(limit))
	return int(n), err
}
