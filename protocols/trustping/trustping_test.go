package trustping_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// Every way to an agent, and from one without an endpoint, leads back.
func TestPing(t *testing.T) {
	for name, opts := range map[string][]agenttest.Option{
		"mem":              nil,
		"mem hidden":       {agenttest.Hidden()},
		"http":             {agenttest.HTTP()},
		"http hidden":      {agenttest.HTTP(), agenttest.Hidden()},
		"websocket":        {agenttest.WebSocket()},
		"websocket hidden": {agenttest.WebSocket(), agenttest.Hidden()},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()), opts...)
			for range 3 {
				rtt, err := trustping.Ping(t.Context(), alice, bob.DID())
				if err != nil {
					t.Fatal(err)
				}
				if rtt <= 0 {
					t.Errorf("round trip of %v", rtt)
				}
			}
		})
	}
}
