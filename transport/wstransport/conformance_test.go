package wstransport_test

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/transporttest"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

func loopback() func(context.Context, string, string) (net.Conn, error) {
	return (&netguard.Guard{AllowLoopback: true}).DialContext
}

func newClient(t testing.TB, cfg wstransport.ClientConfig) *wstransport.Client {
	t.Helper()
	if cfg.Dial == nil {
		cfg.Dial = loopback()
	}
	c, err := wstransport.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wsURL(url string) string { return "ws" + strings.TrimPrefix(url, "http") }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, server, client transport.Handler) transporttest.Link {
		const limit = 64 << 10
		budget := transport.NewBudget(4 * limit)
		s := wstransport.NewServer(server, wstransport.ServerConfig{Limits: wstransport.Limits{MaxBytes: limit}, Budget: budget})
		srv := httptest.NewServer(s)
		t.Cleanup(func() {
			srv.Close()
			if err := s.Close(context.Background()); err != nil {
				t.Errorf("close server: %v", err)
			}
		})
		dead := httptest.NewServer(nil)
		dead.Close()
		c := newClient(t, wstransport.ClientConfig{Budget: budget})
		c.Bind(client)
		return transporttest.Link{
			Sender: c, Endpoint: wsURL(srv.URL), Dead: wsURL(dead.URL),
			MaxBytes: limit, Session: true, OneWay: true, Budget: budget,
		}
	})
}
