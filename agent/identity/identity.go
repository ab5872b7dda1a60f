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
	// ErrHandle: a private key is missing, is of the wrong type, or is not the key that the
	// document lists.
	ErrHandle = errors.New("identity: no usable private key")
	// ErrEndpoint: an endpoint is neither a URL nor a DID.
	ErrEndpoint = errors.New("identity: invalid endpoint")
)

// Use is the purpose of a private key.
type Use string

// Purposes of a private key. Each one is a verification relationship of the document.
const (
	ToSign  Use = "sign"  // authentication
	ToAgree Use = "agree" // keyAgreement
)

// Handle says under which name the private key of a verification method is found.
type Handle struct {
	KID  string // key id: the DID URL of the verification method
	Use  Use
	Name string // name of the private key in an envelope.Keys (see Pair.SignName)
}

// Identity is a DID of ours with its document and its private keys. It implements
// envelope.Keys, envelope.Owner and envelope.KeyFinder. An Identity does not change. All methods
// may be called at the same time from many goroutines. An Identity prints as its DID.
type Identity struct {
	doc     *did.Document
	handles []held
	keys    envelope.Keys // has the keys under Handle.Name; nil if each held has its key
}

// held is a Handle with the key.
type held struct {
	Handle
	sign  crypto.Signer
	agree ecdh.KeyExchanger
}

var (
	_ envelope.Keys      = (*Identity)(nil)
	_ envelope.Owner     = (*Identity)(nil)
	_ envelope.KeyFinder = (*Identity)(nil)
	_ did.Resolver       = (*Identity)(nil)
	_ fmt.Formatter      = (*Identity)(nil)
	_ slog.LogValuer     = (*Identity)(nil)
)

// FromDocument makes the Identity of a document and of the private keys of a Pair. Use it for a
// document that was made before, or that was written by hand. Call did.Document.Index for a
// document that was written by hand. The document may list more keys than those of the Pair, and
// the Pair may have only one key. The document of a did:peer:4 must be that of the long form. Do
// not change doc afterwards.
//
// Errors: ErrHandle if the Pair has no key, or if the document does not list a key of the Pair
// for its purpose; did.ErrInvalid if the id of the document is no DID, or a short form.
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

// owns reports whether a method has a key id of the DID. A document may also list methods of
// other DIDs.
func (id *Identity) owns(m *did.VerificationMethod) bool { return did.Base(m.ID) == id.doc.ID }

func name(given string, m *did.VerificationMethod) string {
	if given != "" {
		return given
	}
	return m.ID
}

// add appends a key. A document may list a method twice; the key is appended once.
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

// DID returns the DID. For a did:peer:4 it returns the long form.
func (id *Identity) DID() string { return id.doc.ID }

// Document returns the DID document. It is shared: treat it as read-only.
func (id *Identity) Document() *did.Document { return id.doc }

// KIDs returns the key ids of the private keys, each once. Those for signatures come first.
func (id *Identity) KIDs() []string {
	var kids []string
	for _, h := range id.handles {
		if !slices.Contains(kids, h.KID) {
			kids = append(kids, h.KID)
		}
	}
	return kids
}

// Handles returns a Handle for each key id and purpose. Those for signatures come first.
func (id *Identity) Handles() []Handle {
	handles := make([]Handle, len(id.handles))
	for i, h := range id.handles {
		handles[i] = h.Handle
	}
	return handles
}

// Keyring returns the private keys under their key ids. Use it to seal the keys
// (keyring.Sealed.AddAll), or to write them to a file (keyring.Keyring.MarshalSecrets). The
// error matches ErrHandle if a key is not in software. Keys in software are a *keyring.Key and
// the private keys of the standard library.
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

// KeyAgreement returns the key for encryption with the key id kid. The error matches
// envelope.ErrNoKey if there is no such key. If the Pair comes from Find, the error may
// also be that of the envelope.Keys.
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

// Signer returns the key for signatures with the key id kid. Errors are those of
// KeyAgreement.
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

// Own returns the DID if other is the DID. For a did:peer:4, other may also be the short form.
// Otherwise the error matches envelope.ErrNoKey.
func (id *Identity) Own(_ context.Context, other string) (string, error) {
	if !didpeer.SameParty(id.doc.ID, other) {
		return "", noKey(other)
	}
	return id.doc.ID, nil
}

// FindKey returns the key id of the key with a public key, as envelope.KeyFinder describes it. The
// error matches envelope.ErrNoKey if there is no such key.
func (id *Identity) FindKey(_ context.Context, multikey string) (string, error) {
	for _, h := range slices.Backward(id.handles) { // keys for encryption first
		if public, err := id.public(h.KID); err == nil && isMultikey(multikey, public) {
			return h.KID, nil
		}
	}
	return "", noKey(multikey)
}

// DIDs returns the DID. If n is less than 1, it returns nothing. The error is always nil.
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
