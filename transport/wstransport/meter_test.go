package wstransport_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// metered is a ResponseWriter whose connection is a Meter.
type metered struct {
	http.ResponseWriter
	left, failed *atomic.Int32
}

func (w metered) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buf, err := w.ResponseWriter.(http.Hijacker).Hijack()
	return meter{c, w.left, w.failed}, buf, err
}

type meter struct {
	net.Conn
	left, failed *atomic.Int32
}

var _ wstransport.Meter = meter{}

func (m meter) Take() bool { return m.left.Add(-1) >= 0 }
func (m meter) Fail()      { m.failed.Add(1) }

type refusing struct{ packets atomic.Int32 }

func (h *refusing) ServePacket(context.Context, transport.Replier, transport.Packet) (<-chan struct{}, error) {
	h.packets.Add(1)
	return nil, &transport.RejectError{Reason: "no"}
}

// A connection that is a Meter bounds the messages and the pings, and hears of the messages that
// are refused.
func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		frame   int
		packets int32
	}{
		{"messages", websocket.TextMessage, 3},
		{"pings", websocket.PingMessage, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var left, failed atomic.Int32
			left.Store(3)
			h := new(refusing)
			s := wstransport.NewServer(h, wstransport.ServerConfig{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.ServeHTTP(metered{w, &left, &failed}, r)
			}))
			defer srv.Close()
			ws, resp, err := websocket.DefaultDialer.Dial(strings.Replace(srv.URL, "http", "ws", 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			defer ws.Close()
			if err := ws.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if err := ws.WriteMessage(tt.frame, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
				t.Errorf("the connection ends with %v", err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if h.packets.Load() != tt.packets || failed.Load() != tt.packets {
				t.Errorf("%d packets, %d refused, want %d", h.packets.Load(), failed.Load(), tt.packets)
			}
		})
	}
}

// A Client counts the messages of a peer as well, also over TLS.
func TestClientMeter(t *testing.T) {
	for _, serve := range []func(http.Handler) *httptest.Server{httptest.NewServer, httptest.NewTLSServer} {
		ended := make(chan error, 1)
		srv := serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ended <- flood(w, r)
		}))
		defer srv.Close()
		var left, failed atomic.Int32
		left.Store(3)
		cfg := wstransport.ClientConfig{
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, addr)
				return meter{c, &left, &failed}, err
			},
			RootCAs: x509.NewCertPool(),
		}
		if cert := srv.Certificate(); cert != nil {
			cfg.RootCAs.AddCert(cert)
		}
		c, err := wstransport.NewClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h := new(refusing)
		c.Bind(h)
		if err := c.Send(t.Context(), strings.Replace(srv.URL, "http", "ws", 1), transport.Packet{Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
			t.Errorf("%s: the connection ends with %v", srv.URL, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if h.packets.Load() != 3 || failed.Load() != 3 {
			t.Errorf("%s: %d packets, %d refused, want 3", srv.URL, h.packets.Load(), failed.Load())
		}
	}
}

// flood reads one message, sends five, and returns the error that ends the connection.
func flood(w http.ResponseWriter, r *http.Request) error {
	ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
	if err != nil {
		return err
	}
	defer ws.Close()
	if err := ws.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, _, err := ws.ReadMessage(); err != nil { // or the Send of the Client would fail
		return err
	}
	for range 5 {
		if err := ws.WriteMessage(websocket.TextMessage, []byte("x")); err != nil {
			return err
		}
	}
	for {
		if _, _, err := ws.ReadMessage(); err != nil {
			return err
		}
	}
}
