package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/gorilla/websocket"
)

// Messages that cannot be opened use up the failures of their address, by POST and by WebSocket.
func TestFailures(t *testing.T) {
	for _, way := range []string{"POST", "WebSocket"} {
		t.Run(way, func(t *testing.T) {
			at, _, log := start(t, func(c *server.Config) { c.Limits.FailuresPerMinute = 3 })
			if way == "POST" {
				for range 3 {
					if resp := post(t, at, []byte("{}")); resp.StatusCode != http.StatusBadRequest {
						t.Fatalf("status %s", resp.Status)
					}
				}
			} else {
				ws, resp, err := websocket.DefaultDialer.Dial(strings.Replace(at, "http", "ws", 1)+server.DefaultPath, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				defer ws.Close()
				if err := ws.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
					t.Fatal(err)
				}
				go func() { // until the server closes the connection
					for ws.WriteMessage(websocket.TextMessage, []byte("{}")) == nil {
					}
				}()
				if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseTryAgainLater) {
					t.Errorf("the connection ends with %v", err)
				}
			}
			if resp := post(t, at, []byte("{}")); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
				t.Errorf("status %s, %v", resp.Status, resp.Header)
			}
			if !strings.Contains(log.String(), "connections or requests refused") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

// The limits hold for HTTP/2 as well. A proxy that is trusted tells its clients apart.
func TestLimitsHTTP2(t *testing.T) {
	dir, own := t.TempDir(), issue(t, 1)
	cert, key := dir+"/cert.pem", dir+"/key.pem"
	replace(t, cert, own.pem[0])
	replace(t, key, own.pem[1])
	at, _, _ := start(t, func(c *server.Config) {
		c.TLSCert, c.TLSKey = cert, key
		c.Limits.RequestsPerMinute, c.Limits.TrustedProxies = 1, []string{"127.0.0.0/8"}
	})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust(own), ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	for _, tt := range []struct {
		from   string
		status int
	}{
		{"192.0.2.1", 400}, {"192.0.2.1", 429}, {"192.0.2.2", 400}, {"2001:db8::1", 400}, {"2001:db8::2", 429},
	} {
		req, err := http.NewRequest("POST", at+server.DefaultPath, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", transport.MediaTypeEncrypted)
		req.Header.Set("X-Forwarded-For", tt.from)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status || resp.Proto != "HTTP/2.0" {
			t.Errorf("%s: %s by %s, want %d", tt.from, resp.Status, resp.Proto, tt.status)
		}
	}
}
