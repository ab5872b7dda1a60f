package delivery

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// refusals holds the items that their recipients have refused. When there are too many, a new
// item takes the place of another, whose row then begins anew.
type refusals struct {
	mu       sync.Mutex // guards all below
	byItem   map[string]*refused
	accepted map[key]accepted // by endpoint
}

// accepted says when an endpoint last accepted an item, and one that it had refused before.
type accepted struct{ any, refused time.Time }

// refused is an item in refusals, guarded by refusals.mu.
type refused struct {
	tries int       // that were refused
	last  time.Time // the last of them
	due   time.Time // a try before that does not count

	answers map[key]int // the status that each endpoint has answered in a row
	count   int         // tries in this row
	probe   int         // the count at which a probe is sent
}

// refusal is the answer of an endpoint that has refused an item, and may not refuse it later.
type refusal struct {
	route  store.Endpoint
	status int
}

// maxRowAnswers limits the answers in one row. A recipient can move to other endpoints.
const maxRowAnswers = 4 * MaxEndpoints

func newRefusals() refusals {
	return refusals{byItem: make(map[string]*refused), accepted: make(map[key]accepted)}
}

// endpointKey returns the key of an endpoint of a party.
func (d *Dispatcher) endpointKey(to, uri string) key { return digest(d.cfg.Party(to)+" "+uri, "") }

// goesOn reports whether no endpoint has given another answer than before.
func (x *refused) goesOn(answers map[key]int) bool {
	for k, status := range answers {
		if before, ok := x.answers[k]; ok && before != status {
			return false
		}
	}
	return true
}

// begin begins a row.
func (x *refused) begin(limit int) { x.answers, x.count, x.probe = make(map[key]int), 0, limit }

// none reports whether no item is refused.
func (r *refusals) none() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byItem) == 0
}

// interrupt ends the row of an item.
func (r *refusals) interrupt(id string, limit int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x := r.byItem[id]; x != nil {
		x.begin(limit)
	}
}

// forget removes an item.
func (r *refusals) forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byItem[id] == nil {
		return
	}
	if delete(r.byItem, id); len(r.byItem) == 0 {
		clear(r.accepted)
	}
}

// accepts records that an endpoint of a party has accepted an item with an id.
func (d *Dispatcher) accepts(to, uri, id string) {
	r := &d.refusals
	if r.none() {
		return
	}
	k := d.endpointKey(to, uri)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.accepted) >= maxParties {
		clear(r.accepted)
	}
	a := r.accepted[k]
	a.any = time.Now()
	if x := r.byItem[id]; x != nil {
		if _, ok := x.answers[k]; ok {
			a.refused = a.any
		}
	}
	r.accepted[k] = a
}

// refused returns the delay after a try that has failed. It reports whether the item is to be
// given up, because endpoints that accept other items have refused it too often.
func (d *Dispatcher) refused(ctx context.Context, item *store.Item, t *tries, attempts int) (delay time.Duration, giveUp bool) {
	if t.otherAnswer {
		d.refusals.interrupt(item.ID, d.cfg.RefusedTries)
	}
	if t.otherAnswer || len(t.refusals) == 0 || item.Class == store.ClassStranger {
		return d.cfg.Backoff.After(attempts), false
	}
	answers := make(map[key]int, len(t.refusals))
	for _, a := range t.refusals {
		answers[d.endpointKey(item.To, a.route.URI)] = a.status
	}
	delay, probe, giveUp := d.note(item, answers, attempts)
	if probe {
		d.probeEndpoints(ctx, item, t.refusals)
	}
	return delay, giveUp
}

// note adds a try to the row of an item, after earlier attempts. If probe is true, the caller
// has to send a probe, and has a place in d.probes.
func (d *Dispatcher) note(item *store.Item, answers map[key]int, attempts int) (delay time.Duration, probe, giveUp bool) {
	r, now := &d.refusals, time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.byItem[item.ID]
	if x == nil {
		x = new(refused)
		for other := range r.byItem {
			if len(r.byItem) < maxParties {
				break
			}
			delete(r.byItem, other)
			x.tries = attempts // the item may have lost its place before
		}
		r.byItem[item.ID] = x
	}
	if !x.goesOn(answers) || x.count == 0 {
		x.begin(d.cfg.RefusedTries)
	}
	if now.Before(x.due) { // something has woken the item
		return d.cfg.Backoff.After(x.tries - 1), false, false
	}
	others, partly := x.count > 0, false
	for k, status := range answers {
		others = others && !r.accepted[k].any.Before(x.last)
		partly = partly || x.count > 0 && r.accepted[k].refused.After(x.last)
		if len(x.answers) < maxRowAnswers {
			x.answers[k] = status
		}
	}
	delay = d.cfg.Backoff.After(x.tries)
	x.tries++
	x.last, x.due = now, now.Add(delay/2)
	if partly {
		x.count /= 2
		return delay, false, false
	}
	x.count++
	if x.count < d.cfg.RefusedTries || others {
		return delay, false, others && x.count >= d.cfg.RefusedTries
	}
	if x.count >= x.probe && d.cfg.Probe != nil && item.From != "" {
		select {
		case d.probes <- struct{}{}:
			x.probe, probe = 2*x.count, true
		default:
		}
	}
	return delay, probe, false
}

// probeEndpoints sends an empty message to each endpoint that has refused an item. An endpoint
// that accepts it refuses the item for what the item is.
func (d *Dispatcher) probeEndpoints(ctx context.Context, item *store.Item, list []refusal) {
	// Not the packet, which may be large.
	probe := store.Item{From: item.From, To: item.To, Class: item.Class, HidesSender: item.HidesSender}
	d.workers.Go(func() {
		defer func() { <-d.probes }()
		for _, a := range list {
			if err := d.probeEndpoint(ctx, probe, a.route); err != nil {
				d.cfg.Logger.InfoContext(ctx, "endpoint does not accept a probe either", "to", probe.To, "error", err)
				continue
			}
			d.accepts(probe.To, a.route.URI, "")
		}
	})
}

// probeEndpoint sends an empty message to an endpoint.
func (d *Dispatcher) probeEndpoint(ctx context.Context, probe store.Item, route store.Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
	defer cancel()
	id, now := rand.Text(), d.cfg.Now()
	p, err := d.cfg.Probe(ctx, id, probe.From, probe.To, probe.HidesSender)
	if err != nil {
		return err
	}
	probe.ID, probe.MessageID, probe.Lane, probe.Direct = id, id, id, store.Packet(p)
	probe.Endpoints, probe.Created, probe.Deadline = []store.Endpoint{route}, now, now.Add(d.cfg.SendTimeout)
	_, _, err = d.send(ctx, &probe, route)
	return err
}
