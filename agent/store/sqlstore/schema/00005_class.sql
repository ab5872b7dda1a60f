-- Items have a class, by its number: see package store. The key of a peer has the class of
-- its items, too: see key.go. So lanes, counts and due times are apart for each class, and
-- a lease of one class does not see the items of others.

-- +goose Up

ALTER TABLE outbox ADD COLUMN class SMALLINT NOT NULL DEFAULT 0;
DROP INDEX outbox_buried;
CREATE INDEX outbox_buried ON outbox (class, seq) WHERE place = 2;

ALTER TABLE outbox_peer ADD COLUMN class SMALLINT NOT NULL DEFAULT 0;
DROP INDEX outbox_peer_due;
CREATE INDEX outbox_peer_due ON outbox_peer (class, due);
