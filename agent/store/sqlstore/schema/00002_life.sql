-- One row for each instance: an opening of the store by a process that writes. The tokens of
-- its leases begin with id. beat is the time of its last heartbeat, or, negative, the time
-- when another instance marked it as dead. mark is the number of its last transaction that
-- was committed. See liveness.go.

-- +goose Up

CREATE TABLE life (
    id   BIGINT NOT NULL PRIMARY KEY,
    beat BIGINT NOT NULL,
    mark BIGINT NOT NULL
);
