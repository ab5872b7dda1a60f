package httptransport_test

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
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
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T, server, client transport.Handler) transporttest.Link {
				const limit = 64 << 10
				budget := transport.NewBudget(4 * limit)
				h := httptransport.NewHandler(server, httptransport.HandlerConfig{MaxBytes: limit, Budget: budget})
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Proto != proto {
						t.Errorf("came by %s", r.Proto)
					}
					h.ServeHTTP(w, r)
				}))
				srv.Config.ErrorLog = log.New(io.Discard, "", 0)
				cfg := httptransport.ClientConfig{Budget: budget}
				if proto == "HTTP/2.0" {
					srv.EnableHTTP2 = true
					srv.StartTLS()
					cfg.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				} else {
					srv.Start()
				}
				t.Cleanup(srv.Close)
				dead := httptest.NewServer(nil)
				dead.Close()
				c := newClient(t, cfg)
				c.Bind(client)
				return transporttest.Link{Sender: c, Endpoint: srv.URL, Dead: dead.URL, MaxBytes: limit, Budget: budget}
			})
		})
	}
}
