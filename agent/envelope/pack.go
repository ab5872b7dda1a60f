package envelope

import (
	"context"
	"crypto/ecdh"
	"fmt"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Media types of envelopes (DIDComm v2.1, IANA Media Types). The media type of a plaintext
// message is message.MediaType.
const (
	MediaTypeSigned    = jws.Type
	MediaTypeEncrypted = jwe.Type
)

// Envelope is a packed message.
type Envelope struct {
	ID        string // id of the message
	MediaType string // MediaTypeEncrypted, MediaTypeSigned or message.MediaType
	Data      []byte
	To        string   // DID of the recipient; empty if not encrypted
	KIDs      []string // key ids of the recipient's keys that open the envelope, sorted
	From      string   // key id of the sender's key; only for authcrypt
	SignBy    []string // key ids of the signers' keys
}

// Pack signs and encrypts m as the options say, and returns the envelopes. Without options
// the message is encrypted by anoncrypt for the DIDs in its to header.
//
// A message that is encrypted makes an envelope for each recipient DID, as Message
// Encryption demands. The envelope is for those keys of the DID document that have the first
// key type that both sides can use (but see AllKeyTypes). A message that is not encrypted
// makes a single envelope.
//
// If m has no from header, the packed message gets that of From or SignBy. If m is signed and
// has no to header, the packed message gets the recipients. Pack does not change m itself.
//
// The error matches a class of this package and a rule, or is that of Keys or the Resolver.
// The rules are ErrNoRecipient, ErrNoCommonKey, ErrNoKey, ErrUnsupportedAlg,
// ErrSenderMismatch, ErrSignerMismatch and ErrRecipientMismatch.
func (p *Packer) Pack(ctx context.Context, m *message.Message, opts ...PackOption) (_ []Envelope, err error) {
	defer classify(&err)
	o := collect(opts)
	if o.to == nil && !o.signed && !o.plain {
		o.to = m.To
	}
	if len(o.to) == 0 && len(o.signBy) > 0 && o.from == "" {
		o.signed = true
	}
	if err := o.check(m); err != nil {
		return nil, err
	}
	m = o.address(m)
	payload, err := m.Append(make([]byte, 0, 512+len(m.Body)))
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	e := Envelope{ID: m.ID, MediaType: message.MediaType, Data: payload}
	if len(o.signBy) > 0 {
		if err := p.sign(ctx, &e, &o); err != nil {
			return nil, err
		}
	}
	if o.plain || o.signed {
		return []Envelope{e}, nil
	}
	var senders []senderKey
	if o.from != "" {
		if senders, err = p.senderKeys(ctx, o.from); err != nil {
			return nil, err
		}
	}
	var out []Envelope
	for _, group := range byDID(o.to) {
		targets, err := p.targets(ctx, group, senders, o.allKeyTypes)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			sealed, err := p.seal(e, t, &o)
			if err != nil {
				return nil, err
			}
			out = append(out, sealed)
		}
	}
	return out, nil
}

// check returns an error if the options contradict each other or the message.
func (o *packOptions) check(m *message.Message) error {
	switch {
	case o.plain && (o.signed || o.from != "" || len(o.signBy) > 0 || o.protectSender):
		return fmt.Errorf("%w: a plain message has neither sender's key nor signer", ErrUnsupportedAlg)
	case o.signed && len(o.signBy) == 0:
		return fmt.Errorf("%w: a signed message needs SignBy", ErrNoKey)
	case o.signed && o.from != "":
		return fmt.Errorf("%w: From needs a recipient to encrypt for", ErrNoRecipient)
	case o.protectSender && o.from == "":
		return fmt.Errorf("%w: ProtectSender needs From", ErrUnsupportedAlg)
	case o.enc != A256CBCHS512 && o.enc != A256GCM && o.enc != XC20P:
		return fmt.Errorf("%w: enc %q", ErrUnsupportedAlg, o.enc)
	case o.from != "" && !o.protectSender && o.enc != A256CBCHS512:
		return fmt.Errorf("%w: authcrypt takes %s only, not %s", ErrUnsupportedAlg, A256CBCHS512, o.enc)
	case !o.plain && !o.signed && len(o.to) == 0:
		return ErrNoRecipient
	}
	if o.from != "" && m.From != "" && !sameParty(m.From, o.from) {
		return fmt.Errorf("%w: from is %s, the key is of %s", ErrSenderMismatch, m.From, did.Base(o.from))
	}
	from := m.From
	if from == "" {
		from = o.from
	}
	for _, s := range o.signBy {
		if from == "" {
			from = s
		}
		if !sameParty(from, s) {
			return fmt.Errorf("%w: from is %s, the key is of %s", ErrSignerMismatch, did.Base(from), did.Base(s))
		}
	}
	for _, to := range o.to {
		if len(m.To) > 0 && !slices.ContainsFunc(m.To, func(id string) bool { return sameParty(id, to) }) {
			return fmt.Errorf("%w: %s is not in to", ErrRecipientMismatch, did.Base(to))
		}
	}
	return nil
}

// address returns a copy of m with the from and to headers that the layers need.
func (o *packOptions) address(m *message.Message) *message.Message {
	c := *m
	if c.From == "" {
		if c.From = did.Base(o.from); c.From == "" && len(o.signBy) > 0 {
			c.From = did.Base(o.signBy[0])
		}
	}
	// DIDComm Signed Messages: a message that is signed and encrypted must name its
	// recipients.
	if len(c.To) == 0 && len(o.signBy) > 0 {
		for _, group := range byDID(o.to) {
			c.To = append(c.To, did.Base(group[0]))
		}
	}
	if o.plain && c.Typ == "" {
		c.Typ = message.MediaType
	}
	return &c
}

func (p *Packer) sign(ctx context.Context, e *Envelope, o *packOptions) error {
	signers := make([]jws.Signer, 0, len(o.signBy))
	for _, id := range o.signBy {
		s, err := p.signer(ctx, id)
		if err != nil {
			return err
		}
		signers = append(signers, s)
		e.SignBy = append(e.SignBy, s.KID)
	}
	data, err := jws.Sign(e.Data, signers, o.protectKID)
	if err != nil {
		return outside{err} // of a signer, unless a rule says otherwise
	}
	e.MediaType, e.Data = MediaTypeSigned, data
	return nil
}

// target is a set of keys of one DID and one type to encrypt for, with our key of that
// type for authcrypt.
type target struct {
	did    string
	doc    *did.Document
	curve  ecdh.Curve
	keys   []jwe.Recipient
	sender senderKey
}

// byDID groups recipients by DID. The groups are in the order in which ids first names
// their DIDs.
func byDID(ids []string) [][]string {
	var groups [][]string
next:
	for _, id := range ids {
		for i, g := range groups {
			if did.Base(g[0]) == did.Base(id) {
				groups[i] = append(g, id)
				continue next
			}
		}
		groups = append(groups, []string{id})
	}
	return groups
}

// targets returns the keys to encrypt for, a target for each key type, or the first target
// only unless all is set. ids are recipients of a single DID. If senders are given, each
// target has a key type that one of senders has, too.
func (p *Packer) targets(ctx context.Context, ids []string, senders []senderKey, all bool) ([]target, error) {
	doc, err := p.resolve(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	var found []target
	for _, id := range ids {
		id = keyOrDID(id)
		for _, m := range pick(doc, doc.KeyAgreementKeys(), id) {
			key, err := m.ECDH()
			if err != nil {
				continue // not a key type of DIDComm encryption
			}
			i := slices.IndexFunc(found, func(t target) bool { return t.curve == key.Curve() })
			if i < 0 {
				i = len(found)
				found = append(found, target{did: did.Base(ids[0]), doc: doc, curve: key.Curve()})
			}
			r := jwe.Recipient{KID: named(id, m), Key: key}
			if !slices.ContainsFunc(found[i].keys, func(have jwe.Recipient) bool { return have.KID == r.KID }) {
				found[i].keys = append(found[i].keys, r)
			}
		}
	}
	usable := found[:0]
	for _, t := range found {
		if senders != nil {
			i := slices.IndexFunc(senders, func(s senderKey) bool { return s.key.Curve() == t.curve })
			if i < 0 {
				continue
			}
			t.sender = senders[i]
		}
		if len(t.keys) > p.cfg.MaxRecipients {
			return nil, fmt.Errorf("%w: %s lists %d keys", ErrTooManyRecipients, t.did, len(t.keys))
		}
		usable = append(usable, t)
	}
	switch {
	case len(usable) == 0:
		return nil, noCommonKey(did.Base(ids[0]), found, senders)
	case !all:
		usable = usable[:1]
	}
	return usable, nil
}

// noCommonKey returns the error for a recipient of whom no key can be used. found are the keys
// that the recipient has.
func noCommonKey(id string, found []target, senders []senderKey) error {
	if len(found) == 0 {
		return fmt.Errorf("%w: encrypt for %s: no key to encrypt for", ErrNoCommonKey, id)
	}
	var theirs, ours []string
	for _, t := range found {
		theirs = append(theirs, fmt.Sprint(t.curve))
	}
	for _, s := range senders {
		ours = append(ours, fmt.Sprint(s.key.Curve()))
	}
	return fmt.Errorf("%w: encrypt for %s: it has %s, and the sender has %s",
		ErrNoCommonKey, id, strings.Join(theirs, ", "), strings.Join(ours, ", "))
}

// seal encrypts e for t.
func (p *Packer) seal(e Envelope, t target, o *packOptions) (Envelope, error) {
	var err error
	if t.sender.key != nil {
		params := jwe.Params{Enc: jwe.A256CBCHS512, SKID: t.sender.kid, Sender: t.sender.key, Secrets: p.secrets, Recipients: t.keys}
		if e.Data, err = jwe.Encrypt(e.Data, params); err != nil {
			return Envelope{}, outside{fmt.Errorf("authcrypt for %s: %w", t.did, err)}
		}
	}
	if t.sender.key == nil || o.protectSender {
		params := jwe.Params{Enc: jwe.Enc(o.enc), Recipients: t.keys}
		if e.Data, err = jwe.Encrypt(e.Data, params); err != nil {
			return Envelope{}, fmt.Errorf("anoncrypt for %s: %w", t.did, err)
		}
	}
	e.MediaType, e.To, e.From = MediaTypeEncrypted, t.did, t.sender.kid
	e.KIDs = make([]string, len(t.keys))
	for i, r := range t.keys {
		e.KIDs[i] = r.KID
	}
	return e, nil
}

// namesParty reports whether one of ids belongs to the same party as id.
func namesParty(ids []string, id string) bool {
	return slices.ContainsFunc(ids, func(other string) bool { return sameParty(other, id) })
}

// sameParty reports whether two DIDs or DID URLs belong to the same party: they have the
// same DID, or the long and the short form of the same did:peer:4.
func sameParty(a, b string) bool {
	a, b = did.Base(a), did.Base(b)
	return a == b || didpeer.SameParty(a, b)
}
