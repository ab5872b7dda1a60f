package delivery

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// proof says whether a connection leads to a peer. Anybody can carry a message of the peer,
// and so have a connection of their own bound as a return route of the peer.
type proof struct {
	proven bool
	dialed bool      // the connection was opened to an endpoint of the peer
	probe  string    // the id of the last probe, or "" after its ack
	next   time.Time // when another probe may be sent
	missed int       // acks that did not come since the last one of an item
}

// maxProbes is how many probes are packed and written at the same time.
const maxProbes = 64

// proof returns the proof of a connection for a pair of DIDs, and adds one if there is none.
// The caller holds mu.
func (t *routes) proof(s transport.Session, pair key) *proof {
	of := t.proofs[s]
	if of == nil || of[pair] == nil && len(of) >= t.share() {
		of = make(map[key]*proof)
		t.proofs[s] = of
	}
	if of[pair] == nil {
		of[pair] = new(proof)
	}
	return of[pair]
}

// isProven reports whether a connection is proven for a pair of DIDs. The caller holds mu.
func (t *routes) isProven(s transport.Session, pair key) bool { return t.link(s, pair).proven }

// link returns what is known about a connection. The caller holds mu.
func (t *routes) link(s transport.Session, pair key) link {
	l := link{session: s}
	if p := t.proofs[s][pair]; p != nil {
		l.proven, l.dialed = p.proven, p.dialed
	}
	return l
}

// prove makes a return route proven that was opened to an endpoint of the peer. It does
// nothing for a connection that is no return route.
func (t *routes) prove(s transport.Session, pair key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[s] > 0 {
		p := t.proof(s, pair)
		p.proven, p.dialed = true, true
	}
}

// acked records that the peer has acked messages on a connection. It reports whether that
// proves the connection.
func (t *routes) acked(s transport.Session, pair key, ids []string) (proven bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.proofs[s][pair]
	if p == nil || p.probe == "" || !slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, p.probe) }) {
		return false
	}
	p.probe, proven = "", !p.proven
	p.proven = true
	return proven
}

// carried records whether the ack of an item that left by a proven connection has come.
func (t *routes) carried(s transport.Session, pair key, acked bool, b Backoff) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.proofs[s][pair]
	switch {
	case p == nil:
	case acked:
		p.missed = 0
	case p.proven: // once for all items that were sent before
		p.proven = false
		p.next = time.Now().Add(b.longest(p.missed))
		p.missed++
	}
}

// toProbe returns the first of the connections before a proven one that may be probed now.
// A probe of this connection has the id.
func (t *routes) toProbe(list []link, pair key, id string, ackTime time.Duration, b Backoff) transport.Session {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range list {
		if t.held[l.session] == 0 {
			continue
		}
		p := t.proof(l.session, pair)
		if p.proven {
			return nil
		}
		if !now.Before(p.next) {
			p.probe, p.next = id, now.Add(ackTime+b.longest(p.missed))
			p.missed++
			return l.session
		}
	}
	return nil
}

// probe sends a probe on a connection of an item's recipient that is not proven, if another
// item could leave by the connection, were it proven. The only connection of a recipient
// without an endpoint needs no probe.
func (d *Dispatcher) probe(ctx context.Context, item *store.Item, t *tries) {
	if d.cfg.Probe == nil || !item.AskAck && t.sent || ctx.Err() != nil {
		return
	}
	list := d.links(item)
	if len(list) == 0 || len(list) == 1 && len(item.Endpoints) == 0 || list[0].proven {
		return
	}
	select {
	case d.probes <- struct{}{}:
	default:
		return
	}
	id := rand.Text()
	s := d.routes.toProbe(list, d.pair(item.From, item.To, ""), id, d.cfg.AckTimeout, d.cfg.Backoff)
	if s == nil {
		<-d.probes
		return
	}
	from, to, hide := item.From, item.To, item.HidesSender
	d.workers.Go(func() {
		defer func() { <-d.probes }()
		ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
		defer cancel()
		p, err := d.cfg.Probe(ctx, id, from, to, hide)
		if err == nil {
			err = s.Reply(ctx, p)
		}
		if err != nil {
			d.cfg.Logger.InfoContext(ctx, "return route not probed", "to", to, "error", err)
		}
	})
}
