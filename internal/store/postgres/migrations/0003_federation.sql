-- +goose Up

CREATE TABLE identity_providers (
    provider_key    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind            TEXT COLLATE "C" NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    issuer          TEXT COLLATE "C" NOT NULL,
    client_id       TEXT COLLATE "C" NOT NULL,
    sealed          BYTEA            NOT NULL,
    tenants         TEXT COLLATE "C" NOT NULL,
    email_trust     TEXT COLLATE "C" NOT NULL,
    create_accounts BIGINT           NOT NULL,
    created_at      BIGINT           NOT NULL,
    updated_at      BIGINT           NOT NULL,
    suspended_at    BIGINT           NOT NULL
);

CREATE TABLE linked_identities (
    authority    TEXT COLLATE "C" NOT NULL,
    external_id  TEXT COLLATE "C" NOT NULL,
    subject_id   TEXT COLLATE "C" NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    provider_key TEXT COLLATE "C" NOT NULL,
    email        TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT           NOT NULL,
    last_use_at  BIGINT           NOT NULL,
    PRIMARY KEY (authority, external_id)
) WITH (fillfactor = 85);
CREATE INDEX linked_identities_subject ON linked_identities (subject_id, authority, external_id);
