package agent_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// What Config.Unopened says of a packet for somebody else is the answer to its sender.
func TestUnopened(t *testing.T) {
	for name, test := range map[string]struct {
		err      error
		none     bool // there is no such function
		session  bool
		ours     bool // the packet is for us
		rejected bool
		busy     time.Duration
		ends     bool // the connection
	}{
		"taken":             {},
		"taken on session":  {session: true},
		"refused":           {err: message.NewProblem("e.p.x", nil), rejected: true},
		"refused, session":  {err: message.NewProblem("e.p.x", nil), session: true, rejected: true},
		"later":             {err: agent.Retry(7*time.Second, errors.New("full")), busy: 7 * time.Second},
		"over a limit":      {err: agent.RetryLimit(7*time.Second, "box", false, errors.New("full")), busy: 7 * time.Second},
		"failed":            {err: errors.New("disk is full"), busy: 10 * time.Second},
		"failed on session": {err: errors.New("disk is full"), session: true, ends: true},
		"no function":       {none: true, rejected: true},
		"for us":            {err: errors.New("not asked"), ours: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			author, other := newStranger(t, n), newStranger(t, n)
			var got []*agent.Unopened
			a := n.Agent(t, fails(nil), agenttest.Configure(func(c *agent.Config) {
				c.Unopened = func(_ context.Context, u *agent.Unopened) error {
					got = append(got, u)
					return test.err
				}
				if test.none {
					c.Unopened = nil
				}
			}))
			to := other.DID
			if test.ours {
				to = a.DID()
			}
			m := newMessage(t, to)
			m.From = author.DID
			p := author.pack(t, m)
			p.MediaType = ""
			var w transport.Replier = new(call)
			if test.session {
				w = newSession()
			}
			addr := netip.MustParseAddr("198.51.100.7")
			err := serve(transport.WithPeer(t.Context(), addr), a, w, p)
			var busy *transport.BusyError
			if errors.As(err, &busy) != (test.busy > 0) || busy != nil && busy.RetryAfter != test.busy {
				t.Errorf("error %v", err)
			}
			if reject := errors.As(err, new(*transport.RejectError)); reject != test.rejected {
				t.Errorf("error %v", err)
			}
			if (err != nil) != (test.rejected || test.busy > 0 || test.ends) {
				t.Errorf("error %v", err)
			}
			if test.none || test.ours {
				if len(got) > 0 {
					t.Error("asked")
				}
				return
			}
			if len(got) != 1 || string(got[0].Packet.Data) != string(p.Data) || got[0].Packet.MediaType != transport.MediaTypeEncrypted || got[0].Address != addr || len(got[0].KIDs) != 1 || got[0].KIDs[0] != other.DID+"#key-2" {
				t.Errorf("asked %+v", got)
			}
		})
	}
}
