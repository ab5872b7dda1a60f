package wstransport_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// BenchmarkSend sends a message of usual size over loopback, and waits until the message is
// handled.
func BenchmarkSend(b *testing.B) {
	handled := make(chan struct{})
	s := wstransport.NewServer(transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error {
		handled <- struct{}{}
		return nil
	}), wstransport.ServerConfig{})
	srv := httptest.NewServer(s)
	defer srv.Close()
	defer s.Close(context.Background())
	c := newClient(b, wstransport.ClientConfig{})
	p := packet(strings.Repeat("x", 3<<10))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(b.Context(), wsURL(srv.URL), p); err != nil {
			b.Fatal(err)
		}
		<-handled
	}
}
