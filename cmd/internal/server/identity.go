package server

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Identity is who an agent is: a DID document and the private keys of it.
type Identity struct {
	Document *did.Document
	Keys     *keyring.Keyring
	// Former are documents that it went by before, of the same private keys:
	// Keys has them under those names, too.
	Former []*did.Document
}

// Keys are the private keys that DIDs are made of: one to prove who we are, one
// to encrypt for us.
type Keys struct {
	Authentication *keyring.Key
	Agreement      *keyring.Key
}

// NewKeys makes keys of a curve; with Ed25519 the agreement key is X25519. A
// curve that does not serve both purposes is keyring.ErrInvalid.
func NewKeys(curve keyring.Curve) (Keys, error) {
	agreement := curve
	switch curve {
	case keyring.Ed25519:
		agreement = keyring.X25519
	case keyring.P256, keyring.P384, keyring.P521:
	default:
		return Keys{}, fmt.Errorf("%w: %s does not both sign and agree on keys", keyring.ErrInvalid, curve)
	}
	a, err := keyring.Generate(curve)
	if err != nil {
		return Keys{}, err
	}
	e, err := keyring.Generate(agreement)
	return Keys{a, e}, err
}

// OpenKeys reads the agent's keys from its home, or makes both if there are
// none. A file that does not hold exactly what OpenKeys wrote is an error and
// stays as it is.
func OpenKeys(home string) (Keys, error) {
	path := filepath.Join(home, identityFile)
	keys, err := readKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return Keys{}, fmt.Errorf("home directory: %w", err)
	}
	if keys, err = NewKeys(keyring.Ed25519); err != nil {
		return Keys{}, err
	}
	id, err := keys.Peer()
	if err != nil {
		return Keys{}, err
	}
	// If another process was faster, its keys are the agent's.
	err = newSecrets(path, id.Keys)
	if errors.Is(err, fs.ErrExist) {
		return readKeys(path)
	}
	return keys, err
}

// renameNew is os.Rename, but fails with fs.ErrExist where that would replace a
// file.
func renameNew(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// A file system without hard links: look first, which leaves a moment.
	if _, statErr := os.Lstat(to); !errors.Is(statErr, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// HasKeys tells whether the home has an agent's keys.
func HasKeys(home string) bool {
	_, err := os.Lstat(filepath.Join(home, identityFile))
	return err == nil
}

// exposedKeys tells whether the agent's keys are open to other users, by the mode
// of their file.
func exposedKeys(home string) (path string, exposed bool) {
	path = filepath.Join(home, identityFile)
	info, err := os.Stat(path)
	return path, err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}

func readKeys(path string) (Keys, error) {
	ring, err := ReadSecrets(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, err
	}
	var keys Keys
	if err == nil {
		keys, err = pair(ring)
	}
	if errors.Is(err, keyring.ErrInvalid) || errors.Is(err, keyring.ErrDuplicate) {
		return Keys{}, fmt.Errorf("the agent's keys are damaged, and are left as they are: %w; restore %s from a copy, or move it away for a new identity", err, path)
	}
	return keys, err
}

// pair takes the keys of an identity file: one that signs, then one that agrees
// on keys.
func pair(ring *keyring.Keyring) (Keys, error) {
	kids := ring.KIDs()
	if len(kids) != 2 {
		return Keys{}, fmt.Errorf("%w: %d keys instead of 2", keyring.ErrInvalid, len(kids))
	}
	ctx := context.Background()
	if _, err := ring.Signer(ctx, kids[0]); err != nil {
		return Keys{}, fmt.Errorf("%w: %w", keyring.ErrInvalid, err)
	}
	if _, err := ring.KeyAgreement(ctx, kids[1]); err != nil {
		return Keys{}, fmt.Errorf("%w: %w", keyring.ErrInvalid, err)
	}
	a, err := ring.Key(kids[0])
	if err != nil {
		return Keys{}, err
	}
	e, err := ring.Key(kids[1])
	return Keys{a, e}, err
}

func services(uris []string) []did.Service {
	services := make([]did.Service, len(uris))
	for i, uri := range uris {
		services[i] = did.NewDIDCommService("", uri)
	}
	return services
}

func (k Keys) peerKeys() []didpeer.Key {
	return []didpeer.Key{
		{Purpose: didpeer.Authentication, Public: k.Authentication.Public()},
		{Purpose: didpeer.KeyAgreement, Public: k.Agreement.Public()},
	}
}

// Peer is the did:peer:2 of the keys and of endpoints, URLs or mediators' DIDs.
func (k Keys) Peer(endpoints ...string) (*Identity, error) {
	id, err := didpeer.New2(k.peerKeys(), services(endpoints)...)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, k.Authentication, k.Agreement)
}

// Peer4 is the did:peer:4, in long form, of the keys and of endpoints.
func (k Keys) Peer4(endpoints ...string) (*Identity, error) {
	doc, err := k.document("did:example:input", did.TypeMultikey, endpoints)
	if err != nil {
		return nil, err
	}
	id, err := didpeer.New4(doc)
	if err != nil {
		return nil, err
	}
	return resolved(didpeer.NewResolver(), id, k.Authentication, k.Agreement)
}

// Web is the did:web id with the keys and endpoints.
func (k Keys) Web(id string, endpoints ...string) (*Identity, error) {
	doc, err := k.document(id, did.TypeJSONWebKey2020, endpoints)
	if err != nil {
		return nil, err
	}
	return identify(doc, k.Authentication, k.Agreement)
}

// document is a document of id with the keys #key-1 and #key-2.
func (k Keys) document(id, keyType string, endpoints []string) (*did.Document, error) {
	doc := &did.Document{ID: id, Context: []byte(`["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"]`)}
	for i, key := range []*keyring.Key{k.Authentication, k.Agreement} {
		m, err := did.NewVerificationMethod(fmt.Sprintf("%s#key-%d", id, i+1), id, keyType, key.Public())
		if err != nil {
			return nil, err
		}
		doc.VerificationMethod = append(doc.VerificationMethod, m)
	}
	doc.Authentication = []did.Relationship{{ID: id + "#key-1"}}
	doc.AssertionMethod = []did.Relationship{{ID: id + "#key-1"}}
	doc.KeyAgreement = []did.Relationship{{ID: id + "#key-2"}}
	for i, uri := range endpoints {
		fragment := "#service"
		if i > 0 {
			fragment = fmt.Sprintf("#service-%d", i)
		}
		doc.Service = append(doc.Service, did.NewDIDCommService(id+fragment, uri))
	}
	return doc, doc.Index()
}

// NewKeyDID makes a did:key of a new key.
func NewKeyDID(curve keyring.Curve) (*Identity, error) {
	return single(curve, didkey.New, didkey.Resolver{})
}

// NewJWKDID makes a did:jwk of a new key.
func NewJWKDID(curve keyring.Curve) (*Identity, error) {
	return single(curve, didjwk.New, didjwk.Resolver{})
}

func single(curve keyring.Curve, name func(crypto.PublicKey) (string, error), resolver did.Resolver) (*Identity, error) {
	key, err := keyring.Generate(curve)
	if err != nil {
		return nil, err
	}
	id, err := name(key.Public())
	if err != nil {
		return nil, err
	}
	keys := []*keyring.Key{key}
	if curve == keyring.Ed25519 { // a did:key lists its X25519 form as well
		derived, err := key.X25519()
		if err != nil {
			return nil, err
		}
		keys = append(keys, derived)
	}
	return resolved(resolver, id, keys...)
}

// resolved is the identity of a DID whose document follows from it.
func resolved(r did.Resolver, id string, keys ...*keyring.Key) (*Identity, error) {
	doc, err := r.Resolve(context.Background(), id)
	if err != nil {
		return nil, err
	}
	return identify(doc, keys...)
}

// identify puts each key under the ids by which doc lists it.
func identify(doc *did.Document, keys ...*keyring.Key) (*Identity, error) {
	ring := keyring.New()
	for i := range doc.VerificationMethod {
		m := &doc.VerificationMethod[i]
		public, err := m.PublicKey()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			if p, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && p.Equal(public) {
				if err := ring.Add(m.ID, key); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(ring.KIDs()) == 0 {
		return nil, fmt.Errorf("%s lists none of its keys", doc.ID)
	}
	return &Identity{Document: doc, Keys: ring}, nil
}
