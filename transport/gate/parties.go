package gate

import (
	"container/list"
	"net/netip"
	"time"

	"golang.org/x/time/rate"
)

// party is an address, or a network of addresses, with limits of its own. The mutex of the
// Gate guards it.
type party struct {
	key      netip.Prefix
	maxConns int
	conns    int       // open connections, without those that are being refused
	refusing int       // open connections that are being refused
	requests int       // under way
	idle     list.List // of *conn, the longest idle first

	connects, attempts, failures *rate.Limiter
	refusals                     *rate.Limiter // of connections that are accepted to refuse them
}

func (g *Gate) newParty(key netip.Prefix, scale int) *party {
	cfg := g.cfg
	return &party{
		key:      key,
		maxConns: scale * cfg.ConnsPerAddress,
		connects: perMinute(scale * cfg.ConnectsPerMinute),
		attempts: perMinute(scale * cfg.RequestsPerMinute),
		failures: perMinute(scale * cfg.FailuresPerMinute),
		refusals: rate.NewLimiter(rate.Limit(scale*refuseRate), scale*refuseBurst),
	}
}

// used reports whether the party has connections or requests.
func (p *party) used() bool { return p.conns+p.refusing+p.requests > 0 }

// fresh reports whether a new party would have the same limits left.
func (p *party) fresh(now time.Time) bool {
	for _, l := range []*rate.Limiter{p.connects, p.attempts, p.failures, p.refusals} {
		if l.TokensAt(now) < float64(l.Burst()) {
			return false
		}
	}
	return true
}

// parties are the addresses that were seen last. A party with connections or requests is
// never forgotten.
type parties struct {
	max   int
	make  func(key netip.Prefix, scale int) *party
	known map[netip.Prefix]*list.Element
	order list.List // of *party, the longest unseen first
}

// find returns the parties of an address, the widest network first.
func (t *parties) find(addr netip.Addr, now time.Time) []*party {
	if addr.Is6() {
		wide, _ := addr.Prefix(48)
		host, _ := addr.Prefix(64)
		return []*party{t.get(wide, wideScale, now), t.get(host, 1, now)}
	}
	key := netip.Prefix{} // of connections without an IP address
	if addr.IsValid() {
		key = netip.PrefixFrom(addr, addr.BitLen())
	}
	return []*party{t.get(key, 1, now)}
}

func (t *parties) get(key netip.Prefix, scale int, now time.Time) *party {
	if e, ok := t.known[key]; ok {
		t.order.MoveToBack(e)
		return e.Value.(*party)
	}
	if len(t.known) >= t.max {
		t.forget(now)
	}
	if t.known == nil {
		t.known = make(map[netip.Prefix]*list.Element)
	}
	p := t.make(key, scale)
	t.known[key] = t.order.PushBack(p)
	return p
}

// forget removes one of the parties that were unseen for the longest time, if possible one
// without anything to remember, so that a flood of addresses does not clear an offender.
func (t *parties) forget(now time.Time) {
	const tries = 16
	var victim *list.Element
	for e, n := t.order.Front(), 0; e != nil && n < tries; n++ {
		next := e.Next()
		switch p := e.Value.(*party); {
		case p.used():
			t.order.MoveToBack(e)
		case p.fresh(now):
			t.remove(e)
			return
		case victim == nil:
			victim = e
		}
		e = next
	}
	if victim != nil {
		t.remove(victim)
	}
}

func (t *parties) remove(e *list.Element) {
	delete(t.known, t.order.Remove(e).(*party).key)
}
