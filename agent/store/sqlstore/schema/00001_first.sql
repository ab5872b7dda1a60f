-- The same text is for SQLite and PostgreSQL. Times are microseconds since 1970, and each
-- seq follows the time: see clock.go. Columns for names have the keys of the names: see
-- key.go. Packets and full names are in tables of their own, called _packet, so that an
-- update of the state of an entry does not write them again.

-- +goose Up

CREATE TABLE outbox (
    id         TEXT     NOT NULL PRIMARY KEY,
    seq        BIGINT   NOT NULL,
    peer       TEXT     NOT NULL,
    lane       TEXT     NOT NULL,
    place      SMALLINT NOT NULL, -- 0 behind the head of its lane, 1 head of its lane, 2 buried
    due        BIGINT   NOT NULL,
    token      BIGINT   NOT NULL, -- of the lease, 0 for none
    awaits     SMALLINT NOT NULL, -- 1 when it is leased and awaits an acknowledgement
    attempts   BIGINT   NOT NULL,
    last_error TEXT     NOT NULL,
    created    BIGINT   NOT NULL,
    deadline   BIGINT   NOT NULL,
    size       BIGINT   NOT NULL
);
CREATE UNIQUE INDEX outbox_seq ON outbox (seq);
CREATE INDEX outbox_lane ON outbox (peer, lane, seq) WHERE place < 2;
CREATE INDEX outbox_head ON outbox (peer, due, seq) WHERE place = 1;
CREATE INDEX outbox_leased ON outbox (peer, awaits, due) WHERE token <> 0;
CREATE INDEX outbox_buried ON outbox (seq) WHERE place = 2;

CREATE TABLE outbox_packet (
    seq   BIGINT NOT NULL PRIMARY KEY,
    names BYTEA  NOT NULL,
    data  BYTEA  NOT NULL
);

-- One row for each peer that has items that are not buried. due is when the next item for
-- the peer can be leased.
CREATE TABLE outbox_peer (
    peer  TEXT   NOT NULL PRIMARY KEY,
    due   BIGINT NOT NULL,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE INDEX outbox_peer_due ON outbox_peer (due);

CREATE TABLE inbox (
    id         TEXT     NOT NULL PRIMARY KEY, -- hash of the sender and the id of the message
    seq        BIGINT   NOT NULL,
    peer       TEXT     NOT NULL,
    state      SMALLINT NOT NULL, -- 0 waiting, 1 leased, 2 done, 3 buried
    due        BIGINT   NOT NULL,
    token      BIGINT   NOT NULL,
    attempts   BIGINT   NOT NULL,
    last_error TEXT     NOT NULL,
    received   BIGINT   NOT NULL,
    until      BIGINT   NOT NULL,
    size       BIGINT   NOT NULL  -- bytes of the packet and the replies that are kept
);
CREATE UNIQUE INDEX inbox_seq ON inbox (seq);
CREATE INDEX inbox_due ON inbox (due, seq) WHERE state < 2;
CREATE INDEX inbox_until ON inbox (until) WHERE state > 1;
CREATE INDEX inbox_kept ON inbox (seq) WHERE state > 1 AND size > 0;

CREATE TABLE inbox_packet (
    seq   BIGINT NOT NULL PRIMARY KEY,
    names BYTEA  NOT NULL,
    data  BYTEA  NOT NULL
);

CREATE TABLE inbox_reply (
    seq  BIGINT NOT NULL PRIMARY KEY,
    data BYTEA  NOT NULL
);

-- One row for each peer that has waiting or leased messages.
CREATE TABLE inbox_peer (
    peer  TEXT   NOT NULL PRIMARY KEY,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

CREATE TABLE mail (
    box      TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    seq      BIGINT NOT NULL,
    due      BIGINT NOT NULL, -- when the lease ends, 0 for no lease
    received BIGINT NOT NULL,
    expires  BIGINT NOT NULL, -- 0 for never
    size     BIGINT NOT NULL,
    PRIMARY KEY (box, id)
);
CREATE UNIQUE INDEX mail_seq ON mail (seq);
CREATE INDEX mail_free ON mail (box, seq) WHERE due = 0;
CREATE INDEX mail_leased ON mail (box, due, seq) WHERE due > 0;
CREATE INDEX mail_expires ON mail (box, expires) WHERE expires > 0;

CREATE TABLE mail_packet (
    seq   BIGINT NOT NULL PRIMARY KEY,
    names BYTEA  NOT NULL,
    data  BYTEA  NOT NULL
);

-- One row for each box that has mail. expires is when the first mail expires.
CREATE TABLE mailbox (
    box     TEXT   NOT NULL PRIMARY KEY,
    items   BIGINT NOT NULL,
    bytes   BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX mailbox_expires ON mailbox (expires);

CREATE TABLE keyring (
    id      BIGINT NOT NULL PRIMARY KEY, -- 1
    wrapped BYTEA  NOT NULL
);

CREATE TABLE sealed_key (
    id     TEXT   NOT NULL PRIMARY KEY,
    seq    BIGINT NOT NULL,
    kid    BYTEA  NOT NULL,
    sealed BYTEA  NOT NULL
);
CREATE UNIQUE INDEX sealed_key_seq ON sealed_key (seq);

-- Totals, in shards. A process adds to one row and reads the sum of all rows, so that
-- processes do not wait for each other.
CREATE TABLE total (
    name  TEXT   NOT NULL,
    shard BIGINT NOT NULL,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (name, shard)
);
