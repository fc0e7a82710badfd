-- +goose Up

-- As a part of a name is searched for; '' where a version before this wrote the row.
ALTER TABLE organisations ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';

CREATE TABLE agreements (
    id            TEXT    NOT NULL PRIMARY KEY,
    agreement_key TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    name_folded   TEXT    NOT NULL,
    kind          TEXT    NOT NULL,
    kind_folded   TEXT    NOT NULL,
    provides      TEXT    NOT NULL,
    published_at  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX agreements_key ON agreements (agreement_key);

CREATE TABLE devices (
    id              TEXT    NOT NULL PRIMARY KEY,
    device_key      TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    organisation_id TEXT    NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX devices_key ON devices (device_key);
CREATE INDEX devices_organisation ON devices (organisation_id, id);

-- An organisation's licences stand together, so that a list of them reads as few pages among a million as among a thousand.
CREATE TABLE licences (
    id               TEXT    NOT NULL,
    licence_key      TEXT    NOT NULL,
    code             TEXT    NOT NULL,
    code_folded      TEXT    NOT NULL,
    agreement_id     TEXT    NOT NULL REFERENCES agreements (id),
    organisation_id  TEXT    NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    provider_id      TEXT    REFERENCES organisations (id) ON DELETE SET NULL,
    signed_by        TEXT    NOT NULL,
    signed_at        INTEGER NOT NULL,
    starts_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    grace            INTEGER NOT NULL,
    paid_until_at    INTEGER NOT NULL,
    amount_per_month INTEGER NOT NULL,
    discount_bp      INTEGER NOT NULL,
    catalogues       TEXT    NOT NULL,
    seats            INTEGER NOT NULL,
    taken            INTEGER NOT NULL,
    revoked_at       INTEGER NOT NULL,
    revoked_for      TEXT    NOT NULL,
    documents_end_at INTEGER NOT NULL,
    notice_at        INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    PRIMARY KEY (organisation_id, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX licences_id ON licences (id);
CREATE UNIQUE INDEX licences_key ON licences (licence_key);
CREATE UNIQUE INDEX licences_code ON licences (code_folded);
CREATE INDEX licences_agreement ON licences (agreement_id);
CREATE INDEX licences_provider ON licences (provider_id) WHERE provider_id IS NOT NULL;
CREATE INDEX licences_newest ON licences (created_at, id);
CREATE INDEX licences_notice ON licences (notice_at, id) WHERE notice_at > 0;

CREATE TABLE licence_devices (
    licence_id  TEXT    NOT NULL REFERENCES licences (id) ON DELETE CASCADE,
    device_id   TEXT    NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    assigned_at INTEGER NOT NULL,
    PRIMARY KEY (licence_id, device_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX licence_devices_device ON licence_devices (device_id, licence_id);

CREATE TABLE licence_renewals (
    id               TEXT    NOT NULL PRIMARY KEY,
    licence_id       TEXT    NOT NULL REFERENCES licences (id) ON DELETE CASCADE,
    renewed_by       TEXT    NOT NULL,
    renewed_at       INTEGER NOT NULL,
    old_expires_at   INTEGER NOT NULL,
    new_expires_at   INTEGER NOT NULL,
    old_paid_until   INTEGER NOT NULL,
    new_paid_until   INTEGER NOT NULL,
    old_amount       INTEGER NOT NULL,
    new_amount       INTEGER NOT NULL,
    old_discount_bp  INTEGER NOT NULL,
    new_discount_bp  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX licence_renewals_licence ON licence_renewals (licence_id, id);

-- AUTOINCREMENT, because the epoch never goes back. Rows refer to nothing: a document outlives a licence that was deleted.
CREATE TABLE licence_revocations (
    epoch           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    licence_id      TEXT    NOT NULL,
    organisation_id TEXT    NOT NULL,
    revoked_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX licence_revocations_licence ON licence_revocations (licence_id, organisation_id);
CREATE INDEX licence_revocations_end ON licence_revocations (expires_at);
