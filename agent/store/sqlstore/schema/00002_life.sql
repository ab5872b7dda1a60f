-- One row for each life: an opening of the store that leases. id is what the
-- tokens of its leases begin with, and beat changes while it lives: see lives.go.

-- +goose Up

CREATE TABLE life (
    id   BIGINT NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL
);
