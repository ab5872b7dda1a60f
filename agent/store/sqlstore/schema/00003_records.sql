-- State of protocols and of the agent. collection and name are keys: see key.go. seq is the
-- version of a record. names has the full collection, key and index names.

-- +goose Up

CREATE TABLE record (
    collection TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    expires    BIGINT NOT NULL, -- 0 for never
    size       BIGINT NOT NULL, -- of names and value
    names      BYTEA  NOT NULL,
    data       BYTEA  NOT NULL,
    PRIMARY KEY (collection, name)
);
CREATE UNIQUE INDEX record_seq ON record (collection, seq);
CREATE INDEX record_expires ON record (expires) WHERE expires > 0;

-- One row for each name of the index of each record.
CREATE TABLE record_index (
    collection TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (collection, name, seq)
);

-- One row for each collection that has records.
CREATE TABLE record_collection (
    collection TEXT   NOT NULL PRIMARY KEY,
    items      BIGINT NOT NULL
);
