-- +goose Up

ALTER TABLE sessions ADD COLUMN origin_id TEXT NOT NULL DEFAULT '';
