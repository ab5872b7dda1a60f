package envelope

import (
	"context"
	"crypto/ecdh"
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
//   - The time does not depend on how many DIDs are ours, if Keys answers in constant time.
func (p *Packer) Unpack(ctx context.Context, data []byte) (_ *Unpacked, err error) {
	defer classify(&err)
	return p.unpack(ctx, data, nil)
}

// unpack is Unpack for an envelope in a forward, or for one without: then forward is nil.
func (p *Packer) unpack(ctx context.Context, data []byte, forward *opening) (*Unpacked, error) {
	if len(data) > p.cfg.MaxBytes {
		return nil, ErrTooLarge
	}
	o := opening{p: p, search: search{p: p}}
	if forward != nil {
		o.around = forward.ours
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
	u.OpenedAs, u.SenderAs = o.openedAs, o.senderAs
	return u, nil
}

// opening is one envelope on its way to a message.
type opening struct {
	p    *Packer
	msg  *message.Message
	meta Metadata

	search search
	// ours are the key ids of our keys that opened a layer, as our DID documents list them.
	// around are those that opened the forward around the envelope.
	ours, around []string
	// openedAs and senderAs are the key ids of the recipient and the sender of the
	// innermost encryption, as the peer wrote them.
	openedAs, senderAs string

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
	if err != nil {
		return nil, err
	}
	var sender *ecdh.PublicKey
	if isAuth {
		m, err := o.p.senderMethod(ctx, env.SKID)
		if err != nil {
			return nil, err
		}
		if sender, err = m.ECDH(); err != nil {
			return nil, fmt.Errorf("%w: key %.200s: %w", ErrSenderMismatch, m.ID, err)
		}
		o.auth = true
		o.meta.Authenticated = true
		o.meta.EncryptedFromKID, o.senderAs = m.ID, env.SKID
		o.meta.EncAlgAuth = Enc(env.Enc)
	} else {
		o.anon = true
		o.meta.AnonymousSender = true
		o.meta.EncAlgAnon = Enc(env.Enc)
	}
	o.meta.Encrypted = true
	o.meta.EncryptedToKIDs = env.KIDs
	noted := len(env.Deviations)
	for _, h := range held {
		var plaintext []byte
		if plaintext, err = env.Decrypt(h.index, h.key, sender, o.p.secrets); err != nil {
			continue
		}
		o.ours, o.openedAs = append(o.ours, h.kid), env.KIDs[h.index]
		if h.kid != env.KIDs[h.index] {
			env.Deviations.Note(DeviationKID, fmt.Sprintf("%.200s stands for %.200s", env.KIDs[h.index], h.kid))
		}
		return plaintext, o.tolerate(env.Deviations[noted:]...)
	}
	return nil, outside{err} // our key failed, unless err matches a rule
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

// senderMethod resolves the DID of the sender and returns the key that skid names. The DID
// document must list that key for key agreement.
func (p *Packer) senderMethod(ctx context.Context, skid string) (*did.VerificationMethod, error) {
	if u, err := did.ParseURL(skid); err != nil || u.Fragment == "" {
		return nil, fmt.Errorf("%w: skid %.200q is not the DID URL of a key", ErrMalformed, skid)
	}
	doc, err := p.resolvePeer(ctx, skid)
	if err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	for _, m := range pick(doc, doc.KeyAgreementKeys(), skid) {
		return m, nil
	}
	return nil, fmt.Errorf("%w: %.200s is not a key agreement key of its DID", ErrSenderMismatch, skid)
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
	doc, err := o.p.resolvePeer(ctx, longer(env.Signatures[0].KID, o.msg.From))
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
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
	if o.auth && (m.From == "" || !sameParty(m.From, o.meta.EncryptedFromKID)) {
		return fmt.Errorf("%w: from is %.200q, encrypted by %.200s", ErrSenderMismatch, m.From, o.meta.EncryptedFromKID)
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
	return o.checkFromPrior(ctx)
}

// checkTo checks that the to header, if there is one, names the DID whose key opened each
// layer, or another DID of ours. The two differ after a rotation of ours.
func (o *opening) checkTo(ctx context.Context) error {
	switch {
	case message.Is(o.msg, forwardType):
		return nil
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
	for _, kid := range o.ours {
		if slices.ContainsFunc(o.msg.To, func(to string) bool { return sameParty(to, kid) }) {
			continue
		}
		if o.p.owner != nil {
			another, err := o.search.anyOwn(ctx, kid, o.msg.To)
			if err != nil {
				return err
			}
			if another {
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
