-- +goose Up

ALTER TABLE sessions ADD COLUMN origin_id TEXT COLLATE "C" NOT NULL DEFAULT '';
