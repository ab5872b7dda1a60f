package gate_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/transport/gate"
)

// site is an http.Server behind a Gate. Its connections come from any address.
type site struct {
	t        *testing.T
	at       string
	addrs    chan net.Addr // of the next connections
	log      *lockedBuffer
	hold     chan struct{} // closed to end requests to /slow
	began    chan struct{} // has an item for each request to /slow
	hijacked chan net.Conn // connections of /hijack
	idled    chan struct{} // has an item for each connection that became idle
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// renamed is a listener whose connections come from the addresses of a site.
type renamed struct {
	net.Listener
	addrs chan net.Addr
}

type renamedConn struct {
	net.Conn
	addr net.Addr
}

func (c renamedConn) RemoteAddr() net.Addr { return c.addr }

func (l renamed) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return renamedConn{c, <-l.addrs}, nil
}

func newSite(t *testing.T, cfg gate.Config) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		t: t, at: l.Addr().String(), addrs: make(chan net.Addr, 100),
		log: new(lockedBuffer), hold: make(chan struct{}), began: make(chan struct{}, 100),
		hijacked: make(chan net.Conn, 1000),
		idled:    make(chan struct{}, 10_000),
	}
	cfg.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	cfg.Probes = []string{"/probe"}
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/probe", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "well") })
	mux.HandleFunc("/rated", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) {
		s.began <- struct{}{}
		<-s.hold
	})
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
		c, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		s.hijacked <- c
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		go func() {
			io.Copy(io.Discard, buf)
			c.Close()
			c.Close()
		}()
	})
	srv := &http.Server{Handler: mux, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			s.idled <- struct{}{}
		}
	}}
	g := gate.New(cfg)
	g.Guard(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(g.Listener(renamed{l, s.addrs})) }()
	t.Cleanup(func() {
		srv.Close()
		<-served
	})
	return s
}

// client is a connection to a site.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dial connects from an address.
func (s *site) dial(from string) *client {
	s.t.Helper()
	s.addrs <- net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1000))
	c, err := net.Dial("tcp", s.at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(30 * time.Second))
	return &client{s.t, c, bufio.NewReader(c)}
}

// ask sends a GET with lines of a header.
func (c *client) ask(path string, lines ...string) {
	c.t.Helper()
	fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, strings.Join(append(lines, ""), "\r\n"))
}

// status returns the next status, or 0 if the connection is closed.
func (c *client) status() int {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if over := resp.StatusCode == 429 || resp.StatusCode == 503; over != (resp.Header.Get("Retry-After") != "") {
		c.t.Errorf("status %d with Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	return resp.StatusCode
}

// get returns the status of a GET.
func (c *client) get(path string, lines ...string) int {
	c.t.Helper()
	c.ask(path, lines...)
	return c.status()
}

func (c *client) want(status int, path string, lines ...string) {
	c.t.Helper()
	if got := c.get(path, lines...); got != status {
		c.t.Errorf("%s %q: status %d, want %d", path, lines, got, status)
	}
}

// One address gets its share of the connections. Idle ones make room for new ones. A
// connection over the limit gets an answer, also for a probe.
func TestConnsPerAddress(t *testing.T) {
	s := newSite(t, gate.Config{ConnsPerAddress: 2})
	first, second := s.dial("192.0.2.1"), s.dial("192.0.2.1")
	first.want(200, "/")
	<-s.idled
	second.want(101, "/hijack")
	third := s.dial("192.0.2.1") // in the place of the first
	third.want(101, "/hijack")
	if status := first.status(); status != 0 {
		t.Errorf("the idle connection answers %d", status)
	}
	s.dial("192.0.2.1").want(429, "/")
	s.dial("::ffff:192.0.2.1").want(429, "/")
	s.dial("192.0.2.1").want(200, "/probe")
	s.dial("192.0.2.2").want(200, "/")
	if log := s.log.String(); strings.Count(log, "refused") != 1 {
		t.Errorf("log: %s", log)
	}
	second.conn.Close()
	for s.dial("192.0.2.1").get("/") != 200 { // until the server has seen the end
	}
}

// An IPv6 address counts as its /64, and with larger limits as its /48.
func TestIPv6(t *testing.T) {
	s := newSite(t, gate.Config{ConnsPerAddress: 1})
	for i := range 8 {
		s.dial(fmt.Sprintf("2001:db8:1:%d::1", i)).want(101, "/hijack")
		s.dial(fmt.Sprintf("2001:db8:1:%d:ffff::2", i)).want(429, "/")
	}
	s.dial("2001:db8:1:8::1").want(429, "/")
	s.dial("2001:db8:2::1").want(200, "/")
}

// All addresses together get MaxConns, and idle connections make room.
func TestMaxConns(t *testing.T) {
	s := newSite(t, gate.Config{MaxConns: 4})
	idle := s.dial("192.0.2.9")
	idle.want(200, "/")
	<-s.idled
	for i := range 4 {
		s.dial(fmt.Sprintf("192.0.2.%d", i)).want(101, "/hijack")
	}
	if status := idle.status(); status != 0 {
		t.Errorf("the idle connection answers %d", status)
	}
	s.dial("192.0.2.8").want(503, "/")
	s.dial("192.0.2.8").want(200, "/probe")
}

// So many connections are open that are refused, and no more.
func TestRefusing(t *testing.T) {
	s := newSite(t, gate.Config{ConnsPerAddress: 1})
	s.dial("192.0.2.1").want(101, "/hijack")
	var open []*client
	for range 20 {
		open = append(open, s.dial("192.0.2.1"))
	}
	closed := 0
	for _, c := range open {
		if c.get("/") == 0 {
			closed++
		}
	}
	if closed < 8 {
		t.Errorf("%d of 20 connections over the limit were closed", closed)
	}
}

func TestConnectsPerMinute(t *testing.T) {
	s := newSite(t, gate.Config{ConnectsPerMinute: 2})
	s.dial("192.0.2.1").want(200, "/")
	s.dial("192.0.2.1").want(200, "/")
	s.dial("192.0.2.1").want(429, "/")
	s.dial("192.0.2.2").want(200, "/")
}

func TestRequestsPerMinute(t *testing.T) {
	s := newSite(t, gate.Config{RequestsPerMinute: 2})
	c := s.dial("192.0.2.1")
	c.want(200, "/")
	c.want(404, "/nothing")
	c.want(429, "/")
	c.want(200, "/probe")
	s.dial("192.0.2.1").want(429, "/")
	s.dial("192.0.2.2").want(200, "/")
}

func TestFailuresPerMinute(t *testing.T) {
	s := newSite(t, gate.Config{FailuresPerMinute: 2})
	c := s.dial("192.0.2.1")
	c.want(404, "/nothing")
	for range 10 {
		c.want(200, "/")
		c.want(429, "/rated") // over a limit of its own
	}
	c.want(404, "/nothing")
	c.want(429, "/")
	c.want(200, "/probe")
	s.dial("192.0.2.1").want(429, "/")
	s.dial("192.0.2.2").want(200, "/")
}

// Negative numbers are no limits.
func TestNoLimits(t *testing.T) {
	s := newSite(t, gate.Config{MaxConns: -1, ConnsPerAddress: -1, ConnectsPerMinute: -1, RequestsPerMinute: -1, FailuresPerMinute: -1})
	for range 300 {
		s.dial("2001:db8::1").want(404, "/nothing")
	}
}

// Messages on a WebSocket count as requests, and those that are refused as failures.
func TestMessages(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cfg   gate.Config
		fails bool
	}{
		{"requests", gate.Config{RequestsPerMinute: 3}, false}, // with the handshake
		{"failures", gate.Config{FailuresPerMinute: 2}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.cfg)
			c := s.dial("192.0.2.1")
			c.want(101, "/hijack")
			meter := (<-s.hijacked).(interface {
				Take() bool
				Fail()
			})
			for i, want := range []bool{true, true, false} {
				if got := meter.Take(); got != want {
					t.Errorf("message %d: %v", i, got)
				}
				if tt.fails {
					meter.Fail()
				}
			}
			s.dial("192.0.2.1").want(429, "/")
		})
	}
}

// Messages of a peer count on the connections to the peer, and on those from its address.
func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := gate.New(gate.Config{RequestsPerMinute: 3, FailuresPerMinute: 2})
	dial := g.Dial(new(net.Dialer).DialContext)
	type meter interface {
		Take() bool
		Fail()
	}
	var meters []meter
	for range 2 {
		c, err := dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		meters = append(meters, c.(meter))
	}
	for i, want := range []bool{true, true, false} {
		if got := meters[i%2].Take(); got != want {
			t.Errorf("message %d: %v", i, got)
		}
		meters[i%2].Fail()
	}
	l.Close()
	if c, err := dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Errorf("a connection to nobody: %v", c)
	}
}

// Behind a trusted proxy, each client has limits of its own, also on one connection of the
// proxy. Its WebSockets count until they end.
func TestProxy(t *testing.T) {
	s := newSite(t, gate.Config{
		ConnsPerAddress: 1, ConnectsPerMinute: 1,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	socket := s.dial("192.0.2.1")
	socket.want(101, "/hijack", "X-Forwarded-For: 198.51.100.1")
	proxy := s.dial("192.0.2.1")
	proxy.want(429, "/hijack", "X-Forwarded-For: 198.51.100.1")
	proxy.want(200, "/", "X-Forwarded-For: 198.51.100.2")
	slow := s.dial("192.0.2.1")
	slow.ask("/slow", "X-Forwarded-For: 198.51.100.2")
	<-s.began
	proxy.want(429, "/", "X-Forwarded-For: 198.51.100.2")
	close(s.hold)
	if status := slow.status(); status != 200 {
		t.Errorf("status %d", status)
	}
	socket.conn.Close()
	for proxy.get("/", "X-Forwarded-For: 198.51.100.1") != 200 { // until the server has seen the end
	}
}

// The last address that is not of a trusted proxy counts. Headers that name none, or two,
// are those of the proxy.
func TestForwarded(t *testing.T) {
	const peer, client, other, inner = "192.0.2.1", "198.51.100.1", "198.51.100.2", "192.0.2.7"
	for _, tt := range []struct {
		name    string
		headers []string
		want    string
	}{
		{"none", nil, peer},
		{"one", []string{"X-Forwarded-For: " + client}, client},
		{"port", []string{"X-Forwarded-For: " + client + ":80"}, client},
		{"mapped", []string{"X-Forwarded-For: ::ffff:" + client}, client},
		{"forged", []string{"X-Forwarded-For: " + other + ", " + client}, client},
		{"two lines", []string{"X-Forwarded-For: " + other, "X-Forwarded-For: " + client}, client},
		{"inner proxy", []string{"X-Forwarded-For: " + other + ", " + client + ", " + inner}, client},
		{"garbage", []string{"X-Forwarded-For: " + other + ", unknown"}, peer},
		{"many", []string{"X-Forwarded-For: " + strings.Repeat(other+", ", 1000) + client}, client},
		{"Forwarded", []string{"Forwarded: for=" + other + `, proto=http; For="` + client + `:80"`}, client},
		{"Forwarded, hidden", []string{"Forwarded: for=_x"}, peer},
		{"Forwarded, no for", []string{"Forwarded: for=" + client + ", by=x"}, peer},
		{"both, the same", []string{"Forwarded: for=" + client, "X-Forwarded-For: " + client}, client},
		{"both, not the same", []string{"Forwarded: for=" + other, "X-Forwarded-For: " + client}, peer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, gate.Config{RequestsPerMinute: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			c := s.dial(peer)
			c.want(200, "/", tt.headers...)
			for _, addr := range []string{peer, client, other} {
				status := 200
				if addr == tt.want {
					status = 429
				}
				if addr == peer {
					c.want(status, "/")
				} else {
					c.want(status, "/", "X-Forwarded-For: "+addr)
				}
			}
		})
	}
}

// A header of a peer that is no trusted proxy names nobody. The log tells once of a proxy that
// may be one.
func TestUnknownProxy(t *testing.T) {
	s := newSite(t, gate.Config{RequestsPerMinute: 2})
	c := s.dial("203.0.113.1")
	c.want(200, "/", "X-Forwarded-For: 198.51.100.1")
	c.want(200, "/", "X-Forwarded-For: 198.51.100.2")
	c.want(429, "/", "X-Forwarded-For: 198.51.100.3")
	if log := s.log.String(); strings.Contains(log, "proxy") {
		t.Errorf("log: %s", log)
	}
	for _, from := range []string{"10.0.0.1", "10.0.0.2", "127.0.0.1"} {
		s.dial(from).want(200, "/", "Via: x")
	}
	if log := s.log.String(); strings.Count(log, "requests seem to come through a proxy") != 1 {
		t.Errorf("log: %s", log)
	}
}

// A flood of networks does not clear an address that has failed too often.
func TestFloodOfAddresses(t *testing.T) {
	s := newSite(t, gate.Config{
		FailuresPerMinute: 1, RequestsPerMinute: -1, MaxAddresses: 200,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	})
	c := s.dial("192.0.2.1")
	c.want(404, "/nothing", "X-Forwarded-For: 198.51.100.1")
	const pipelined = 100
	for i := range 1000 / pipelined {
		for j := range pipelined {
			n := i*pipelined + j
			c.ask("/", fmt.Sprintf("X-Forwarded-For: 2001:db8:%x::1", n))
		}
		for range pipelined {
			if status := c.status(); status != 200 {
				t.Fatalf("status %d", status)
			}
		}
	}
	c.want(429, "/", "X-Forwarded-For: 198.51.100.1")
}
