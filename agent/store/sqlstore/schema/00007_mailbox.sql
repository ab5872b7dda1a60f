-- A packet can be in several boxes: they share its row in mail_packet, and its seq. The last of
-- the boxes that lets go of the packet removes this row. boxes is how many boxes the packet was put
-- into. due is when a delay or a lease ends, 0 for neither. A lease has deliveries, a delay has
-- none. sender and recipient are keys. They are empty for older mail, so such mail has the turns
-- and the shares of one sender.

-- +goose Up

ALTER TABLE mail ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN recipient TEXT NOT NULL DEFAULT '';
ALTER TABLE mail ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN deliveries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mail ADD COLUMN boxes BIGINT NOT NULL DEFAULT 1;
UPDATE mail SET deliveries = 1 WHERE due > 0;
DROP INDEX mail_seq;
DROP INDEX mail_free;
CREATE UNIQUE INDEX mail_order ON mail (box, seq);
CREATE INDEX mail_shared ON mail (seq) WHERE boxes > 1;
CREATE INDEX mail_free ON mail (box, deliveries, turn, seq) WHERE due = 0;
CREATE INDEX mail_tried ON mail (box, deliveries, turn, seq) WHERE deliveries <> 0;
CREATE INDEX mail_recipient_free ON mail (box, recipient, deliveries, turn, seq) WHERE due = 0;
CREATE INDEX mail_recipient_tried ON mail (box, recipient, deliveries, turn, seq) WHERE deliveries <> 0;
CREATE INDEX mail_recipient_order ON mail (box, recipient, seq);

-- tried counts the packets that were leased. turn is that of the packet that was leased last.
-- written is the latest time at which the row was written. name is the name of the box if its
-- key is a hash.
ALTER TABLE mailbox ADD COLUMN tried BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN written BIGINT NOT NULL DEFAULT 0;
ALTER TABLE mailbox ADD COLUMN name BYTEA NOT NULL DEFAULT '';
UPDATE mailbox SET tried = (SELECT COUNT(*) FROM mail m WHERE m.box = mailbox.box AND m.deliveries > 0);

-- One row for each sender and each recipient that has mail in a box. party is the key of the
-- sender after 's', or that of the recipient after 'r'. turn is the next one of a sender.
CREATE TABLE mail_party (
    box   TEXT   NOT NULL,
    party TEXT   NOT NULL,
    items BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    tried BIGINT NOT NULL,
    turn  BIGINT NOT NULL,
    PRIMARY KEY (box, party)
);
INSERT INTO mail_party (box, party, items, bytes, tried, turn) SELECT box, 's', items, bytes, tried, 1 FROM mailbox;
INSERT INTO mail_party (box, party, items, bytes, tried, turn) SELECT box, 'r', items, bytes, tried, 0 FROM mailbox;

-- One row for each sender that has mail, with what all boxes have of this sender.
CREATE TABLE mail_sender (
    sender TEXT   NOT NULL PRIMARY KEY,
    items  BIGINT NOT NULL,
    bytes  BIGINT NOT NULL
);
INSERT INTO mail_sender (sender, items, bytes)
    SELECT '', CAST(SUM(items) AS BIGINT), CAST(SUM(bytes) AS BIGINT) FROM mailbox HAVING COUNT(*) > 0;
