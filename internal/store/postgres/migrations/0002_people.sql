-- +goose Up

ALTER TABLE subjects ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX subjects_kind ON subjects (kind, id);
CREATE INDEX subjects_owner ON subjects (owner, id) WHERE owner <> '';

ALTER TABLE policies ADD COLUMN description TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE policies ADD COLUMN hours TEXT COLLATE "C" NOT NULL DEFAULT '[]';
ALTER TABLE policies ADD COLUMN networks TEXT COLLATE "C" NOT NULL DEFAULT '[]';

ALTER TABLE services ADD COLUMN sealed BYTEA NOT NULL DEFAULT '';
ALTER TABLE services ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX services_end ON services (expires_at) WHERE expires_at > 0;

CREATE TABLE pictures (
    subject_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES subjects (id) ON DELETE CASCADE,
    media_type TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT           NOT NULL,
    content    BYTEA            NOT NULL
);

CREATE TABLE preferences (
    subject_id TEXT COLLATE "C" NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door       TEXT COLLATE "C" NOT NULL,
    data       TEXT COLLATE "C" NOT NULL,
    updated_at BIGINT           NOT NULL,
    PRIMARY KEY (subject_id, door)
) WITH (fillfactor = 85);

CREATE TABLE api_keys (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject_id  TEXT COLLATE "C" NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL,
    hash        BYTEA            NOT NULL,
    rights      TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT           NOT NULL,
    expires_at  BIGINT           NOT NULL,
    last_use_at BIGINT           NOT NULL
) WITH (fillfactor = 85);
CREATE UNIQUE INDEX api_keys_name ON api_keys (subject_id, name);
CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash);
CREATE INDEX api_keys_subject ON api_keys (subject_id, id);
CREATE INDEX api_keys_end ON api_keys (expires_at) WHERE expires_at > 0;
