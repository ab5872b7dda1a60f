package basicmessage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// The messages of a party are handled in the order in which they were sent, although each
// message begins a thread, and whichever function sends it.
func TestOrder(t *testing.T) {
	const n = 30
	verb := func(t *testing.T, a *agent.Agent, to, text string) error {
		return basicmessage.Send(t.Context(), a, to, text)
	}
	plain := func(t *testing.T, a *agent.Agent, to, text string) error {
		m, err := basicmessage.New(text, "")
		if err != nil {
			return err
		}
		m.To = []string{to}
		return a.Send(t.Context(), m)
	}
	both := func(t *testing.T, a *agent.Agent, to, text string) error {
		if text[len(text)-1]%2 == 0 {
			return plain(t, a, to, text)
		}
		return verb(t, a, to, text)
	}
	for name, opt := range map[string]agenttest.Option{"http": agenttest.HTTP(), "websocket": agenttest.WebSocket()} {
		for how, test := range map[string]struct {
			knows bool // the sender's Mux has the protocol
			send  func(t *testing.T, a *agent.Agent, to, text string) error
		}{
			"verb": {false, verb}, "plain send": {true, plain}, "both": {true, both},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				got := make(chan string, n)
				mux := agent.NewMux(basicmessage.Handle(func(_ context.Context, _ agent.Responder, _ *agent.Inbound, body basicmessage.Body) error {
					got <- body.Content
					return nil
				}))
				var own agent.Handler
				if test.knows {
					_, own = inbox()
				}
				alice, bob := agenttest.Pair(t, own, mux, opt)
				for i := range n {
					if err := test.send(t, alice, bob.DID(), fmt.Sprint(i)); err != nil {
						t.Fatal(err)
					}
				}
				for i := range n {
					select {
					case text := <-got:
						if text != fmt.Sprint(i) {
							t.Fatalf("message %s came in place of %d", text, i)
						}
					case <-time.After(20 * time.Second):
						t.Fatalf("message %d did not come", i)
					}
				}
			})
		}
	}
}
