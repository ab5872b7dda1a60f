package agent

import (
	"context"
	"slices"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// nameLong names each did:peer:4 in a complete message by its long form, which every peer
// resolves. Many peers do not know the short form, and Credo refuses it.
func (a *Agent) nameLong(ctx context.Context, m *message.Message, o *sendOptions) {
	m.From, o.from = a.cfg.Packer.Long(ctx, m.From), a.cfg.Packer.Long(ctx, o.from)
	m.To = a.allLong(ctx, m.To)
	o.toKeys, o.signBy = a.allLong(ctx, o.toKeys), a.allLong(ctx, o.signBy)
}

// allLong returns the ids with the long forms of their DIDs. It does not change ids.
func (a *Agent) allLong(ctx context.Context, ids []string) []string {
	long := slices.Clone(ids)
	for i, id := range ids {
		long[i] = a.cfg.Packer.Long(ctx, id)
	}
	return long
}

// nameLongUnused is nameLong for the sender of the answer to in. The DID keeps the short form if
// the peer has used that form.
func (in *Inbound) nameLongUnused(ctx context.Context, a *Agent, m *message.Message, o *sendOptions) {
	used := func(id string) bool { return did.Base(id) == m.From }
	if !slices.ContainsFunc(in.Message.To, used) && !slices.ContainsFunc(in.Metadata.EncryptedToKIDs, used) {
		m.From, o.from = a.cfg.Packer.Long(ctx, m.From), a.cfg.Packer.Long(ctx, o.from)
	}
}
