//go:build postgres

package postgres_test

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// proxy passes TCP connections on to the server, and can make them fail.
type proxy struct {
	dsn string

	mu    sync.Mutex // guards all below
	links []*link
}

// link is one connection through a proxy.
type link struct {
	client, server net.Conn

	mu     sync.Mutex // guards all below
	silent bool
}

// newProxy makes a proxy to the server of a DSN, which runs until the test ends.
func newProxy(t *testing.T, dsn string) *proxy {
	t.Helper()
	rest, _ := strings.CutPrefix(dsn, "host=")
	dir, rest, _ := strings.Cut(rest, " ")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := &proxy{dsn: "host=127.0.0.1 sslmode=disable port=" + port + " " + rest}
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
			server, err := net.Dial("unix", dir+"/.s.PGSQL.5432")
			if err != nil { // it was killed
				_ = client.Close()
				continue
			}
			link := &link{client: client, server: server}
			p.mu.Lock()
			p.links = append(p.links, link)
			p.mu.Unlock()
			wg.Go(func() { link.copy(server, client); _ = server.Close() })
			wg.Go(func() { link.copy(client, server); _ = client.Close() })
		}
	})
	return p
}

func (l *link) copy(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		silent := l.silent
		l.mu.Unlock()
		if !silent && n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// each calls a function for all connections that are open.
func (p *proxy) each(f func(*link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		f(l)
	}
}

// silence drops all bytes on the open connections, in both directions, from now on. New
// connections work.
func (p *proxy) silence() {
	p.each(func(l *link) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.silent = true
	})
}

// cut closes the connections to the client. The server notices this when it reads or writes.
func (p *proxy) cut() {
	p.each(func(l *link) { _ = l.client.Close() })
}
