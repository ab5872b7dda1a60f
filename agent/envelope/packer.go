package envelope

import (
	"context"
	"crypto/ecdh"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Defaults of Config.
const (
	DefaultMaxBytes      = 5 << 20
	DefaultMaxRecipients = 100
	DefaultMaxSignatures = 5
	DefaultMaxDepth      = 64
	DefaultMaxHops       = 8
	DefaultStaticSecrets = 1024
)

// Config is what a Packer works with. Keys and Resolver are required; a limit
// of zero is its default.
type Config struct {
	// Keys are our private keys.
	Keys Keys
	// Resolver resolves the DIDs of senders, signers, recipients and mediators,
	// and our own. Give it a did.Cache: it is asked for each message.
	Resolver did.Resolver
	// Strict makes Unpack refuse what it would tolerate, with *DeviationError.
	Strict bool
	// Now is the clock, time.Now if nil.
	Now func() time.Time

	// StaticSecrets is for how many pairs of keys the static-static secret of
	// authcrypt is kept in memory, which saves a third of packing and half of
	// opening; 0 is DefaultStaticSecrets, negative keeps none.
	StaticSecrets int

	MaxBytes      int // size of an envelope
	MaxRecipients int // keys in one JWE
	MaxSignatures int // signatures in one JWS
	MaxDepth      int // JSON nesting
	MaxHops       int // routing keys of one route
}

// Packer packs and unpacks. It is safe for concurrent use.
type Packer struct {
	cfg     Config
	owner   Owner // Config.Keys, if it has that power
	jwe     jwe.Limits
	jws     jws.Limits
	message message.Limits
	secrets *jwe.Secrets
}

// New returns a Packer. It fails only if Keys or Resolver is missing.
func New(cfg Config) (*Packer, error) {
	if cfg.Keys == nil || cfg.Resolver == nil {
		return nil, errors.New("envelope: Config needs Keys and Resolver")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, l := range []struct {
		limit *int
		value int
	}{
		{&cfg.MaxBytes, DefaultMaxBytes},
		{&cfg.MaxRecipients, DefaultMaxRecipients},
		{&cfg.MaxSignatures, DefaultMaxSignatures},
		{&cfg.MaxDepth, DefaultMaxDepth},
		{&cfg.MaxHops, DefaultMaxHops},
		{&cfg.StaticSecrets, DefaultStaticSecrets},
	} {
		if *l.limit == 0 {
			*l.limit = l.value
		}
	}
	p := &Packer{cfg: cfg}
	p.owner, _ = cfg.Keys.(Owner)
	p.jwe = jwe.Limits{MaxBytes: cfg.MaxBytes, MaxRecipients: cfg.MaxRecipients, MaxDepth: cfg.MaxDepth}
	p.jws = jws.Limits{MaxBytes: cfg.MaxBytes, MaxSignatures: cfg.MaxSignatures, MaxDepth: cfg.MaxDepth}
	p.secrets = jwe.NewSecrets(cfg.StaticSecrets)
	p.message = message.Limits{Bytes: cfg.MaxBytes, Depth: cfg.MaxDepth}
	return p, nil
}

// resolve resolves the DID of a DID or DID URL. A Resolver is asked for nothing
// but DIDs.
func (p *Packer) resolve(ctx context.Context, id string) (*did.Document, error) {
	base := did.Base(id)
	if _, err := did.Parse(base); err != nil {
		return nil, fmt.Errorf("resolve: %w", err)
	}
	doc, err := p.cfg.Resolver.Resolve(ctx, base)
	if err != nil {
		return nil, outside{fmt.Errorf("resolve %.200s: %w", base, err)}
	}
	return doc, nil
}

// resolvePeer is resolve for the DID of a sender, a signer or the issuer of a
// from_prior, with a ResolveError.
func (p *Packer) resolvePeer(ctx context.Context, id string) (*did.Document, error) {
	doc, err := p.resolve(ctx, id)
	if err != nil {
		return nil, &ResolveError{DID: did.Base(id), Err: err}
	}
	return doc, nil
}

// Refresh looks the DID of a DID or DID URL up anew, if the Resolver has a method
// Refresh like did.Cache, so that Routes and Pack see what has changed. A Resolver
// without that method is taken to look anew each time: there is nothing to do then,
// and no error. Errors are those of Unpack that concern DIDs.
func (p *Packer) Refresh(ctx context.Context, id string) (err error) {
	defer classify(&err)
	r, ok := p.cfg.Resolver.(refresher)
	if !ok {
		return nil
	}
	base := did.Base(id)
	if _, err := did.Parse(base); err != nil {
		return fmt.Errorf("refresh: %w", err)
	}
	if _, err := r.Refresh(ctx, base); err != nil {
		return outside{fmt.Errorf("refresh %.200s: %w", base, err)}
	}
	return nil
}

// refresher is an optional power of a did.Resolver.
type refresher interface {
	Refresh(ctx context.Context, id string) (*did.Document, error)
}

var _ refresher = (*did.Cache)(nil)

// keyOrDID is what a caller of Pack, or a header, means by id: a key for a DID URL
// with a fragment, a DID for any other, since to and from may have a path or query
// (Message Headers). The kid of an envelope never means that.
func keyOrDID(id string) string {
	if strings.Contains(id, "#") {
		return id
	}
	return did.Base(id)
}

// longer is the longer of two DIDs, or DIDs of DID URLs, that name one party: where
// they are forms of one did:peer:4, it is the one that always resolves.
func longer(a, b string) string {
	a, b = did.Base(a), did.Base(b)
	if len(b) > len(a) {
		return b
	}
	return a
}

// pick returns the methods of a relationship that id means: all of them for a
// DID, the one named for a DID URL with a fragment.
func pick(doc *did.Document, keys []*did.VerificationMethod, id string) []*did.VerificationMethod {
	if id == did.Base(id) {
		return keys
	}
	m, ok := doc.Method(id)
	if !ok {
		return nil
	}
	for i, k := range keys {
		if k.ID == m.ID {
			return keys[i : i+1]
		}
	}
	return nil
}

// named is what a method that pick has found is called in an envelope: by its id,
// or as the caller named it, which may be an alias that the peer knows it by.
func named(id string, m *did.VerificationMethod) string {
	if id == did.Base(id) {
		return m.ID
	}
	return id
}

// senderKey is one of our key agreement keys.
type senderKey struct {
	kid string
	key ecdh.KeyExchanger
}

// senderKeys returns the key agreement keys of id that we hold, in the order of
// the document.
func (p *Packer) senderKeys(ctx context.Context, id string) ([]senderKey, error) {
	id = keyOrDID(id)
	doc, err := p.resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	var held []senderKey
	for _, m := range pick(doc, doc.KeyAgreementKeys(), id) {
		key, err := p.cfg.Keys.KeyAgreement(ctx, m.ID)
		switch {
		case err == nil:
			held = append(held, senderKey{named(id, m), key})
		case !errors.Is(err, ErrNoKey):
			return nil, outside{fmt.Errorf("key %.200s: %w", m.ID, err)}
		}
	}
	if len(held) == 0 {
		return nil, fmt.Errorf("key agreement key of %.200s: %w", id, ErrNoKey)
	}
	return held, nil
}

// Holds checks that Keys can act for the DID of a DID or DID URL: Keys says that the
// DID is ours (see [Owner]), or holds one of the key agreement or authentication keys
// of the DID's document. The document is resolved only in the second case. An error
// that matches ErrNoKey means that Keys cannot act for the DID; after any other error
// that is not known.
func (p *Packer) Holds(ctx context.Context, id string) (err error) {
	defer classify(&err)
	id = did.Base(id)
	if p.owner != nil {
		if _, err := p.own(ctx, id); !errors.Is(err, ErrNoKey) {
			return err
		}
	}
	_, err = p.senderKeys(ctx, id)
	if errors.Is(err, ErrNoKey) {
		_, err = p.signer(ctx, id)
	}
	return err
}

// own is Owner.Own of the DID of a DID or DID URL.
func (p *Packer) own(ctx context.Context, id string) (string, error) {
	id = did.Base(id)
	if _, err := did.Parse(id); err != nil {
		return "", ErrNoKey // a text that a stranger wrote need not reach a store of keys
	}
	own, err := p.owner.Own(ctx, id)
	if err != nil && !errors.Is(err, ErrNoKey) {
		err = outside{fmt.Errorf("own DIDs: %w", err)}
	}
	return own, err
}

// signer returns the first authentication key of id that we hold.
func (p *Packer) signer(ctx context.Context, id string) (jws.Signer, error) {
	id = keyOrDID(id)
	doc, err := p.resolve(ctx, id)
	if err != nil {
		return jws.Signer{}, err
	}
	for _, m := range pick(doc, doc.AuthenticationKeys(), id) {
		key, err := p.cfg.Keys.Signer(ctx, m.ID)
		switch {
		case err == nil:
			return jws.Signer{KID: m.ID, Key: key}, nil
		case !errors.Is(err, ErrNoKey):
			return jws.Signer{}, outside{fmt.Errorf("key %.200s: %w", m.ID, err)}
		}
	}
	return jws.Signer{}, fmt.Errorf("authentication key of %.200s: %w", id, ErrNoKey)
}
