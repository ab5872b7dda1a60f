package server_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport"
)

// A mediator takes messages at its URL, and at its URL with a slash. Its figures are logged.
func TestMediator(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := "http://" + listener.Addr().String()
	listener.Close()
	for _, tt := range []struct{ public, path string }{
		{"", ""}, {at + "/", "/"}, {at + "/in", "/in"}, {at + "/a%2Fb", "/a%2Fb"},
	} {
		s, stop := listen(t, func(c *server.Config) {
			c.Listen, c.PublicURL, c.Mediator.On = strings.TrimPrefix(at, "http://"), tt.public, true
		})
		if s.Endpoint() != at+tt.path {
			t.Errorf("%q: endpoint %s", tt.public, s.Endpoint())
		}
		for path, want := range map[string]int{
			tt.path:                                http.StatusBadRequest, // of messages
			strings.TrimSuffix(tt.path, "/") + "/": http.StatusBadRequest,
			tt.path + "/x":                         http.StatusNotFound,
		} {
			resp, err := http.Post(at+path, transport.MediaTypeEncrypted, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%q: POST %s: %s", tt.public, path, resp.Status)
			}
		}
		stop()
	}
	base, _, log := start(t, func(c *server.Config) { c.Mediator.On = true })
	for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), "msg=mediator accounts=0 "); {
		if time.Now().After(end) {
			t.Fatalf("log:\n%s", log)
		}
		fetch(t, base+server.LivePath)
	}
}

// A mediator publishes its did:web with an endpoint for POST and one for WebSocket.
func TestMediatorWeb(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	listener.Close()
	_, id, _ := start(t, func(c *server.Config) {
		c.Listen, c.Mediator.On, c.DID, c.PublicURL = at, true, "did:web:mediator.example", "https://mediator.example"
	})
	req, err := http.NewRequest("GET", "http://"+at+"/.well-known/did.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "mediator.example"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	post := strings.Index(string(body), `"https://mediator.example"`)
	live := strings.Index(string(body), `"wss://mediator.example"`)
	if id != "did:web:mediator.example" || resp.StatusCode != http.StatusOK || post < 0 || live < post {
		t.Errorf("%s: %s\n%s", id, resp.Status, body)
	}
}
