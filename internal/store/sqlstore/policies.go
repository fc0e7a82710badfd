package sqlstore

import (
	"context"

	"gatehouse/internal/identity"
)

const policyColumns = `id, policy_key, min_length, classes, history, max_age_days, min_score, second_factor, factors,
	session_idle, session_max, lockout_tries, lockout_span, created_at, updated_at, description, hours, networks`

func scanPolicy(r Rows, p *identity.Policy) error {
	return r.Scan((*string)(&p.ID), &p.Key, &p.Password.MinLength, &p.Password.Classes, &p.Password.History,
		&p.Password.MaxAgeDays, &p.Password.MinScore, (*string)(&p.SecondFactor), (*wordList[identity.CredentialKind])(&p.Factors),
		(*span)(&p.SessionIdle), (*span)(&p.SessionMax), &p.Lockout.Tries, (*span)(&p.Lockout.Window), at(&p.CreatedAt), at(&p.UpdatedAt), &p.Description,
		fromJSON(&p.Hours), fromJSON(&p.Networks))
}

func (r reader) Policy(ctx context.Context, id identity.PolicyID) (identity.Policy, error) {
	return one(ctx, r.q, scanPolicy, `SELECT `+policyColumns+` FROM policies WHERE id = $1`, string(id))
}

func (r reader) PolicyByKey(ctx context.Context, key string) (identity.Policy, error) {
	return one(ctx, r.q, scanPolicy, `SELECT `+policyColumns+` FROM policies WHERE policy_key = $1`, key)
}

func (r reader) Policies(ctx context.Context) ([]identity.Policy, error) {
	return list(ctx, r.q, scanPolicy, `SELECT `+policyColumns+` FROM policies ORDER BY policy_key`)
}

func (t *tx) SavePolicy(ctx context.Context, p identity.Policy) error {
	hours, err := toJSON(p.Hours)
	if err != nil {
		return err
	}
	networks, err := toJSON(p.Networks)
	if err != nil {
		return err
	}
	_, err = exec(ctx, t.q, `INSERT INTO policies (`+policyColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (id) DO UPDATE SET policy_key = excluded.policy_key, min_length = excluded.min_length,
		classes = excluded.classes, history = excluded.history, max_age_days = excluded.max_age_days,
		min_score = excluded.min_score, second_factor = excluded.second_factor, factors = excluded.factors,
		session_idle = excluded.session_idle, session_max = excluded.session_max, lockout_tries = excluded.lockout_tries,
		lockout_span = excluded.lockout_span, updated_at = excluded.updated_at, description = excluded.description,
		hours = excluded.hours, networks = excluded.networks`,
		string(p.ID), p.Key, int64(p.Password.MinLength), int64(p.Password.Classes), int64(p.Password.History),
		int64(p.Password.MaxAgeDays), int64(p.Password.MinScore), string(p.SecondFactor), words(p.Factors),
		p.SessionIdle.Microseconds(), p.SessionMax.Microseconds(), int64(p.Lockout.Tries), p.Lockout.Window.Microseconds(),
		micros(p.CreatedAt), micros(p.UpdatedAt), p.Description, hours, networks)
	return err
}

func (t *tx) DeletePolicy(ctx context.Context, id identity.PolicyID) error {
	return affect(ctx, t.q, `DELETE FROM policies WHERE id = $1`, string(id)) // whoever had it has none now
}
