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
	"github.com/didcomm-go/didcomm/protocols/internal/claim"
)

// TypeProof is the type of the signed message in an attachment that proves a recipient_did. It
// is never sent by itself.
const TypeProof = PIURI3 + "/proof"

type proofBody struct {
	Account string `json:"account"`
}

// Prove returns the attachment of an update that proves recipient, a DID of ours, to a
// mediator. account is the DID that sends the update. p must hold an authentication key of
// recipient. Errors are those of Packer.Pack.
func Prove(ctx context.Context, p *envelope.Packer, recipient, account, mediator string, now time.Time) (message.Attachment, error) {
	return claim.New(ctx, p, TypeProof, recipient, mediator, proofBody{account}, now)
}

// proofs returns the names of the DIDs that an update proves. A proof that does not hold proves
// nothing.
func (s *server) proofs(ctx context.Context, p *envelope.Packer, in *agent.Inbound) (map[string]bool, error) {
	proven := map[string]bool{mediator.Name(in.From): true}
	if prior := priorOf(in); prior != "" && time.Since(in.Metadata.FromPrior.IssuedAt) <= priorAge {
		proven[mediator.Name(prior)] = true
	}
	var n int
	for _, att := range in.Message.Attachments {
		if !claim.Is(att) {
			continue
		}
		if n++; n > MaxProofs {
			return nil, tooMany("proofs", MaxProofs)
		}
		var body proofBody
		statement, err := claim.Open(ctx, p, att, TypeProof, &body, time.Now(), in.To, s.m.DID())
		if err == nil && did.Canonical(body.Account) != did.Canonical(in.From) {
			err = fmt.Errorf("%w: for another account", message.ErrInvalid)
		}
		if err != nil {
			s.log.InfoContext(ctx, "proof does not hold", "from", in.From, "error", err)
			continue
		}
		proven[mediator.Name(statement.From)] = true
	}
	return proven, nil
}

// priorAge is the largest age of a from_prior that is a proof. An old one says nothing about who
// has the DID now.
const priorAge = 24 * time.Hour

// priorOf returns the DID that the sender of a message has left for the DID by which it has sent
// the message, or "".
func priorOf(in *agent.Inbound) string {
	r := in.Metadata.FromPrior
	if r == nil || r.Sub == "" || did.Canonical(r.Sub) != did.Canonical(in.From) {
		return ""
	}
	return r.Iss
}
