//go:build crash && unix

package crash_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	rate   = flag.Int("rate", 30, "messages a second to the nodes that share a database")
	frozen = flag.Duration("frozen", 20*time.Second, "how long a process is frozen")
)

const (
	calmLimit     = 5 * time.Second  // instead of limit, where nothing is struck
	vanishedLimit = 15 * time.Second // instead of limit, where a host vanishes
	lead          = 2 * time.Second  // of sending, before the first strike
	recovery      = 8 * time.Second  // from the start of a process to the next strike
	tail          = 3 * time.Second  // of sending, after the last
)

// TestShared strikes agents of which several processes share a PostgreSQL
// database. The rows run at the same time, each on a server of its own, since they
// wait for the most part.
func TestShared(t *testing.T) {
	var rows sync.WaitGroup
	for _, row := range []struct {
		name    string
		nodes   int
		proxied bool
		limit   time.Duration
		once    bool // no message is handled more than twice
		marked  bool // what is handled is marked so
		strike  func(t *testing.T, c *cluster) (doubles int)
	}{
		{"calm", 3, true, calmLimit, true, true, calm},
		{"kill alone", 1, false, limit, false, false, killAndRestart},
		{"kill one of three", 3, false, limit, false, false, killAndRestart},
		{"kill one of three for good", 3, false, limit, true, false, killForGood},
		{"server", 3, true, limit, true, true, killServer},
		{"frozen", 3, false, limit, true, false, freeze},
		{"vanished host", 3, true, vanishedLimit, true, false, vanish},
		{"silent connections", 3, true, limit, true, false, silence},
	} {
		rows.Go(func() {
			t.Run(row.name, func(t *testing.T) {
				c := newCluster(t, row.nodes, row.proxied)
				c.send(t)
				pause(t, lead)
				doubles := row.strike(t, c)
				pause(t, tail)
				c.settle(t)
				c.check(t, row.limit, doubles, row.marked)
				if row.once {
					c.once(t)
				}
			})
		})
	}
	rows.Wait()
}

// pause lets all work for a while.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// calm strikes nothing: it shows what the harness itself takes.
func calm(t *testing.T, _ *cluster) int {
	pause(t, tail)
	return 0
}

// inHand picks a node, waits until it has messages in hand, and tells how many it
// has at most.
func (c *cluster) inHand() (node, n int) {
	node = rand.N(len(c.nodes))
	for !c.nodes[node].handles() {
		time.Sleep(time.Millisecond)
	}
	return node, c.client.held(node)
}

// killAndRestart kills one process after another, each with messages in hand and
// when what the one before had is in hand again.
func killAndRestart(t *testing.T, c *cluster) (doubles int) {
	for range 3 {
		i, n := c.inHand()
		c.nodes[i].kill(t)
		doubles += n
		pause(t, recovery)
	}
	return doubles
}

// killForGood kills one process, which stays away.
func killForGood(_ *testing.T, c *cluster) (doubles int) {
	i, n := c.inHand()
	c.nodes[i].end()
	return n
}

// killServer kills the database server again and again; each time it is away for a
// moment. Every other time its last answers are lost, one to a COMMIT among them.
func killServer(t *testing.T, c *cluster) (doubles int) {
	for n := range 6 {
		if n%2 == 0 {
			if err := c.sessions.doubt(t.Context(), c.all((*proxy).hold), c.all((*proxy).resume)); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		if err := c.server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.all((*proxy).cut)()
		pause(t, time.Duration(rand.N(500))*time.Millisecond)
		if err := c.server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.away = append(c.away, span{begin, time.Now()})
		pause(t, time.Second)
	}
	return 0
}

// all does something to the proxies of all nodes.
func (c *cluster) all(do func(*proxy)) func() {
	return func() {
		for _, p := range c.proxies {
			do(p)
		}
	}
}

// freeze stops one process inside a transaction, for a while. Messages that it has in
// hand may be handled once more.
func freeze(t *testing.T, c *cluster) (doubles int) {
	i := rand.N(len(c.nodes))
	node := c.nodes[i]
	found, err := c.sessions.catch(t.Context(), node.name,
		func() { node.signal(t, syscall.SIGSTOP) }, func() { node.signal(t, syscall.SIGCONT) })
	if err != nil {
		t.Fatal(err)
	}
	node.leave(true)
	doubles = c.client.held(i)
	c.notes = append(c.notes, fmt.Sprintf("frozen for %s, %s", *frozen, found))
	pause(t, *frozen)
	node.signal(t, syscall.SIGCONT)
	node.leave(false)
	return doubles
}

// vanish takes one host away, inside a transaction: its connections to the server
// go silent, and it answers nobody.
func vanish(t *testing.T, c *cluster) (doubles int) {
	i := rand.N(len(c.nodes))
	node, p := c.nodes[i], c.proxies[i]
	found, err := c.sessions.catch(t.Context(), node.name,
		p.hold, p.resume)
	if err != nil {
		t.Fatal(err)
	}
	p.silence(true)
	node.signal(t, syscall.SIGSTOP)
	node.leave(true)
	c.notes = append(c.notes, "vanished "+found.String())
	return c.client.held(i)
}

// silence makes the connections of all processes silent; new ones work. One of
// them is inside a transaction.
func silence(t *testing.T, c *cluster) (doubles int) {
	found, err := c.sessions.catch(t.Context(), c.nodes[0].name, c.all((*proxy).hold), c.all((*proxy).resume))
	if err != nil {
		t.Fatal(err)
	}
	c.all(func(p *proxy) { p.silence(false) })()
	c.notes = append(c.notes, "silent "+found.String())
	return 0
}
