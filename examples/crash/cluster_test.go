//go:build crash && unix

package crash_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
)

// handling is what a handler takes: long enough that something is in hand at each
// moment.
const handling = 200 * time.Millisecond

// cluster are nodes that are one agent: one identity, one database.
type cluster struct {
	nodes    []*node
	proxies  []*proxy // by node, where they reach the server through one
	client   *client
	server   *pgtest.Server
	sessions sessions

	began   time.Time
	sending context.CancelFunc // ends the sending
	done    sync.WaitGroup
	asked   int      // messages that nodes were asked to send; belongs to the sending until done
	notes   []string // for the line of figures
	away    []span   // of the database server
}

// newCluster starts a server and n nodes on it, whose sessions have the names of
// the nodes.
func newCluster(t *testing.T, n int, proxied bool) *cluster {
	t.Helper()
	c := &cluster{client: newClient(t)}
	var err error
	if c.server, err = pgtest.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn, err := c.server.DSN(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	if c.sessions.db, err = sql.Open("pgx", dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.sessions.db.Close() })
	for i := range n {
		node := newNode(t, string(rune('a'+i)))
		node.Store, node.Shared, node.Takes, node.Peer = dsn, true, handling, c.client.dids
		// Requests made while the server is away must not become a queue for the
		// client, which is slow.
		node.window = 4
		if proxied {
			var p *proxy
			p, node.Store = newProxy(t, dsn)
			c.proxies = append(c.proxies, p)
		}
		node.Store += " application_name=" + node.name
		c.nodes = append(c.nodes, node)
		c.client.endpoints = append(c.client.endpoints, "http://"+node.Listen+"/")
	}
	c.client.open = make([]int, n)
	dids, secrets, err := identities(c.nodes[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	c.client.to = dids["http"]
	for _, node := range c.nodes {
		node.DID, node.Secrets = dids["http"], secrets
		node.save(t)
		node.start(t)
	}
	return c
}

// send begins to send steadily, to all nodes and, for each three messages, one from
// a node.
func (c *cluster) send(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(c.done.Wait)
	c.sending, c.began = cancel, time.Now()
	all := make([]int, len(c.nodes))
	for i := range all {
		all[i] = i
	}
	tick := time.NewTicker(time.Second / time.Duration(*rate))
	c.done.Go(func() {
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			c.client.send(t.Context(), t, all...)
			// Those that are away are left out: their turn is nobody's.
			if n%3 == 0 && c.nodes[n/3%len(c.nodes)].ask(t, "http") {
				c.asked++
			}
		}
	})
}

// settle ends the sending, and waits until all is accepted and has come to its
// end, or nothing has moved for too long. Those nodes that are not away must be at
// work again.
func (c *cluster) settle(t *testing.T) {
	t.Helper()
	c.sending()
	c.done.Wait()
	for i, n := range c.nodes {
		if !n.isAway() {
			c.client.send(t.Context(), t, i)
		}
	}
	last, moved := -1, time.Now()
	for time.Since(moved) < patience {
		in, out := c.figures(t)
		sent, _ := c.client.count()
		open := 0
		for _, n := range c.nodes {
			if !n.isAway() {
				open += n.asked()
			}
		}
		if sent == in.accepted && open == 0 && len(in.lost)+len(out.lost) == 0 {
			return
		}
		if now := in.accepted + out.accepted - len(in.lost) - len(out.lost); now != last {
			last, moved = now, time.Now()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// figures are what came of the messages to the nodes, and from them.
func (c *cluster) figures(t *testing.T) (in, out figures) {
	t.Helper()
	handled, accepted := newTimes(), newTimes()
	// Accepted messages are counted first, since they may come to their end meanwhile.
	sent, _ := c.client.count()
	for _, n := range c.nodes {
		for id, at := range n.accepted.all() {
			accepted.add(id, at)
		}
	}
	taken := c.client.accepted.copy()
	for _, n := range c.nodes {
		n.handled(t, handled)
	}
	return figuresOf(sent, taken, handled, time.Time{}, c.away...), figuresOf(c.asked, accepted, c.client.received, time.Time{}, c.away...)
}

// check logs the figures, and fails the test for those that are beyond the limit,
// and for each message that is handled and not marked so, if marked is demanded.
func (c *cluster) check(t *testing.T, limit time.Duration, doubles int, marked bool) {
	t.Helper()
	in, out := c.figures(t)
	if in.accepted < in.sent { // the sender has not given up
		in.gap, in.since = max(in.gap, time.Since(in.last)), in.last
	}
	_, fails := c.client.count()
	unmarked := 0
	for _, n := range c.nodes {
		for line := range strings.Lines(n.said(t)) {
			if !strings.Contains(line, unmarkedLine) {
				continue
			}
			unmarked++
			if marked {
				t.Errorf("no process was struck, and %s said %s", n.name, line)
			}
		}
	}
	notes := append(c.notes, "posts failed "+fails, fmt.Sprintf("%q %d times", unmarkedLine, unmarked),
		time.Since(c.began).Round(time.Second).String())
	t.Logf("in: %s; out: sent %d, accepted %d, lost %d, received twice %d, longest wait %s; %s",
		in, out.sent, out.accepted, len(out.lost), len(out.twice), out.wait.Round(time.Millisecond), strings.Join(notes, "; "))
	in.check(t, "in", limit)
	out.gap = 0 // they are few, and a node that is away is not asked
	out.check(t, "out", limit)
	if in.accepted < in.sent {
		t.Errorf("only %d of %d messages were accepted", in.accepted, in.sent)
	}
	if in.accepted == 0 || out.accepted == 0 {
		t.Error("nothing was accepted")
	}
	if len(in.twice) > doubles {
		t.Errorf("%d messages were handled twice, more than the %d that were in hand", len(in.twice), doubles)
	}
}

// once fails the test for each message that was handled more than once more.
func (c *cluster) once(t *testing.T) {
	t.Helper()
	handled := newTimes()
	for _, n := range c.nodes {
		n.handled(t, handled)
	}
	for id, n := range handled.count {
		if n > 2 {
			t.Errorf("%s was handled %d times", id, n)
		}
	}
}

// unmarkedLine is what a node says of a message that is handled, and that it could
// not mark so.
const unmarkedLine = "handled, but not marked so"
