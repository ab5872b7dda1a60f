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

const (
	handling = 200 * time.Millisecond // what a handler takes: something is in hand at each moment
	patience = 6 * time.Minute        // for what is late: longer than the leases of a node
)

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

// send begins to send steadily, to all nodes and, of each four messages, one from
// a node.
func (c *cluster) send(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
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
			if n%4 == 0 && c.nodes[n/4%len(c.nodes)].ask(t, "http") {
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
	// What is accepted is counted first, since it may come to its end meanwhile.
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
	return figuresOf(sent, taken, handled, time.Time{}), figuresOf(c.asked, accepted, c.client.received, time.Time{})
}

// check logs the figures, and fails the test for those that are beyond the limit.
func (c *cluster) check(t *testing.T, limit time.Duration, doubles int) {
	t.Helper()
	in, out := c.figures(t)
	_, fails := c.client.count()
	unmarked := 0
	for _, n := range c.nodes {
		unmarked += strings.Count(n.said(t), unmarkedLine)
	}
	notes := append(c.notes, fmt.Sprintf("posts failed %s", fails), fmt.Sprintf("%q %d times", unmarkedLine, unmarked),
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

// unmarkedLine is what a node says of a message that is handled, and that it could
// not mark so.
const unmarkedLine = "handled, but not marked so"

// marked fails the test for each such message.
func (c *cluster) marked(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		for line := range strings.Lines(n.said(t)) {
			if strings.Contains(line, unmarkedLine) {
				t.Errorf("node %s: though no process was struck: %s", n.name, line)
			}
		}
	}
}
