package routing

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// maxOwners is how many different recipients of a bare envelope are looked up.
const maxOwners = 8

// Unopened returns a function for agent.Config.Unopened that keeps an envelope which arrives
// without a forward: for each recipient of the envelope that is a client of m, in the boxes of
// that client. Some agents send so to a party behind a mediator, since they do not know its
// routing key. The recipients are known by the key ids of the envelope.
func Unopened(m *mediator.Mediator) func(context.Context, *agent.Unopened) error {
	return func(ctx context.Context, u *agent.Unopened) error {
		var refused error
		kept, seen := false, make(map[string]bool)
		for _, kid := range u.KIDs {
			if len(kid) > maxNext || !strings.HasPrefix(kid, "did:") || len(seen) == maxOwners {
				continue
			}
			name := mediator.Name(kid)
			if seen[name] {
				continue
			}
			seen[name] = true
			err := m.Accept(ctx, mediator.Forward{Next: kid, Packet: store.Packet(u.Packet), Address: u.Address})
			if err == nil {
				kept = true
				continue
			}
			err = refusal(err, kid)
			if !errors.As(err, new(*message.Problem)) { // the packet may come again for this client
				return err
			}
			if refused == nil {
				refused = err
			}
		}
		if kept {
			return nil
		}
		return cmp.Or(refused, refusal(mediator.ErrNotEnrolled, ""))
	}
}
