package sqlstore

import (
	"database/sql"
	"time"
)

// flush writes the changes of the messages.
func (b *inboxBatch) flush() error {
	if err := b.remove(b.old); err != nil {
		return err
	}
	var added, changed []*message
	var bare []int64
	for _, m := range b.rows {
		switch {
		case m.gone:
		case m.add != nil:
			added = append(added, m)
		case m.changed:
			changed = append(changed, m)
			if m.bare {
				bare = append(bare, m.seq)
			}
		}
	}
	if err := b.insert(added); err != nil {
		return err
	}
	if err := b.update(changed); err != nil {
		return err
	}
	return b.strip(bare)
}

func (b *inboxBatch) insert(added []*message) error {
	var (
		ids, peers, parties, owners, errs, messages                   []string
		seqs, states, dues, tokens, attempts, receives, untils, sizes []int64
		classNumbers, whole                                           []int64
		names, data                                                   [][]byte
	)
	for _, m := range added {
		ids, peers, owners, errs = append(ids, m.id), append(peers, m.peer), append(owners, m.owner), append(errs, m.lastError)
		parties, classNumbers = append(parties, m.party), append(classNumbers, int64(m.add.m.Class.Number()))
		seqs, states, dues, tokens = append(seqs, m.seq), append(states, m.state), append(dues, m.due), append(tokens, m.token)
		attempts, receives, untils, sizes = append(attempts, m.attempts), append(receives, toMicros(m.add.m.Time)), append(untils, m.until), append(sizes, m.size)
		// A message that is done at once and has no data needs no packet row.
		if m.size > 0 || m.state < stateDone {
			whole, names, data = append(whole, m.seq), append(names, m.add.names), append(data, m.add.data)
			messages = append(messages, m.add.message)
		}
	}
	err := b.t.execRows(`WITH r(id TEXT, seq BIGINT, peer TEXT, state BIGINT, due BIGINT, token BIGINT, attempts BIGINT, last_error TEXT, received BIGINT, until BIGINT, size BIGINT, owner TEXT, class BIGINT, party TEXT)
		INSERT INTO inbox (id, seq, peer, state, due, token, attempts, last_error, received, until, size, owner, class, party)
		SELECT id, seq, peer, state, due, token, attempts, last_error, received, until, size, owner, class, party FROM r`,
		cols{ids, seqs, peers, states, dues, tokens, attempts, errs, receives, untils, sizes, owners, classNumbers, parties})
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(seq BIGINT, names BYTEA, data BYTEA, message TEXT) INSERT INTO inbox_packet (seq, names, data, message) SELECT seq, names, data, message FROM r",
		cols{whole, names, data, messages})
	return err
}

func (b *inboxBatch) update(changed []*message) error {
	var (
		seqs, states, dues, tokens, attempts, sizes, replied []int64
		errs                                                 []string
		replies                                              [][]byte
	)
	for _, m := range changed {
		seqs, states, dues = append(seqs, m.seq), append(states, m.state), append(dues, m.due)
		tokens, attempts, sizes, errs = append(tokens, m.token), append(attempts, m.attempts), append(sizes, m.size), append(errs, m.lastError)
		if m.state == stateDone && len(m.replies) > 0 {
			replied, replies = append(replied, m.seq), append(replies, m.replies)
		}
	}
	err := b.t.execRows(`WITH r(seq BIGINT, state BIGINT, due BIGINT, token BIGINT, attempts BIGINT, last_error TEXT, size BIGINT)
		UPDATE inbox SET state = r.state, due = r.due, token = r.token, attempts = r.attempts, last_error = r.last_error, size = r.size
		FROM r WHERE inbox.seq = r.seq`, cols{seqs, states, dues, tokens, attempts, errs, sizes})
	if err != nil {
		return err
	}
	err = b.t.execRows(`WITH r(seq BIGINT, data BYTEA) INSERT INTO inbox_reply (seq, data)
		SELECT seq, data FROM r WHERE true ON CONFLICT (seq) DO UPDATE SET data = excluded.data`, cols{replied, replies})
	return err
}

// strip removes the packets and replies of messages.
func (b *inboxBatch) strip(seqs []int64) error {
	return b.deleteFrom(seqs, "inbox_packet", "inbox_reply")
}

// remove removes messages.
func (b *inboxBatch) remove(seqs []int64) error {
	return b.deleteFrom(seqs, "inbox", "inbox_packet", "inbox_reply")
}

func (b *inboxBatch) deleteFrom(seqs []int64, tables ...string) error {
	for _, table := range tables {
		if err := b.t.execRows("WITH r(seq BIGINT) DELETE FROM "+table+" WHERE seq IN (SELECT seq FROM r)", cols{seqs}); err != nil {
			return err
		}
	}
	return nil
}

// purgeStep is the largest number of messages that one purge forgets for one reason.
const purgeStep = 2 * maxBatch

// purge removes settled messages and their packets, in steps that cost about as much as the
// operations of the transaction:
//
//   - messages whose Until has passed, once a second
//   - the oldest messages of the largest parties beyond MaxRemembered
//   - the oldest packets and replies of the largest parties beyond MaxKept
func (b *inboxBatch) purge() error {
	past, err := b.past.read(b.t)
	if err != nil {
		return err
	}
	if b.t.now >= b.purgeAfter {
		old, err := b.settled("state > 1 AND until <= ? ORDER BY until", b.t.now, purgeStep)
		if err != nil {
			return err
		}
		if err := b.lose(old, true); err != nil {
			return err
		}
		if len(old) < purgeStep {
			again := b.t.now + time.Second.Microseconds()
			b.t.onCommit = append(b.t.onCommit, func() { b.purgeAfter = again })
		}
	}
	if past.items+b.pastChange.items > int64(b.cfg.MaxRemembered) {
		if err := b.shrink(past, int64(b.cfg.MaxRemembered), pastItems); err != nil {
			return err
		}
	}
	if past.bytes+b.pastChange.bytes > b.cfg.MaxKept {
		return b.shrink(past, b.cfg.MaxKept, pastBytes)
	}
	return nil
}

// old is a settled message that may be forgotten.
type old struct {
	seq, size int64
	party     string
}

// settled selects settled messages by a condition and an order. The last of args is how many.
func (b *inboxBatch) settled(condition string, args ...any) (list []old, err error) {
	err = b.t.query(func(rows *sql.Rows) error {
		var o old
		err := rows.Scan(&o.seq, &o.size, &o.party)
		list = append(list, o)
		return err
	}, "SELECT seq, size, party FROM inbox WHERE "+condition+" LIMIT ? + 0 FOR UPDATE SKIP LOCKED", args...)
	return list, err
}

// lose removes messages. Unless whole is set, lose removes only their packets and replies.
func (b *inboxBatch) lose(list []old, whole bool) error {
	var seqs []int64
	for _, o := range list {
		seqs = append(seqs, o.seq)
		if whole {
			b.remember(o.party, -1, -o.size)
		} else {
			b.remember(o.party, 0, -o.size)
		}
	}
	if whole {
		return b.remove(seqs)
	}
	if err := b.t.execRows("WITH r(seq BIGINT) UPDATE inbox SET size = 0 WHERE seq IN (SELECT seq FROM r)", cols{seqs}); err != nil {
		return err
	}
	return b.strip(seqs)
}
