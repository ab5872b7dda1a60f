package netguard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/didcomm-go/didcomm/transport/netguard"
)

func TestCheck(t *testing.T) {
	const (
		public   = iota // passes every guard
		loopback        // passes AllowLoopback
		refused         // passes none
	)
	tests := []struct {
		addr string
		want int
	}{
		{"1.1.1.1", public},
		{"9.255.255.255", public},
		{"11.0.0.0", public},
		{"93.184.216.34", public},
		{"100.63.255.255", public},
		{"100.128.0.0", public},
		{"126.255.255.255", public},
		{"128.0.0.0", public},
		{"169.253.255.255", public},
		{"172.15.255.255", public},
		{"172.32.0.0", public},
		{"192.167.255.255", public},
		{"198.17.255.255", public},
		{"198.20.0.0", public},
		{"223.255.255.255", public},
		{"2606:4700:4700::1111", public},
		{"2a00:1450:4001:830::200e", public},
		{"::ffff:1.1.1.1", public},
		{"64:ff9b::1.1.1.1", public},

		{"127.0.0.1", loopback},
		{"127.0.0.2", loopback},
		{"127.255.255.255", loopback},
		{"::1", loopback},
		{"::1%lo", loopback},
		{"::ffff:127.0.0.1", loopback},
		{"::ffff:7f00:2", loopback},

		{"0.0.0.0", refused},
		{"0.1.2.3", refused},
		{"::", refused},
		{"::ffff:0.0.0.0", refused},
		{"10.0.0.1", refused},
		{"::ffff:10.0.0.1", refused},
		{"::10.0.0.1", refused},
		{"::127.0.0.1", refused},
		{"::1.1.1.1", refused},
		{"::ffff:0:127.0.0.1", refused},
		{"100.64.0.1", refused},
		{"100.127.255.255", refused},
		{"169.254.0.1", refused},
		{"169.254.169.254", refused},
		{"::ffff:169.254.169.254", refused},
		{"64:ff9b::169.254.169.254", refused},
		{"168.63.129.16", refused},
		{"100.100.100.200", refused},
		{"192.0.0.192", refused},
		{"172.16.0.1", refused},
		{"172.31.255.255", refused},
		{"192.168.1.1", refused},
		{"192.0.0.1", refused},
		{"192.0.2.1", refused},
		{"192.88.99.1", refused},
		{"198.18.0.1", refused},
		{"198.19.255.255", refused},
		{"198.51.100.7", refused},
		{"203.0.113.7", refused},
		{"224.0.0.1", refused},
		{"239.255.255.255", refused},
		{"240.0.0.1", refused},
		{"255.255.255.255", refused},
		{"64:ff9b::127.0.0.1", refused},
		{"64:ff9b::10.0.0.1", refused},
		{"64:ff9b:1::1.1.1.1", refused},
		{"64:ff9b:1:2:3::7f00:1", refused},
		{"64:ff9b:2::1", refused},
		{"100::1", refused},
		{"2001::1", refused},
		{"2001:0:7f00:1::", refused},
		{"2001:2::1", refused},
		{"2001:10::1", refused},
		{"2001:20::1", refused},
		{"2001:db8::1", refused},
		{"2002:7f00:1::", refused},
		{"2002:101:101::1", refused},
		{"3fff::1", refused},
		{"5f00::1", refused},
		{"fc00::1", refused},
		{"fd00:ec2::254", refused},
		{"fdff::1", refused},
		{"fe80::1", refused},
		{"fe80::1%eth0", refused},
		{"febf::1", refused},
		{"fec0::1", refused},
		{"ff02::1", refused},
		{"4000::1", refused},
	}
	strict := &netguard.Guard{}
	lenient := &netguard.Guard{AllowLoopback: true}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			a := netip.MustParseAddr(tt.addr)
			for _, c := range []struct {
				name string
				g    *netguard.Guard
				ok   bool
			}{{"strict", strict, tt.want == public}, {"loopback", lenient, tt.want != refused}} {
				err := c.g.Check(a)
				if (err == nil) != c.ok {
					t.Errorf("%s: Check = %v, want pass %v", c.name, err, c.ok)
				}
				if err != nil && !errors.Is(err, netguard.ErrRefused) {
					t.Errorf("%s: %v does not match ErrRefused", c.name, err)
				}
			}
		})
	}
	if err := strict.Check(netip.Addr{}); !errors.Is(err, netguard.ErrRefused) {
		t.Errorf("the zero Addr: %v", err)
	}
}

func TestAllow(t *testing.T) {
	g := &netguard.Guard{Allow: []netip.Prefix{
		netip.MustParsePrefix("10.1.0.0/16"),
		netip.MustParsePrefix("fd12:3456::/32"),
	}}
	for addr, ok := range map[string]bool{
		"10.1.2.3":          true,
		"::ffff:10.1.2.3":   true,
		"10.2.0.1":          false,
		"::10.1.2.3":        false,
		"64:ff9b::10.1.2.3": false,
		"fd12:3456::1":      true,
		"fd12:3457::1":      false,
		"127.0.0.1":         false,
		"8.8.8.8":           true,
	} {
		if err := g.Check(netip.MustParseAddr(addr)); (err == nil) != ok {
			t.Errorf("Check(%s) = %v, want pass %v", addr, err, ok)
		}
	}
}

// Some metadata services have addresses in private networks. Allowing such a network does
// not allow them.
func TestAllowLeavesMetadata(t *testing.T) {
	for _, c := range []struct {
		allow, addr string
		ok          bool
	}{
		{"fc00::/7", "fd00:ec2::254", false},
		{"fc00::/7", "fd20:ce::254", false},
		{"fc00::/7", "fd00:ec2::253", true},
		{"100.64.0.0/10", "100.100.100.200", false},
		{"100.64.0.0/10", "::ffff:100.100.100.200", false},
		{"100.64.0.0/10", "100.100.100.201", true},
		{"0.0.0.0/0", "169.254.169.254", false},
		{"64:ff9b::/96", "64:ff9b::169.254.169.254", false},
		{"169.254.169.254/32", "169.254.169.254", true},
		{"fd00:ec2::254/128", "fd00:ec2::254", true},
	} {
		g := &netguard.Guard{Allow: []netip.Prefix{netip.MustParsePrefix(c.allow)}}
		if err := g.Check(netip.MustParseAddr(c.addr)); (err == nil) != c.ok {
			t.Errorf("allowed %s: Check(%s) = %v, want pass %v", c.allow, c.addr, err, c.ok)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "8.8.8.8", "fe80::1%eth0"} {
		f.Add(s)
	}
	g := &netguard.Guard{}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return
		}
		passes := g.Check(a) == nil
		if passes != (g.Check(a.Unmap()) == nil) {
			t.Errorf("%s and its unmapped form are judged differently", a)
		}
		u := a.Unmap()
		if passes && (u.IsLoopback() || u.IsPrivate() || u.IsUnspecified() || u.IsMulticast() ||
			u.IsLinkLocalUnicast() || u.IsInterfaceLocalMulticast() || !u.IsGlobalUnicast()) {
			t.Errorf("%s passes", a)
		}
	})
}

// greeter listens on loopback and greets whoever connects. got yields the
// address of each client, in order.
func greeter(t *testing.T, network, addr string) (ln net.Listener, got <-chan string) {
	t.Helper()
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Skipf("listen on %s: %v", addr, err)
	}
	clients := make(chan string, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			clients <- c.RemoteAddr().String()
			io.WriteString(c, "hello")
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln, clients
}

// mustBeFirst dials ln without a guard, and checks that ln has accepted no connection
// before.
func mustBeFirst(t *testing.T, ln net.Listener, got <-chan string) {
	t.Helper()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if first := <-got; first != c.LocalAddr().String() {
		t.Errorf("a refused dial reached the listener, from %s", first)
	}
}

func TestDialLoopback(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			ln, got := greeter(t, "tcp", addr)
			c, err := new(netguard.Guard).DialContext(t.Context(), "tcp", ln.Addr().String())
			if !errors.Is(err, netguard.ErrRefused) {
				t.Fatalf("dial = %v, %v; want ErrRefused", c, err)
			}
			mustBeFirst(t, ln, got)

			c, err = (&netguard.Guard{AllowLoopback: true}).DialContext(t.Context(), "tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if b, err := io.ReadAll(c); err != nil || string(b) != "hello" {
				t.Errorf("read %q, %v", b, err)
			}
		})
	}
}

func TestDialDisguisedLoopback(t *testing.T) {
	ln, got := greeter(t, "tcp4", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	for _, tt := range []struct {
		network, host string
	}{
		{"tcp", "0.0.0.0"}, {"tcp", "::"}, {"tcp", "::127.0.0.1"}, {"tcp", "64:ff9b::7f00:1"},
		{"udp", "127.0.0.1"}, {"ip4:icmp", "127.0.0.1"}, {"unix", "/nonexistent"}, {"", "127.0.0.1"},
	} {
		c, err := (&netguard.Guard{AllowLoopback: true}).DialContext(t.Context(), tt.network, net.JoinHostPort(tt.host, port))
		if err == nil {
			c.Close()
		}
		// Where the kernel has no IPv6, making the socket fails before the
		// guard is asked.
		if err == nil || !errors.Is(err, netguard.ErrRefused) && !noIPv6(err) {
			t.Errorf("%s %s: %v, want ErrRefused", tt.network, tt.host, err)
		}
	}
	mustBeFirst(t, ln, got)
}

func noIPv6(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !errors.Is(err, netguard.ErrRefused) && op.Op == "dial" && !canListen6()
}

func canListen6() bool {
	ln, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		ln.Close()
	}
	return err == nil
}

// TestRebinding has a DNS server that answers a public name with an internal
// address, which no check of the name or of an earlier answer would see.
func TestRebinding(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "internal")
	}))
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())

	queries := make(chan string, 64)
	resolver := dnsServer(t, map[string][4]byte{
		"public.example.":   {127, 0, 0, 1},
		"metadata.example.": {169, 254, 169, 254},
		"intranet.example.": {10, 0, 0, 1},
	}, queries)

	get := func(g *netguard.Guard, host string) (string, error) {
		tr := &http.Transport{DialContext: g.DialContext}
		defer tr.CloseIdleConnections()
		resp, err := (&http.Client{Transport: tr}).Get("http://" + net.JoinHostPort(host, port))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return string(b), err
	}

	for _, host := range []string{"public.example", "metadata.example", "intranet.example"} {
		body, err := get(&netguard.Guard{Resolver: resolver}, host)
		var ue *url.Error
		if !errors.Is(err, netguard.ErrRefused) || !errors.As(err, &ue) {
			t.Errorf("%s: %q, %v; want ErrRefused inside a *url.Error", host, body, err)
		}
	}
	select {
	case <-queries:
	default:
		t.Fatal("the name was never looked up: the test proves nothing")
	}
	if body, err := get(&netguard.Guard{Resolver: resolver, AllowLoopback: true}, "public.example"); err != nil || body != "internal" {
		t.Errorf("with AllowLoopback: %q, %v", body, err)
	}
	if body, err := get(&netguard.Guard{Resolver: resolver, AllowLoopback: true}, "metadata.example"); !errors.Is(err, netguard.ErrRefused) {
		t.Errorf("AllowLoopback let metadata through: %q, %v", body, err)
	}
}

// dnsServer answers A queries for the given names from a UDP socket on
// loopback and returns a resolver that asks nobody else.
func dnsServer(t *testing.T, names map[string][4]byte, queries chan<- string) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			question := q.Questions[0]
			reply := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true, RecursionAvailable: true},
				Questions: q.Questions,
			}
			ip, known := names[question.Name.String()]
			switch {
			case !known:
				reply.RCode = dnsmessage.RCodeNameError
			case question.Type == dnsmessage.TypeA:
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: ip},
				}}
			}
			select {
			case queries <- question.Name.String():
			default:
			}
			if b, err := reply.Pack(); err == nil {
				pc.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp4", pc.LocalAddr().String())
		},
	}
}

func TestTimeoutAndContext(t *testing.T) {
	// A resolver that never answers: only the guard's own deadline ends the dial.
	stuck := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	if c, err := (&netguard.Guard{Resolver: stuck, Timeout: time.Millisecond}).DialContext(t.Context(), "tcp", "name.example:443"); err == nil {
		c.Close()
		t.Error("dial with a stuck resolver succeeded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := new(netguard.Guard).DialContext(ctx, "tcp", "name.example:443"); err == nil {
		c.Close()
		t.Error("dial with a cancelled context succeeded")
	}
}
