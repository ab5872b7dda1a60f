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
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Default values of the fields of Config that have the same names.
const (
	DefaultMaxBytes      = 5 << 20
	DefaultMaxRecipients = 100
	DefaultMaxSignatures = 5
	DefaultMaxDepth      = 64
	DefaultMaxHops       = 8
	DefaultStaticSecrets = 1024
)

// Config is the configuration of a Packer. Keys and Resolver are required. A limit of
// zero stands for its default.
type Config struct {
	// Keys gives access to our private keys. If Keys is also an Owner or a KeyFinder, Unpack
	// opens more envelopes; see there.
	Keys Keys
	// Resolver resolves the DIDs of senders, signers, recipients and mediators, and our
	// own. The Packer asks the Resolver for each message: a did.Cache answers at once. It also
	// limits what strangers make it fetch, see did.ForStranger.
	Resolver did.Resolver
	// Strict makes Unpack refuse each envelope and message that deviates from the
	// specification, with a *DeviationError. By default Unpack tolerates harmless
	// deviations.
	Strict bool
	// Now is the clock that checks the times of from_prior. The default is time.Now.
	Now func() time.Time

	// StaticSecrets is the number of shared secrets of authcrypt that are kept in memory.
	// There is one for each pair of a sender's and a recipient's key. A secret in memory
	// saves a third of the time of packing and half of the time of opening. The default is
	// DefaultStaticSecrets; a negative number keeps none.
	StaticSecrets int

	// MaxBytes is the largest size of an envelope, in bytes.
	MaxBytes int
	// MaxRecipients is the largest number of recipient keys in a JWE. It also bounds the
	// DIDs about which one message makes Unpack ask Owner.
	MaxRecipients int
	// MaxSignatures is the largest number of signatures in a JWS.
	MaxSignatures int
	// MaxDepth is the deepest nesting of arrays and objects in JSON.
	MaxDepth int
	// MaxHops is the largest number of routing keys in a route.
	MaxHops int
}

// Packer packs and unpacks messages. It is safe for concurrent use. Use New.
type Packer struct {
	cfg     Config
	owner   Owner     // Config.Keys, nil if Keys is no Owner
	finder  KeyFinder // Config.Keys, nil if Keys is no KeyFinder
	jwe     jwe.Limits
	jws     jws.Limits
	message message.Limits
	secrets *jwe.Secrets
}

// New returns a Packer. The only error is that Keys or Resolver is missing.
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
	p.finder, _ = cfg.Keys.(KeyFinder)
	p.jwe = jwe.Limits{MaxBytes: cfg.MaxBytes, MaxRecipients: cfg.MaxRecipients, MaxDepth: cfg.MaxDepth}
	p.jws = jws.Limits{MaxBytes: cfg.MaxBytes, MaxSignatures: cfg.MaxSignatures, MaxDepth: cfg.MaxDepth}
	p.secrets = jwe.NewSecrets(cfg.StaticSecrets)
	p.message = message.Limits{Bytes: cfg.MaxBytes, Depth: cfg.MaxDepth}
	return p, nil
}

// resolve resolves the DID of id, a DID or DID URL. The Resolver sees only valid DIDs.
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

// withPeer calls use with the document of a sender, a signer or the issuer of a from_prior,
// which role says. If use refuses a document that may be old, withPeer calls use again with the
// refreshed one. If the document cannot be resolved or refreshed, the error has a ResolveError.
func (p *Packer) withPeer(ctx context.Context, role, id string, use func(*did.Document) error) error {
	failed := func(err error) error {
		return fmt.Errorf("%s: %w", role, &ResolveError{DID: did.Base(id), Err: err})
	}
	doc, err := p.resolve(ctx, id)
	if err != nil {
		return failed(err)
	}
	r, keeps := p.cfg.Resolver.(did.Refresher)
	// Twice, since the first call of Refresh may have the result of a fetch that another
	// message began before the peer changed its document.
	for range 2 {
		err := use(doc)
		if err == nil || !keeps || classOf(err) != ErrRefused {
			return err
		}
		newer, failure := p.refresh(ctx, r, id)
		if failure != nil {
			return failed(failure)
		}
		if newer == doc {
			return err
		}
		doc = newer
	}
	return use(doc)
}

// Refresh resolves the DID of id, a DID or DID URL, again and replaces the document in the
// cache, so that Routes and Pack see the changes of the document. With a
// Resolver that is no did.Refresher, Refresh does nothing, since such a Resolver is taken to
// have no cache.
//
// The error matches a class of this package. It is the error of the Resolver.
func (p *Packer) Refresh(ctx context.Context, id string) (err error) {
	defer classify(&err)
	if r, ok := p.cfg.Resolver.(did.Refresher); ok {
		_, err = p.refresh(ctx, r, id)
	}
	return err
}

// refresh is resolve, but calls Refresh.
func (p *Packer) refresh(ctx context.Context, r did.Refresher, id string) (*did.Document, error) {
	base := did.Base(id)
	if _, err := did.Parse(base); err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}
	doc, err := r.Refresh(ctx, base)
	if err != nil {
		return nil, outside{fmt.Errorf("refresh %.200s: %w", base, err)}
	}
	return doc, nil
}

// keyOrDID returns the DID URL of the key or the DID that id means, where id is given to
// Pack or stands in a header of a message. With a fragment id is the DID URL of a key. Any
// other id means its DID, since to and from may have a path or a query (Message Headers).
// The kid of an envelope is different: it always names a key.
func keyOrDID(id string) string {
	if strings.Contains(id, "#") {
		return id
	}
	return did.Base(id)
}

// longer returns the longer DID of two DIDs or DID URLs of the same party. If these are the
// two forms of a did:peer:4, the longer one is the form that always resolves.
func longer(a, b string) string {
	a, b = did.Base(a), did.Base(b)
	if len(b) > len(a) {
		return b
	}
	return a
}

// Long returns id, a DID or DID URL, with the long form of its DID, if id has the short form of
// a did:peer:4 and the long form is known: the DID is ours (see Owner), or its document names
// the long form. Otherwise Long returns id as it is.
//
// A peer that was never shown the short form need not know it, so messages name the long form.
func (p *Packer) Long(ctx context.Context, id string) string {
	short := did.Base(id)
	if !strings.HasPrefix(short, "did:peer:4") || strings.Count(short, ":") != 2 {
		return id
	}
	var forms []string
	if p.owner != nil {
		if own, err := p.own(ctx, short); err == nil {
			forms = append(forms, own)
		}
	}
	if len(forms) == 0 {
		if doc, err := p.resolve(ctx, short); err == nil {
			forms = doc.AlsoKnownAs
		}
	}
	for _, long := range forms {
		if s, ok := didpeer.Short(long); ok && s == short {
			return long + id[len(short):]
		}
	}
	return id
}

// pick returns the keys that id means. keys are the verification methods of a relationship of
// doc. If id is a DID, pick returns all of them. If id is a DID URL with a fragment, pick
// returns the key of that name, if there is one.
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

// named returns the name that an envelope gives to the key m, which pick has found for id.
// If id is a DID, the name is the id of m. Otherwise the name is id itself, which may be an
// alias that the peer knows the key by.
func named(id string, m *did.VerificationMethod) string {
	if id == did.Base(id) {
		return m.ID
	}
	return id
}

// senderKey is a key agreement key of ours.
type senderKey struct {
	kid string
	key ecdh.KeyExchanger
}

// senderKeys returns the key agreement keys of id that we hold, in the order of the DID
// document.
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

// Holds checks that we can act for the DID of id, a DID or DID URL. We can in two cases:
//
//   - Keys is an Owner and says that the DID is ours.
//   - Keys holds a key agreement or authentication key of the DID's document. Holds
//     resolves the document only in this case.
//
// An error that matches ErrNoKey means that we cannot act for the DID. Any other error
// means that the answer is not known.
func (p *Packer) Holds(ctx context.Context, id string) (err error) {
	defer classify(&err)
	id = did.Base(id)
	if _, err := p.own(ctx, id); !errors.Is(err, ErrNoKey) {
		return err
	}
	_, err = p.senderKeys(ctx, id)
	if errors.Is(err, ErrNoKey) {
		_, err = p.signer(ctx, id)
	}
	return err
}

// own is Owner.Own for the DID of id, a DID or DID URL. Without an Owner the error is ErrNoKey.
func (p *Packer) own(ctx context.Context, id string) (string, error) {
	id = did.Base(id)
	if p.owner == nil {
		return "", ErrNoKey
	}
	if _, err := did.Parse(id); err != nil {
		return "", ErrNoKey // the key store sees only valid DIDs
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
