package wstransport_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// Messages leave in text frames, whatever the peer has sent, unless they are not UTF-8.
func TestFrameType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, echoBack, wstransport.ServerConfig{})
		ws := l.peer(t)
		for _, sent := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			for text, want := range map[string]int{`{"a":"ä"}`: websocket.TextMessage, "\xff": websocket.BinaryMessage} {
				if err := ws.WriteMessage(sent, []byte(text)); err != nil {
					t.Fatal(err)
				}
				got, data, err := ws.ReadMessage()
				if err != nil || got != want || string(data) != text {
					t.Errorf("sent frame type %d, got %d %q, %v", sent, got, data, err)
				}
			}
		}
	})
}

func TestSilentPeerIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := make(chan transport.Session, 1)
		l := newLab(t, func(_ context.Context, w transport.Replier, _ transport.Packet) error {
			sessions <- w.(transport.Session)
			return nil
		}, wstransport.ServerConfig{})
		ws := l.peer(t)
		start := time.Now()
		if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		<-(<-sessions).Done() // ws is not read: no pong
		if got := time.Since(start); got != 40*time.Second {
			t.Errorf("dropped after %v, want ping interval and pong timeout, 40 s", got)
		}
	})
}

func TestAnsweringPeerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, ignore, wstransport.ServerConfig{})
		ws := l.peer(t)
		ended := make(chan error, 1)
		go func() { ended <- readAll(ws) }()
		time.Sleep(24 * time.Hour) // of the bubble
		if l.server.Len() != 1 {
			t.Fatalf("%d connections after a day of pongs, want 1", l.server.Len())
		}
		ws.Close()
		<-ended
	})
}

// Pings do not extend ReadTimeout for a message that is sent slowly.
func TestTricklingMessageIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(context.Context, transport.Replier, transport.Packet) error {
			t.Error("half a message was handled")
			return nil
		}, wstransport.ServerConfig{})
		ws := l.peer(t)
		go readAll(ws)
		start := time.Now()
		w, err := ws.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		// A fragment is flushed when the write buffer of 4 KiB is full.
		if _, err := io.WriteString(w, strings.Repeat("x", 5<<10)); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			time.Sleep(5 * time.Second) // of the bubble
			err = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
		}
		if got := time.Since(start); got < 30*time.Second || got > 35*time.Second {
			t.Errorf("cut after %v, want the read timeout of 30 s", got)
		}
	})
}

func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(context.Context, transport.Replier, transport.Packet) error {
			t.Error("a message over the limit was handled")
			return nil
		}, wstransport.ServerConfig{Limits: wstransport.Limits{MaxBytes: 1000}})
		ws := l.peer(t)
		go ws.WriteMessage(websocket.TextMessage, make([]byte, 1001))
		if err := readAll(ws); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
			t.Errorf("got %v, want close code 1009", err)
		}
		ws.Close() // frees the writer
	})
}

// While a handler works the peer's pings are answered, and further messages are
// handled up to MaxHandlers.
func TestSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		started := make(chan string, 10)
		l := newLab(t, func(_ context.Context, _ transport.Replier, p transport.Packet) error {
			started <- string(p.Data)
			<-release
			return nil
		}, wstransport.ServerConfig{Limits: wstransport.Limits{MaxHandlers: 2}})
		ws := l.peer(t)
		pong := make(chan struct{}, 1)
		ws.SetPongHandler(func(string) error { pong <- struct{}{}; return nil })
		go readAll(ws)
		if err := ws.WriteMessage(websocket.TextMessage, []byte("1")); err != nil {
			t.Fatal(err)
		}
		<-started
		if err := ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		<-pong
		for _, m := range []string{"2", "3"} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				t.Fatal(err)
			}
		}
		if m := <-started; m != "2" {
			t.Errorf("message %s came next, want 2", m)
		}
		synctest.Wait()
		if len(started) != 0 {
			t.Errorf("a third message is handled beside two")
		}
		close(release)
		<-started
	})
}

func TestPanicEndsOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, func(ctx context.Context, w transport.Replier, p transport.Packet) error {
			if string(p.Data) == "boom" {
				panic("boom")
			}
			return w.Reply(ctx, p)
		}, wstransport.ServerConfig{})
		bad, good := l.peer(t), l.peer(t)
		if err := bad.WriteMessage(websocket.TextMessage, []byte("boom")); err != nil {
			t.Fatal(err)
		}
		if err := readAll(bad); !websocket.IsCloseError(err, websocket.CloseInternalServerErr) {
			t.Errorf("got %v, want close code 1011", err)
		}
		if err := good.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := good.ReadMessage(); err != nil {
			t.Errorf("the other connection: %v", err)
		}
	})
}

// A handler that runs when the server closes may still reply. Then the server sends a
// close frame.
func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, release := make(chan struct{}), make(chan struct{})
		l := newLab(t, func(ctx context.Context, w transport.Replier, p transport.Packet) error {
			close(started)
			<-release
			return w.Reply(ctx, p)
		}, wstransport.ServerConfig{})
		ws, idle := l.peer(t), l.peer(t)
		if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			t.Fatal(err)
		}
		<-started
		closed := make(chan error, 1)
		go func() { closed <- l.server.Close(context.Background()) }()
		if err := readAll(idle); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("idle connection: got %v, want close code 1001", err)
		}
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("close did not wait for the handler")
		}
		close(release)
		if _, data, err := ws.ReadMessage(); err != nil || string(data) != "x" {
			t.Errorf("answer %q, %v", data, err)
		}
		if err := readAll(ws); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("got %v, want close code 1001", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// The same for a packet that is accepted and not handled yet.
func TestCloseWaitsForAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(accepting)
		l := newHandlerLab(t, release, wstransport.ServerConfig{Limits: wstransport.Limits{MaxHandlers: 1}})
		ws := l.peer(t)
		for range 3 {
			if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- l.server.Close(context.Background()) }()
		synctest.Wait()
		if len(closed) != 0 {
			t.Error("close did not wait for what was accepted")
		}
		close(release)
		for range 3 {
			if _, data, err := ws.ReadMessage(); err != nil || string(data) != "x" {
				t.Errorf("answer %q, %v", data, err)
			}
		}
		if err := readAll(ws); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("got %v, want close code 1001", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseIsBounded(t *testing.T) {
	for name, h := range map[string]transport.Handler{
		"not accepted": transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, _ transport.Packet) error {
			<-ctx.Done()
			return ctx.Err()
		}),
		"not handled": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if h == nil {
					never := make(accepting) // of the bubble
					defer close(never)
					h = never
				}
				l := newHandlerLab(t, h, wstransport.ServerConfig{})
				ws := l.peer(t)
				if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := l.server.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v, want the deadline", err)
				}
				if err := readAll(ws); err == nil {
					t.Error("the connection lives")
				}
			})
		})
	}
}

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, ignore, wstransport.ServerConfig{MaxConns: 2, AllowOrigins: []string{"https://wallet.example"}})
		for _, c := range []struct {
			origin string
			status int
		}{
			{"https://evil.example", http.StatusForbidden},
			{"http://peer.example", http.StatusForbidden}, // same host is no excuse
			{"null", http.StatusForbidden},
			{"https://wallet.example", http.StatusSwitchingProtocols},
			{"", http.StatusSwitchingProtocols},
			{"", http.StatusServiceUnavailable}, // a third one
		} {
			h := http.Header{}
			if c.origin != "" {
				h.Set("Origin", c.origin)
			}
			d := websocket.Dialer{NetDialContext: l.net.Dial}
			ws, resp, err := d.Dial(endpoint, h)
			if resp == nil {
				t.Fatal(err)
			}
			if resp.StatusCode != c.status {
				t.Errorf("origin %q: status %d, want %d", c.origin, resp.StatusCode, c.status)
			}
			if ws != nil {
				defer ws.Close()
			}
		}
	})
}
