package did

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did/internal/multikey"
)

// Types of verification methods, each with the member that holds the key.
const (
	TypeJSONWebKey2020                    = "JsonWebKey2020"                    // publicKeyJwk
	TypeJSONWebKey                        = "JsonWebKey"                        // publicKeyJwk
	TypeMultikey                          = "Multikey"                          // publicKeyMultibase with multicodec prefix
	TypeEd25519VerificationKey2018        = "Ed25519VerificationKey2018"        // publicKeyBase58
	TypeEd25519VerificationKey2020        = "Ed25519VerificationKey2020"        // publicKeyMultibase with multicodec prefix
	TypeX25519KeyAgreementKey2019         = "X25519KeyAgreementKey2019"         // publicKeyBase58
	TypeX25519KeyAgreementKey2020         = "X25519KeyAgreementKey2020"         // publicKeyMultibase with multicodec prefix
	TypeEcdsaSecp256k1VerificationKey2019 = "EcdsaSecp256k1VerificationKey2019" // publicKeyBase58 or publicKeyJwk
)

// errNoKey means that a method has no member with a key.
var errNoKey = errors.New("no publicKeyJwk, publicKeyMultibase or publicKeyBase58")

// VerificationMethod is a public key of a document (DID Core 1.0, section 5.2). Its
// type says which of the three key members is set, and how its bytes are encoded.
// Peers do not always follow the type. A key in another one of the three members is
// accepted, too, if it fits the type. Use [VerificationMethod.PublicKey] to get the key.
type VerificationMethod struct {
	ID                 string // absolute DID URL
	Type               string
	Controller         string
	PublicKeyJWK       stdjson.RawMessage // JSON object, nil if absent
	PublicKeyMultibase string
	PublicKeyBase58    string
	Extra              map[string]stdjson.RawMessage // all other members

	wireID string     // relative id as received, "" if it was absolute
	parsed *parsedKey // set by Document.Index; nil for a method outside of a document
}

// parsedKey is the result of parsing a method's key members.
type parsedKey struct {
	key     crypto.PublicKey
	err     error
	ecdh    *ecdh.PublicKey
	ecdhErr error
}

// NewVerificationMethod returns a verification method with a public key, in the
// encoding of typ, which is one of this package's Type constants. The key has one of
// the Go types that [FormatMultikey] accepts. The id may be relative. The error
// matches ErrUnsupported for another type of method or key, and ErrInvalid for a key
// that does not fit typ.
func NewVerificationMethod(id, controller, typ string, key crypto.PublicKey) (VerificationMethod, error) {
	m := VerificationMethod{ID: id, Type: typ, Controller: controller}
	code, raw, err := rawOf(key)
	if err != nil {
		return VerificationMethod{}, err
	}
	if want := codeOfType(typ); want != 0 && want != code {
		return VerificationMethod{}, fmt.Errorf("%w: a %s holds no %v key", ErrInvalid, typ, code)
	}
	switch typ {
	case TypeJSONWebKey2020, TypeJSONWebKey:
		m.PublicKeyJWK, err = FormatJWK(key)
	case TypeMultikey, TypeEd25519VerificationKey2020, TypeX25519KeyAgreementKey2020:
		m.PublicKeyMultibase = multikey.Encode(code, raw)
	case TypeEd25519VerificationKey2018, TypeX25519KeyAgreementKey2019, TypeEcdsaSecp256k1VerificationKey2019:
		m.PublicKeyBase58 = base58.Encode(raw)
	default:
		err = fmt.Errorf("%w: verification method type %q", ErrUnsupported, abbreviate(typ))
	}
	if err != nil {
		return VerificationMethod{}, err
	}
	return m, nil
}

// PublicKey returns the key with one of these types: ed25519.PublicKey,
// *ecdsa.PublicKey (P-256, P-384, P-521), *ecdh.PublicKey (X25519),
// Secp256k1PublicKey or *rsa.PublicKey. The error matches
//   - ErrInvalid if the key is malformed, is not a point of its curve, or does not
//     fit the method's type;
//   - ErrUnsupported if the type or curve is not supported, or if there is no key.
func (m *VerificationMethod) PublicKey() (crypto.PublicKey, error) {
	p := m.once()
	return p.key, p.err
}

// ECDH returns the key for key agreement. Its curve is X25519, P-256, P-384 or
// P-521. The error matches ErrUnsupported for other keys. Errors of
// [VerificationMethod.PublicKey] are returned unchanged.
func (m *VerificationMethod) ECDH() (*ecdh.PublicKey, error) {
	p := m.once()
	return p.ecdh, p.ecdhErr
}

// once returns the key that was parsed with the document. The key of a method
// outside of a document is parsed in each call, because storing the result would be
// a data race.
func (m *VerificationMethod) once() *parsedKey {
	if m.parsed != nil {
		return m.parsed
	}
	return m.parse()
}

func (m *VerificationMethod) parse() *parsedKey {
	key, err := m.decode()
	if err != nil {
		err = fmt.Errorf("verification method %s: %w", abbreviate(m.ID), err)
	}
	return newParsedKey(key, err)
}

func newParsedKey(key crypto.PublicKey, err error) *parsedKey {
	p := &parsedKey{key: key, err: err, ecdhErr: err}
	if err != nil {
		return p
	}
	switch k := key.(type) {
	case *ecdh.PublicKey:
		p.ecdh = k
	case *ecdsa.PublicKey:
		if p.ecdh, err = k.ECDH(); err != nil {
			p.ecdhErr = fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	default:
		p.ecdhErr = fmt.Errorf("%w: no key agreement with %T", ErrUnsupported, key)
	}
	return p
}

// decode parses the key and checks that it fits the method's type.
func (m *VerificationMethod) decode() (crypto.PublicKey, error) {
	var (
		key  crypto.PublicKey
		err  error
		want = codeOfType(m.Type)
	)
	switch jwk, mb, b58 := m.PublicKeyJWK != nil, m.PublicKeyMultibase != "", m.PublicKeyBase58 != ""; {
	case jwk && !mb && !b58:
		key, err = ParseJWK(m.PublicKeyJWK)
	case mb && !jwk && !b58:
		key, err = m.decodeMultibase(want)
	case b58 && !jwk && !mb:
		key, err = m.decodeBase58(want)
	case !jwk && !mb && !b58:
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, errNoKey)
	default:
		return nil, fmt.Errorf("%w: more than one form of the key", ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	if want != 0 && want != kindOf(key) {
		return nil, fmt.Errorf("%w: a %s holds no %T", ErrInvalid, m.Type, key)
	}
	return key, nil
}

// decodeMultibase parses a key with a multicodec prefix. Some peers leave the prefix
// out; such a key is accepted if the method's type determines the key type.
func (m *VerificationMethod) decodeMultibase(want multikey.Code) (crypto.PublicKey, error) {
	if want != 0 {
		raw, err := multikey.DecodeMultibase(m.PublicKeyMultibase)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if len(raw) == want.Size() {
			return keyOf(want, raw)
		}
	}
	return ParseMultikey(m.PublicKeyMultibase)
}

func (m *VerificationMethod) decodeBase58(want multikey.Code) (crypto.PublicKey, error) {
	if want == 0 {
		return nil, fmt.Errorf("%w: publicKeyBase58 in a %q", ErrUnsupported, abbreviate(m.Type))
	}
	if len(m.PublicKeyBase58) > multikey.MaxLen {
		return nil, fmt.Errorf("%w: publicKeyBase58 of %d characters", ErrInvalid, len(m.PublicKeyBase58))
	}
	raw, err := base58.Decode(m.PublicKeyBase58)
	if err != nil {
		return nil, fmt.Errorf("%w: publicKeyBase58: %w", ErrInvalid, err)
	}
	return keyOf(want, raw)
}

// codeOfType returns the key type of a method type, or 0 if the method type allows
// several.
func codeOfType(typ string) multikey.Code {
	switch typ {
	case TypeEd25519VerificationKey2018, TypeEd25519VerificationKey2020:
		return multikey.Ed25519
	case TypeX25519KeyAgreementKey2019, TypeX25519KeyAgreementKey2020:
		return multikey.X25519
	case TypeEcdsaSecp256k1VerificationKey2019:
		return multikey.Secp256k1
	}
	return 0
}

// kindOf returns the code of a key for comparison with codeOfType, or 0 for keys of
// other types.
func kindOf(key crypto.PublicKey) multikey.Code {
	switch key.(type) {
	case ed25519.PublicKey:
		return multikey.Ed25519
	case *ecdh.PublicKey:
		return multikey.X25519
	case Secp256k1PublicKey:
		return multikey.Secp256k1
	}
	return 0
}

// sameMaterial reports whether two methods with the same id describe the same key.
func (m *VerificationMethod) sameMaterial(o *VerificationMethod) bool {
	return m.Type == o.Type && m.Controller == o.Controller && bytes.Equal(m.PublicKeyJWK, o.PublicKeyJWK) &&
		m.PublicKeyMultibase == o.PublicKeyMultibase && m.PublicKeyBase58 == o.PublicKeyBase58
}

type wireMethod struct {
	ID                 string                        `json:"id"`
	Type               string                        `json:"type,omitzero"`
	Controller         string                        `json:"controller,omitzero"`
	PublicKeyJWK       stdjson.RawMessage            `json:"publicKeyJwk,omitzero"`
	PublicKeyMultibase string                        `json:"publicKeyMultibase,omitzero"`
	PublicKeyBase58    string                        `json:"publicKeyBase58,omitzero"`
	Extra              map[string]stdjson.RawMessage `json:",embed"`
}

// MarshalJSON writes the verification method. An id that was received in relative
// form is written in relative form.
func (m VerificationMethod) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireMethod{
		ID:                 wireID(m.ID, m.wireID),
		Type:               m.Type,
		Controller:         m.Controller,
		PublicKeyJWK:       m.PublicKeyJWK,
		PublicKeyMultibase: m.PublicKeyMultibase,
		PublicKeyBase58:    m.PublicKeyBase58,
		Extra:              m.Extra,
	}, json.Deterministic(true))
}

// UnmarshalJSON parses a verification method. A relative id stays relative until
// [Document.Index] makes it absolute. Errors match ErrInvalid.
func (m *VerificationMethod) UnmarshalJSON(data []byte) error {
	var w wireMethod
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("%w: verification method: %w", ErrInvalid, err)
	}
	if w.ID == "" {
		return fmt.Errorf("%w: verification method without id", ErrInvalid)
	}
	if string(w.PublicKeyJWK) == "null" && (w.PublicKeyMultibase != "" || w.PublicKeyBase58 != "") { // null means absent here
		w.PublicKeyJWK = nil
	}
	*m = VerificationMethod{
		ID: w.ID, Type: w.Type, Controller: w.Controller,
		PublicKeyJWK: w.PublicKeyJWK, PublicKeyMultibase: w.PublicKeyMultibase, PublicKeyBase58: w.PublicKeyBase58,
		Extra: w.Extra,
	}
	return nil
}

// absolute returns the absolute form of a relative DID URL. Any other id is returned
// unchanged.
func absolute(doc, id string) string {
	if id != "" && strings.IndexByte("#?/", id[0]) >= 0 {
		return doc + id
	}
	return id
}

// wireID returns the id to write: the relative form as received, unless the id has
// changed since.
func wireID(id, relative string) string {
	if relative != "" && len(id) > len(relative) && strings.HasSuffix(id, relative) {
		return relative
	}
	return id
}

// Relationship is an entry of a verification relationship (DID Core 1.0, section
// 5.3): either a reference to a verification method of the document, or an embedded
// verification method.
type Relationship struct {
	ID       string              // absolute DID URL, always set
	Embedded *VerificationMethod // nil for a reference

	wireID string // relative reference as received
}

// MarshalJSON writes the reference as a string, or the embedded method as an object.
func (r Relationship) MarshalJSON() ([]byte, error) {
	if r.Embedded != nil {
		return r.Embedded.MarshalJSON()
	}
	return json.Marshal(wireID(r.ID, r.wireID))
}

// UnmarshalJSON parses a reference from a string, or an embedded method from an
// object. Errors match ErrInvalid.
func (r *Relationship) UnmarshalJSON(data []byte) error {
	*r = Relationship{}
	if len(data) > 0 && data[0] == '"' {
		if err := json.Unmarshal(data, &r.ID); err != nil || r.ID == "" {
			return fmt.Errorf("%w: verification relationship", ErrInvalid)
		}
		return nil
	}
	m := new(VerificationMethod)
	if err := m.UnmarshalJSON(data); err != nil {
		return err
	}
	r.ID, r.Embedded = m.ID, m
	return nil
}
