package pickup_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// largest returns a note in the largest packet that a mediator takes, and its id.
func (s sender) largest(t testing.TB, to string) (packet, id string) {
	t.Helper()
	for n := mediator.DefaultMaxPacket * 3 / 4; ; n -= 16 {
		packet, id = s.note(t, to, func(m *message.Message) {
			m.Body = json.RawMessage(`{"text":"` + strings.Repeat("x", n) + `"}`)
		})
		if rest := mediator.DefaultMaxPacket - len(packet); rest >= 0 {
			return packet + strings.Repeat(" ", rest), id
		} else if rest < -100 {
			n += rest / 4 * 3
		}
	}
}

// The largest packet that the mediator takes is collected in each version, by HTTP and live.
func TestLargest(t *testing.T) {
	for name, opts := range map[string][]agenttest.Option{"http": {agenttest.HTTP()}, "websocket": {agenttest.WebSocket()}} {
		for version, lacks := range map[string][]string{"4.0": nil, "3.0": {pickup.PIURI4}} {
			t.Run(name+" "+version, func(t *testing.T) {
				o := newOffice(t, pickup.ServeLimits{}, opts...)
				w, s := o.newWallet(t, pickup.Config{}, opts...), sender{agenttest.NewParty(t)}
				if err := w.Contacts().Learn(t.Context(), w.DID(), did.Base(o.agent.DID()), func(d *contact.Dialect) {
					for _, piuri := range lacks {
						d.Lacked(piuri)
					}
				}); err != nil {
					t.Fatal(err)
				}
				packet, id := s.largest(t, w.DID())
				if name == "websocket" {
					w.run(t)
					w.live(t)
					o.accept(t, w.DID(), packet)
				} else {
					o.accept(t, w.DID(), packet)
					if p, err := w.Collect(t.Context(), w.Agent, w.source); err != nil || p.Taken != 1 {
						t.Fatalf("collected %+v, %v", p, err)
					}
				}
				w.wantNotes(t, id)
				w.empty(t)
			})
		}
	}
}
