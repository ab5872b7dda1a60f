package delivery

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// crew is a group of workers, with the hosts that they send to.
type crew struct {
	// static after newCrew
	classes []store.Class
	busy    chan struct{} // has a value for each worker that is not in the slow lane
	perHost int           // tries at a time to a host
	maxHost int           // the same to a host that accepts packets quickly
	maxSlow int           // tries in the slow lane with which a try to a slow host may begin
	maxHang int           // tries in the slow lane
	hang    time.Duration // age of a try that hangs
	backoff Backoff

	mu      sync.Mutex // guards all below
	hosts   map[string]*host
	slow    int      // tries in the slow lane
	queue   []string // the names of slow hosts that wait for the slow lane
	waiting int      // leases in all hosts
	names   int      // names in all hosts
}

// host is what a crew knows about a host, guarded by crew.mu.
type host struct {
	tries   int  // running, without probes
	limit   int  // of tries
	slow    bool // the last try took long and failed
	probing bool // a try to the slow host is running
	queued  bool // the host is in crew.queue

	began   time.Time                  // the last try
	took    time.Duration              // by the last try that has ended
	waiting []*store.Lease[store.Item] // that get a turn when a try ends; they have no packets
	next    time.Time                  // when the next item is tried that waiting had no room for
	names   map[string]struct{}        // recipients of items that were put off because the host is slow
}

const (
	// maxHosts is the largest number of hosts in memory.
	maxHosts = 20_000
	// maxWaitingHost and maxWaiting are the largest numbers of leases that wait for one host
	// and for all hosts. Other items are leased again later.
	maxWaitingHost, maxWaiting = 64, 1000
	// maxNames is the largest number of recipients that are woken when a slow host answers.
	// Other items wait for the end of their delay.
	maxNames = 20_000
)

// newCrew returns a crew with that many workers, and as many in the slow lane.
func newCrew(workers int, cfg *Config, classes ...store.Class) *crew {
	return &crew{
		classes: classes,
		busy:    make(chan struct{}, workers), maxSlow: max(1, workers/4), maxHang: workers,
		perHost: cfg.HostTries, maxHost: max(cfg.HostTries, workers/2),
		hang: cfg.SendTimeout / 10, backoff: cfg.Backoff,
		hosts: make(map[string]*host),
	}
}

// turn is the place of a worker in its crew, while it sends one item.
type turn struct {
	c    *crew
	slow bool // in the slow lane; guarded by crew.mu
}

// begin waits until a worker may begin. It returns nil if ctx ends first.
func (c *crew) begin(ctx context.Context) *turn {
	select {
	case c.busy <- struct{}{}:
		return &turn{c: c}
	case <-ctx.Done():
		return nil
	}
}

// end ends a turn. It returns the name of a recipient to wake, or "".
func (t *turn) end() (wake string) {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.slow {
		<-c.busy
		return ""
	}
	c.slow--
	for len(c.queue) > 0 {
		h := c.hosts[c.queue[0]]
		c.queue = c.queue[1:]
		if h == nil || !h.queued {
			continue
		}
		h.queued = false
		if h.slow && !h.probing {
			if name := c.oneName(h); name != "" {
				return name
			}
		}
	}
	return ""
}

// oneName takes one of the recipients that wait for a slow host, or returns "". The caller
// holds mu.
func (c *crew) oneName(h *host) string {
	for name := range h.names {
		delete(h.names, name)
		c.names--
		return name
	}
	return ""
}

// toSlowLane makes room for another worker. The caller holds mu.
func (t *turn) toSlowLane() {
	t.slow = true
	t.c.slow++
	<-t.c.busy
}

var (
	// errHeld means that an item has to wait for its host.
	errHeld = errors.New("too many tries to the host")
	// errSlow means that an item has to wait until a host that did not answer answers.
	errSlow = errors.New("the host did not answer the last try")
	// errHangs ends a try that hangs while the slow lane is full.
	errHangs = errors.New("no answer, and too many other hosts give none either")
)

// visit is one try to send to a host.
type visit struct {
	t     *turn
	name  string // of the host
	h     *host
	start time.Time
	end   context.CancelCauseFunc
	timer *time.Timer // calls hangs

	done, probe bool // guarded by crew.mu
}

// enter begins a try to send an item to a host. The error is errHeld or errSlow. A nil turn
// has no limits.
func (t *turn) enter(ctx context.Context, name, to string, limited bool) (context.Context, *visit, error) {
	if t == nil {
		return ctx, nil, nil
	}
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.host(name)
	switch {
	case h.slow && !c.open(t, h):
		c.await(name, h, to)
		return ctx, nil, errSlow
	case !h.slow && limited && h.tries >= h.limit:
		return ctx, nil, errHeld
	}
	h.began = time.Now()
	v := &visit{t: t, name: name, h: h, start: h.began, probe: h.slow}
	ctx, v.end = context.WithCancelCause(ctx)
	if v.probe {
		h.probing = true
		if !t.slow {
			t.toSlowLane()
		}
	} else {
		h.tries++
	}
	if !t.slow {
		v.timer = time.AfterFunc(c.hang, v.hangs)
	}
	return ctx, v, nil
}

// hangs moves a try to the slow lane, or ends it if there is no room.
func (v *visit) hangs() {
	c := v.t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case v.done || v.t.slow:
	case c.slow < c.maxHang:
		v.t.toSlowLane()
	default:
		v.end(errHangs)
	}
}

// left is what has to be done after a try.
type left struct {
	due  []*store.Lease[store.Item] // are due now
	off  []*store.Lease[store.Item] // are put off, since the host is slow
	wake []string                   // recipients whose items are due now
}

// leave ends a try. A try that did not reach the host, since the item could not be wrapped,
// says nothing about the host.
func (v *visit) leave(sent, reached bool) (l left) {
	if v == nil {
		return l
	}
	v.end(nil)
	c, h, took := v.t.c, v.h, time.Since(v.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := h.limit
	v.done = true
	if v.timer != nil {
		v.timer.Stop()
	}
	if v.probe {
		h.probing = false
	} else {
		h.tries--
	}
	switch {
	case reached:
	case h.slow: // another item is to find out
		if name := c.oneName(h); name != "" {
			l.wake = []string{name}
		}
		return l
	default:
		l.due = c.take(h, h.limit-h.tries)
		return l
	}
	h.took, h.limit = took, c.perHost
	if sent && took < c.hang {
		h.limit = min(limit+1, c.maxHost)
	}
	if !sent && took >= c.hang {
		h.slow = true
		l.off = c.take(h, len(h.waiting))
		return l
	}
	if h.slow {
		h.slow = false
		for name := range h.names {
			l.wake = append(l.wake, name)
		}
		c.names -= len(h.names)
		clear(h.names)
	}
	l.due = c.take(h, h.limit-h.tries)
	return l
}

// note adds a recipient to those that are woken when a slow host answers. The caller holds
// mu.
func (c *crew) note(h *host, to string) {
	if _, ok := h.names[to]; ok || c.names >= maxNames {
		return
	}
	if h.names == nil {
		h.names = make(map[string]struct{})
	}
	h.names[to] = struct{}{}
	c.names++
}

// take takes n of the leases that wait for a host. The caller holds mu.
func (c *crew) take(h *host, n int) []*store.Lease[store.Item] {
	n = max(0, min(n, len(h.waiting)))
	list := slices.Clone(h.waiting[:n])
	h.waiting = slices.Delete(h.waiting, 0, n)
	c.waiting -= n
	return list
}

// wait keeps a lease until a try to the host ends. If wait returns false, the lease is to be
// given back with the delay.
func (c *crew) wait(name string, l *store.Lease[store.Item]) (delay time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[name]
	switch {
	case h == nil || h.slow || h.tries < h.limit: // since the caller looked
		return 0, false
	case len(h.waiting) < maxWaitingHost && c.waiting < maxWaiting:
		l.Item.Direct.Data, l.Item.Endpoints = nil, nil
		h.waiting = append(h.waiting, l)
		c.waiting++
		return 0, true
	}
	// The item is due about when the host will have accepted those before it.
	now := time.Now()
	each := max(h.took, now.Sub(h.began)) / time.Duration(h.limit)
	if first := now.Add(time.Duration(len(h.waiting)) * each); h.next.Before(first) {
		h.next = first
	}
	h.next = h.next.Add(each)
	least := c.backoff.Min
	if h.took > 0 {
		least = min(least, 10*time.Millisecond)
	}
	return min(max(h.next.Sub(now), least), c.backoff.Max), false
}

// all takes all leases that wait.
func (c *crew) all() (list []*store.Lease[store.Item]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hosts {
		list = append(list, c.take(h, len(h.waiting))...)
	}
	return list
}

// opens reports whether a try to one of the hosts could begin now. Otherwise the recipient
// is woken when one can.
func (c *crew) opens(names []string, to string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(names, func(name string) bool {
		h := c.hosts[name]
		return h == nil || !h.slow || c.open(nil, h)
	}) {
		return true
	}
	for _, name := range names {
		c.await(name, c.hosts[name], to)
	}
	return false
}

// await makes a recipient wait until a try to a slow host may begin. The caller holds mu.
func (c *crew) await(name string, h *host, to string) {
	if !h.probing && !h.queued {
		h.queued = true
		c.queue = append(c.queue, name)
	}
	c.note(h, to)
}

// open reports whether a try to a slow host could begin. The caller holds mu.
func (c *crew) open(t *turn, h *host) bool {
	return !h.probing && (c.slow < c.maxSlow || t != nil && t.slow)
}

// host returns the entry of a host, and adds one if there is none. The caller holds mu.
func (c *crew) host(name string) *host {
	h := c.hosts[name]
	if h == nil {
		if len(c.hosts) >= maxHosts {
			for _, h := range c.hosts {
				clear(h.names)
			}
			clear(c.hosts) // a host with leases that wait also has tries, which know it
			c.queue, c.names = nil, 0
		}
		h = &host{limit: c.perHost}
		c.hosts[name] = h
	}
	return h
}

// hostOf returns the host of an endpoint, or the endpoint if it has no host.
func hostOf(endpoint string) string {
	name := endpoint
	if u, err := url.Parse(endpoint); err == nil && u.Hostname() != "" {
		name = strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	}
	if len(name) > 255 { // not the name of a host
		k := digest(name, "")
		name = string(k[:])
	}
	return name
}
