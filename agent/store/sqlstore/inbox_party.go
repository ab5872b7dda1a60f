package sqlstore

import (
	"database/sql"
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// largestParties is how many parties one purge looks at, besides those of its transaction.
const largestParties = 16

// measure is what a party has too much of.
type measure struct {
	column string
	order  string // of the messages that go first
	of     func(share) int64
}

var (
	pastItems = measure{"items", "party = ? ORDER BY until", func(s share) int64 { return s.items }}
	pastBytes = measure{"bytes", "size > 0 AND party = ? ORDER BY seq", func(s share) int64 { return s.bytes }}
)

// shrink removes the oldest settled messages of the party that has most above its share, or
// only their packets and replies, until at most limit are left of all, or until purgeStep
// messages have lost something. before is the total without the changes of the transaction.
func (b *inboxBatch) shrink(before share, limit int64, what measure) error {
	if err := b.loadLargest(what); err != nil {
		return err
	}
	for lost := 0; lost < purgeStep; {
		excess := what.of(before) + what.of(b.pastChange) - limit
		if excess <= 0 {
			return nil
		}
		party, n := b.yields(limit, what)
		n = min(n, excess)
		list, err := b.settled("state > 1 AND "+what.order, party, min(n, int64(purgeStep-lost)))
		if err != nil || len(list) == 0 {
			return err
		}
		if what.column == pastBytes.column {
			list = firstBytes(list, n)
		}
		if err := b.lose(list, what.column == pastItems.column); err != nil {
			return err
		}
		lost += len(list)
	}
	return nil
}

// firstBytes returns the first messages of a list that have n bytes.
func firstBytes(list []old, n int64) []old {
	for i, o := range list {
		if n -= o.size; n <= 0 {
			return list[:i+1]
		}
	}
	return list
}

// loadLargest reads what the parties of the batch, the strangers and the largest of the
// others have.
func (b *inboxBatch) loadLargest(what measure) error {
	if err := b.parties.read(b.t, slices.Sorted(maps.Keys(b.parties.change))); err != nil {
		return err
	}
	err := b.t.query(func(rows *sql.Rows) error {
		var party string
		var has share
		err := rows.Scan(&party, &has.items, &has.bytes)
		b.parties.has[party] = has
		return err
	}, "SELECT party, items, bytes FROM inbox_party ORDER BY "+what.column+" DESC LIMIT ? + 0", largestParties)
	if err != nil {
		return err
	}
	b.parties.has[strangers], err = b.pastStrangers.read(b.t)
	return err
}

// yields returns the party that has most above its share, and how much it can lose before
// another one may have more.
func (b *inboxBatch) yields(limit int64, what measure) (party string, n int64) {
	ofStrangers, ofOthers := store.PartyShares(limit)
	var most int64
	for _, parties := range []map[string]share{b.parties.has, b.parties.change} {
		for name := range parties {
			// Of two parties that have as much, the one that has nothing new yields.
			if has := what.of(b.parties.of(name)); name != strangers && (has > most || has == most && what.of(b.parties.change[name]) <= 0) {
				party, most = name, has
			}
		}
	}
	over := what.of(b.parties.of(strangers)) - ofStrangers
	switch {
	case most == 0, over > 0 && over >= most-ofOthers:
		return strangers, max(1, over)
	case most > ofOthers:
		return party, most - ofOthers
	default:
		return party, (most + 1) / 2
	}
}
