package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport"
)

// ask sends a request with a header to a server, and returns the response without the body.
func ask(t *testing.T, method, at, path, host string, header map[string]string, body string) *http.Response {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, at+path, b)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	req.Host = host
	conn, err := net.Dial("tcp", u.Host) // by hand, since an upgrade has no end
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

var handshake = map[string]string{
	"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MTIzNDU2Nzg5MDEyMzQ1Ng==",
}

// with returns a header with one more line.
func with(header map[string]string, name, value string) map[string]string {
	more := map[string]string{name: value}
	for k, v := range header {
		more[k] = v
	}
	return more
}

// An agent on loopback answers for its own names, on every path.
func TestHosts(t *testing.T) {
	bare, _, _ := start(t, func(*server.Config) {})
	var public string
	_, _, _ = start(t, func(c *server.Config) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		public = "http://" + l.Addr().String()
		l.Close()
		c.Listen, c.PublicURL, c.DID = l.Addr().String(), "https://Agent.example:8443/didcomm", "did:web:web.example%3A99:serve"
	})
	for _, tt := range []struct {
		at, host string
		ok       bool
	}{
		{bare, "localhost", true},
		{bare, "LocalHost.:80", true},
		{bare, "127.0.0.1", true},
		{bare, "127.1.2.3:9", true},
		{bare, "[::1]:8080", true},
		{bare, "evil.example", false},
		{bare, "127.0.0.1.evil.example:8080", false},
		{bare, "localhost.evil.example", false},
		{bare, "192.0.2.1", false},
		{bare, "agent.example", false},
		{public, "agent.example", true},
		{public, "AGENT.example:8443", true},
		{public, "agent.example:1", true},
		{public, "web.example:99", true},
		{public, "localhost", true},
		{public, "other.example", false},
	} {
		for _, req := range []struct {
			method, path string
			header       map[string]string
			status       int // for its own names
		}{
			{"GET", server.LivePath, nil, 200},
			{"GET", server.ReadyPath, nil, 200},
			{"GET", "/nothing", nil, 404},
			{"GET", server.DefaultPath, nil, 405},
			{"GET", server.DefaultPath, handshake, 101},
			{"POST", server.DefaultPath, map[string]string{"Content-Type": transport.MediaTypeEncrypted}, 400},
		} {
			want := req.status
			if !tt.ok {
				want = http.StatusMisdirectedRequest
			}
			if resp := ask(t, req.method, tt.at, req.path, tt.host, req.header, ""); resp.StatusCode != want {
				t.Errorf("%s %s of %s, %v: %s, want %d", req.method, req.path, tt.host, req.header, resp.Status, want)
			}
		}
	}
}

// Only web pages of allowed origins can send messages, by POST and by WebSocket. Agents, which
// send no origin, always can.
func TestOrigins(t *testing.T) {
	closed, _, _ := start(t, func(*server.Config) {})
	some, _, _ := start(t, func(c *server.Config) {
		c.AllowOrigins = []string{"https://wallet.example", "http://localhost:3000"}
	})
	all, _, _ := start(t, func(c *server.Config) { c.AllowOrigins = []string{"*"} })
	for _, tt := range []struct {
		name, at, origin string
		ok               bool
	}{
		{"closed", closed, "https://wallet.example", false},
		{"allowed", some, "https://wallet.example", true},
		{"allowed too", some, "http://localhost:3000", true},
		{"another scheme", some, "http://wallet.example", false},
		{"another host", some, "https://evil.example", false},
		{"null", some, "null", false},
		{"all", all, "https://wallet.example", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			allowed := ""
			if tt.ok {
				allowed = tt.origin
			}
			origin := map[string]string{"Origin": tt.origin}
			preflight := with(with(origin, "Access-Control-Request-Method", "POST"), "Access-Control-Request-Headers", "content-type")
			resp := ask(t, "OPTIONS", tt.at, server.DefaultPath, "localhost", preflight, "")
			h := resp.Header
			if (resp.StatusCode == http.StatusNoContent) != tt.ok || h.Get("Access-Control-Allow-Origin") != allowed {
				t.Errorf("preflight: %s, %v", resp.Status, h)
			}
			if tt.ok && (h.Get("Access-Control-Allow-Methods") != "POST" || h.Get("Access-Control-Allow-Headers") != "Content-Type" || h.Get("Vary") != "Origin") {
				t.Errorf("preflight: %v", h)
			}
			resp = ask(t, "POST", tt.at, server.DefaultPath, "localhost", with(origin, "Content-Type", transport.MediaTypeEncrypted), "{}")
			want := http.StatusForbidden
			if tt.ok {
				want = http.StatusBadRequest
			}
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != allowed || resp.StatusCode != want {
				t.Errorf("POST: %s, allows %q", resp.Status, got)
			}
			if tt.ok {
				want = http.StatusSwitchingProtocols
			}
			if resp := ask(t, "GET", tt.at, server.DefaultPath, "localhost", with(handshake, "Origin", tt.origin), ""); resp.StatusCode != want {
				t.Errorf("WebSocket: %s, want %d", resp.Status, want)
			}
			if resp := ask(t, "GET", tt.at, server.DefaultPath, "localhost", handshake, ""); resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("WebSocket of an agent: %s", resp.Status)
			}
			if got := ask(t, "GET", tt.at, server.LivePath, "localhost", origin, "").Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("%s allows %q", server.LivePath, got)
			}
		})
	}
}

// The origin of the agent itself can connect by WebSocket.
func TestOwnOrigin(t *testing.T) {
	at, _, _ := start(t, func(*server.Config) {})
	for origin, want := range map[string]int{
		at:                                      http.StatusSwitchingProtocols,
		strings.Replace(at, "http", "https", 1): http.StatusForbidden,
		"http://127.0.0.1":                      http.StatusForbidden,
	} {
		if resp := ask(t, "GET", at, server.DefaultPath, "localhost", with(handshake, "Origin", origin), ""); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", origin, resp.Status, want)
		}
	}
}

// A monitor that speaks HTTP/1.0 sends no host.
func TestNoHost(t *testing.T) {
	at, _, _ := start(t, func(*server.Config) {})
	conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", server.LivePath)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
}

// A refusal of the limits can be read by an allowed web page.
func TestOriginOverLimit(t *testing.T) {
	at, _, _ := start(t, func(c *server.Config) {
		c.AllowOrigins, c.Limits.RequestsPerMinute = []string{"https://wallet.example"}, 1
	})
	header := map[string]string{"Origin": "https://wallet.example", "Content-Type": transport.MediaTypeEncrypted}
	var resp *http.Response
	for range 2 {
		resp = ask(t, "POST", at, server.DefaultPath, "localhost", header, "{}")
	}
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Access-Control-Allow-Origin") != "https://wallet.example" ||
		resp.Header.Get("Access-Control-Expose-Headers") != "Retry-After" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s, %v", resp.Status, resp.Header)
	}
}

// No path but that for messages waits for a body.
func TestBodies(t *testing.T) {
	at, _, _ := start(t, func(*server.Config) {})
	for path, status := range map[string]int{
		server.LivePath: 200, server.ReadyPath: 200, "/nothing": 404, "/.well-known/did.json": 404, server.DefaultPath + "/": 404,
	} {
		for _, host := range []string{"localhost", "evil.example"} {
			want := status
			if host == "evil.example" {
				want = http.StatusMisdirectedRequest
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(9 * time.Second)); err != nil { // less than ReadTimeout
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n\r\nx", path, host)
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != want {
				t.Errorf("%s of %s: %s", path, host, resp.Status)
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Errorf("%s of %s: %v", path, host, err)
			}
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s of %s: then %v", path, host, err)
			}
		}
	}
}

// Peers reach a did:web by https, also if TLS ends at a proxy, unless its domain is loopback.
func TestEndpoint(t *testing.T) {
	for _, tt := range []struct{ name, did, public, want string }{
		{"domain", "did:web:agent.example.org", "", "https://agent.example.org/didcomm"},
		{"domain with a port and a path", "did:web:agent.example.org%3A8443:bob", "", "https://agent.example.org:8443/didcomm"},
		{"localhost", "did:web:localhost%3A8080", "", "http://localhost:8080/didcomm"},
		{"public URL", "did:web:agent.example.org", "http://agent.example.org/x", "http://agent.example.org/x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, stop := listen(t, func(c *server.Config) { c.DID, c.PublicURL = tt.did, tt.public })
			defer stop()
			if s.Endpoint() != tt.want {
				t.Errorf("endpoint %s, want %s", s.Endpoint(), tt.want)
			}
		})
	}
}
