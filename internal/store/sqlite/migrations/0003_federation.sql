-- +goose Up

CREATE TABLE identity_providers (
    provider_key    TEXT    NOT NULL PRIMARY KEY,
    kind            TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    issuer          TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    sealed          BLOB    NOT NULL,
    tenants         TEXT    NOT NULL,
    email_trust     TEXT    NOT NULL,
    create_accounts INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    suspended_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE linked_identities (
    authority    TEXT    NOT NULL,
    external_id  TEXT    NOT NULL,
    subject_id   TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    provider_key TEXT    NOT NULL,
    email        TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_use_at  INTEGER NOT NULL,
    PRIMARY KEY (authority, external_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX linked_identities_subject ON linked_identities (subject_id, authority, external_id);
