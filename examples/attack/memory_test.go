//go:build attack && linux

package attack_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// hold keeps connections open until the end of the test.
type hold struct {
	mu   sync.Mutex
	list []io.Closer
}

func newHold(t *testing.T) *hold {
	h := new(hold)
	t.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, c := range h.list {
			c.Close()
		}
	})
	return h
}

func (h *hold) add(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, c)
}

// dialFrom opens a TCP connection from a loopback address, or returns nil.
func dialFrom(ip, to string) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", to)
	if err != nil {
		return nil
	}
	return c
}

// TestUnfinishedBodies sends the start of large messages on many connections.
func TestUnfinishedBodies(t *testing.T) {
	a, open := serve(t, "--log-level", "error", "--read-timeout", "60s"), newHold(t)
	n := count(2000, 400)
	body := strings.Repeat("x", transport.DefaultMaxBytes-1)
	together(n, 100, func(i int) {
		c := dialFrom(addressOf(i), a.host)
		if c == nil {
			return
		}
		open.add(c)
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second)) // a refused body is not read
		_, _ = fmt.Fprintf(c, "POST /didcomm HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
			a.host, transport.MediaTypeEncrypted, transport.DefaultMaxBytes)
		_, _ = io.WriteString(c, body)
	})
	took := a.ping()
	figures(t, a.peak() < 600<<20 && took > 0, "300 connections: 3.8 GB, at 400 out of memory",
		fmt.Sprintf("%d connections: %d MB, ping answered in %s", n, a.peak()>>20, took.Round(time.Millisecond)), "600 MiB")
}

// TestUnfinishedFrames is TestUnfinishedBodies by WebSocket.
func TestUnfinishedFrames(t *testing.T) {
	a, open := serve(t, "--log-level", "error", "--read-timeout", "60s"), newHold(t)
	n := count(2000, 400)
	part := []byte(strings.Repeat("x", 1<<20))
	together(n, 100, func(i int) {
		d := websocket.Dialer{NetDial: func(_, to string) (net.Conn, error) {
			if c := dialFrom(addressOf(i), to); c != nil {
				return c, nil
			}
			return nil, net.ErrClosed
		}}
		c, _, err := d.Dial("ws://"+a.host+"/didcomm", nil)
		if err != nil {
			return
		}
		open.add(c)
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
		w, err := c.NextWriter(websocket.TextMessage)
		if err != nil {
			return
		}
		for range 4 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	took := a.ping()
	figures(t, a.peak() < 600<<20 && took > 0, "not measured",
		fmt.Sprintf("%d connections with 4 MiB each: %d MB, ping answered in %s", n, a.peak()>>20, took.Round(time.Millisecond)), "600 MiB")
}

// TestConnections opens as many WebSockets as one address can, and the target has 300 descriptors.
func TestConnections(t *testing.T) {
	a := serveHome(t, t.TempDir()+"/home", []string{"sh", "-c", `ulimit -n 300; exec "$0" "$@"`, program}, "--log-level", "error")
	open := newHold(t)
	var mu sync.Mutex
	opened := 0
	together(400, 100, func(int) {
		c := dialFrom("127.0.0.2", a.host)
		if c == nil {
			return
		}
		open.add(c)
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		_, _ = fmt.Fprintf(c, "GET /didcomm HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", a.host)
		status := make([]byte, len("HTTP/1.1 101"))
		if _, err := io.ReadFull(c, status); err == nil && strings.HasSuffix(string(status), "101") {
			mu.Lock()
			opened++
			mu.Unlock()
		}
	})
	took := a.ping()
	figures(t, opened < 300 && took > 0, "one host takes all 10,000",
		fmt.Sprintf("%d from one address; ping answered in %s", opened, took.Round(time.Millisecond)), "256 for one address")
}

// TestSlowBodies sends unfinished bodies to paths that take no messages, from many addresses
// to a target with 300 descriptors.
func TestSlowBodies(t *testing.T) {
	a := serveHome(t, t.TempDir()+"/home", []string{"sh", "-c", `ulimit -n 300; exec "$0" "$@"`, program},
		"--log-level", "error", "--read-timeout", "2s")
	open := newHold(t)
	n := count(640, 640)
	together(n, 20, func(i int) {
		c := dialFrom(addressOf(i), a.host)
		if c == nil {
			return
		}
		open.add(c)
		path := []string{"/healthz", "/unknown"}[i%2]
		_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\nx", path, a.host)
	})
	within := until(15*time.Second, func() bool {
		resp, err := clientAt("127.0.0.1").Get("http://" + a.host + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	var took time.Duration
	if within {
		took = a.ping()
	}
	figures(t, within && took > 0, "320 connections shut the agent off",
		fmt.Sprintf("%d connections at 300 descriptors: answers again within 15 s: %t", n, within), "answers within 15 s")
}

// TestGarbageLogs posts garbage from long DIDs, and counts the bytes of the log.
func TestGarbageLogs(t *testing.T) {
	a := serve(t)
	start := len(a.log())
	n := count(3000, 500)
	who := agenttest.NewParty(t, "http://127.0.0.1:9/"+strings.Repeat("x", 3000))
	together(n, 20, func(i int) {
		p := pack(t, who, a.did, &message.Message{Type: "https://example.org/none/1.0/none"})
		p.Data = []byte(strings.Replace(string(p.Data), `"ciphertext":"`, `"ciphertext":"AAAA`, 1))
		postBy(t, clientAt(addressOf(i)), a.url, p)
	})
	each := (len(a.log()) - start) / n
	figures(t, each < 100, "3.6 KB for each garbage POST", fmt.Sprintf("%d bytes for each of %d", each, n), "100 bytes")
}
