-- +goose Up

CREATE TABLE policies (
    id            TEXT    NOT NULL PRIMARY KEY,
    policy_key    TEXT    NOT NULL,
    min_length    INTEGER NOT NULL,
    classes       INTEGER NOT NULL,
    history       INTEGER NOT NULL,
    max_age_days  INTEGER NOT NULL,
    min_score     INTEGER NOT NULL,
    second_factor TEXT    NOT NULL,
    factors       TEXT    NOT NULL,
    session_idle  INTEGER NOT NULL,
    session_max   INTEGER NOT NULL,
    lockout_tries INTEGER NOT NULL,
    lockout_span  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX policies_key ON policies (policy_key);

-- AUTOINCREMENT, because a number that a door has shown is never given to somebody else.
CREATE TABLE subjects (
    number          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL,
    hash            TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    email           TEXT    NOT NULL,
    email_folded    TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    name_folded     TEXT    NOT NULL,
    given_name      TEXT    NOT NULL,
    middle_name     TEXT    NOT NULL,
    family_name     TEXT    NOT NULL,
    phone           TEXT    NOT NULL,
    locale          TEXT    NOT NULL,
    superadmin      INTEGER NOT NULL,
    must_verify     INTEGER NOT NULL,
    policy_id       TEXT    REFERENCES policies (id) ON DELETE SET NULL,
    last_org_id     TEXT    NOT NULL,
    attributes      TEXT    NOT NULL,
    created_by      TEXT    NOT NULL,
    updated_by      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    verified_at     INTEGER NOT NULL,
    suspended_at    INTEGER NOT NULL,
    last_sign_in_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX subjects_id ON subjects (id);
CREATE UNIQUE INDEX subjects_hash ON subjects (hash) WHERE hash <> '';
CREATE INDEX subjects_policy ON subjects (policy_id) WHERE policy_id IS NOT NULL;
CREATE INDEX subjects_superadmin ON subjects (id) WHERE superadmin = 1;
CREATE INDEX subjects_suspended ON subjects (id) WHERE suspended_at <> 0;

CREATE TABLE logins (
    folded     TEXT    NOT NULL PRIMARY KEY,
    subject_id TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL,
    typed      TEXT    NOT NULL,
    skeleton   TEXT    NOT NULL,
    is_primary INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX logins_skeleton ON logins (skeleton);
CREATE INDEX logins_subject ON logins (subject_id, folded);

CREATE TABLE organisations (
    number     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL,
    hash       TEXT    NOT NULL,
    org_key    TEXT    NOT NULL,
    name       TEXT    NOT NULL,
    policy_id  TEXT    REFERENCES policies (id) ON DELETE SET NULL,
    attributes TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX organisations_id ON organisations (id);
CREATE UNIQUE INDEX organisations_hash ON organisations (hash) WHERE hash <> '';
CREATE UNIQUE INDEX organisations_key ON organisations (org_key);
CREATE INDEX organisations_policy ON organisations (policy_id) WHERE policy_id IS NOT NULL;

CREATE TABLE sites (
    id              TEXT    NOT NULL PRIMARY KEY,
    organisation_id TEXT    NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    site_key        TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sites_key ON sites (organisation_id, site_key);
CREATE INDEX sites_name ON sites (organisation_id, name, id);

CREATE TABLE roles (
    role_key   TEXT    NOT NULL PRIMARY KEY,
    privileges TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE memberships (
    id              TEXT    NOT NULL PRIMARY KEY,
    subject_id      TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    organisation_id TEXT    NOT NULL REFERENCES organisations (id) ON DELETE CASCADE,
    site_id         TEXT    REFERENCES sites (id) ON DELETE CASCADE,
    role_key        TEXT    REFERENCES roles (role_key),
    attributes      TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX memberships_place ON memberships (subject_id, organisation_id, COALESCE(site_id, ''));
CREATE INDEX memberships_member ON memberships (organisation_id, subject_id);
CREATE INDEX memberships_site ON memberships (site_id) WHERE site_id IS NOT NULL;
CREATE INDEX memberships_role ON memberships (role_key) WHERE role_key IS NOT NULL;

CREATE TABLE services (
    number       INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    service_type TEXT    NOT NULL,
    public_uri   TEXT    NOT NULL,
    private_uri  TEXT    NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX services_place ON services (service_type, public_uri);

CREATE TABLE credentials (
    id          TEXT    NOT NULL PRIMARY KEY,
    subject_id  TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    kind        TEXT    NOT NULL,
    hash        TEXT    NOT NULL,
    sealed      BLOB    NOT NULL,
    target      TEXT    NOT NULL,
    previous    TEXT    NOT NULL,
    must_change INTEGER NOT NULL,
    last_step   INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_kind ON credentials (subject_id, kind);

CREATE TABLE attempts (
    attempt_key TEXT    NOT NULL PRIMARY KEY,
    failures    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_end ON attempts (expires_at);

-- Refresh changes no indexed column: sweep_at is set at creation, and again by the sweeper if the end has moved.
CREATE TABLE sessions (
    id               TEXT    NOT NULL PRIMARY KEY,
    subject_id       TEXT    NOT NULL REFERENCES subjects (id) ON DELETE CASCADE,
    door             TEXT    NOT NULL,
    client_id        TEXT    NOT NULL,
    organisation_id  TEXT    NOT NULL,
    actor_id         TEXT    NOT NULL,
    amr              TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    remember         INTEGER NOT NULL,
    keeps_spent      INTEGER NOT NULL,
    generation       INTEGER NOT NULL,
    address          TEXT    NOT NULL,
    user_agent       TEXT    NOT NULL,
    attributes       TEXT    NOT NULL,
    previous_sign_in INTEGER NOT NULL,
    authenticated_at INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    refreshed_at     INTEGER NOT NULL,
    seen_at          INTEGER NOT NULL,
    idle_ttl         INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL,
    absolute_at      INTEGER NOT NULL,
    ended_at         INTEGER NOT NULL,
    end_reason       TEXT    NOT NULL,
    sweep_at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_subject ON sessions (subject_id, id);
CREATE INDEX sessions_actor ON sessions (actor_id) WHERE actor_id <> '';
CREATE INDEX sessions_sweep ON sessions (sweep_at);

CREATE TABLE opaque_tokens (
    hash       BLOB    NOT NULL PRIMARY KEY,
    session_id TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX opaque_tokens_end ON opaque_tokens (expires_at);

CREATE TABLE revoked_tokens (
    id         TEXT    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_tokens_end ON revoked_tokens (expires_at);

CREATE TABLE tickets (
    id         TEXT    NOT NULL PRIMARY KEY,
    hash       BLOB    NOT NULL,
    purpose    TEXT    NOT NULL,
    door       TEXT    NOT NULL,
    subject_id TEXT    NOT NULL,
    data       TEXT    NOT NULL,
    tries_left INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    spent_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tickets_hash ON tickets (hash);
CREATE INDEX tickets_subject ON tickets (subject_id) WHERE subject_id <> '';
CREATE INDEX tickets_end ON tickets (expires_at);

CREATE TABLE clients (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL,
    secret_hash   TEXT    NOT NULL,
    grants        TEXT    NOT NULL,
    scopes        TEXT    NOT NULL,
    redirect_uris TEXT    NOT NULL,
    audiences     TEXT    NOT NULL,
    signing_alg   TEXT    NOT NULL,
    attributes    TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    suspended_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    id           TEXT    NOT NULL PRIMARY KEY,
    algorithm    TEXT    NOT NULL,
    public       BLOB    NOT NULL,
    sealed       BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    retires_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
    name       TEXT    NOT NULL PRIMARY KEY,
    sealed     BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    seq             INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL,
    at              INTEGER NOT NULL,
    action          TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    actor_id        TEXT    NOT NULL,
    subject_id      TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    organisation_id TEXT    NOT NULL,
    door            TEXT    NOT NULL,
    address         TEXT    NOT NULL,
    request_id      TEXT    NOT NULL,
    detail          TEXT    NOT NULL,
    position        INTEGER NOT NULL DEFAULT 0,
    chain           BLOB    NOT NULL DEFAULT X''
) STRICT;
CREATE INDEX events_subject ON events (subject_id, seq) WHERE subject_id <> '';
CREATE INDEX events_actor ON events (actor_id, seq) WHERE actor_id <> '' AND actor_id <> subject_id;
CREATE INDEX events_door ON events (door, seq);
CREATE INDEX events_action ON events (action, seq);
CREATE INDEX events_unsealed ON events (seq) WHERE position = 0;
CREATE UNIQUE INDEX events_position ON events (position) WHERE position > 0;

CREATE TABLE checkpoints (
    position  INTEGER NOT NULL PRIMARY KEY,
    chain     BLOB    NOT NULL,
    at        INTEGER NOT NULL,
    signature TEXT    NOT NULL,
    anchor    INTEGER NOT NULL
) STRICT;

CREATE TABLE outbox (
    id          TEXT    NOT NULL PRIMARY KEY,
    channel     TEXT    NOT NULL,
    recipient   TEXT    NOT NULL,
    template    TEXT    NOT NULL,
    sealed      BLOB    NOT NULL,
    attempts    INTEGER NOT NULL,
    last_error  TEXT    NOT NULL,
    lease_owner TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    sent_at     INTEGER NOT NULL,
    given_up_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (next_at, id) WHERE sent_at = 0 AND given_up_at = 0;
CREATE INDEX outbox_waiting ON outbox (id) WHERE sent_at = 0 AND given_up_at = 0;
CREATE INDEX outbox_given_up ON outbox (id) WHERE given_up_at <> 0;
CREATE INDEX outbox_end ON outbox (expires_at) WHERE expires_at > 0;

CREATE TABLE changes (
    seq  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT    NOT NULL,
    ref  TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT;

CREATE TABLE leases (
    name       TEXT    NOT NULL PRIMARY KEY,
    owner      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
