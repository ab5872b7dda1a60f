package delivery

import (
	"sync"
	"time"
)

// parties is what is known of how recipients behave. When there are too many, all of
// that is forgotten, and learned anew.
type parties struct {
	mu   sync.Mutex // guards all below
	byID map[key]*party
}

// party is what is known of one recipient, guarded by parties.mu.
type party struct {
	acks   bool      // it acks
	silent int       // acks in a row that did not come although the connection lived
	last   time.Time // when one of these was counted
	asked  bool      // whether it acks has been found out
	hangs  bool      // the last try to reach it took long and failed
	tried  bool      // by the worker that has it from try, and clears the mark in end
	passed time.Time // when an item last arrived
	name   string    // another than Config.Party's, under which there are items
}

const (
	// maxParties bounds the parties of which something is known.
	maxParties = 20_000
	// maxSilent is how many acks in a row a party may owe that gave some before,
	// until it is taken for one that gives none.
	maxSilent = 3
)

func newParties() parties { return parties{byID: make(map[key]*party)} }

// know is what is known of a party. The caller holds mu.
func (p *parties) know(id key) *party {
	x := p.byID[id]
	if x == nil {
		if len(p.byID) >= maxParties {
			clear(p.byID)
		}
		x = new(party)
		p.byID[id] = x
	}
	return x
}

// acked notes that a party acks, if it was asked for that before.
func (p *parties) acked(id key, awaited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; awaited || x != nil && x.asked {
		x = p.know(id)
		x.acks, x.asked, x.silent = true, true, 0
	}
}

// gives reports whether the ack of a party is worth waiting for.
func (p *parties) gives(id key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x == nil || !x.asked || x.acks
}

// silence counts an ack that was waited for since start and did not come although the
// connection lived on; those that were waited for at the same time are one. It reports
// whether the party is one that acks all the same.
func (p *parties) silence(id key, start time.Time) (acks bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.know(id)
	x.asked = true
	if start.Before(x.last) {
		return x.acks
	}
	x.last = time.Now()
	if x.silent++; x.silent >= maxSilent {
		x.acks = false
	}
	return x.acks
}

// named notes a name of the party under which there are items.
func (p *parties) named(id key, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.know(id).name = name
}

// name is the last that named was told, or empty.
func (p *parties) name(id key) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; x != nil {
		return x.name
	}
	return ""
}

// arrived notes that the party has taken an item.
func (p *parties) arrived(id key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.know(id).passed = time.Now()
}

// passedSince tells whether the party has taken an item in the last d.
func (p *parties) passedSince(id key, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x != nil && !x.passed.IsZero() && time.Since(x.passed) < d
}

// try reports whether the caller may try to reach a party: one worker at a time
// tries one at which the last try took long and failed, so that such parties do not
// take the workers from all others. Then end follows, and takes mark.
func (p *parties) try(id key) (mark *party, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	switch {
	case x == nil || !x.hangs:
		return nil, true
	case x.tried:
		return nil, false
	}
	x.tried = true
	return x, true
}

// end tells how a try went. It reports whether a party that was slow does so no more.
// Tries that began before the party was known to hang end beside the one that goes
// on, and leave its mark alone.
func (p *parties) end(id key, mark *party, hangs bool) (recovered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mark != nil {
		mark.tried = false
	}
	if !hangs {
		x := p.byID[id]
		recovered = x != nil && x.hangs
		if recovered {
			x.hangs = false
		}
		return recovered
	}
	p.know(id).hangs = true
	return false
}

// hangs reports whether the last try to reach a party took long and failed.
func (p *parties) hangs(id key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x != nil && x.hangs
}
