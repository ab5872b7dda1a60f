package outofband

import (
	"context"
	"time"

	"github.com/didcomm-go/didcomm/agent"
)

// Accept makes the inviter a contact of own, a DID of ours, so that its messages are not those of
// a stranger, and returns the messages that are attached to the invitation. Accept sends
// nothing. To answer, send a message from own:
//
//   - an answer to one of the attached messages, with [Invitation.Answer];
//   - or any message with the option [agent.Parent], such as a ping.
//
// Errors are ErrExpired, and those of contact.Book.Keep.
func Accept(ctx context.Context, a *agent.Agent, own string, i *Invitation) ([]Attached, error) {
	if i.Expired(time.Now()) {
		return nil, ErrExpired
	}
	if err := a.Contacts().Keep(ctx, own, i.From); err != nil {
		return nil, err
	}
	return i.Attached(), nil
}
