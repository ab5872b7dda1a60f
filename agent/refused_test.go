package agent_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// A message to which its recipient always answers 500 is given up with this answer, if the
// recipient takes others: those that are sent to it, or an empty one. Its thread goes on. An
// empty one hides its sender if the message does.
func TestRefused(t *testing.T) {
	for name, ids := range map[string][]string{ // of the messages of one thread
		"alone":       {"bad"},
		"hidden":      {"bad"},
		"in a thread": {"1", "bad", "2", "3"},
		"several":     {"bad", "1", "bad too", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var got []string
			probes := 0
			var p *agenttest.Party
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				data, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				u, err := p.Packer.Unpack(r.Context(), data)
				if err != nil {
					t.Error(err)
					return
				}
				if u.Metadata.AnonymousSender != (name == "hidden") {
					t.Errorf("a message of type %s hides its sender: %t", u.Message.Type, u.Metadata.AnonymousSender)
				}
				mu.Lock()
				defer mu.Unlock()
				switch m := u.Message; {
				case m.Type == emptyType:
					probes++
				case len(m.ID) >= 3:
					http.Error(w, "Error processing message", http.StatusInternalServerError)
					return
				default:
					got = append(got, m.ID)
				}
				w.WriteHeader(http.StatusOK)
			}))
			p = agenttest.NewParty(t, "http://"+server.Listener.Addr().String())
			server.Start()
			defer server.Close()
			client, err := httptransport.NewClient(httptransport.ClientConfig{Dial: new(net.Dialer).DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			own, ended := agenttest.NewParty(t), make(chan agent.Outcome, 100)
			note := func(_ context.Context, o agent.Outcome) { ended <- o }
			a, err := agent.Start(t.Context(), agent.Config{
				DID: own.DID, Packer: own.Packer, Senders: map[string]transport.Sender{"http": client},
				RefusedTries: 6, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
				Trace: &agent.Trace{Sent: note, Buried: note},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Stop()
			var want []string
			for _, id := range ids {
				m := newMessage(t, p.DID)
				m.ID, m.ThreadID = id, "thread"
				var opts []agent.SendOption
				if name == "hidden" {
					opts = append(opts, agent.ProtectSender())
				}
				if err := a.Send(t.Context(), m, opts...); err != nil {
					t.Fatal(err)
				}
				if len(id) < 3 {
					want = append(want, id)
				}
			}
			for range ids {
				o := <-ended
				if refused := len(o.MessageID) >= 3; refused != (o.State == delivery.GivenUp) {
					t.Errorf("%s: %v", o.MessageID, o)
				} else if refused {
					var failed *transport.SendError
					if !errors.As(o.Err, &failed) || failed.Status != http.StatusInternalServerError || o.Attempts < 6 {
						t.Errorf("%s: %v after %d tries", o.MessageID, o, o.Attempts)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) || probes == 0 && len(ids) == 1 {
				t.Errorf("got %q and %d probes, want %q", got, probes, want)
			}
		})
	}
}
