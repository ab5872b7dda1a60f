package envelope

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/trace"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Unpack opens an envelope or reads a plaintext message, and checks that all layers agree
// about the sender and the recipient (DIDComm v2.1, Message Layer Addressing Consistency).
// Unpack neither changes data nor keeps a reference to data.
//
// The error matches a class of this package. It also matches the rule that was broken, or is
// that of Keys or the Resolver. A *ResolveError in it names a DID of the peer that did not
// resolve.
//
// A stranger cannot make Unpack do expensive work at will:
//
//   - Sizes, counts, algorithms and nesting are checked before any key operation.
//   - The DID of a sender is resolved only if the envelope names a key of ours.
//   - The DID of a signer is resolved only if it is the DID of the from header.
//   - The DIDs of peers are resolved with a context of did.ForStranger.
//   - The time does not depend on how many DIDs are ours, if Keys answers in constant time.
//
// A peer may have changed its keys since its document was fetched. If a message does not open
// with the keys of a document, and the Resolver is a did.Refresher, Unpack refreshes the document
// and tries again. If it cannot be refreshed now, the error matches ErrTryLater.
func (p *Packer) Unpack(ctx context.Context, data []byte) (_ *Unpacked, err error) {
	defer classify(&err)
	return p.unpack(did.ForStranger(ctx), data, nil)
}

// unpack is Unpack for an envelope in a forward, or for one without: then forward is nil.
func (p *Packer) unpack(ctx context.Context, data []byte, forward *opening) (*Unpacked, error) {
	if len(data) > p.cfg.MaxBytes {
		return nil, ErrTooLarge
	}
	o := opening{p: p, search: &search{p: p}}
	if forward != nil {
		o.around, o.search = forward.ours, forward.search
	}
	if err := o.open(ctx, data); err != nil {
		return nil, err
	}
	if forward == nil {
		inner, err := o.unwrapForward(ctx)
		if err != nil {
			return nil, err
		}
		if inner != nil {
			inner.Metadata.Deviations = append(o.meta.Deviations, inner.Metadata.Deviations...)
			return inner, nil
		}
	}
	u := &Unpacked{Message: o.msg, Metadata: o.meta}
	if n := len(o.ours); n > 0 {
		u.OpenedWith = o.ours[n-1]
	}
	u.OpenedAs, u.SenderAs, u.Named = o.openedAs, o.senderAs, o.named
	return u, nil
}

// opening is one envelope on its way to a message.
type opening struct {
	p    *Packer
	msg  *message.Message
	meta Metadata

	search *search
	// ours are the key ids of our keys that opened a layer, as our DID documents list them.
	// around are those that opened the forward around the envelope.
	ours, around []string
	// byKey has the did:key by which a layer names our key, by the index of the key in ours.
	// There is none if the layer names the DID of the key.
	byKey map[int]string
	// openedAs and senderAs are the key ids of the recipient and the sender of the
	// innermost encryption, as the peer wrote them.
	openedAs, senderAs string
	named              string // see Unpacked.Named

	anon, auth bool
}

func (o *opening) open(ctx context.Context, data []byte) error {
	for {
		trace.Layer(ctx, data)
		k, err := jose.Detect(data)
		if err != nil {
			return err
		}
		switch k {
		case jose.KindJWE:
			if data, err = o.decrypt(ctx, data); err != nil {
				return err
			}
		case jose.KindJWS:
			if err := o.verify(ctx, data); err != nil {
				return err
			}
			return o.finish(ctx)
		default:
			read := o.p.message.Parse
			if o.meta.Encrypted { // data is ours, not the caller's
				read = o.p.message.ParseInPlace
			}
			if err := o.parse(data, read); err != nil {
				return err
			}
			return o.finish(ctx)
		}
	}
}

// tolerate records deviations. In strict mode it returns them as an error.
func (o *opening) tolerate(d ...message.Deviation) error {
	for _, dev := range d {
		if !slices.Contains(o.meta.Deviations, dev) {
			o.meta.Deviations = append(o.meta.Deviations, dev)
		}
	}
	if len(d) > 0 && o.p.cfg.Strict {
		return &DeviationError{Deviations: d}
	}
	return nil
}

func (o *opening) decrypt(ctx context.Context, data []byte) ([]byte, error) {
	env, err := jwe.Parse(data, o.p.jwe)
	if err != nil {
		return nil, err
	}
	isAuth := env.Alg == jwe.Alg1PU
	switch {
	case o.auth:
		return nil, fmt.Errorf("%w: encryption inside authcrypt", ErrNesting)
	case o.anon && !isAuth:
		return nil, fmt.Errorf("%w: anoncrypt inside anoncrypt", ErrNesting)
	}
	if err := o.tolerate(env.Deviations...); err != nil {
		return nil, err
	}
	if err := o.noteRecipients(env.KIDs); err != nil {
		return nil, err
	}
	held, err := o.search.keys(ctx, env.KIDs, slices.Concat(o.around, o.ours))
	if errors.Is(err, ErrNoKey) && len(o.around) == 0 && len(o.ours) == 0 {
		err = &OthersError{KIDs: env.KIDs, Err: err}
	}
	if err != nil {
		return nil, err
	}
	noted := len(env.Deviations)
	var plaintext []byte
	decrypt := func(sender *ecdh.PublicKey) (err error) {
		for _, h := range held {
			if plaintext, err = env.Decrypt(h.index, h.key, sender, o.p.secrets); err != nil {
				continue
			}
			as := env.KIDs[h.index]
			switch {
			case h.byKey:
				if o.byKey == nil {
					o.byKey = make(map[int]string)
				}
				o.byKey[len(o.ours)] = as
				env.Deviations.Note(DeviationKID, fmt.Sprintf("%.200s names a key of ours without its DID", as))
			case h.kid != as:
				env.Deviations.Note(DeviationKID, fmt.Sprintf("%.200s stands for %.200s", as, h.kid))
			}
			o.ours, o.openedAs = append(o.ours, h.kid), as
			return nil
		}
		return outside{err} // our key failed, unless err matches a rule
	}
	if isAuth {
		o.auth = true
		o.meta.Authenticated = true
		o.senderAs, o.meta.EncAlgAuth = env.SKID, Enc(env.Enc)
		err = o.p.withSender(ctx, env.SKID, func(m *did.VerificationMethod, sender *ecdh.PublicKey) error {
			o.meta.EncryptedFromKID = m.ID
			return decrypt(sender)
		})
	} else {
		o.anon = true
		o.meta.AnonymousSender = true
		o.meta.EncAlgAnon = Enc(env.Enc)
		err = decrypt(nil)
	}
	if err != nil {
		return nil, err
	}
	o.meta.Encrypted = true
	o.meta.EncryptedToKIDs = env.KIDs
	return plaintext, o.tolerate(env.Deviations[noted:]...)
}

func (o *opening) noteRecipients(kids []string) error {
	for _, kid := range kids[1:] {
		if did.Base(kid) != did.Base(kids[0]) {
			return o.tolerate(message.Deviation{
				Code:   DeviationMixedDIDs,
				Detail: fmt.Sprintf("keys of %.200s and of %.200s", did.Base(kids[0]), did.Base(kid)),
			})
		}
	}
	return nil
}

// withSender resolves the DID of the sender and calls open with the key that skid names. The
// DID document must list that key for key agreement.
func (p *Packer) withSender(ctx context.Context, skid string, open func(*did.VerificationMethod, *ecdh.PublicKey) error) error {
	if u, err := did.ParseURL(skid); err != nil || u.Fragment == "" {
		return fmt.Errorf("%w: skid %.200q is not the DID URL of a key", ErrMalformed, skid)
	}
	return p.withPeer(ctx, "sender", skid, func(doc *did.Document) error {
		methods := pick(doc, doc.KeyAgreementKeys(), skid)
		if len(methods) == 0 {
			return fmt.Errorf("%w: %.200s is not a key agreement key of its DID", ErrSenderMismatch, skid)
		}
		key, err := methods[0].ECDH()
		if err != nil {
			return fmt.Errorf("%w: key %.200s: %w", ErrSenderMismatch, methods[0].ID, err)
		}
		return open(methods[0], key)
	})
}

// verify checks a signed message and parses it.
func (o *opening) verify(ctx context.Context, data []byte) error {
	env, err := jws.Parse(data, o.p.jws)
	if err != nil {
		return err
	}
	if k, err := jose.Detect(env.Payload); err != nil {
		return err
	} else if k != jose.KindMessage {
		return fmt.Errorf("%w: an envelope inside a signature", ErrNesting)
	}
	if err := o.parse(env.Payload, o.p.message.ParseInPlace); err != nil {
		return err
	}
	// A kid in an unprotected header is not signed. It must belong to the DID of from
	// before that DID is resolved.
	for _, s := range env.Signatures {
		if o.msg.From == "" || !sameParty(o.msg.From, s.KID) {
			return fmt.Errorf("%w: from is %.200q, signed by %.200s", ErrSignerMismatch, o.msg.From, s.KID)
		}
	}
	err = o.p.withPeer(ctx, "signer", longer(env.Signatures[0].KID, o.msg.From), func(doc *did.Document) error {
		o.meta.Signers = nil
		for i, s := range env.Signatures {
			methods := pick(doc, doc.AuthenticationKeys(), s.KID)
			if len(methods) != 1 || did.Base(s.KID) == s.KID {
				return fmt.Errorf("%w: %.200s is not an authentication key of its DID", ErrSignerMismatch, s.KID)
			}
			key, err := methods[0].PublicKey()
			if err != nil {
				return fmt.Errorf("key %.200s: %w", s.KID, err)
			}
			if err := env.Verify(i, key); err != nil {
				return fmt.Errorf("key %.200s: %w", s.KID, err)
			}
			o.meta.Signers = append(o.meta.Signers, methods[0].ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.meta.Authenticated, o.meta.NonRepudiation = true, true
	o.meta.SignFrom, o.meta.SignAlg = o.meta.Signers[0], env.Signatures[0].Alg
	return o.tolerate(env.Deviations...)
}

func (o *opening) parse(data []byte, read func([]byte) (*message.Message, []message.Deviation, error)) error {
	m, deviations, err := read(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	o.msg = m
	return o.tolerate(deviations...)
}

// finish checks the rules of Message Layer Addressing Consistency and from_prior.
func (o *opening) finish(ctx context.Context) error {
	m := o.msg
	if o.auth && o.fromAnother() && (m.From == "" || m.FromPrior == "" || o.meta.NonRepudiation) {
		return o.senderMismatch()
	}
	if err := o.checkTo(ctx); err != nil {
		return err
	}
	if err := o.tolerate(headerDeviations(m)...); err != nil {
		return err
	}
	if m.FromPrior == "" {
		return nil
	}
	if !o.meta.Encrypted {
		return fmt.Errorf("%w: the message is not encrypted", ErrFromPrior)
	}
	err := o.checkFromPrior(ctx)
	if errors.Is(err, ErrFromPrior) && o.auth && o.fromAnother() { // the from_prior does not excuse the mismatch
		return fmt.Errorf("%w: %w", o.senderMismatch(), err)
	}
	return err
}

// fromAnother reports whether the from header names another party than the one whose key has
// authcrypted the message.
func (o *opening) fromAnother() bool { return !sameParty(o.msg.From, o.meta.EncryptedFromKID) }

func (o *opening) senderMismatch() error {
	return fmt.Errorf("%w: from is %.200q, encrypted by %.200s", ErrSenderMismatch, o.msg.From, o.meta.EncryptedFromKID)
}

// checkTo checks that the to header, if there is one, names the DID whose key opened each
// layer, or another DID of ours. The two differ after a rotation of ours. A layer for a did:key
// demands more: see KeyFinder.
func (o *opening) checkTo(ctx context.Context) error {
	switch {
	case message.Is(o.msg, forwardType):
		return nil
	case len(o.msg.To) == 0 && len(o.byKey) > 0:
		return fmt.Errorf("%w: encrypted for a did:key, but no to", ErrRecipientMismatch)
	case len(o.msg.To) == 0:
		// DIDComm Signed Messages: a signed message that is encrypted must name its
		// recipient. Otherwise any recipient could encrypt the signed message for us, and it
		// would look as if the signer had sent it to us.
		switch {
		case !o.meta.NonRepudiation || !o.meta.Encrypted:
			return nil
		case !o.auth:
			return fmt.Errorf("%w: signed and encrypted, but no to", ErrRecipientMismatch)
		}
		return o.tolerate(message.Deviation{Code: DeviationSignedNoTo, Detail: "signed and encrypted, but no to"})
	}
	for i, kid := range o.ours {
		if as, ok := o.byKey[i]; ok {
			named, err := o.checkToOfKey(ctx, i)
			if err != nil {
				return err
			}
			if !named {
				return fmt.Errorf("%w: to names neither %.200s nor a DID of ours with that key", ErrRecipientMismatch, as)
			}
			continue
		}
		if namesParty(o.msg.To, kid) {
			continue
		}
		if o.p.owner != nil {
			another, err := o.search.anyOwn(ctx, kid, o.msg.To)
			if err != nil {
				return err
			}
			if another != "" {
				if i == len(o.ours)-1 {
					o.named = another
				}
				err := o.tolerate(message.Deviation{
					Code:   DeviationRecipient,
					Detail: fmt.Sprintf("to names another DID of ours than %.200s", did.Base(kid)),
				})
				if err != nil {
					return err
				}
				continue
			}
		}
		return fmt.Errorf("%w: to does not name %.200s", ErrRecipientMismatch, did.Base(kid))
	}
	return nil
}
