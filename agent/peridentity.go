package agent

import "context"

// PerIdentity makes a Handler that leaves each message to the Handler which pick returns
// for the DID of ours that the message came to, Inbound.To. Pick is called for each
// message, also for one to be sent, whose lane the Handler names (Orderer): it is quick,
// and returns no nil.
func PerIdentity(pick func(own string) Handler) Handler { return perIdentity(pick) }

type perIdentity func(own string) Handler

var (
	_ Handler   = perIdentity(nil)
	_ Custodian = perIdentity(nil)
	_ Orderer   = perIdentity(nil)
)

// HandleMessage implements Handler.
func (p perIdentity) HandleMessage(ctx context.Context, w Responder, in *Inbound) error {
	return p(in.To).HandleMessage(ctx, w, in)
}

// Custody implements Custodian.
func (p perIdentity) Custody(in *Inbound) bool {
	c, ok := p(in.To).(Custodian)
	return ok && c.Custody(in)
}

// Lane implements Orderer.
func (p perIdentity) Lane(in *Inbound) string {
	if o, ok := p(in.To).(Orderer); ok {
		return o.Lane(in)
	}
	return ""
}
