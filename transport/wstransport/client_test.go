package wstransport_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/pipenet"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

type dialFunc = func(context.Context, string, string) (net.Conn, error)

// counting counts the dials that it lets through.
func counting(dial dialFunc, n *int) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		*n++
		return dial(ctx, network, addr)
	}
}

func mustFail(t *testing.T, err error, retryable bool) *transport.SendError {
	t.Helper()
	var e *transport.SendError
	if !errors.As(err, &e) || e.Retryable != retryable {
		t.Fatalf("got %v, want a *transport.SendError with Retryable %v", err, retryable)
	}
	return e
}

func TestClientNeedsDial(t *testing.T) {
	if _, err := wstransport.NewClient(wstransport.ClientConfig{}); err == nil {
		t.Error("no error without Dial")
	}
}

func TestGuardRefusal(t *testing.T) {
	c := newClient(t, wstransport.ClientConfig{Dial: (&netguard.Guard{}).DialContext})
	err := c.Send(t.Context(), "ws://127.0.0.1:1/", packet("x"))
	if mustFail(t, err, false); !errors.Is(err, netguard.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

// Sends that come at once share one handshake and one connection.
func TestOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		l := newLab(t, echoBack, wstransport.ServerConfig{})
		c := newClient(t, wstransport.ClientConfig{Dial: counting(l.net.Dial, &dials)})
		var answers sync.WaitGroup
		answers.Add(20)
		c.Bind(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
			answers.Done()
			return nil
		}))
		for range 20 {
			go func() {
				if err := c.Send(t.Context(), endpoint, packet("x")); err != nil {
					t.Error(err)
				}
			}()
		}
		answers.Wait()
		if dials != 1 || l.server.Len() != 1 {
			t.Errorf("%d dials, %d connections, want 1", dials, l.server.Len())
		}
	})
}

func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		l := newLab(t, ignore, wstransport.ServerConfig{})
		c := newClient(t, wstransport.ClientConfig{Dial: counting(l.net.Dial, &dials)})
		send := func(wantDials int) {
			t.Helper()
			if err := c.Send(t.Context(), endpoint, packet("x")); err != nil {
				t.Fatal(err)
			}
			if dials != wantDials {
				t.Fatalf("%d dials, want %d", dials, wantDials)
			}
		}
		send(1)
		time.Sleep(wstransport.DefaultIdleTimeout - time.Second) // of the bubble
		send(1)
		time.Sleep(wstransport.DefaultIdleTimeout - time.Second)
		if l.server.Len() != 1 {
			t.Fatal("closed early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if l.server.Len() != 0 {
			t.Fatal("an idle connection stays")
		}
		send(2)
	})
}

// A connection is not idle until its packets are handled, or HandlerTimeout is over.
func TestUnhandledIsNotIdle(t *testing.T) {
	for name, test := range map[string]struct {
		release time.Duration // when the packet is handled
		until   time.Duration // when the connection ends, at the latest
	}{
		"handled late":     {40 * time.Second, 71 * time.Second}, // by a ping
		"handled too late": {time.Hour, 91 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, func(ctx context.Context, w transport.Replier, p transport.Packet) error {
					if string(p.Data) != "ask" {
						return nil
					}
					return w.Reply(ctx, packet("answer"))
				}, wstransport.ServerConfig{})
				c := l.client(t, wstransport.ClientConfig{Limits: wstransport.Limits{IdleTimeout: time.Second}})
				h := make(accepting)
				c.Bind(h)
				time.AfterFunc(test.release, func() { close(h) })
				start := time.Now()
				if err := c.Send(t.Context(), endpoint, packet("ask")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(39 * time.Second) // of the bubble
				if l.server.Len() != 1 {
					t.Fatal("closed while its packet was being handled")
				}
				time.Sleep(test.until - time.Since(start))
				synctest.Wait()
				if l.server.Len() != 0 {
					t.Error("an idle connection stays")
				}
				time.Sleep(test.release) // the handler's goroutine ends
			})
		})
	}
}

func TestReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 10)
		pipes := foreignServer(t, func(ws *websocket.Conn) { // one message, then gone
			_, data, _ := ws.ReadMessage()
			got <- string(data)
		})
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		for _, m := range []string{"1", "2", "3"} {
			if err := c.Send(t.Context(), endpoint, packet(m)); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != m {
				t.Errorf("got %q, want %q", g, m)
			}
			synctest.Wait()
		}
	})
}

func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		refused := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		c := newClient(t, wstransport.ClientConfig{Dial: counting(refused, &dials)})
		var last time.Duration
		for i := 1; i <= 12; i++ {
			mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
			if dials != i {
				t.Fatalf("%d dials, want %d", dials, i)
			}
			e := mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
			if dials != i {
				t.Fatal("dialled again at once")
			}
			if e.RetryAfter <= last*3/4 || e.RetryAfter > wstransport.DefaultMaxBackoff {
				t.Errorf("backoff of %v after %v", e.RetryAfter, last)
			}
			last = e.RetryAfter
			time.Sleep(e.RetryAfter) // of the bubble
		}
		if last < wstransport.DefaultMaxBackoff*3/4 {
			t.Errorf("last backoff is %v, want about %v", last, wstransport.DefaultMaxBackoff)
		}
	})
}

func TestHandshakeAnswers(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		retryable  bool
	}{
		{http.StatusOK, "", false},
		{http.StatusMovedPermanently, "", false},
		{http.StatusForbidden, "", false},
		{http.StatusNotFound, "", false},
		{http.StatusRequestTimeout, "", true},
		{http.StatusTooManyRequests, "7", true},
		{http.StatusServiceUnavailable, "7", true},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.retryAfter)
			http.Error(w, "why not", c.status)
		}))
		e := mustFail(t, newClient(t, wstransport.ClientConfig{}).Send(t.Context(), wsURL(srv.URL), packet("x")), c.retryable)
		if want := c.retryAfter == "7"; want != (e.RetryAfter == 7*time.Second) {
			t.Errorf("%d: retry after %v", c.status, e.RetryAfter)
		}
		srv.Close()
	}
}

// stuck is a server that never reads after the handshake.
func stuck(t *testing.T) *pipenet.Listener {
	release := make(chan struct{})
	pipes := foreignServer(t, func(*websocket.Conn) { <-release })
	t.Cleanup(func() { close(release) })
	return pipes
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := stuck(t)
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		start := time.Now()
		mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
		if got := time.Since(start); got != 30*time.Second {
			t.Errorf("failed after %v, want the write timeout of 30 s", got)
		}
	})
}

// A Send that waits for another write returns when its context ends. A Send beyond
// MaxWriters fails at once.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := stuck(t)
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial, Limits: wstransport.Limits{MaxWriters: 2}})
		writing := make(chan error, 1)
		go func() { writing <- c.Send(t.Context(), endpoint, packet("1")) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		go func() { waiting <- c.Send(ctx, endpoint, packet("2")) }()
		synctest.Wait()
		start := time.Now()
		mustFail(t, c.Send(t.Context(), endpoint, packet("3")), true)
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
		mustFail(t, <-writing, true)
	})
}

// firstDeaf is a server whose first connection discards all messages, or does not read,
// and whose next connections pass on their messages.
func firstDeaf(t *testing.T, swallow bool) (*pipenet.Listener, <-chan string) {
	release, got := make(chan struct{}), make(chan string, 10)
	t.Cleanup(func() { close(release) })
	first := true
	return foreignServer(t, func(ws *websocket.Conn) {
		switch {
		case first && swallow:
			first = false
			_, _ = io.Copy(io.Discard, ws.NetConn())
		case first:
			first = false
			<-release
		default:
			_, data, _ := ws.ReadMessage()
			got <- string(data)
		}
	}), got
}

// While a connection that was closed waits for the peer's close frame, Send
// opens a new one.
func TestSendWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes, got := firstDeaf(t, true)
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial, Limits: wstransport.Limits{IdleTimeout: 5 * time.Second}})
		if err := c.Send(t.Context(), endpoint, packet("1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Second + time.Millisecond) // of the bubble
		if err := c.Send(t.Context(), endpoint, packet("2")); err != nil {
			t.Fatal(err)
		}
		if m := <-got; m != "2" {
			t.Errorf("got %q", m)
		}
	})
}

// A Send that waited for a connection which then failed takes the next one.
func TestWaitingSendMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes, got := firstDeaf(t, false)
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		writing := make(chan error, 1)
		go func() { writing <- c.Send(t.Context(), endpoint, packet("1")) }()
		synctest.Wait()
		if err := c.Send(t.Context(), endpoint, packet("2")); err != nil {
			t.Error(err)
		}
		mustFail(t, <-writing, true)
		if m := <-got; m != "2" {
			t.Errorf("got %q", m)
		}
	})
}

// Close must not wait for a server that never answers the handshake.
func TestCloseCutsHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipenet.Listen()
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), endpoint, packet("x")) }()
		nc, err := pipes.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		start := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		mustFail(t, <-sent, true)
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
	})
}

func TestHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipenet.Listen()
		c := newClient(t, wstransport.ClientConfig{Dial: pipes.Dial})
		go func() {
			nc, err := pipes.Accept()
			if err == nil {
				defer nc.Close()
				_, _ = nc.Read(make([]byte, 4096))
				_, _ = nc.Read(make([]byte, 1)) // until the client gives up
			}
		}()
		start := time.Now()
		mustFail(t, c.Send(t.Context(), endpoint, packet("x")), true)
		if got := time.Since(start); got != wstransport.DefaultHandshakeTimeout {
			t.Errorf("failed after %v", got)
		}
	})
}

// A thousand connections at a time, each with its own exchange.
func TestThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 2,000 sockets")
	}
	const n = 1000
	s := wstransport.NewServer(transport.HandlerFunc(echoBack), wstransport.ServerConfig{})
	srv := httptest.NewServer(s)
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if s.Len() != 0 {
			t.Errorf("%d connections are left", s.Len())
		}
	})
	conns := make([]*websocket.Conn, n)
	for i := range conns {
		d := websocket.Dialer{ReadBufferSize: 256, WriteBufferSize: 256}
		ws, _, err := d.Dial(wsURL(srv.URL), nil)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer ws.Close()
		conns[i] = ws
	}
	var wg sync.WaitGroup
	for _, ws := range conns {
		wg.Go(func() {
			if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
				t.Error(err)
				return
			}
			if _, data, err := ws.ReadMessage(); err != nil || string(data) != "x" {
				t.Errorf("answer %q, %v", data, err)
			}
		})
	}
	wg.Wait()
	if s.Len() != n {
		t.Errorf("%d connections", s.Len())
	}
}

func TestTLS(t *testing.T) {
	got := make(chan transport.Packet, 1)
	s := wstransport.NewServer(transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
		got <- p
		return nil
	}), wstransport.ServerConfig{})
	srv := httptest.NewUnstartedServer(s)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(func() { srv.Close(); s.Close(context.Background()) })

	mustFail(t, newClient(t, wstransport.ClientConfig{}).Send(t.Context(), wsURL(srv.URL), packet("x")), true)
	c := newClient(t, wstransport.ClientConfig{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err := c.Send(t.Context(), wsURL(srv.URL), packet("x")); err != nil {
		t.Fatal(err)
	}
	<-got
}
