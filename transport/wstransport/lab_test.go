package wstransport_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/internal/pipenet"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

const endpoint = "ws://peer.example/"

// lab runs a server on a network of pipes. It is made inside a synctest bubble:
// time passes only while everybody waits, and a goroutine that is left over when
// the test ends is a failure.
type lab struct {
	net    *pipenet.Listener
	server *wstransport.Server
}

func newLab(t *testing.T, h transport.HandlerFunc, cfg wstransport.ServerConfig) *lab {
	t.Helper()
	return newHandlerLab(t, h, cfg)
}

func newHandlerLab(t *testing.T, h transport.Handler, cfg wstransport.ServerConfig) *lab {
	t.Helper()
	l := &lab{net: pipenet.Listen(), server: wstransport.NewServer(h, cfg)}
	srv := httptransport.NewServer(l.server)
	go srv.Serve(l.net)
	t.Cleanup(func() {
		if err := l.server.Close(context.Background()); err != nil {
			t.Errorf("close server: %v", err)
		}
		srv.Close()
	})
	return l
}

// client is closed by the end of the test, before the server.
func (l *lab) client(t *testing.T, cfg wstransport.ClientConfig) *wstransport.Client {
	t.Helper()
	cfg.Dial = l.net.Dial
	return newClient(t, cfg)
}

// peer is another WebSocket client, which does nothing by itself.
func (l *lab) peer(t *testing.T) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDialContext: l.net.Dial}
	ws, _, err := d.Dial(endpoint, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// foreignServer is another WebSocket server. It serves each connection with fn, and stops
// with the test.
func foreignServer(t *testing.T, fn func(*websocket.Conn)) *pipenet.Listener {
	t.Helper()
	net := pipenet.Listen()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		ws, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		fn(ws)
	})}
	go srv.Serve(net)
	t.Cleanup(func() { srv.Close() })
	return net
}

// readAll reads, and so answers pings, until the connection ends.
func readAll(ws *websocket.Conn) error {
	for {
		_, r, err := ws.NextReader()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
}

func packet(s string) transport.Packet {
	return transport.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte(s)}
}

func echoBack(ctx context.Context, w transport.Replier, p transport.Packet) error {
	return w.Reply(ctx, p)
}

func ignore(context.Context, transport.Replier, transport.Packet) error { return nil }

// accepting is a Handler that accepts every packet, and handles it once the channel
// is closed: it sends it back.
type accepting chan struct{}

func (a accepting) ServePacket(_ context.Context, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-a
		_ = w.Reply(context.Background(), p)
	}()
	return done, nil
}
