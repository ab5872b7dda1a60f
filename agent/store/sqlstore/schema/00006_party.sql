-- Messages have a class, by its number: see package store. party is the key of the party in
-- whose share a message is remembered: the peer, or one party for all strangers.
--
-- message is the key of the id of a message, to find it. Rows that are older than this
-- column have an empty one.

-- +goose Up

ALTER TABLE inbox ADD COLUMN class SMALLINT NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN party TEXT NOT NULL DEFAULT '';
UPDATE inbox SET party = peer;
CREATE INDEX inbox_past ON inbox (party, until) WHERE state > 1;
DROP INDEX inbox_kept;
CREATE INDEX inbox_kept ON inbox (party, seq) WHERE state > 1 AND size > 0;

-- One row for each party but the strangers that has messages that are done or buried, with
-- the bytes that are kept with them.
CREATE TABLE inbox_party (
    party TEXT   NOT NULL PRIMARY KEY,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
INSERT INTO inbox_party (party, items, bytes) SELECT party, COUNT(*), CAST(SUM(size) AS BIGINT) FROM inbox WHERE state > 1 GROUP BY party;
CREATE INDEX inbox_party_items ON inbox_party (items);
CREATE INDEX inbox_party_bytes ON inbox_party (bytes);

ALTER TABLE inbox_packet ADD COLUMN message TEXT NOT NULL DEFAULT '';
CREATE INDEX inbox_packet_message ON inbox_packet (message);
