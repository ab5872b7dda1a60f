package store

import "container/list"

// party has the settled messages of one peer, or of all strangers.
type party struct {
	name string
	past list.List // of *received, oldest first
	kept int64     // bytes of their packets and replies
	// bare is the youngest message of past that has lost its packet and its replies. All
	// older messages have lost them too. Nil if there is none.
	bare            *list.Element
	byItems, byKept int // indices in the heaps of the inbox, -1 for strangers
}

// mostItems and mostKept order parties by what they have, the largest first, and then by the
// age of their oldest message.
type (
	mostItems struct{ *party }
	mostKept  struct{ *party }
)

func (p mostItems) place() *int { return &p.byItems }
func (p mostKept) place() *int  { return &p.byKept }

func (p mostItems) before(o mostItems) bool {
	return p.past.Len() > o.past.Len() || p.past.Len() == o.past.Len() && p.older(o.party)
}
func (p mostKept) before(o mostKept) bool {
	return p.kept > o.kept || p.kept == o.kept && p.older(o.party)
}

func (p *party) older(o *party) bool {
	return p.past.Len() > 0 && o.past.Len() > 0 && p.past.Front().Value.(*received).seq < o.past.Front().Value.(*received).seq
}

// past has the settled messages of an inbox.
type past struct {
	all       list.List // of *received, oldest first
	kept      int64     // bytes of packets and replies
	strangers *party
	parties   map[string]*party // the others, by Peer
	items     indexedHeap[mostItems]
	bytes     indexedHeap[mostKept]
}

func newPast() past {
	return past{strangers: &party{byItems: -1, byKept: -1}, parties: make(map[string]*party)}
}

// add makes a message the youngest one.
func (s *past) add(r *received) {
	p := s.strangers
	if !r.stranger() {
		if p = s.parties[r.Peer]; p == nil {
			p = &party{name: r.Peer}
			s.parties[r.Peer] = p
			s.items.add(mostItems{p})
			s.bytes.add(mostKept{p})
		}
	}
	r.party = p
	r.past, r.ofParty = s.all.PushBack(r), p.past.PushBack(r)
	s.keep(p, r.kept())
}

// remove takes a message out.
func (s *past) remove(r *received) {
	p := r.party
	if p.bare == r.ofParty {
		p.bare = r.ofParty.Prev()
	}
	s.all.Remove(r.past)
	p.past.Remove(r.ofParty)
	r.party, r.past, r.ofParty = nil, nil, nil
	s.keep(p, -r.kept())
}

// strip takes the packet and the replies from a message.
func (s *past) strip(r *received) {
	kept := r.kept()
	r.Packet.Data, r.replies = nil, nil
	s.keep(r.party, -kept)
}

// stripOldest strips the oldest message of a party that has not been stripped.
func (s *past) stripOldest(p *party) {
	if p.bare == nil {
		p.bare = p.past.Front()
	} else {
		p.bare = p.bare.Next()
	}
	s.strip(p.bare.Value.(*received))
}

// keep counts the bytes of a party, whose messages have changed.
func (s *past) keep(p *party, bytes int64) {
	p.kept += bytes
	s.kept += bytes
	switch {
	case p == s.strangers:
	case p.past.Len() == 0:
		s.items.remove(mostItems{p})
		s.bytes.remove(mostKept{p})
		delete(s.parties, p.name)
	default:
		s.items.fix(mostItems{p})
		s.bytes.fix(mostKept{p})
	}
}

// mostItems is the party from which a message is forgotten when there are more than limit.
func (s *past) mostItems(limit int) *party {
	if len(s.items) == 0 || strangersYield(int64(s.strangers.past.Len()), int64(s.items[0].past.Len()), int64(limit)) {
		return s.strangers
	}
	return s.items[0].party
}

// mostKept is the party from which a packet is dropped when there are more bytes than limit.
func (s *past) mostKept(limit int64) *party {
	if len(s.bytes) == 0 || strangersYield(s.strangers.kept, s.bytes[0].kept, limit) {
		return s.strangers
	}
	return s.bytes[0].party
}

// strangersYield tells whether strangers have more above their share than the largest other
// party.
func strangersYield(strangers, largest, limit int64) bool {
	ofStrangers, ofOthers := PartyShares(limit)
	over := strangers - ofStrangers
	return over > 0 && over >= largest-ofOthers
}
