// Package claim settles to whom a DID belongs at a mediator.
//
// Call [New] to make a statement and [Open] to read one. A statement is a DIDComm Signed Message
// (DIDComm v2.1) in an attachment of another message, by which its signer proves something that
// the sender of the other message cannot prove. A statement is for one mediator, and is valid for
// a short time.
//
// Call [Tell] to tell an account that it has lost a DID.
package claim

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// Validity is how long a statement of New is valid. Open accepts twice that, for clocks that
// differ.
const Validity = 10 * time.Minute

// Statement is a statement that was read.
type Statement struct {
	From    string // the DID that has signed
	ID      string
	Expires time.Time
}

// New returns a statement of our DID from to the mediator to, at the time now. Errors are those of
// Packer.Pack.
func New(ctx context.Context, p *envelope.Packer, typ, from, to string, body any, now time.Time) (message.Attachment, error) {
	m, err := message.New(typ, body)
	if err != nil {
		return message.Attachment{}, err
	}
	m.From, m.To, m.CreatedTime, m.ExpiresTime = from, []string{to}, now, now.Add(Validity)
	s, err := p.Pack(ctx, m, envelope.SignBy(from), envelope.Signed())
	if err != nil {
		return message.Attachment{}, fmt.Errorf("sign for %.200s: %w", from, err)
	}
	return message.JSONAttachment(m.ID, envelope.MediaTypeSigned, s[0].Data), nil
}

// Is reports whether an attachment looks like a statement.
func Is(att message.Attachment) bool { return att.MediaType == envelope.MediaTypeSigned }

// Open reads a statement of type typ for one of the DIDs audience, and its body. The error
// matches message.ErrInvalid if the statement is another one or is not valid now, or is that
// of Packer.Unpack.
func Open(ctx context.Context, p *envelope.Packer, att message.Attachment, typ string, body any, now time.Time, audience ...string) (Statement, error) {
	data, err := att.Data.Bytes()
	if err != nil {
		return Statement{}, err
	}
	u, err := p.Unpack(ctx, data)
	if err != nil {
		return Statement{}, err
	}
	forUs := false
	for _, id := range audience {
		forUs = forUs || u.SentTo(id)
	}
	m := u.Message
	switch {
	case !u.Metadata.NonRepudiation, u.Metadata.Encrypted, u.Sender() == "":
		err = fmt.Errorf("%w: not a signed message", message.ErrInvalid)
	case !message.Is(m, typ):
		err = fmt.Errorf("%w: a signed message of another type", message.ErrInvalid)
	case !forUs:
		err = fmt.Errorf("%w: a signed message for another party", message.ErrInvalid)
	case !m.ExpiresTime.After(now), m.ExpiresTime.After(now.Add(2 * Validity)):
		err = fmt.Errorf("%w: a signed message that is not valid now", message.ErrInvalid)
	default:
		err = m.DecodeBody(body)
	}
	return Statement{u.Sender(), m.ID, m.ExpiresTime}, err
}

// CodeLost is the code of the problem report that tells an account that it has lost a DID.
const CodeLost = "w.p.req.recipient-lost"

// Tell puts a problem report into the boxes of an account that has lost a recipient to another
// account. from is the DID of ours that reports. Without a loser, Tell does nothing.
func Tell(ctx context.Context, a *agent.Agent, m *mediator.Mediator, from, loser, recipient string) error {
	if loser == "" {
		return nil
	}
	return m.Tell(ctx, loser, func(device string) (store.Packet, error) {
		report, err := message.New("https://didcomm.org/report-problem/2.0/problem-report", &message.Problem{
			Code: CodeLost, Comment: "Another account has proven that {1} belongs to it.", Args: []string{recipient},
		})
		if err != nil {
			return store.Packet{}, err
		}
		report.From, report.To, report.CreatedTime = from, []string{device}, time.Now()
		report.ParentThreadID = report.ID // the report is about no message
		packed, err := a.Packer().Pack(ctx, report, envelope.From(from))
		if err != nil {
			return store.Packet{}, fmt.Errorf("tell %.200s: %w", device, err)
		}
		return store.Packet{MediaType: packed[0].MediaType, Data: packed[0].Data}, nil
	})
}
