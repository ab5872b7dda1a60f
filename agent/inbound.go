package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Inbound is a received message. Several goroutines may share it: do not change it.
type Inbound struct {
	// Message is the opened message. Its From is only a claim: the field From of the Inbound
	// is what is proven. The two can name different parties: after a rotation, some agents
	// still encrypt with the key of the DID that they leave. Then From is that DID, and
	// Message.From is the DID to which From says that it rotates, which may be the DID of a
	// third party.
	Message *message.Message
	// Metadata describes how the message was encrypted and signed.
	Metadata envelope.Metadata
	// From is the DID that the sender has proven by authcrypt or by a signature. It is
	// empty if the sender is not authenticated.
	From string
	// To is the DID of ours that the message was sent to, or Config.DID if the message is
	// not Addressed.
	To string
	// Addressed reports whether the message was sent to us. It is true if the message was
	// encrypted for us, or names To in its to header. If it is false, From has signed the
	// message, but perhaps for another party, which has passed the message on. A [Mux] does
	// not handle such a message. Any other Handler must not take it for a message to us.
	Addressed bool
	// Packet is the message as it was received.
	Packet transport.Packet
	// Address is the address that the packet came from, or the zero Addr. It is for limits,
	// and proves nothing. It is not kept in the inbox: a message that is handled after a
	// restart has none.
	Address netip.Addr

	// prior is the DID that the sender had before, empty if the message does not prove
	// one, or if the sender has left From since.
	prior string
	// named is the DID of ours by which the sender calls us, if it differs from To: the sender
	// has encrypted with a key of another DID of ours, which Related allows. Credo does after a
	// rotation of ours, on a WebSocket that is older.
	named string
	mail  bool // a mediator of ours has kept the message
	// class says whether the sender is a contact or a stranger. It is store.ClassOwn until
	// classify was called.
	class   store.Class
	aliases *aliases // nil if the keys were named by their ids
}

// aliases are names of the keys of an authcrypt that differ from the ids in the DID
// documents. Older libraries use such names for the keys of a did:peer:2.
type aliases struct{ ours, theirs string }

// Authenticated reports whether the sender has proven its DID, which is in.From.
func (in *Inbound) Authenticated() bool { return in.From != "" }

// inbound returns an opened message as an Inbound. The error is that of Keys, which could not
// say whether a DID is ours.
func (a *Agent) inbound(ctx context.Context, u *envelope.Unpacked) (in *Inbound, err error) {
	in = &Inbound{Message: u.Message, Metadata: u.Metadata, From: u.Sender(), To: a.cfg.DID}
	if p := u.Metadata.FromPrior; p != nil && p.Sub != "" && party(p.Sub) == party(in.From) {
		in.prior = p.Iss
	}
	in.aliases, in.named = aliasesOf(u), u.Named
	switch kid := u.OpenedWith; {
	case kid == "":
		var as string
		if in.To, as, err = a.namedDID(ctx, u.Message); err != nil {
			return nil, err
		}
		in.Addressed = u.SentTo(as)
		return in, nil
	case party(kid) != party(a.cfg.DID):
		in.To = did.Base(kid)
	}
	in.Addressed = u.SentTo(in.To)
	return in, nil
}

// maxNamed is how many recipients of a message without encryption are looked up.
const maxNamed = envelope.DefaultMaxRecipients

// namedDID returns the DID of ours that a message without encryption names as a
// recipient, or Config.DID. It also returns the name, which may be the did:key of a key.
func (a *Agent) namedDID(ctx context.Context, m *message.Message) (own, as string, err error) {
	for _, to := range m.To[:min(len(m.To), maxNamed)] {
		if party(to) == party(a.cfg.DID) {
			break
		}
		// After another error the message would look as if it were not sent to us.
		if own, err := a.cfg.Packer.Own(ctx, to); !errors.Is(err, envelope.ErrNoKey) {
			return own, to, err
		}
	}
	return a.cfg.DID, a.cfg.DID, nil
}

// aliasesOf returns the names of the keys in an envelope if their fragments differ from
// those of the ids, or nil.
func aliasesOf(u *envelope.Unpacked) *aliases {
	if u.SenderAs == "" {
		return nil
	}
	n := aliases{ours: u.OpenedAs, theirs: u.SenderAs}
	if party(n.ours) != party(u.OpenedWith) {
		n.ours = u.OpenedWith // since an answer cannot use a relative DID URL or the did:key of a key
	}
	if fragment(n.ours) == fragment(u.OpenedWith) && fragment(n.theirs) == fragment(u.Metadata.EncryptedFromKID) {
		return nil
	}
	return &n
}

// nameKeys makes an answer name its keys by the aliases that the sender of the message has
// used. The sender may not find the keys by their ids.
func (in *Inbound) nameKeys(o *sendOptions) {
	if n := in.aliases; n != nil && o.from == in.To && len(o.toKeys) == 0 {
		o.from, o.toKeys = n.ours, []string{n.theirs}
	}
}

func fragment(kid string) string { return kid[strings.IndexByte(kid, '#')+1:] }

// fromPeer reports whether the message proves who has sent it to us. Anybody can have
// passed on a message that was not sent to us.
func (in *Inbound) fromPeer() bool { return in.Authenticated() && in.Addressed }

// senderDIDs returns the DIDs that the message proves for its sender: From, and the DID
// from which the sender rotates with this message, if any.
func (in *Inbound) senderDIDs() []string {
	if in.prior != "" {
		return []string{in.From, in.prior}
	}
	return []string{in.From}
}

// replyDID returns the DID that replies are sent to. It is From, or the DID to which From
// rotates with the message, even if the key of From has encrypted the message: the sender
// learns from the reply that we know the new DID. Since From may have named the DID of a third
// party, nothing but the address of replies depends on it.
func (in *Inbound) replyDID() string {
	if in.linked() {
		return longer(did.Base(in.Message.From), in.Metadata.FromPrior.Sub)
	}
	return in.From
}

// linked reports whether the message is encrypted by From, but Message.From is another party, to
// which From says that it rotates.
func (in *Inbound) linked() bool {
	return in.Authenticated() && in.Metadata.FromPrior != nil && in.Metadata.FromPrior.Sub != "" && party(in.Message.From) != party(in.From)
}

// hidesSender reports whether the message hides from mediators from whom it is.
func (in *Inbound) hidesSender() bool {
	return in.Metadata.AnonymousSender && in.Metadata.EncryptedFromKID != ""
}

// log returns l with attributes of the message.
func (in *Inbound) log(l *slog.Logger) *slog.Logger {
	return l.With("id", in.Message.ID, "type", in.Message.Type, "from", in.From)
}

// threadKey is the key of a map for a thread between a DID of ours and a party. It is a
// digest, so that its size does not depend on the length of a DID.
//
// Every such map has our DID in the key. Otherwise a party could find out that two DIDs of
// ours belong to one agent.
type threadKey [sha256.Size]byte

func keyOf(pair, thread string) threadKey {
	return sha256.Sum256([]byte(pair + " " + foldID(thread)))
}

// pairOf returns a name for a DID of ours together with a party. DIDs have no spaces.
func pairOf(own, peer string) string { return party(own) + " " + party(peer) }

// pair returns pairOf of the DID of ours that the message was sent to, and its sender.
func (in *Inbound) pair() string { return pairOf(in.To, in.From) }

// classify sets in.class. If the store fails, the sender counts as a stranger.
func (a *Agent) classify(ctx context.Context, in *Inbound) {
	in.class = store.ClassStranger
	if !in.fromPeer() {
		return
	}
	if known, err := a.cfg.Contacts.IsContact(ctx, in.To, in.From); err == nil && known {
		in.class = store.ClassKnown
	}
}

// byClass has one T for known parties, and another for strangers. Anybody can make any
// number of DIDs, and must not use up what the known parties have.
type byClass[T any] struct{ known, strangers T }

func (c *byClass[T]) of(in *Inbound) *T {
	if in.class == store.ClassStranger {
		return &c.strangers
	}
	return &c.known
}

// source returns the sender of the message as the inbox names it. If nobody is proven to
// have sent the message to us, others may use its id. Therefore the name then has a digest
// of the message, so that messages with the same id and another content are apart.
func (in *Inbound) source() string {
	if in.fromPeer() {
		return in.pair()
	}
	content, err := in.Message.Append(nil)
	if err != nil { // the same envelope is still found
		content = in.Packet.Data
	}
	sum := sha256.Sum256(content)
	return in.pair() + " " + hex.EncodeToString(sum[:])
}

func (in *Inbound) key(thread string) threadKey { return keyOf(in.pair(), thread) }

// party returns one name for all forms of a DID: the long and the short form of a
// did:peer:4 are the same party.
func party(id string) string { return did.Canonical(id) }
