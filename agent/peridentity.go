package agent

import "context"

// PerIdentity returns a [Handler] for an Agent with several DIDs of ours. For each
// message it calls the Handler that pick returns for the DID that the message was sent to
// (Inbound.To).
//
// pick is called for each received message, and for each message to be sent, since the
// Handler of its sender may be an [Orderer]. pick must be quick, must not return nil, and
// may be called from several goroutines.
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
