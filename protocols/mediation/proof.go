package mediation

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// TypeProof is the type of the signed message in an attachment that proves a recipient_did. It
// is never sent by itself.
const TypeProof = PIURI3 + "/proof"

// proofAge is how long a proof of Prove is valid, and the latest expires_time of a proof.
const proofAge = 10 * time.Minute

type proofBody struct {
	Account string `json:"account"`
}

// Prove returns the attachment of an update that proves recipient, a DID of ours, to a
// mediator. account is the DID that sends the update. p must hold an authentication key of
// recipient. Errors are those of Packer.Pack.
func Prove(ctx context.Context, p *envelope.Packer, recipient, account, mediator string, now time.Time) (message.Attachment, error) {
	m, err := message.New(TypeProof, proofBody{account})
	if err != nil {
		return message.Attachment{}, err
	}
	m.From, m.To, m.CreatedTime, m.ExpiresTime = recipient, []string{mediator}, now, now.Add(proofAge)
	signed, err := p.Pack(ctx, m, envelope.SignBy(recipient), envelope.Signed())
	if err != nil {
		return message.Attachment{}, fmt.Errorf("prove %.200s: %w", recipient, err)
	}
	return message.JSONAttachment(m.ID, envelope.MediaTypeSigned, signed[0].Data), nil
}

// proofs returns the names of the DIDs that an update proves. A proof that does not hold proves
// nothing.
func (s *server) proofs(ctx context.Context, p *envelope.Packer, in *agent.Inbound) (map[string]bool, error) {
	proven := map[string]bool{mediator.Name(in.From): true}
	if r := in.Metadata.FromPrior; r != nil && r.Sub != "" && did.Canonical(r.Sub) == did.Canonical(in.From) {
		proven[mediator.Name(r.Iss)] = true
	}
	var n int
	for _, att := range in.Message.Attachments {
		if att.MediaType != envelope.MediaTypeSigned {
			continue
		}
		if n++; n > MaxProofs {
			return nil, tooMany("proofs", MaxProofs)
		}
		recipient, err := s.proof(ctx, p, in, att)
		if err != nil {
			s.log.InfoContext(ctx, "proof does not hold", "from", in.From, "error", err)
			continue
		}
		proven[mediator.Name(recipient)] = true
	}
	return proven, nil
}

// proof returns the DID that an attachment proves.
func (s *server) proof(ctx context.Context, p *envelope.Packer, in *agent.Inbound, att message.Attachment) (string, error) {
	signed, err := att.Data.Bytes()
	if err != nil {
		return "", err
	}
	u, err := p.Unpack(ctx, signed)
	if err != nil {
		return "", err
	}
	var body proofBody
	if err := u.Message.DecodeBody(&body); err != nil {
		return "", err
	}
	now := time.Now()
	switch m := u.Message; {
	case !u.Metadata.NonRepudiation || u.Metadata.Encrypted || u.Sender() == "":
		return "", fmt.Errorf("%w: not signed", message.ErrInvalid)
	case !message.Is(m, TypeProof):
		return "", fmt.Errorf("%w: a signed message of another type", message.ErrInvalid)
	case !u.SentTo(in.To) && !u.SentTo(s.m.DID()):
		return "", fmt.Errorf("%w: for another mediator", message.ErrInvalid)
	case did.Canonical(body.Account) != did.Canonical(in.From):
		return "", fmt.Errorf("%w: for another account", message.ErrInvalid)
	case !m.ExpiresTime.After(now), m.ExpiresTime.After(now.Add(2 * proofAge)):
		return "", fmt.Errorf("%w: not valid now", message.ErrInvalid)
	}
	return u.Sender(), nil
}
