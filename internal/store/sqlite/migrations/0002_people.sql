-- +goose Up

ALTER TABLE subjects ADD COLUMN owner TEXT NOT NULL DEFAULT '';
CREATE INDEX subjects_kind ON subjects (kind, id);
CREATE INDEX subjects_owner ON subjects (owner, id) WHERE owner <> '';

ALTER TABLE policies ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE policies ADD COLUMN hours TEXT NOT NULL DEFAULT '[]';
ALTER TABLE policies ADD COLUMN networks TEXT NOT NULL DEFAULT '[]';

ALTER TABLE services ADD COLUMN sealed BLOB NOT NULL DEFAULT X'';
ALTER TABLE services ADD COLUMN expires_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX services_end ON services (expires_at) WHERE expires_at > 0;

CREATE TABLE pictures (
    subject_id TEXT    NOT NULL PRIMARY KEY REFERENCES subjects (id) ON DELETE CASCADE,
    media_type TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    content    BLOB    NOT NULL
) STRICT;

CREATE TABLE preferences (
    subject_id TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door       TEXT    NOT NULL,
    data       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (subject_id, door)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id          TEXT    NOT NULL PRIMARY KEY,
    subject_id  TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    hash        BLOB    NOT NULL,
    rights      TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    last_use_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_name ON api_keys (subject_id, name);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
CREATE INDEX api_keys_subject ON api_keys (subject_id, id);
CREATE INDEX api_keys_end ON api_keys (expires_at) WHERE expires_at > 0;
