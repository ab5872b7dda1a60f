package agent

import (
	"context"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/transport"
)

// bind makes w the return route to the sender of in, if it asks for that. Only
// who has authenticated may, and only with a message to us that is no older than
// the replay window: another could be somebody else's to pass on or to replay, on
// a connection of his own. What waits for a connection of the sender then leaves.
func (a *Agent) bind(ctx context.Context, w transport.Replier, in *Inbound) {
	s, ok := w.(transport.Session)
	if !ok || !in.Authenticated() || !in.addressed() {
		return
	}
	m := in.Message
	if t := m.CreatedTime; !t.IsZero() && a.cfg.Now().Sub(t) > a.cfg.ReplayWindow {
		return
	}
	b := delivery.Binding{Own: in.To, Peer: in.From, Session: s}
	switch m.ReturnRoute {
	case "all":
	case "thread":
		b.Thread = in.returnThread()
	case "none":
		a.delivery.Unbind(in.To, in.From, s)
		return
	default:
		return
	}
	if err := a.delivery.Bind(ctx, b); err != nil {
		in.log(a.cfg.Logger).WarnContext(ctx, "return route not bound", "error", err)
	}
}
