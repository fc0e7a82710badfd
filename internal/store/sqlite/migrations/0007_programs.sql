-- +goose Up

-- Whose program a client is, and as which device it signs in; NULL: the house's, none. It goes with them: without its device it would be
-- the whole organisation's.
ALTER TABLE clients ADD COLUMN organisation_id TEXT REFERENCES organisations (id) ON DELETE CASCADE;
ALTER TABLE clients ADD COLUMN device_id       TEXT REFERENCES devices (id) ON DELETE CASCADE;
CREATE INDEX clients_organisation ON clients (organisation_id, id) WHERE organisation_id IS NOT NULL;
CREATE INDEX clients_device ON clients (device_id, id) WHERE device_id IS NOT NULL;
