package store

import (
	"cmp"
	"slices"
	"time"
)

// box has the mail of one box.
type box struct {
	share
	mail    []*mail // in the order of turns
	byID    map[string]*mail
	senders map[string]*pair
	turn    uint64        // of the mail that was leased last
	expires time.Time     // no mail expires before; zero if no mail expires
	waiters int           // calls of Wait
	changed chan struct{} // closed, and replaced, when there may be mail to lease
}

// pair is what one sender has in one box. It ends with the last mail of the sender.
type pair struct {
	share
	next uint64 // the turn of the next mail
}

type mail struct {
	Mail
	seq, turn uint64
	until     time.Time // end of the delay or of the lease; zero for none
	expires   time.Time // Mail.Expires, monotonic
}

func (p *mail) compare(o *mail) int {
	return cmp.Or(cmp.Compare(p.turn, o.turn), cmp.Compare(p.seq, o.seq))
}

// isFor tells whether names has the For of a mail, or is empty.
func (p *mail) isFor(names []string) bool { return len(names) == 0 || slices.Contains(names, p.For) }

// add adds mail of a sender that was counted.
func (b *box) add(p *mail) {
	sender := b.senders[p.Sender]
	p.turn = max(sender.next, b.turn)
	sender.next = p.turn + 1
	at, _ := slices.BinarySearchFunc(b.mail, p, (*mail).compare)
	b.mail = slices.Insert(b.mail, at, p)
	b.byID[p.ID] = p
	expect(&b.expires, p.expires)
	b.wake()
}

// pick chooses the mail for a lease.
func (b *box) pick(p Pick, now time.Time) (picked []*mail) {
	if p.N <= 0 {
		return nil
	}
	var suspect *mail
	var bytes int64
	for _, c := range b.mail {
		leased := c.Deliveries > 0
		if now.Before(c.until) && !(leased && p.Held) || !c.isFor(p.For) {
			continue
		}
		if p.Tries > 0 && c.Deliveries >= p.Tries {
			if suspect == nil || c.Deliveries < suspect.Deliveries {
				suspect = c
			}
			continue
		}
		bytes += int64(len(c.Packet.Data))
		if len(picked) == p.N || len(picked) > 0 && p.Bytes > 0 && bytes > p.Bytes {
			break
		}
		picked = append(picked, c)
		b.turn = c.turn
	}
	if len(picked) == 0 && suspect != nil {
		picked = append(picked, suspect)
	}
	return picked
}

func (b *box) status(names []string) MailboxStatus {
	var s MailboxStatus
	var first, last *mail
	for _, p := range b.mail {
		if !p.isFor(names) {
			continue
		}
		s.Count++
		s.Bytes += int64(len(p.Packet.Data))
		if p.Deliveries > 0 {
			s.Leased++
		}
		if first == nil || p.seq < first.seq {
			first = p
		}
		if last == nil || p.seq > last.seq {
			last = p
		}
	}
	if first != nil {
		s.Oldest, s.Newest = first.Time, last.Time
	}
	return s
}

func (b *box) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}
