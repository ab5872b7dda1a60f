package sqlstore

import (
	"cmp"
	"database/sql"
	"maps"
	"slices"
)

// partyOf names a sender or a recipient of the mail in a box.
type partyOf struct{ box, party string }

func senderParty(sender string) string       { return "s" + sender }
func recipientParty(recipient string) string { return "r" + recipient }

func recipientParties(recipients []string) []string {
	parties := make([]string, len(recipients))
	for i, recipient := range recipients {
		parties[i] = recipientParty(recipient)
	}
	return parties
}

// mailParty is a row of mail_party.
type mailParty struct {
	has, change share
	tried       int64 // the change of the count
	turn        int64 // the next turn of a sender
	turned      bool  // the turn has changed
}

func (p *mailParty) add(items, bytes int64) { p.change.add(items, bytes) }

// party returns a party of the batch. Only readSenders reads what the party has.
func (b *mailBatch) party(box, party string) *mailParty {
	k := partyOf{box, party}
	if b.parties[k] == nil {
		b.parties[k] = new(mailParty)
	}
	return b.parties[k]
}

// readSenders reads what the senders of deposits have, in these boxes and in all boxes.
func (b *mailBatch) readSenders(boxes, senders []string) error {
	if err := b.senders.read(b.t, senders); err != nil {
		return err
	}
	parties := make([]string, len(senders))
	for i, sender := range senders {
		parties[i] = senderParty(sender)
	}
	return b.t.queryRows(func(rows *sql.Rows) error {
		var k partyOf
		var has share
		var turn int64
		err := rows.Scan(&k.box, &k.party, &has.items, &has.bytes, &turn)
		p := b.party(k.box, k.party)
		p.has, p.turn = has, turn
		return err
	}, `WITH r(box TEXT, party TEXT) SELECT p.box, p.party, p.items, p.bytes, p.turn
		FROM r JOIN mail_party p ON p.box = r.box AND p.party = r.party`, cols{boxes, parties})
}

// takeTurn returns the turn of the next mail of a sender in a box.
func (b *mailBatch) takeTurn(box string, sender *mailParty) int64 {
	turn := b.boxes[box].turn
	if sender.has.items+sender.change.items > 0 {
		turn = max(turn, sender.turn)
	}
	sender.turn, sender.turned = turn+1, true
	return turn
}

// writeParties adds the changes of the parties, and deletes the rows of those that have nothing
// left.
func (b *mailBatch) writeParties() error {
	var (
		boxes, parties            []string
		items, bytes, tried, next []int64
		less                      struct{ boxes, parties []string } // may have nothing left
	)
	for _, k := range slices.SortedFunc(maps.Keys(b.parties), func(x, y partyOf) int {
		return cmp.Or(cmp.Compare(x.box, y.box), cmp.Compare(x.party, y.party))
	}) {
		p := b.parties[k]
		if p.change == (share{}) && p.tried == 0 && !p.turned {
			continue
		}
		turn := int64(-1)
		if p.turned {
			turn = p.turn
		}
		boxes, parties, next = append(boxes, k.box), append(parties, k.party), append(next, turn)
		items, bytes, tried = append(items, p.change.items), append(bytes, p.change.bytes), append(tried, p.tried)
		if p.change.items < 0 {
			less.boxes, less.parties = append(less.boxes, k.box), append(less.parties, k.party)
		}
	}
	err := b.t.execRows(`WITH r(box TEXT, party TEXT, items BIGINT, bytes BIGINT, tried BIGINT, turn BIGINT)
		INSERT INTO mail_party (box, party, items, bytes, tried, turn) SELECT box, party, items, bytes, tried, turn FROM r WHERE true
		ON CONFLICT (box, party) DO UPDATE SET items = mail_party.items + excluded.items, bytes = mail_party.bytes + excluded.bytes,
			tried = mail_party.tried + excluded.tried, turn = CASE WHEN excluded.turn < 0 THEN mail_party.turn ELSE excluded.turn END`,
		cols{boxes, parties, items, bytes, tried, next})
	if err != nil {
		return err
	}
	return b.t.execRows("WITH r(box TEXT, party TEXT) DELETE FROM mail_party WHERE items <= 0 AND (box, party) IN (SELECT box, party FROM r)",
		cols{less.boxes, less.parties})
}
