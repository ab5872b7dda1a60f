package agent_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// Endpoints are used in the order of the DID document, also if the first refuses the media
// type of DIDComm v2 and takes an older one.
func TestOlderMediaType(t *testing.T) {
	const older = "application/didcomm-envelope-enc"
	for name, c := range map[string]struct {
		takes string   // media type that the HTTP endpoint takes
		order []string // schemes of the document
		want  []string // what came: a media type by HTTP, "ws" by WebSocket
	}{
		"http alone":                {takes: older, order: []string{"http"}, want: []string{transport.MediaTypeEncrypted, older}},
		"http first":                {takes: older, order: []string{"http", "ws"}, want: []string{transport.MediaTypeEncrypted, older}},
		"ws first":                  {takes: older, order: []string{"ws", "http"}, want: []string{"ws"}},
		"http first, takes neither": {order: []string{"http", "ws"}, want: []string{transport.MediaTypeEncrypted, older, "ws"}},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var came []string
			arrive := func(what string) {
				mu.Lock()
				defer mu.Unlock()
				came = append(came, what)
			}
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				arrive(r.Header.Get("Content-Type"))
				if r.Header.Get("Content-Type") != c.takes {
					w.WriteHeader(http.StatusUnsupportedMediaType)
				}
			}))
			defer srv.Close()
			client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: (&netguard.Guard{AllowLoopback: true}).DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ws := sender(func(context.Context, string, transport.Packet) error {
				arrive("ws")
				return nil
			})
			a := agenttest.NewNet().Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
				cfg.Senders["http"], cfg.Senders["ws"] = client, ws
			}))
			var endpoints []string
			for _, scheme := range c.order {
				endpoints = append(endpoints, map[string]string{"http": srv.URL, "ws": "ws://peer.example"}[scheme])
			}
			peer := agenttest.NewParty(t, endpoints...)
			if err := a.Send(t.Context(), newMessage(t, peer.DID), agent.AwaitDelivery()); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(came, c.want) {
				t.Errorf("came: %q, want %q", came, c.want)
			}
		})
	}
}
