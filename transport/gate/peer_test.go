package gate_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/gate"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// The address of a packet is that of the client, also behind a trusted proxy, over HTTP and over
// WebSocket.
func TestPeerOf(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	for name, test := range map[string]struct {
		gate *gate.Gate
		want string
	}{
		"no gate":          {want: "127.0.0.1"},
		"no trusted proxy": {gate.New(gate.Config{}), "127.0.0.1"},
		"a trusted proxy":  {gate.New(gate.Config{TrustedProxies: loopback}), "198.51.100.7"},
	} {
		t.Run(name, func(t *testing.T) {
			peers := make(chan netip.Addr, 2)
			h := transport.HandlerFunc(func(ctx context.Context, _ transport.Replier, _ transport.Packet) error {
				peers <- transport.PeerOf(ctx)
				return nil
			})
			ws := wstransport.NewServer(h, wstransport.ServerConfig{})
			srv := &http.Server{Handler: httptransport.NewHandler(h, httptransport.HandlerConfig{WebSocket: ws})}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			at := l.Addr().String()
			if test.gate != nil {
				test.gate.Guard(srv)
				l = test.gate.Listener(l)
			}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			defer func() {
				srv.Close()
				ws.Close(t.Context())
				<-served
			}()

			header := http.Header{"X-Forwarded-For": {"198.51.100.7"}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+at, bytes.NewReader([]byte("{}")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header.Clone()
			req.Header.Set("Content-Type", transport.MediaTypeEncrypted)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+at, header)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.WriteMessage(websocket.TextMessage, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := <-peers; got != netip.MustParseAddr(test.want) {
					t.Errorf("from %v, want %s", got, test.want)
				}
			}
		})
	}
}
