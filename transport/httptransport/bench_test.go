package httptransport_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// BenchmarkSend sends a message of usual size over loopback.
func BenchmarkSend(b *testing.B) {
	srv := httptest.NewServer(httptransport.NewHandler(transport.HandlerFunc(ignore), httptransport.HandlerConfig{}))
	defer srv.Close()
	c := newClient(b, httptransport.ClientConfig{})
	p := packet(strings.Repeat("x", 3<<10))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Send(b.Context(), srv.URL, p); err != nil {
			b.Fatal(err)
		}
	}
}
