package delivery

import (
	"sync"
	"time"
)

// parties holds what is known about the behaviour of recipients. When there are too many
// recipients, all of it is dropped.
type parties struct {
	mu   sync.Mutex // guards all below
	byID map[key]*party
	lost map[key]int // replies that were lost, by item
}

// party is what is known about a recipient, guarded by parties.mu.
type party struct {
	known        bool      // whether an ack has come, or has been waited for in vain
	acks         bool      // whether the party sends acks, if that is known
	silent       bool      // whether Config.NeverAcks has said so, if known is false
	missed       int       // missed acks in a row
	last         time.Time // when missed was last increased
	lastAccepted time.Time // when the party last accepted an item
	name         string    // a name of the party, other than Config.Party's, that items have
}

const (
	// maxParties is the largest number of parties in memory.
	maxParties = 20_000
	// maxMissed is the number of missed acks in a row after which a party that sent acks
	// is regarded as one that does not.
	maxMissed = 3
)

func newParties() parties { return parties{byID: make(map[key]*party), lost: make(map[key]int)} }

// get returns the entry of a party, and adds one if there is none. The caller holds mu.
func (p *parties) get(id key) *party {
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

// mute reports whether the party is regarded as one that does not send acks.
func (x *party) mute() bool { return x.known && !x.acks || !x.known && x.silent }

// acked records an ack of a party. An ack that was not awaited only counts if an ack was
// waited for before, or would have been from another party. acked reports whether the party
// was regarded as one that does not send acks.
func (p *parties) acked(id key, awaited bool) (changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; !awaited && (x == nil || !x.known && !x.silent) {
		return false
	}
	x := p.get(id)
	changed = x.mute()
	x.acks, x.known, x.missed = true, true, 0
	return changed
}

// shown reports whether the party has shown whether it sends acks.
func (p *parties) shown(id key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x != nil && x.known
}

// recall records what Config.NeverAcks says about a party.
func (p *parties) recall(id key, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if silent || p.byID[id] != nil {
		p.get(id).silent = silent
	}
}

// mayAck reports whether to wait for an ack of a party.
func (p *parties) mayAck(id key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x == nil || !x.mute()
}

// missedAck records that an ack, which was waited for since start, did not come although
// the connection stayed open. Acks that were waited for at the same time count as one.
// missedAck reports whether the party is still regarded as one that sends acks, and whether
// that has changed.
func (p *parties) missedAck(id key, start time.Time) (acks, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.get(id)
	before := x.mute()
	x.known = true
	if !start.Before(x.last) {
		x.last = time.Now()
		if x.missed++; x.missed >= maxMissed {
			x.acks = false
		}
	}
	return x.acks, !before && !x.acks
}

// lostReply records that the reply to an item was lost. It returns how often that was so.
func (p *parties) lostReply(item key) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lost) >= maxParties {
		clear(p.lost)
	}
	p.lost[item]++
	return p.lost[item]
}

// named records a name of the party that items have as their recipient.
func (p *parties) named(id key, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.get(id).name = name
}

// name returns the name of the last call of named, or "".
func (p *parties) name(id key) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x := p.byID[id]; x != nil {
		return x.name
	}
	return ""
}

// accepted records that the party has accepted an item.
func (p *parties) accepted(id key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.get(id).lastAccepted = time.Now()
}

// acceptedWithin reports whether the party has accepted an item in the last d.
func (p *parties) acceptedWithin(id key, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.byID[id]
	return x != nil && !x.lastAccepted.IsZero() && time.Since(x.lastAccepted) < d
}
