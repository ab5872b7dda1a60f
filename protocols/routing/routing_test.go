package routing_test

import (
	"net/http"
	"testing"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
)

// A forward is accepted when the packet in it is in the box of the recipient. One that comes
// again is accepted again, and kept once.
func TestForward(t *testing.T) {
	n := agenttest.NewNet()
	o := newOffice(t, n)
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	o.enroll(t, bob.DID)
	e := letter(t, alice, bob)
	for range 2 {
		a := o.post(t, pack(t, alice.Packer, o.forward(next(bob.DID), attach(e))))
		if a.status != http.StatusAccepted || len(a.body) > 0 {
			t.Fatalf("status %d: %s", a.status, a.body)
		}
	}
	o.wantMail(t, bob.DID, e.Data)
}

// A forward to a party that is not enrolled is refused by a signed report in the response.
func TestNotEnrolled(t *testing.T) {
	n := agenttest.NewNet()
	o := newOffice(t, n)
	alice, bob := agenttest.NewParty(t), agenttest.NewParty(t)
	m := o.forward(next(bob.DID), attach(letter(t, alice, bob)))
	o.wantReport(t, o.post(t, pack(t, alice.Packer, m)), m, mediator.CodeNotEnrolled)
}
