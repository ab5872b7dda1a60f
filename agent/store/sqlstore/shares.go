package sqlstore

import (
	"database/sql"
	"maps"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// share is a number of items and their bytes.
type share struct {
	items int64
	bytes int64
}

func (s *share) add(items, bytes int64) {
	s.items += items
	s.bytes += bytes
}

// within tells whether a share is within a bound.
func (s share) within(bound store.Share) bool { return bound.Allows(int(s.items), s.bytes) }

// shares counts the items of each party, within one transaction. The table has a row for
// each party that has items.
type shares struct {
	table, column string           // column has the key of a party
	has           map[string]share // as read from the table
	change        map[string]share
}

func newShares(table, column string) *shares {
	return &shares{table: table, column: column, has: make(map[string]share), change: make(map[string]share)}
}

// read reads the shares of parties.
func (s *shares) read(t *tx, parties []string) error {
	return t.queryRows(func(rows *sql.Rows) error {
		var party string
		var has share
		err := rows.Scan(&party, &has.items, &has.bytes)
		s.has[party] = has
		return err
	}, "WITH r(party TEXT) SELECT "+s.column+", items, bytes FROM "+s.table+" WHERE "+s.column+" IN (SELECT party FROM r)", cols{parties})
}

// of is the share of a party, which must have been read, with the changes so far.
func (s *shares) of(party string) share {
	has, change := s.has[party], s.change[party]
	has.add(change.items, change.bytes)
	return has
}

func (s *shares) add(party string, items, bytes int64) {
	change := s.change[party]
	change.add(items, bytes)
	s.change[party] = change
}

// write adds the changes at the end of the transaction, and deletes the rows of parties
// that have nothing left. All processes use the same order, which prevents deadlocks.
func (s *shares) write(t *tx) {
	var (
		parties, less []string // less: those that may have nothing left
		items, bytes  []int64
	)
	for _, party := range slices.Sorted(maps.Keys(s.change)) {
		if n := s.change[party]; n != (share{}) {
			parties, items, bytes = append(parties, party), append(items, n.items), append(bytes, n.bytes)
			if n.items < 0 {
				less = append(less, party)
			}
		}
	}
	if len(parties) == 0 {
		return
	}
	t.last("WITH r(party TEXT, items BIGINT, bytes BIGINT) INSERT INTO "+s.table+" ("+s.column+", items, bytes)"+
		" SELECT party, items, bytes FROM r WHERE true ON CONFLICT ("+s.column+") DO UPDATE"+
		" SET items = "+s.table+".items + excluded.items, bytes = "+s.table+".bytes + excluded.bytes", cols{parties, items, bytes})
	t.last("WITH r(party TEXT) DELETE FROM "+s.table+" WHERE items <= 0 AND "+s.column+" IN (SELECT party FROM r)", cols{less})
}
