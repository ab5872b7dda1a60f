package httptransport_test

import (
	"context"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/transporttest"
)

func loopback() func(context.Context, string, string) (net.Conn, error) {
	return (&netguard.Guard{AllowLoopback: true}).DialContext
}

func newClient(t testing.TB, cfg httptransport.ClientConfig) *httptransport.Client {
	t.Helper()
	if cfg.Dial == nil {
		cfg.Dial = loopback()
	}
	c, err := httptransport.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, server, client transport.Handler) transporttest.Link {
		const limit = 64 << 10
		srv := httptest.NewServer(httptransport.NewHandler(server, httptransport.HandlerConfig{MaxBytes: limit}))
		t.Cleanup(srv.Close)
		dead := httptest.NewServer(nil)
		dead.Close()
		c := newClient(t, httptransport.ClientConfig{})
		c.Bind(client)
		return transporttest.Link{Sender: c, Endpoint: srv.URL, Dead: dead.URL, MaxBytes: limit}
	})
}
