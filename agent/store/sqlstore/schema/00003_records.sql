-- What protocols and the agent know. seq is the version of a record. The names stand
-- whole in names, before the value, those of the index behind the others.

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
