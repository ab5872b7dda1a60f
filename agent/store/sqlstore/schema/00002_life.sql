-- One row for each life: an opening of the store that writes. id is what the tokens
-- of its leases begin with. beat is when it was last known to live, or when it was
-- found dead, negative. mark is of its last transaction that was committed: see
-- lives.go.

-- +goose Up

CREATE TABLE life (
    id   BIGINT NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL,
    mark BIGINT NOT NULL
);
