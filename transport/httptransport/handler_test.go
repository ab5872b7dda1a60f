package httptransport_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/internal/pipenet"
)

func packet(s string) transport.Packet {
	return transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte(s)}
}

func ignore(context.Context, transport.Replier, transport.Packet) error { return nil }

func TestStatus(t *testing.T) {
	const limit = 100
	h := transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		switch string(p.Data) {
		case "reject":
			return fmt.Errorf("unpack: %w", &transport.RejectError{Reason: "cannot decrypt", Err: errors.New("secret")})
		case "lines":
			return &transport.RejectError{Reason: "one\r\ntwo\x00" + strings.Repeat("x", 1000)}
		case "fail":
			return errors.New("secret")
		case "panic":
			panic("secret")
		case "reply":
			return w.Reply(ctx, transport.Packet{MediaType: "DIDComm-Signed+JSON", Data: []byte("answer")})
		case "reply and fail":
			if err := w.Reply(ctx, packet("report")); err != nil {
				t.Error(err)
			}
			return errors.New("secret")
		case "bad reply":
			if err := w.Reply(ctx, transport.Packet{MediaType: "text/html", Data: []byte("x")}); !errors.Is(err, transport.ErrMediaType) {
				t.Errorf("reply in text/html: %v", err)
			}
			if err := w.Reply(ctx, transport.Packet{}); err == nil {
				t.Error("empty reply taken")
			}
			return w.Reply(ctx, transport.Packet{Data: []byte("still open")})
		}
		return nil
	})
	handler := httptransport.NewHandler(h, httptransport.HandlerConfig{MaxBytes: limit})
	router := echo.New()
	router.Any("/didcomm", echo.WrapHandler(handler))

	for _, c := range []struct {
		name         string
		method, typ  string
		body         string
		chunked      bool
		header       map[string]string
		status       int
		wantType     string
		wantBodyLine string
	}{
		{name: "accepted", body: "x", status: 202},
		{name: "largest", body: strings.Repeat("x", limit), status: 202},
		{name: "reply", body: "reply", status: 200, wantType: transport.MediaTypeSigned, wantBodyLine: "answer"},
		{name: "reply and error", body: "reply and fail", status: 200, wantType: transport.MediaTypeEncrypted, wantBodyLine: "report"},
		{name: "unsendable replies", body: "bad reply", status: 200, wantType: transport.MediaTypeEncrypted, wantBodyLine: "still open"},
		{name: "rejected", body: "reject", status: 400, wantType: "text/plain; charset=utf-8", wantBodyLine: "cannot decrypt\n"},
		{name: "rejected in lines", body: "lines", status: 400, wantBodyLine: "one  two " + strings.Repeat("x", 491) + "\n"},
		{name: "failed", body: "fail", status: 500, wantBodyLine: "internal error\n"},
		{name: "panicked", body: "panic", status: 500, wantBodyLine: "internal error\n"},
		{name: "empty", body: "", status: 400},
		{name: "too large", body: strings.Repeat("x", limit+1), status: 413},
		{name: "too large, chunked", body: strings.Repeat("x", limit+1), chunked: true, status: 413},
		{name: "no type", typ: "none", body: "x", status: 202},
		{name: "parameters and case", typ: "Application/DIDComm-Encrypted+JSON; charset=utf-8", body: "x", status: 202},
		{name: "profile", typ: "application/didcomm-encrypted+json;profile=\"didcomm/v2\"", body: "x", status: 202},
		{name: "older type", typ: "application/didcomm-envelope-enc", body: "x", status: 202},
		{name: "older type, parameters and case", typ: "APPLICATION/DIDComm-Envelope-Enc; charset=UTF-8; profile=x", body: "x", status: 202},
		{name: "bytes", typ: "application/octet-stream", body: "x", status: 202},
		{name: "foreign type", typ: "application/json", body: "x", status: 415},
		{name: "malformed type", typ: ";;", body: "x", status: 415},
		{name: "gzip", header: map[string]string{"Content-Encoding": "gzip"}, body: "x", status: 415},
		{name: "GET", method: "GET", status: 405},
		{name: "HEAD", method: "HEAD", status: 405},
		{name: "PUT", method: "PUT", body: "x", status: 405},
		{name: "upgrade with no WebSocket", method: "GET", header: map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"}, status: 405},
	} {
		for name, h := range map[string]http.Handler{"http": handler, "echo": router} {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				var body io.Reader = strings.NewReader(c.body)
				if c.chunked {
					body = io.MultiReader(body) // of a length that is not known
				}
				method, typ := c.method, c.typ
				if method == "" {
					method = http.MethodPost
				}
				r := httptest.NewRequest(method, "/didcomm", body)
				switch typ {
				case "":
					r.Header.Set("Content-Type", transport.MediaTypeEncrypted)
				case "none":
				default:
					r.Header.Set("Content-Type", typ)
				}
				for k, v := range c.header {
					r.Header.Set(k, v)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				resp := w.Result()
				got, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != c.status {
					t.Fatalf("status %d, want %d: %s", resp.StatusCode, c.status, got)
				}
				if c.status == 202 && len(got) > 0 {
					t.Errorf("body %q with 202", got)
				}
				if c.wantType != "" && resp.Header.Get("Content-Type") != c.wantType {
					t.Errorf("type %q, want %q", resp.Header.Get("Content-Type"), c.wantType)
				}
				if c.wantBodyLine != "" && string(got) != c.wantBodyLine {
					t.Errorf("body %q, want %q", got, c.wantBodyLine)
				}
				if bytes.Contains(got, []byte("secret")) {
					t.Errorf("the peer learns the cause: %s", got)
				}
				if allow := resp.Header.Get("Allow"); (c.status == 405) != (allow == "POST") {
					t.Errorf("allow %q", allow)
				}
				if resp.Header.Get("X-Content-Type-Options") != "nosniff" && c.status != 202 {
					t.Error("no nosniff")
				}
			})
		}
	}
}

func TestUpgradeIsHandedOn(t *testing.T) {
	ws := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{WebSocket: ws})
	for _, c := range []struct {
		method, connection, upgrade string
		status                      int
	}{
		{"GET", "Upgrade", "websocket", http.StatusTeapot},
		{"GET", "keep-alive, UPGRADE", "WebSocket", http.StatusTeapot},
		{"GET", "keep-alive", "websocket", http.StatusMethodNotAllowed},
		{"GET", "Upgrade", "h2c", http.StatusMethodNotAllowed},
		{"GET", "", "", http.StatusMethodNotAllowed},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.Header.Set("Connection", c.connection)
		r.Header.Set("Upgrade", c.upgrade)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s, Connection %q, Upgrade %q: status %d, want %d", c.method, c.connection, c.upgrade, w.Code, c.status)
		}
	}
}

// inBubble serves h on pipes, inside a synctest bubble.
func inBubble(t *testing.T, h http.Handler) *pipenet.Listener {
	t.Helper()
	pipes := pipenet.Listen()
	srv := httptransport.NewServer(h)
	srv.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	go srv.Serve(pipes)
	t.Cleanup(func() { srv.Close() })
	return pipes
}

func dialPipe(t *testing.T, pipes *pipenet.Listener, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	nc, err := pipes.Dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := io.WriteString(nc, text); err != nil {
		t.Fatal(err)
	}
	return nc, bufio.NewReader(nc)
}

const postHead = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/didcomm-encrypted+json\r\nContent-Length: 10\r\n"

func TestSlowSender(t *testing.T) {
	unexpected := transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
		t.Error("an incomplete packet was handled")
		return nil
	})
	for _, c := range []struct {
		name, text string
		trickle    string
		after      time.Duration
		status     int // 0: none, the connection is closed
	}{
		{"header", "POST / HTTP/1.1\r\nX: ", "x", 10 * time.Second, 0},
		{"body", postHead + "\r\n", "", 30 * time.Second, http.StatusRequestTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pipes := inBubble(t, httptransport.NewHandler(unexpected, httptransport.HandlerConfig{}))
				nc, br := dialPipe(t, pipes, c.text)
				start := time.Now()
				var trickle sync.WaitGroup
				if c.trickle != "" {
					trickle.Go(func() {
						for {
							time.Sleep(time.Second) // of the bubble
							if _, err := io.WriteString(nc, c.trickle); err != nil {
								return
							}
						}
					})
				}
				resp, err := http.ReadResponse(br, nil)
				if d := time.Since(start); d != c.after {
					t.Errorf("ended after %v, want %v", d, c.after)
				}
				if err == nil {
					if resp.StatusCode != c.status || !resp.Close {
						t.Errorf("status %d, close %v, want %d", resp.StatusCode, resp.Close, c.status)
					}
				} else if c.status != 0 {
					t.Error(err)
				}
				nc.Close()
				trickle.Wait()
			})
		})
	}
}

// A Handler may take longer than the reading of a body.
func TestSlowHandlerKeepsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
			time.Sleep(10 * httptransport.DefaultTransferTimeout) // of the bubble
			if err := ctx.Err(); err != nil {
				t.Errorf("the context ended: %v", err)
			}
			return w.Reply(ctx, p)
		})
		pipes := inBubble(t, httptransport.NewHandler(h, httptransport.HandlerConfig{}))
		nc, br := dialPipe(t, pipes, postHead+"\r\n0123456789")
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		nc.Close()
	})
}

// accepting is a Handler that accepts every packet and handles none.
type accepting chan transport.Replier

func (a accepting) ServePacket(_ context.Context, w transport.Replier, _ transport.Packet) (handled <-chan struct{}, err error) {
	a <- w
	return make(chan struct{}), nil
}

// After the client has closed its connection, the handler does not wait until the packet
// is handled.
func TestClientGoneBeforeHandled(t *testing.T) {
	h := make(accepting, 1)
	ctx, leave := context.WithCancel(t.Context())
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("{}"))
	served := make(chan struct{})
	go func() {
		defer close(served)
		httptransport.NewHandler(h, httptransport.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
	}()
	w := <-h
	leave()
	<-served
	if err := w.Reply(t.Context(), transport.Packet{Data: []byte("{}")}); !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("reply: got %v, want ErrNoReturnRoute", err)
	}
}

func TestTruncatedBody(t *testing.T) {
	srv := httptest.NewServer(httptransport.NewHandler(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
		t.Error("a truncated packet was handled")
		return nil
	}), httptransport.HandlerConfig{}))
	t.Cleanup(srv.Close)
	nc, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, postHead+"\r\n01234"); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("%v, %v, want 400", resp, err)
	}
}

// A length over the limit is refused before the body is sent.
func TestTooLargeIsRefusedUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := inBubble(t, httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{MaxBytes: 9}))
		nc, br := dialPipe(t, pipes, postHead+"\r\n")
		start := time.Now()
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
			t.Errorf("%v, %v, want 413", resp, err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("refused after %v", d)
		}
		nc.Close()
	})
}

// A client that does not send the body of a request that was refused cannot
// keep the connection.
func TestRefusedSenderIsDropped(t *testing.T) {
	for _, head := range []string{
		strings.Replace(postHead, "didcomm-encrypted+json", "json", 1),
		strings.Replace(postHead, "POST", "PUT", 1),
	} {
		synctest.Test(t, func(t *testing.T) {
			pipes := inBubble(t, httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{}))
			nc, br := dialPipe(t, pipes, head+"\r\n")
			start := time.Now()
			resp, err := http.ReadResponse(br, nil)
			if err != nil || resp.StatusCode/100 != 4 {
				t.Fatalf("%v, %v", resp, err)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("answered after %v", d)
			}
			if _, err := io.Copy(io.Discard, br); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > httptransport.DefaultTransferTimeout+time.Second {
				t.Errorf("dropped after %v", d)
			}
			nc.Close()
		})
	}
}

// A reply to a client that has closed its connection may still be written to the socket.
func TestReplyAfterClientHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := transport.HandlerFunc(func(_ context.Context, w transport.Replier, p transport.Packet) error {
		cancel()
		if err := w.Reply(t.Context(), p); !errors.Is(err, transport.ErrNoReturnRoute) {
			t.Errorf("got %v, want ErrNoReturnRoute", err)
		}
		return nil
	})
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader("x"))
	httptransport.NewHandler(h, httptransport.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
}

// A reply to a client that has closed its connection, or that does not read, is an error.
func TestReplyToNobody(t *testing.T) {
	for _, leave := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			replied := make(chan error, 1)
			h := transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
				if leave {
					<-ctx.Done()
				}
				replied <- w.Reply(context.WithoutCancel(ctx), packet(strings.Repeat("x", 100_000)))
				return nil
			})
			pipes := inBubble(t, httptransport.NewHandler(h, httptransport.HandlerConfig{}))
			nc, _ := dialPipe(t, pipes, postHead+"\r\n0123456789")
			synctest.Wait()
			start := time.Now()
			if leave {
				nc.Close()
			}
			if err := <-replied; !errors.Is(err, transport.ErrNoReturnRoute) {
				t.Errorf("got %v, want ErrNoReturnRoute", err)
			}
			if d := time.Since(start); !leave && d != httptransport.DefaultTransferTimeout {
				t.Errorf("gave up after %v", d)
			}
			nc.Close()
		})
	}
}

func TestPanicIsLogged(t *testing.T) {
	var log bytes.Buffer
	h := httptransport.NewHandler(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
		panic("boom")
	}), httptransport.HandlerConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))
	h.ServeHTTP(httptest.NewRecorder(), r)
	if s := log.String(); !strings.Contains(s, "panic=boom") || !strings.Contains(s, "handler_test.go") {
		t.Errorf("log lacks the panic or its stack: %s", s)
	}
}

func TestTenMegabytes(t *testing.T) {
	big := packet(strings.Repeat("0123456789abcdef", 10<<16))
	for _, c := range []struct {
		name  string
		limit int64
		fits  bool
	}{{"over the default limit", 0, false}, {"under a limit of one's own", 10 << 20, true}} {
		t.Run(c.name, func(t *testing.T) {
			var got int
			srv := httptest.NewServer(httptransport.NewHandler(transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
				got = len(p.Data)
				return nil
			}), httptransport.HandlerConfig{MaxBytes: c.limit}))
			t.Cleanup(srv.Close)
			err := newClient(t, httptransport.ClientConfig{}).Send(t.Context(), srv.URL, big)
			if c.fits {
				if err != nil || got != len(big.Data) {
					t.Errorf("%v, %d bytes", err, got)
				}
			} else if e := mustFail(t, err, false); !errors.Is(e, transport.ErrTooLarge) {
				t.Errorf("got %v, want ErrTooLarge", e)
			}
		})
	}
}

// Bodies that stall give way to one that arrives, and the Budget is free in the end.
func TestStalledBodiesGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stalled, size = 4, 100_000
		budget := transport.NewBudget(256 << 10)
		pipes := inBubble(t, httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{Budget: budget}))
		head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/didcomm-encrypted+json\r\nContent-Length: %d\r\n\r\n", size)
		statuses := map[int]int{}
		var readers []*bufio.Reader
		for range stalled {
			_, br := dialPipe(t, pipes, head+strings.Repeat("x", size/2))
			readers = append(readers, br)
		}
		time.Sleep(2 * time.Second) // of the bubble
		synctest.Wait()
		before := budget.Used()
		_, br := dialPipe(t, pipes, head+strings.Repeat("x", size))
		if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusAccepted {
			t.Errorf("the body that arrived: %v, %v", resp, err)
		}
		for _, br := range readers {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			statuses[resp.StatusCode]++
			if resp.StatusCode == http.StatusServiceUnavailable && (resp.Header.Get("Retry-After") != "5" || !resp.Close) {
				t.Errorf("status 503: %v, close %v", resp.Header, resp.Close)
			}
		}
		if before < stalled*size/2 || statuses[http.StatusServiceUnavailable] == 0 ||
			statuses[http.StatusServiceUnavailable]+statuses[http.StatusRequestTimeout] != stalled {
			t.Errorf("%d bytes were taken, then the statuses %v", before, statuses)
		}
		if budget.Used() != 0 {
			t.Errorf("%d bytes are left", budget.Used())
		}
	})
}

// A Read of a stalled body ends when the Budget needs its memory.
func TestStalledBodyIsInterrupted(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			budget := transport.NewBudget(256 << 10)
			srv := httptest.NewUnstartedServer(httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{Budget: budget}))
			srv.EnableHTTP2 = proto == "HTTP/2.0"
			srv.StartTLS()
			defer srv.Close()
			body, w := io.Pipe()
			defer w.Close()
			go w.Write(make([]byte, 40<<10))
			answer := make(chan *http.Response, 1)
			go func() {
				resp, err := srv.Client().Post(srv.URL, transport.MediaTypeEncrypted, body)
				if err != nil {
					t.Error(err)
				}
				answer <- resp
			}()
			for budget.Used() < 40<<10 {
				runtime.Gosched()
			}
			_, release, err := budget.ReadAll(strings.NewReader(strings.Repeat("x", 230<<10)), -1, 256<<10, func() {})
			if err != nil {
				t.Fatal(err)
			}
			release()
			if resp := <-answer; resp != nil {
				resp.Body.Close()
				if resp.Proto != proto || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" {
					t.Errorf("%s, status %d, %v", resp.Proto, resp.StatusCode, resp.Header)
				}
			}
			if budget.Used() != 0 {
				t.Errorf("%d bytes are left", budget.Used())
			}
		})
	}
}
