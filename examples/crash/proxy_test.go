//go:build crash

package crash_test

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy is a way by TCP to a PostgreSQL server, whose connections can go silent:
// bytes vanish in both directions, and neither end hears of it, not even when the
// other closes.
type proxy struct {
	socket string // of the server

	mu    sync.Mutex // guards all below
	links map[*link]bool
	quiet bool // new connections are silent too
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn

	mu    sync.Mutex
	turns *sync.Cond // held or dead changed
	held  bool       // what comes is kept back
	dead  bool       // what comes vanishes
}

// newProxy makes a proxy to the server of a DSN, and returns the DSN that leads
// through it.
func newProxy(t *testing.T, dsn string) (*proxy, string) {
	t.Helper()
	rest, _ := strings.CutPrefix(dsn, "host=")
	dir, rest, _ := strings.Cut(rest, " ")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{socket: dir + "/.s.PGSQL.5432", links: map[*link]bool{}}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(client) })
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return p, "host=127.0.0.1 sslmode=disable port=" + port + " " + rest
}

// serve carries one connection until it ends, or the test does.
func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("unix", p.socket)
	if err != nil { // the server is down
		_ = client.Close()
		return
	}
	k := &link{client: client, server: server}
	k.turns = sync.NewCond(&k.mu)
	p.mu.Lock()
	k.held = p.quiet
	p.links[k] = true
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { k.carry(server, client) })
	both.Go(func() { k.carry(client, server) })
	both.Wait()
	k.mu.Lock()
	dead := k.dead
	k.mu.Unlock()
	if !dead { // a dead one stays as it is until cut
		p.mu.Lock()
		delete(p.links, k)
		p.mu.Unlock()
	}
}

// carry carries what comes from one end to the other. The end of one is that of
// the other, unless the link is dead.
func (k *link) carry(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if !k.pass() {
			if err == nil {
				_, _ = io.Copy(io.Discard, from) // until cut
			}
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
}

// pass waits while the link is held, and tells whether it lives.
func (k *link) pass() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.held && !k.dead {
		k.turns.Wait()
	}
	return !k.dead
}

func (k *link) set(held, dead bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held, k.dead = held, dead
	k.turns.Broadcast()
}

// hold keeps back what comes by all connections, and by those to come.
func (p *proxy) hold() { p.set(true, true, false) }

// resume lets all go on after hold, as if nothing had been.
func (p *proxy) resume() { p.set(false, false, false) }

// cut ends all connections: what was kept back is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = false
	for k := range p.links {
		k.set(false, true)
		_, _ = k.client.Close(), k.server.Close()
		delete(p.links, k)
	}
}

// silence makes all connections silent for good. Those to come are so too, if
// vanished.
func (p *proxy) silence(vanished bool) { p.set(vanished, true, true) }

func (p *proxy) set(quiet, held, dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = quiet
	for k := range p.links {
		k.mu.Lock()
		gone := k.dead
		k.mu.Unlock()
		if !gone {
			k.set(held, dead)
		}
	}
}

// TestProxy: what is held arrives, and what is silent neither arrives nor ends,
// while new connections work.
func TestProxy(t *testing.T) {
	dir, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/.s.PGSQL.5432")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p, dsn := newProxy(t, "host="+dir+" user=x")
	port := strings.Fields(strings.SplitAfter(dsn, "port=")[1])[0]
	pair := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = client.Close(), server.Close() })
		return client, server
	}
	arrives := func(from, to net.Conn) {
		t.Helper()
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	quiet := func(from, to net.Conn) {
		t.Helper()
		if _, err := from.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := to.Read(make([]byte, 1)); !os.IsTimeout(err) {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		_ = to.SetReadDeadline(time.Time{})
	}
	client, server := pair()
	arrives(client, server)
	arrives(server, client)
	p.hold()
	quiet(client, server)
	p.resume()
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.silence(false)
	quiet(client, server)
	quiet(server, client)
	other, at := pair()
	arrives(other, at)
	arrives(at, other)
	_ = client.Close()
	_ = server.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := server.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("the end of a silent connection showed: read %d bytes, %v", n, err)
	}
	_ = other.Close()
	if _, err := at.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("the end of a connection did not show: %v", err)
	}
}
