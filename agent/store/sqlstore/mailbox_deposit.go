package sqlstore

import "github.com/didcomm-go/didcomm/agent/store"

// deposit puts packets into their boxes.
func (b *mailBatch) deposit(reqs []*request) error {
	if len(reqs) == 0 {
		return nil
	}
	all, err := b.total.read(b.t)
	if err != nil {
		return err
	}
	var in, from []string
	for _, r := range reqs {
		d := r.body.(*deposit)
		for _, box := range d.boxes {
			in, from = append(in, box.key), append(from, d.sender)
		}
	}
	if err := b.readSenders(in, from); err != nil {
		return err
	}
	var (
		boxes, ids, senders, recipients                      []string
		seqs, dues, turns, receives, expires, sizes, sharers []int64
		packets                                              []int64
		names, data                                          [][]byte
	)
	for _, r := range reqs {
		d := r.body.(*deposit)
		var into []boxName
		for _, box := range d.boxes {
			if old := b.mail[mailKey{box.key, d.id}]; old == nil || old.gone {
				into = append(into, box)
			}
		}
		if len(into) == 0 {
			r.err = store.ErrExists
			continue
		}
		if r.err = b.room(all, d, into); r.err != nil {
			continue
		}
		seq, due := b.t.next(), d.due
		if due <= b.t.now {
			due = 0
		}
		for _, box := range into {
			m := &mailRow{seq: seq, size: d.size, boxes: int64(len(into)), sender: d.sender, recipient: d.recipient}
			turn := b.takeTurn(box.key, b.party(box.key, senderParty(d.sender)))
			b.mail[mailKey{box.key, d.id}] = m
			b.add(box.key, m, 1)
			has := b.boxes[box.key]
			has.name, has.ready = box.name, true
			boxes, ids, seqs, dues, turns = append(boxes, box.key), append(ids, d.id), append(seqs, seq), append(dues, due), append(turns, turn)
			senders, recipients = append(senders, d.sender), append(recipients, d.recipient)
			receives, expires = append(receives, d.received), append(expires, d.expires)
			sizes, sharers = append(sizes, d.size), append(sharers, m.boxes)
		}
		packets, names, data = append(packets, seq), append(names, d.names), append(data, d.data)
	}
	err = b.t.execRows(`WITH r(box TEXT, id TEXT, seq BIGINT, due BIGINT, received BIGINT, expires BIGINT, size BIGINT, sender TEXT, recipient TEXT, turn BIGINT, boxes BIGINT)
		INSERT INTO mail (box, id, seq, due, received, expires, size, sender, recipient, turn, deliveries, boxes)
		SELECT box, id, seq, due, received, expires, size, sender, recipient, turn, 0, boxes FROM r`,
		cols{boxes, ids, seqs, dues, receives, expires, sizes, senders, recipients, turns, sharers})
	if err != nil {
		return err
	}
	return b.t.execRows("WITH r(seq BIGINT, names BYTEA, data BYTEA) INSERT INTO mail_packet (seq, names, data) SELECT seq, names, data FROM r",
		cols{packets, names, data})
}

// room tells which limit has no room for a packet in these boxes.
func (b *mailBatch) room(all share, d *deposit, into []boxName) error {
	var pairFull, boxFull bool
	for _, name := range into {
		pair, box := b.party(name.key, senderParty(d.sender)), b.boxes[name.key]
		has := share{1, d.size}
		has.add(pair.has.items+pair.change.items, pair.has.bytes+pair.change.bytes)
		pairFull = pairFull || !has.within(d.ofPair)
		has = share{1, d.size}
		has.add(box.has.items+box.change.items, box.has.bytes+box.change.bytes)
		boxFull = boxFull || !has.within(d.ofBox) || has.items > int64(b.cfg.MaxBoxItems) || has.bytes > b.cfg.MaxBoxBytes
	}
	n := int64(len(into))
	sender := b.senders.of(d.sender)
	sender.add(n, n*d.size)
	all.add(b.change.items+n, b.change.bytes+n*d.size)
	switch {
	case pairFull:
		return &store.LimitError{Limit: store.LimitPair}
	case !sender.within(d.ofSender):
		return &store.LimitError{Limit: store.LimitSender}
	case boxFull:
		return &store.LimitError{Limit: store.LimitBox}
	case all.items > int64(b.cfg.MaxItems), all.bytes > b.cfg.MaxBytes:
		return &store.LimitError{Limit: store.LimitStore}
	}
	return nil
}
