package sqlstore

import (
	"context"
	"time"

	"gatehouse/internal/identity"
)

// What belongs to one subject and goes with her: her portrait, her clients' preferences, her API keys.

const pictureHead = `subject_id, media_type, tag, updated_at`

func (r reader) Picture(ctx context.Context, id identity.SubjectID) (identity.Picture, error) {
	return one(ctx, r.q, func(r Rows, p *identity.Picture) error {
		return r.Scan((*string)(&p.SubjectID), &p.MediaType, &p.Tag, at(&p.UpdatedAt), (*bytes)(&p.Bytes))
	}, `SELECT `+pictureHead+`, content FROM pictures WHERE subject_id = $1`, string(id))
}

func (r reader) PictureHead(ctx context.Context, id identity.SubjectID) (identity.Picture, error) {
	return one(ctx, r.q, func(r Rows, p *identity.Picture) error {
		return r.Scan((*string)(&p.SubjectID), &p.MediaType, &p.Tag, at(&p.UpdatedAt))
	}, `SELECT `+pictureHead+` FROM pictures WHERE subject_id = $1`, string(id))
}

func (t *tx) SavePicture(ctx context.Context, p identity.Picture) error {
	_, err := exec(ctx, t.q, `INSERT INTO pictures (`+pictureHead+`, content) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (subject_id) DO UPDATE SET media_type = excluded.media_type, tag = excluded.tag,
		updated_at = excluded.updated_at, content = excluded.content`,
		string(p.SubjectID), p.MediaType, p.Tag, micros(p.UpdatedAt), blob(p.Bytes))
	return err
}

func (t *tx) DeletePicture(ctx context.Context, id identity.SubjectID) error {
	return affect(ctx, t.q, `DELETE FROM pictures WHERE subject_id = $1`, string(id))
}

func (r reader) Preferences(ctx context.Context, id identity.SubjectID, door identity.Door) (identity.Preferences, error) {
	return one(ctx, r.q, func(r Rows, p *identity.Preferences) error {
		return r.Scan((*string)(&p.SubjectID), (*string)(&p.Door), (*document)(&p.Data), at(&p.UpdatedAt))
	}, `SELECT subject_id, door, data, updated_at FROM preferences WHERE subject_id = $1 AND door = $2`, string(id), string(door))
}

func (t *tx) SavePreferences(ctx context.Context, p identity.Preferences) error {
	_, err := exec(ctx, t.q, `INSERT INTO preferences (subject_id, door, data, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (subject_id, door) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at`,
		string(p.SubjectID), string(p.Door), string(p.Data), micros(p.UpdatedAt))
	return err
}

const apiKeyColumns = `id, subject_id, name, description, hash, rights, created_at, expires_at, last_use_at`

func scanAPIKey(r Rows, k *identity.APIKey) error {
	return r.Scan((*string)(&k.ID), (*string)(&k.SubjectID), &k.Name, &k.Description, (*bytes)(&k.Hash), (*document)(&k.Rights),
		at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.LastUseAt))
}

func (r reader) APIKey(ctx context.Context, id identity.APIKeyID) (identity.APIKey, error) {
	return one(ctx, r.q, scanAPIKey, `SELECT `+apiKeyColumns+` FROM api_keys WHERE id = $1`, string(id))
}

func (r reader) APIKeyByHash(ctx context.Context, hash []byte) (identity.APIKey, error) {
	return one(ctx, r.q, scanAPIKey, `SELECT `+apiKeyColumns+` FROM api_keys WHERE hash = $1`, blob(hash))
}

func (r reader) APIKeysOf(ctx context.Context, id identity.SubjectID) ([]identity.APIKey, error) {
	return list(ctx, r.q, scanAPIKey, `SELECT `+apiKeyColumns+` FROM api_keys WHERE subject_id = $1 ORDER BY id LIMIT $2`,
		string(id), int64(maxPage))
}

func (t *tx) CreateAPIKey(ctx context.Context, k identity.APIKey) error {
	_, err := exec(ctx, t.q, `INSERT INTO api_keys (`+apiKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		string(k.ID), string(k.SubjectID), k.Name, k.Description, blob(k.Hash), string(k.Rights),
		micros(k.CreatedAt), micros(k.ExpiresAt), micros(k.LastUseAt))
	return err
}

func (t *tx) UpdateAPIKey(ctx context.Context, k identity.APIKey) error {
	return affect(ctx, t.q, `UPDATE api_keys SET description = $2, rights = $3 WHERE id = $1`, string(k.ID), k.Description, string(k.Rights))
}

func (t *tx) TouchAPIKey(ctx context.Context, id identity.APIKeyID, when time.Time) error {
	_, err := exec(ctx, t.q, `UPDATE api_keys SET last_use_at = $2 WHERE id = $1 AND last_use_at < $2`, string(id), micros(when))
	return err
}

func (t *tx) DeleteAPIKey(ctx context.Context, id identity.APIKeyID) error {
	return affect(ctx, t.q, `DELETE FROM api_keys WHERE id = $1`, string(id))
}
