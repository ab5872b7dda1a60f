package identity

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Errors that users act on; match them with errors.Is.
var (
	// ErrHandle: a private key that is missing, does not do what it is for, or is not the
	// one that the document lists.
	ErrHandle = errors.New("identity: no usable private key")
	// ErrEndpoint: an endpoint that is neither a URL nor a DID.
	ErrEndpoint = errors.New("identity: invalid endpoint")
)

// Use is what an identity has a private key for.
type Use string

// The uses of a private key, each of them for a verification relationship.
const (
	ToSign  Use = "sign"  // authentication
	ToAgree Use = "agree" // keyAgreement
)

// Handle says where the private key of a verification method is.
type Handle struct {
	KID  string // DID URL of the verification method, as the document lists it
	Use  Use
	Name string // under which an envelope.Keys has the private key
}

// Identity is a DID of ours: its document, and handles of its private keys. It does not
// change. All methods may be called at the same time from many goroutines.
type Identity struct {
	doc     *did.Document
	handles []held
	keys    envelope.Keys // asked by Handle.Name; nil if each held has its private key
}

// held is a Handle with the private key itself.
type held struct {
	Handle
	sign  crypto.Signer
	agree ecdh.KeyExchanger
}

var (
	_ envelope.Keys  = (*Identity)(nil)
	_ envelope.Owner = (*Identity)(nil)
	_ did.Resolver   = (*Identity)(nil)
	_ fmt.Formatter  = (*Identity)(nil)
	_ slog.LogValuer = (*Identity)(nil)
)

// FromDocument is the identity of a document that was made before, or that is written by
// hand and completed by did.Document.Index. The document may list keys besides those of
// the Pair. A did:peer:4 is given in its long form. doc must not be changed afterwards.
//
// Errors: ErrHandle if doc does not list a key of the Pair for its use, or the Pair has
// none; did.ErrInvalid for a short form.
func FromDocument(doc *did.Document, p Pair) (*Identity, error) {
	if _, err := did.Parse(doc.ID); err != nil {
		return nil, err
	}
	if isPeer4(doc.ID) {
		if _, long := didpeer.Short(doc.ID); !long {
			return nil, fmt.Errorf("%w: %.80s is not the long form of a did:peer:4", did.ErrInvalid, doc.ID)
		}
	}
	if p.Sign == nil && p.Agree == nil {
		return nil, fmt.Errorf("%w: the Pair is empty", ErrHandle)
	}
	id := &Identity{doc: doc, keys: p.keys}
	if p.Sign != nil {
		if err := id.addSigner(p); err != nil {
			return nil, err
		}
	}
	if p.Agree != nil {
		if err := id.addExchanger(p); err != nil {
			return nil, err
		}
	}
	return id, nil
}

func (id *Identity) addSigner(p Pair) error {
	public, err := p.signing()
	if err != nil {
		return err
	}
	before := len(id.handles)
	for _, m := range id.doc.AuthenticationKeys() {
		if listed, err := m.PublicKey(); err == nil && id.owns(m) && equal(listed, public) {
			id.add(held{Handle: Handle{m.ID, ToSign, name(p.SignName, m)}, sign: p.Sign})
		}
	}
	if len(id.handles) == before {
		return fmt.Errorf("%w: %.200s does not list Pair.Sign for authentication", ErrHandle, id.doc.ID)
	}
	return nil
}

func (id *Identity) addExchanger(p Pair) error {
	public, err := p.agreement()
	if err != nil {
		return err
	}
	before := len(id.handles)
	for _, m := range id.doc.KeyAgreementKeys() {
		if listed, err := m.ECDH(); err == nil && id.owns(m) && listed.Equal(public) {
			id.add(held{Handle: Handle{m.ID, ToAgree, name(p.AgreeName, m)}, agree: p.Agree})
		}
	}
	if len(id.handles) == before {
		return fmt.Errorf("%w: %.200s does not list Pair.Agree for key agreement", ErrHandle, id.doc.ID)
	}
	return nil
}

// owns tells whether a method is the DID's own: a document may list another DID's, too.
func (id *Identity) owns(m *did.VerificationMethod) bool { return did.Base(m.ID) == id.doc.ID }

func name(given string, m *did.VerificationMethod) string {
	if given != "" {
		return given
	}
	return m.ID
}

// add takes a handle in, once: a document may list a method twice.
func (id *Identity) add(h held) {
	if id.find(h.KID, h.Use) == nil {
		id.handles = append(id.handles, h)
	}
}

func (id *Identity) find(kid string, use Use) *held {
	for i := range id.handles {
		if h := &id.handles[i]; h.KID == kid && h.Use == use {
			return h
		}
	}
	return nil
}

func equal(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// DID is the identifier: of a did:peer:4 the long form.
func (id *Identity) DID() string { return id.doc.ID }

// Document is the DID document. It is shared: treat it as read-only.
func (id *Identity) Document() *did.Document { return id.doc }

// KIDs are the key ids, as the document lists them, of the private keys that are held:
// those that sign first, each once.
func (id *Identity) KIDs() []string {
	var kids []string
	for _, h := range id.handles {
		if !slices.Contains(kids, h.KID) {
			kids = append(kids, h.KID)
		}
	}
	return kids
}

// Handles tell for each key id and use under which name an envelope.Keys has the private
// key.
func (id *Identity) Handles() []Handle {
	handles := make([]Handle, len(id.handles))
	for i, h := range id.handles {
		handles[i] = h.Handle
	}
	return handles
}

// Keyring has the private keys under their key ids, to seal them (keyring.Sealed.AddAll)
// or to write them to a file (keyring.Keyring.MarshalSecrets). The error matches
// ErrHandle if a handle is not a software key: a *keyring.Key or a private key of the
// standard library.
func (id *Identity) Keyring() (*keyring.Keyring, error) {
	ring := keyring.New()
	for _, h := range id.handles {
		var private crypto.PrivateKey = h.sign
		if h.Use == ToAgree {
			private = h.agree
		}
		if err := ring.Add(h.KID, private); err != nil {
			return nil, fmt.Errorf("%w: key %.200s is not in software", ErrHandle, h.KID)
		}
	}
	return ring, nil
}

// KeyAgreement returns the private key under kid for ECDH. The error matches
// envelope.ErrNoKey, also for a key that only signs; or it is that of the envelope.Keys
// which Find was given.
func (id *Identity) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	h := id.find(kid, ToAgree)
	switch {
	case h == nil:
		return nil, noKey(kid)
	case id.keys != nil:
		return id.keys.KeyAgreement(ctx, h.Name)
	}
	return h.agree, nil
}

// Signer returns the private key under kid for signatures. The error matches
// envelope.ErrNoKey, also for a key that only agrees on keys; or it is that of the
// envelope.Keys which Find was given.
func (id *Identity) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	h := id.find(kid, ToSign)
	switch {
	case h == nil:
		return nil, noKey(kid)
	case id.keys != nil:
		return id.keys.Signer(ctx, h.Name)
	}
	return h.sign, nil
}

func noKey(kid string) error { return fmt.Errorf("%w: %.200s", envelope.ErrNoKey, kid) }

// Own returns the DID if other names it in any of its forms: the long and the short form
// of a did:peer:4. Otherwise the error matches envelope.ErrNoKey.
func (id *Identity) Own(_ context.Context, other string) (string, error) {
	if !didpeer.SameParty(id.doc.ID, other) {
		return "", noKey(other)
	}
	return id.doc.ID, nil
}

// DIDs returns the DID, or nothing if n is less than 1. The error is always nil.
func (id *Identity) DIDs(_ context.Context, n int) ([]string, error) {
	if n < 1 {
		return nil, nil
	}
	return []string{id.doc.ID}, nil
}

// Format prints the DID, whatever the verb.
func (id *Identity) Format(s fmt.State, _ rune) { io.WriteString(s, id.doc.ID) }

// LogValue shows the DID.
func (id *Identity) LogValue() slog.Value { return slog.StringValue(id.doc.ID) }
