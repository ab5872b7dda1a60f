package wstransport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/pipenet"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// The client ignores a proxy of the environment, whose connections the guard cannot check.
// This test is the first, because net/http reads the environment once.
func TestNoProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://proxy.example:1")
	}
	var dialled []string
	c := newClient(t, wstransport.ClientConfig{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, netguard.ErrRefused
	}})
	mustFail(t, c.Send(t.Context(), "ws://peer.example/", packet("x")), false)
	mustFail(t, c.Send(t.Context(), "wss://peer.example/", packet("x")), false)
	if want := []string{"peer.example:80", "peer.example:443"}; !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
}

// A server must not fill the memory with the header of its answer.
func TestEndlessHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipenet.Listen()
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		written := make(chan int, 1)
		go func() {
			nc, err := pipes.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			_, _ = nc.Read(make([]byte, 4096))
			_, err = io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\n")
			n := 0
			for line := []byte("X-A: " + strings.Repeat("a", 1017) + "\r\n"); err == nil && n < 16<<20; n += len(line) {
				_, err = nc.Write(line)
			}
			written <- n
		}()
		mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
		if n := <-written; n > 1<<20 {
			t.Errorf("%d bytes of header were read", n)
		}
	})
}

// A server's Retry-After must not make the client remember it for a day.
func TestBackoffIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipenet.Listen()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusServiceUnavailable)
		})}
		go srv.Serve(pipes)
		t.Cleanup(func() { srv.Close() })
		dials := 0
		c := newClient(t, wstransport.ClientConfig{Dial: counting(pipes.Dial, &dials)})
		if e := mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true); e.RetryAfter != 24*time.Hour {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		e := mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
		if dials != 1 || e.RetryAfter > wstransport.DefaultMaxBackoff {
			t.Errorf("%d dials, backoff of %v", dials, e.RetryAfter)
		}
		time.Sleep(wstransport.DefaultMaxBackoff) // of the bubble
		if mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true); dials != 2 {
			t.Errorf("%d dials, want 2", dials)
		}
	})
}

// Endpoints that strangers choose must not use up the file descriptors, so the least
// recently used connection is closed.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		l := newLab(t, ignore, wstransport.ServerConfig{})
		c := newClient(t, wstransport.ClientConfig{Dial: counting(l.net.Dial, &dials), MaxConns: 2})
		for i, step := range []struct {
			path  string
			dials int
		}{
			{"a", 1}, {"b", 2}, {"a", 2},
			{"c", 3}, // b goes
			{"a", 3}, {"c", 3},
			{"b", 4}, // a goes
			{"c", 4},
		} {
			if err := c.Send(t.Context(), endpoint+step.path, packet("x")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the bubble
			if dials != step.dials || l.server.Len() > 2 {
				t.Errorf("step %d: %d dials, want %d; %d connections", i, dials, step.dials, l.server.Len())
			}
		}
	})
}

// A connection that is in use is not closed for another one.
func TestBusyConnectionStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, echoBack, wstransport.ServerConfig{})
		c := l.client(t, wstransport.ClientConfig{MaxConns: 1})
		release := make(chan struct{})
		var busy atomic.Bool
		replied := make(chan error, 1)
		c.Bind(transport.HandlerFunc(func(ctx context.Context, w transport.Replier, _ transport.Packet) error {
			if busy.CompareAndSwap(false, true) {
				<-release
				replied <- w.Reply(ctx, packet("late"))
			}
			return nil
		}))
		for _, path := range []string{"a", "b"} {
			if err := c.Send(t.Context(), endpoint+path, packet("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		close(release)
		if err := <-replied; err != nil {
			t.Errorf("reply on the busy connection: %v", err)
		}
	})
}

// Peers that keep all connections busy get at most twice as many.
func TestBusyConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, echoBack, wstransport.ServerConfig{})
		c := l.client(t, wstransport.ClientConfig{MaxConns: 2})
		release := make(chan struct{})
		c.Bind(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
			<-release
			return nil
		}))
		for i := range 10 {
			if err := c.Send(t.Context(), fmt.Sprint(endpoint, i), packet("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if n := l.server.Len(); n != min(i+1, 4) {
				t.Errorf("%d connections after %d endpoints", n, i+1)
			}
		}
		close(release)
	})
}

// Messages that stall give way to one that arrives, also in fragments, and the Budget is
// free in the end.
func TestStalledMessagesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stalled, size = 4, 100_000
		budget := transport.NewBudget(256 << 10)
		got := make(chan int, 1)
		l := newLab(t, func(_ context.Context, _ transport.Replier, p transport.Packet) error {
			got <- len(p.Data)
			return nil
		}, wstransport.ServerConfig{Budget: budget})
		ended := make(chan error, stalled)
		for range stalled {
			ws := l.peer(t)
			go func() { ended <- readAll(ws) }()
			begin(t, ws, size/2)
		}
		time.Sleep(2 * time.Second) // of the bubble
		before := budget.Used()
		ws := l.peer(t)
		w := begin(t, ws, size/2)
		if _, err := io.WriteString(w, strings.Repeat("x", size/2)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n != size {
			t.Errorf("got %d bytes", n)
		}
		busy := 0
		for range stalled {
			if err := <-ended; websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
				busy++
			}
		}
		if before < stalled*(size/2-4<<10) || busy == 0 {
			t.Errorf("%d bytes were taken, then %d connections were closed with 1013", before, busy)
		}
		if budget.Used() != 0 {
			t.Errorf("%d bytes are left", budget.Used())
		}
	})
}

// begin begins a message with n bytes, in fragments.
func begin(t *testing.T, ws *websocket.Conn, n int) io.WriteCloser {
	t.Helper()
	w, err := ws.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, strings.Repeat("x", n)); err != nil {
		t.Fatal(err)
	}
	return w
}
