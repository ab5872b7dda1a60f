-- owner is the key of the second party that has the message or the item in its share,
-- besides peer. It is empty if there is no second party. The owners of messages are counted
-- in inbox_peer, so that one statement reads, and one writes, all shares that a message
-- takes: no owner has the key of a peer. The owners of items have a table of their own,
-- since the rows of outbox_peer are locked while items are worked on.

-- +goose Up

ALTER TABLE inbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN owner TEXT NOT NULL DEFAULT '';

-- One row for each owner that has items that are not buried.
CREATE TABLE outbox_owner (
    owner TEXT   NOT NULL PRIMARY KEY,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
