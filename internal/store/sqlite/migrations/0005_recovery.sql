-- +goose Up

CREATE TABLE recoveries (
    id           TEXT    NOT NULL PRIMARY KEY,
    subject_id   TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door         TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    hash         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    decided_at   INTEGER NOT NULL,
    used_at      INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX recoveries_subject ON recoveries (subject_id, id);
CREATE INDEX recoveries_state ON recoveries (state, id);
CREATE INDEX recoveries_end ON recoveries (expires_at);

CREATE TABLE browsers (
    hash       BLOB    NOT NULL PRIMARY KEY,
    subject_id TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door       TEXT    NOT NULL,
    session_id TEXT    NOT NULL,
    user_agent TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX browsers_subject ON browsers (subject_id);
CREATE INDEX browsers_end ON browsers (expires_at);
