package httptransport_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/internal/pipenet"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

func mustFail(t *testing.T, err error, retryable bool) *transport.SendError {
	t.Helper()
	var e *transport.SendError
	if !errors.As(err, &e) || e.Retryable != retryable {
		t.Fatalf("got %v, want a *transport.SendError with Retryable %v", err, retryable)
	}
	return e
}

// The client ignores a proxy of the environment, whose connections the guard cannot check.
// This test is the first, because net/http reads the environment once.
func TestNoProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://proxy.example:1")
	}
	var dialled []string
	c := newClient(t, httptransport.ClientConfig{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		dialled = append(dialled, addr)
		return nil, netguard.ErrRefused
	}})
	mustFail(t, c.Send(t.Context(), "http://peer.example/", packet("x")), false)
	mustFail(t, c.Send(t.Context(), "https://peer.example/", packet("x")), false)
	if want := []string{"peer.example:80", "peer.example:443"}; !slices.Equal(dialled, want) {
		t.Errorf("dialled %v, want %v", dialled, want)
	}
}

func TestClientNeedsDial(t *testing.T) {
	if _, err := httptransport.NewClient(httptransport.ClientConfig{}); err == nil {
		t.Error("no error without Dial")
	}
}

func TestGuardRefusal(t *testing.T) {
	c := newClient(t, httptransport.ClientConfig{Dial: (&netguard.Guard{}).DialContext})
	err := c.Send(t.Context(), "http://127.0.0.1:1/", packet("x"))
	if mustFail(t, err, false); !errors.Is(err, netguard.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

// The request is acceptable to every peer: the media type has no parameters, and no
// header identifies the client or links two requests.
func TestRequest(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.String() != "/a%20b?q=1" || r.ContentLength != 1 {
			t.Errorf("%s %s, %d bytes", r.Method, r.URL, r.ContentLength)
		}
		for name, want := range map[string]string{
			"Content-Type": transport.MediaTypeEncrypted, "Cookie": "", "Accept-Encoding": "", "Authorization": "", "X-Idempotency-Key": "",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		http.SetCookie(w, &http.Cookie{Name: "id", Value: "1"})
	}))
	t.Cleanup(srv.Close)
	c := newClient(t, httptransport.ClientConfig{})
	for _, mediaType := range []string{transport.MediaTypeEncrypted, "DIDComm-Encrypted+JSON; x=y", ""} {
		if err := c.Send(t.Context(), srv.URL+"/a%20b?q=1#fragment", transport.Packet{MediaType: mediaType, Data: []byte("x")}); err != nil {
			t.Error(err)
		}
	}
	mustFail(t, c.Send(t.Context(), strings.Replace(srv.URL, "://", "://user:pass@", 1), packet("x")), false)
}

func TestStatusMapping(t *testing.T) {
	future := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		status     int
		retryAfter string
		ok         bool
		retryable  bool
		min, max   time.Duration
	}{
		{status: 200, ok: true}, {status: 202, ok: true}, {status: 204, ok: true}, {status: 299, ok: true},
		{status: 301}, {status: 302}, {status: 303}, {status: 304},
		{status: 400}, {status: 401}, {status: 404, retryAfter: "5"}, {status: 410}, {status: 413}, {status: 415},
		{status: 408, retryable: true}, {status: 425, retryable: true},
		{status: 429, retryable: true, retryAfter: "120", min: 2 * time.Minute, max: 2 * time.Minute},
		{status: 500, retryable: true}, {status: 502, retryable: true},
		{status: 503, retryable: true, retryAfter: future, min: 58 * time.Minute, max: time.Hour},
		{status: 503, retryable: true, retryAfter: "Mon, 02 Jan 2006 15:04:05 GMT"},
		{status: 503, retryable: true, retryAfter: "99999999999999999999999", min: 24 * time.Hour, max: 24 * time.Hour},
		{status: 503, retryable: true, retryAfter: "9223372036854775807", min: 24 * time.Hour, max: 24 * time.Hour},
		{status: 503, retryable: true, retryAfter: "-5"}, {status: 503, retryable: true, retryAfter: "soon"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(c.status)
			if c.status >= 400 {
				io.WriteString(w, "why \x1b[31mnot\nsecond line")
			}
		}))
		err := newClient(t, httptransport.ClientConfig{}).Send(t.Context(), srv.URL, packet("x"))
		srv.Close()
		if c.ok {
			if err != nil {
				t.Errorf("%d: %v", c.status, err)
			}
			continue
		}
		e := mustFail(t, err, c.retryable)
		if e.RetryAfter < c.min || e.RetryAfter > c.max {
			t.Errorf("%d, Retry-After %q: %v", c.status, c.retryAfter, e.RetryAfter)
		}
		if c.status >= 400 && e.Status != c.status {
			t.Errorf("%d: Status is %d", c.status, e.Status)
		}
		if c.status >= 400 && !strings.Contains(e.Error(), `"why \x1b[31mnot"`) {
			t.Errorf("%d: no reason, or not quoted: %v", c.status, e)
		}
	}
}

func TestRedirects(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	secure := httptest.NewTLSServer(mux)
	t.Cleanup(secure.Close)
	var got string
	mux.HandleFunc("/end", func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.Header.Get("Content-Type") + " " + r.Header.Get("Referer") + string(b)
	})
	for from, to := range map[string]string{
		"/1": "/end", "/2": "/1", "/3": "/2", "/4": "/3", "/loop": "/loop",
		"/down": srv.URL + "/end", "/up": secure.URL + "/end", "/odd": "ftp://example.com/", "/user": "//u:p@" + srv.Listener.Addr().String() + "/end",
	} {
		mux.HandleFunc(from, func(w http.ResponseWriter, r *http.Request) {
			code := http.StatusTemporaryRedirect
			if r.URL.RawQuery == "308" {
				code = http.StatusPermanentRedirect
			}
			http.Redirect(w, r, to, code)
		})
	}
	c := newClient(t, httptransport.ClientConfig{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	for url, ok := range map[string]bool{
		srv.URL + "/1": true, srv.URL + "/3": true, srv.URL + "/1?308": true, secure.URL + "/3": true, srv.URL + "/up": true,
		srv.URL + "/4": false, srv.URL + "/loop": false, secure.URL + "/down": false, srv.URL + "/odd": false, srv.URL + "/user": false,
	} {
		got = ""
		err := c.Send(t.Context(), url, packet("body"))
		if !ok {
			mustFail(t, err, false)
		} else if want := "POST " + transport.MediaTypeEncrypted + " body"; err != nil || got != want {
			t.Errorf("%s: %v, got %q", url, err, got)
		}
	}
}

func TestResponseBody(t *testing.T) {
	const limit = 1000
	for _, c := range []struct {
		name, typ, body string
		truncate        bool
		want            string // what the bound Handler gets
	}{
		{name: "packet", typ: transport.MediaTypeEncrypted, body: "answer", want: "answer"},
		{name: "parameters", typ: "application/DIDComm-Signed+json;charset=utf-8", body: "answer", want: "answer"},
		{name: "no type", typ: "", body: "answer", want: "answer"},
		{name: "foreign", typ: "text/plain", body: "OK"},
		{name: "json", typ: "application/json", body: "{}"},
		{name: "empty", typ: transport.MediaTypeEncrypted},
		{name: "largest", typ: transport.MediaTypeEncrypted, body: strings.Repeat("x", limit), want: strings.Repeat("x", limit)},
		{name: "too large", typ: transport.MediaTypeEncrypted, body: strings.Repeat("x", limit+1)},
		{name: "too large, chunked", typ: transport.MediaTypeEncrypted, body: strings.Repeat("x", 10*limit)},
		{name: "truncated", typ: transport.MediaTypeEncrypted, body: "answ", truncate: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{c.typ}
				if c.typ == "" {
					w.Header()["Content-Type"] = nil
				}
				if c.truncate {
					w.Header().Set("Content-Length", "100")
				} else if strings.Contains(c.name, "chunked") {
					w.(http.Flusher).Flush()
				}
				io.WriteString(w, c.body)
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			t.Cleanup(srv.Close)
			cl := newClient(t, httptransport.ClientConfig{MaxBytes: limit})
			var got string
			cl.Bind(transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
				got = string(p.Data)
				if err := w.Reply(ctx, packet("x")); !errors.Is(err, transport.ErrNoReturnRoute) {
					t.Errorf("reply to a response: %v", err)
				}
				return &transport.RejectError{Reason: "does not concern Send"}
			}))
			err := cl.Send(t.Context(), srv.URL, packet("x"))
			var failed *transport.SendError
			switch {
			case c.truncate && (!errors.As(err, &failed) || !failed.Retryable):
				t.Errorf("the answer is to be had again: %v", err)
			case !c.truncate && err != nil:
				t.Errorf("the peer has accepted: %v", err)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestUnboundAndPanickingHandler(t *testing.T) {
	srv := httptest.NewServer(httptransport.NewHandler(transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}), httptransport.HandlerConfig{}))
	t.Cleanup(srv.Close)
	c := newClient(t, httptransport.ClientConfig{})
	if err := c.Send(t.Context(), srv.URL, packet("x")); err != nil {
		t.Error(err)
	}
	c = newClient(t, httptransport.ClientConfig{})
	c.Bind(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error { panic("boom") }))
	if err := c.Send(t.Context(), srv.URL, packet("x")); err != nil {
		t.Error(err)
	}
}

// The timeouts of the client, with virtual time.
func TestTimeouts(t *testing.T) {
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, c := range []struct {
		name  string
		dial  func(context.Context, string, string) (net.Conn, error)
		serve func(net.Conn)
		after time.Duration
	}{
		{name: "dial", dial: never, after: httptransport.DefaultDialTimeout},
		{name: "header", after: httptransport.DefaultHeaderTimeout, serve: func(nc net.Conn) {
			_, _ = io.Copy(io.Discard, nc)
		}},
		{name: "whole", after: httptransport.DefaultTimeout, serve: func(nc net.Conn) {
			req, err := http.ReadRequest(bufio.NewReader(nc))
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Type: application/didcomm-encrypted+json\r\nContent-Length: 100\r\n\r\n")
			_, _ = io.Copy(io.Discard, nc)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipes := pipenet.Listen()
				go func() {
					if nc, err := pipes.Accept(); err == nil {
						c.serve(nc)
					}
				}()
				t.Cleanup(func() { pipes.Close() })
				if c.dial == nil {
					c.dial = pipes.Dial
				}
				start := time.Now()
				mustFail(t, newClient(t, httptransport.ClientConfig{Dial: c.dial}).Send(t.Context(), "http://a/", packet("x")), true)
				if d := time.Since(start); d != c.after {
					t.Errorf("failed after %v, want %v", d, c.after)
				}
			})
		})
	}
}

// Close cancels Sends, waits for them, and leaves no goroutine, which would make the
// bubble fail.
func TestCloseEndsSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, p transport.Packet) error {
			if string(p.Data) == "wait" {
				<-ctx.Done()
			}
			return nil
		})
		pipes := inBubble(t, httptransport.NewHandler(h, httptransport.HandlerConfig{}))
		c := newClient(t, httptransport.ClientConfig{Dial: pipes.Dial})
		if err := c.Send(t.Context(), "http://a/", packet("x")); err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), "http://a/", packet("wait")) }()
		synctest.Wait()
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

// If the server closes an idle connection while a request is sent on it, the request is
// sent again on a new connection.
func TestPooledConnectionIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := pipenet.Listen()
		conns := 0
		var server sync.WaitGroup
		server.Go(func() {
			for {
				nc, err := pipes.Accept()
				if err != nil {
					return
				}
				conns++
				server.Go(func() { // answers the first request, and closes the connection on the second
					defer nc.Close()
					br := bufio.NewReader(nc)
					for i := range 2 {
						req, err := http.ReadRequest(br)
						if err != nil {
							return
						}
						_, _ = io.Copy(io.Discard, req.Body)
						if i == 0 {
							_, _ = io.WriteString(nc, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
						}
					}
				})
			}
		})
		c := newClient(t, httptransport.ClientConfig{Dial: pipes.Dial})
		for range 3 {
			if err := c.Send(t.Context(), "http://a/", packet("x")); err != nil {
				t.Error(err)
			}
		}
		if conns != 3 {
			t.Errorf("%d connections, want 3", conns)
		}
		c.Close()
		pipes.Close()
		server.Wait()
	})
}

// tracked is a connection that counts itself as open.
type tracked struct {
	net.Conn
	open  *atomic.Int32
	close sync.Once
}

func (c *tracked) Close() error {
	c.close.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestPooledConnectionIsReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials, open := 0, new(atomic.Int32)
		pipes := inBubble(t, httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{}))
		c := newClient(t, httptransport.ClientConfig{Dial: func(ctx context.Context, n, a string) (net.Conn, error) {
			nc, err := pipes.Dial(ctx, n, a)
			if err != nil {
				return nil, err
			}
			dials++
			open.Add(1)
			return &tracked{Conn: nc, open: open}, nil
		}})
		for range 5 {
			if err := c.Send(t.Context(), "http://a/", packet("x")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if dials != 1 || open.Load() != 1 {
			t.Errorf("%d dials for 5 packets, %d open, want 1", dials, open.Load())
		}
		c.Close()
		synctest.Wait()
		if open.Load() != 0 {
			t.Error("the pooled connection outlives Close")
		}
	})
}

// If a reply could not be accepted, Send fails, because the peer can only send the reply
// again when the packet is sent again.
func TestAnswerNotTaken(t *testing.T) {
	srv := httptest.NewServer(httptransport.NewHandler(transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		return w.Reply(ctx, p)
	}), httptransport.HandlerConfig{}))
	t.Cleanup(srv.Close)
	for name, test := range map[string]struct {
		err   error
		after time.Duration
	}{
		"busy":   {&transport.BusyError{RetryAfter: time.Minute}, time.Minute},
		"failed": {errors.New("disk is full"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, httptransport.ClientConfig{})
			c.Bind(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error { return test.err }))
			var failed *transport.SendError
			err := c.Send(t.Context(), srv.URL, packet("x"))
			if !errors.As(err, &failed) || !failed.Retryable || failed.RetryAfter != test.after || !errors.Is(err, test.err) {
				t.Errorf("Send: %+v", err)
			}
		})
	}
}

// hole is a connection that discards what is written once it is dead, like a NAT that has
// dropped its state.
type hole struct {
	net.Conn
	dead atomic.Bool
}

func (h *hole) Write(b []byte) (int, error) {
	if h.dead.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

// An HTTP/2 connection that was lost without a reset is replaced.
func TestDeadHTTP2(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	conns := make(chan *hole, 10)
	c := newClient(t, httptransport.ClientConfig{
		RootCAs: roots, HeaderTimeout: 200 * time.Millisecond, DialTimeout: time.Second,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			h := &hole{Conn: conn}
			conns <- h
			return h, nil
		},
	})
	if err := c.Send(t.Context(), srv.URL, packet("{}")); err != nil {
		t.Fatal(err)
	}
	first := <-conns
	t.Cleanup(func() { first.Conn.Close() })
	first.dead.Store(true)
	var err error
	for range 100 {
		if err = c.Send(t.Context(), srv.URL, packet("{}")); err == nil {
			return
		}
	}
	t.Errorf("100 times over a dead connection: %v", err)
}

// Whatever a server answers, the client reads a bounded part of the answer, in bounded time.
func TestEndlessAnswers(t *testing.T) {
	line := strings.Repeat("a", 1000) + "\r\n"
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: "
	for name, c := range map[string]struct{ head, again string }{
		"header":           {"HTTP/1.1 200 OK\r\n", "X: " + line},
		"early hints":      {"", "HTTP/1.1 103 Early Hints\r\nX: " + line + "\r\n"},
		"continue":         {"", "HTTP/1.1 100 Continue\r\n\r\n"},
		"redirect":         {"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\n\r\n", line},
		"text":             {ok + "text/plain\r\n\r\n", line},
		"message":          {ok + "application/didcomm-encrypted+json\r\n\r\n", line},
		"failure":          {"HTTP/1.1 500 Failure\r\nContent-Type: text/plain\r\n\r\n", strings.TrimSpace(line)},
		"other failure":    {"HTTP/1.1 404 Not Found\r\n\r\n", line},
		"chunk extension":  {ok + "text/plain\r\nTransfer-Encoding: chunked\r\n\r\n1", ";x=" + strings.TrimSpace(line)},
		"chunk extensions": {ok + "text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", "1;x=" + line + "x\r\n"},
		"trailer":          {ok + "text/plain\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: " + line},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipes := pipenet.Listen()
				var written atomic.Int64
				var server sync.WaitGroup
				server.Go(func() {
					for {
						nc, err := pipes.Accept()
						if err != nil {
							return
						}
						server.Go(func() {
							defer nc.Close()
							if _, err := http.ReadRequest(bufio.NewReader(nc)); err != nil {
								return
							}
							for text := c.head; written.Load() < 16<<20; text = c.again {
								n, err := io.WriteString(nc, text)
								written.Add(int64(n))
								if err != nil {
									return
								}
							}
						})
					}
				})
				client := newClient(t, httptransport.ClientConfig{Dial: pipes.Dial, MaxBytes: 100_000})
				client.Bind(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
					t.Error("an endless answer was handled")
					return nil
				}))
				start := time.Now()
				_ = client.Send(t.Context(), "http://peer.example/", packet("x"))
				if n := written.Load(); n > 400_000 {
					t.Errorf("%d bytes were read", n)
				}
				if d := time.Since(start); d > 30*time.Second {
					t.Errorf("the answer took %v", d)
				}
				pipes.Close()
				server.Wait()
			})
		})
	}
}

// A body that nobody needs, and that comes slowly, does not hold up Send.
func TestSlowBodyIsNotDrained(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNotFound} {
		synctest.Test(t, func(t *testing.T) { slowBody(t, status) })
	}
}

func slowBody(t *testing.T, status int) {
	ended := make(chan struct{})
	pipes := inBubble(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "OK")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond) // of the bubble
		}
	}))
	client := newClient(t, httptransport.ClientConfig{Dial: pipes.Dial})
	start := time.Now()
	if err := client.Send(t.Context(), "http://peer.example/", packet("x")); (err == nil) != (status == http.StatusOK) {
		t.Errorf("status %d: %v", status, err)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("Send took %v", d)
	}
	<-ended
}
