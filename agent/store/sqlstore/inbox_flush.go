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
		ids, peers, owners, errs                                      []string
		seqs, states, dues, tokens, attempts, receives, untils, sizes []int64
		whole                                                         []int64
		names, data                                                   [][]byte
	)
	for _, m := range added {
		ids, peers, owners, errs = append(ids, m.id), append(peers, m.peer), append(owners, m.owner), append(errs, m.lastError)
		seqs, states, dues, tokens = append(seqs, m.seq), append(states, m.state), append(dues, m.due), append(tokens, m.token)
		attempts, receives, untils, sizes = append(attempts, m.attempts), append(receives, toMicros(m.add.m.Time)), append(untils, m.until), append(sizes, m.size)
		// A message that is done at once and has no data needs no packet row.
		if m.size > 0 || m.state < stateDone {
			whole, names, data = append(whole, m.seq), append(names, m.add.names), append(data, m.add.data)
		}
	}
	err := b.t.execRows(`WITH r(id TEXT, seq BIGINT, peer TEXT, state BIGINT, due BIGINT, token BIGINT, attempts BIGINT, last_error TEXT, received BIGINT, until BIGINT, size BIGINT, owner TEXT)
		INSERT INTO inbox (id, seq, peer, state, due, token, attempts, last_error, received, until, size, owner)
		SELECT id, seq, peer, state, due, token, attempts, last_error, received, until, size, owner FROM r`,
		cols{ids, seqs, peers, states, dues, tokens, attempts, errs, receives, untils, sizes, owners})
	if err != nil {
		return err
	}
	err = b.t.execRows("WITH r(seq BIGINT, names BYTEA, data BYTEA) INSERT INTO inbox_packet (seq, names, data) SELECT seq, names, data FROM r",
		cols{whole, names, data})
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
//   - the oldest messages beyond MaxRemembered
//   - the packets and replies of the oldest messages beyond MaxKept
func (b *inboxBatch) purge() error {
	past, err := b.past.read(b.t)
	if err != nil {
		return err
	}
	if b.t.now >= b.purgeAfter {
		n, err := b.oldest("state > 1 AND until <= ? ORDER BY until", true, b.t.now, purgeStep)
		if err != nil {
			return err
		}
		if n < purgeStep {
			again := b.t.now + time.Second.Microseconds()
			b.t.onCommit = append(b.t.onCommit, func() { b.purgeAfter = again })
		}
	}
	if excess := past.items + b.pastChange.items - int64(b.cfg.MaxRemembered); excess > 0 {
		if _, err := b.oldest("state > 1 ORDER BY until", true, min(excess, purgeStep)); err != nil {
			return err
		}
	}
	for range 8 {
		if past.bytes+b.pastChange.bytes <= b.cfg.MaxKept {
			break
		}
		if n, err := b.oldest("state > 1 AND size > 0 ORDER BY seq", false, 64); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// oldest removes the first n messages that a condition selects. Unless whole is set, it
// removes only their packets and replies. n is the last of args.
func (b *inboxBatch) oldest(condition string, whole bool, args ...any) (int, error) {
	var seqs []int64
	err := b.t.query(func(rows *sql.Rows) error {
		var seq, kept int64
		err := rows.Scan(&seq, &kept)
		seqs = append(seqs, seq)
		if whole {
			b.pastChange.add(-1, -kept)
		} else {
			b.pastChange.add(0, -kept)
		}
		return err
	}, "SELECT seq, size FROM inbox WHERE "+condition+" LIMIT ? + 0 FOR UPDATE SKIP LOCKED", args...)
	if err != nil || len(seqs) == 0 {
		return 0, err
	}
	if whole {
		return len(seqs), b.remove(seqs)
	}
	if err := b.t.execRows("WITH r(seq BIGINT) UPDATE inbox SET size = 0 WHERE seq IN (SELECT seq FROM r)", cols{seqs}); err != nil {
		return 0, err
	}
	return len(seqs), b.strip(seqs)
}
