package agent

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Inbound is a message that was taken in. It is shared: treat it as read-only.
type Inbound struct {
	Message  *message.Message
	Metadata envelope.Metadata
	// From is the DID that the sender has proven, by authcrypt or signature, or
	// empty. Message.From is a mere claim where this is empty.
	From string
	// To is our DID that the message came to.
	To string
	// Packet is the message as it came.
	Packet transport.Packet

	// prior is the DID that the sender has gone by before, empty if the message does not
	// prove that, or if the sender has left From since.
	prior   string
	aliases *aliases // nil: keys went by their ids
}

// aliases are other names than their ids for the two keys of an authcrypt, by
// which the sender knows them, as older libraries do in a did:peer:2.
type aliases struct{ ours, theirs string }

// Authenticated reports whether the sender has proven who it is.
func (in *Inbound) Authenticated() bool { return in.From != "" }

func (a *Agent) inbound(ctx context.Context, u *envelope.Unpacked) *Inbound {
	in := &Inbound{Message: u.Message, Metadata: u.Metadata, To: a.cfg.DID}
	switch {
	case u.Metadata.EncryptedFromKID != "":
		in.From = did.Base(u.Metadata.EncryptedFromKID)
	case u.Metadata.SignFrom != "":
		in.From = did.Base(u.Metadata.SignFrom)
	}
	// The kids may be aliases; from is what the Packer has compared with them.
	if in.From != "" && u.Message.From != "" {
		in.From = did.Base(u.Message.From)
	}
	if p := u.Metadata.FromPrior; p != nil && p.Sub != "" && party(p.Sub) == party(in.From) {
		in.prior = p.Iss
	}
	in.aliases = aliasesOf(u)
	switch kid := u.OpenedWith; {
	case kid == "":
		in.To = a.named(ctx, u.Message)
	case party(kid) != party(a.cfg.DID):
		in.To = did.Base(kid)
	}
	return in
}

// maxNamed bounds the recipients of a message that is not encrypted which are looked at.
const maxNamed = 8

// named is the DID of ours that a message names which no key of ours has opened.
func (a *Agent) named(ctx context.Context, m *message.Message) string {
	for _, to := range m.To[:min(len(m.To), maxNamed)] {
		if party(to) == party(a.cfg.DID) {
			break
		}
		if own, err := a.cfg.Packer.Own(ctx, to); err == nil {
			return own
		}
	}
	return a.cfg.DID
}

// aliasesOf finds that a sender names keys by other fragments than their ids have.
func aliasesOf(u *envelope.Unpacked) *aliases {
	if u.SenderAs == "" {
		return nil
	}
	n := aliases{ours: u.OpenedAs, theirs: u.SenderAs}
	if n.ours[0] == '#' {
		n.ours = u.OpenedWith // relative: of no use in an answer
	}
	if fragment(n.ours) == fragment(u.OpenedWith) && fragment(n.theirs) == fragment(u.Metadata.EncryptedFromKID) {
		return nil
	}
	return &n
}

// nameKeys names the keys of an answer from the DID that the message came to as its
// sender does: by their ids, the sender would not find them.
func (in *Inbound) nameKeys(o *sendOptions) {
	if n := in.aliases; n != nil && o.from == in.To && len(o.toKeys) == 0 {
		o.from, o.toKeys = n.ours, []string{n.theirs}
	}
}

func fragment(kid string) string { return kid[strings.IndexByte(kid, '#')+1:] }

// addressed reports whether the message is meant for us as far as anybody can
// tell. Anybody who has a message that is merely signed can pass it on.
func (in *Inbound) addressed() bool {
	return in.Metadata.Encrypted ||
		slices.ContainsFunc(in.Message.To, func(to string) bool { return party(to) == party(in.To) })
}

// names are the DIDs that the sender has proven to go by: From, and the one that the
// sender has gone by before, if the message says so.
func (in *Inbound) names() []string {
	if in.prior != "" {
		return []string{in.From, in.prior}
	}
	return []string{in.From}
}

// log is the logger for what concerns this message.
func (in *Inbound) log(l *slog.Logger) *slog.Logger {
	return l.With("id", in.Message.ID, "type", in.Message.Type, "from", in.From)
}

// threadKey names a thread between a DID of ours and a party. It is a digest, so that
// what is filed under it costs the same however long a stranger's DID is.
//
// What the agent knows of a party it knows for each of our DIDs apart: else the party
// could find out that two of them are of one agent.
type threadKey [sha256.Size]byte

func keyOf(pair, thread string) threadKey {
	return sha256.Sum256([]byte(pair + " " + foldID(thread)))
}

// pairOf names a DID of ours and a party. No DID has a space in it.
func pairOf(own, peer string) string { return party(own) + " " + party(peer) }

// pair names the DID of ours that the message came to and its sender.
func (in *Inbound) pair() string { return pairOf(in.To, in.From) }

func (in *Inbound) key(thread string) threadKey { return keyOf(in.pair(), thread) }

// party is the name under which the agent files what it knows of a DID: the long
// and the short form of a did:peer:4 are one party.
func party(id string) string { return did.Canonical(id) }
