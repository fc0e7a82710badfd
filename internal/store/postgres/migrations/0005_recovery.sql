-- +goose Up

CREATE TABLE recoveries (
    id           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    subject_id   TEXT COLLATE "C" NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door         TEXT COLLATE "C" NOT NULL,
    address      TEXT COLLATE "C" NOT NULL,
    state        TEXT COLLATE "C" NOT NULL,
    hash         BYTEA            NOT NULL,
    created_at   BIGINT           NOT NULL,
    decided_at   BIGINT           NOT NULL,
    used_at      BIGINT           NOT NULL,
    expires_at   BIGINT           NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX recoveries_subject ON recoveries (subject_id, id);
CREATE INDEX recoveries_state ON recoveries (state, id);
CREATE INDEX recoveries_end ON recoveries (expires_at);

CREATE TABLE browsers (
    hash       BYTEA            NOT NULL PRIMARY KEY,
    subject_id TEXT COLLATE "C" NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door       TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    user_agent TEXT COLLATE "C" NOT NULL,
    created_at BIGINT           NOT NULL,
    expires_at BIGINT           NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX browsers_subject ON browsers (subject_id);
CREATE INDEX browsers_end ON browsers (expires_at);
