package wstransport_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// mounts are the two ways in which agents serve the handler.
var mounts = []struct {
	name  string
	mount func(http.Handler) http.Handler
}{
	{"http", func(h http.Handler) http.Handler { return h }},
	{"echo", func(h http.Handler) http.Handler {
		e := echo.New()
		e.Any("/*", echo.WrapHandler(h))
		return e
	}},
}

// rawConn does the opening handshake over a plain connection that has no
// goroutine and next to no memory at this end.
func rawConn(t testing.TB, url string) net.Conn {
	t.Helper()
	host := strings.TrimPrefix(url, "http://")
	nc, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_, err = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %s", resp.Status)
	}
	return nc
}

func serve(t testing.TB, mount func(http.Handler) http.Handler, cfg wstransport.ServerConfig) (*wstransport.Server, string) {
	t.Helper()
	h := transport.HandlerFunc(func(context.Context, transport.Replier, transport.Packet) error { return nil })
	s := wstransport.NewServer(h, cfg)
	srv := httptest.NewUnstartedServer(mount(httptransport.NewHandler(h, httptransport.HandlerConfig{WebSocket: s})))
	srv.Config = httptransport.NewServer(srv.Config.Handler)
	srv.Start()
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, srv.URL
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	buf := make([]byte, 16<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// A connection must not keep the goroutine of the HTTP request that it came by.
func TestUpgradeLeavesHTTP(t *testing.T) {
	for _, m := range mounts {
		t.Run(m.name, func(t *testing.T) {
			_, url := serve(t, m.mount, wstransport.ServerConfig{})
			const n = 5
			for range n {
				rawConn(t, url)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for strings.Contains(stacks(), "http.(*conn).serve(") {
				if ctx.Err() != nil {
					t.Fatal("the goroutines of the upgrade requests stay")
				}
				runtime.Gosched()
			}
			if got := strings.Count(stacks(), "wstransport.(*conn)"); got > 2*n {
				t.Errorf("%d frames of connections, want no more than the %d readers", got, n)
			}
		})
	}
}

// BenchmarkIdleConn reports the memory, heap and stacks, of a connection on
// which nothing happens. The raw client end, in the same process, is counted in.
func BenchmarkIdleConn(b *testing.B) {
	memory := func() uint64 {
		var m runtime.MemStats
		for range 3 { // pools are emptied by the second
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for _, m := range mounts {
		b.Run(m.name, func(b *testing.B) {
			const n = 500
			for b.Loop() {
				b.StopTimer()
				s, url := serve(b, m.mount, wstransport.ServerConfig{})
				rawConn(b, url) // what is made once
				before := memory()
				for range n {
					rawConn(b, url)
				}
				for strings.Contains(stacks(), "http.(*conn).serve(") {
					runtime.Gosched()
				}
				after := memory()
				if s.Len() != n+1 {
					b.Fatalf("%d connections", s.Len())
				}
				b.ReportMetric(float64(after-before)/n, "B/conn")
				b.StartTimer()
			}
		})
	}
}
