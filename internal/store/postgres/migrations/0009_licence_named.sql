-- +goose Up

-- Whether a licence is for the devices that it names, even while it names none. A version before this writes 0 beside taken devices.
ALTER TABLE licences ADD COLUMN named BIGINT NOT NULL DEFAULT 0;
UPDATE licences SET named = 1 WHERE taken > 0;
