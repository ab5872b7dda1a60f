package identity

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"io"
	"log/slog"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// Pair has the two private keys of an identity. Both are handles, so the keys can be in
// software, in a KMS or in a token. A Pair prints as "REDACTED".
type Pair struct {
	// Sign is the key for signatures: Ed25519, P-256, P-384, P-521 or secp256k1. The Public
	// method of a secp256k1 key returns a did.Secp256k1PublicKey.
	Sign crypto.Signer
	// Agree is the key for encryption: X25519, P-256, P-384 or P-521. Two parties that
	// authenticate to each other by encryption (authcrypt) need keys of the same curve. Most
	// agents have X25519.
	Agree ecdh.KeyExchanger
	// SignName and AgreeName are the names of the two keys in an envelope.Keys, such as the
	// names of keys in a KMS. An empty name means that the name is the key id in the DID
	// document.
	SignName, AgreeName string

	keys envelope.Keys // has both handles under their names; nil if the fields above are the handles
}

var (
	_ fmt.Formatter  = Pair{}
	_ slog.LogValuer = Pair{}
)

// Generate makes two software keys of a curve, one for signatures and one for encryption.
// For keyring.Ed25519 the second key is an X25519 key, which most agents have. The error
// matches keyring.ErrInvalid if the curve does not serve both purposes.
func Generate(curve keyring.Curve) (Pair, error) {
	agreement := curve
	switch curve {
	case keyring.Ed25519:
		agreement = keyring.X25519
	case keyring.P256, keyring.P384, keyring.P521:
	default:
		return Pair{}, fmt.Errorf("%w: %.40s does not both sign and agree on keys", keyring.ErrInvalid, curve)
	}
	sign, err := keyring.Generate(curve)
	if err != nil {
		return Pair{}, err
	}
	agree, err := keyring.Generate(agreement)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Sign: sign, Agree: agree}, nil
}

// Single returns a Pair of one software key, for Key and JWK. It sets Sign if the key can
// sign, and Agree if the key can agree on keys.
func Single(key *keyring.Key) Pair {
	var p Pair
	if key.Type() != keyring.X25519 {
		p.Sign = key
	}
	if key.PublicKey() != nil {
		p.Agree = key
	}
	return p
}

// Image returns a Pair of one Ed25519 key: Sign signs, and Agree is the X25519 key that is the
// image of Sign (RFC 7748, section 4.1), as in a did:key. Some peers take the two for one key: for
// a mediator with such keys, Credo wraps a message once, and otherwise twice.
//
// The Pair keeps SignName, and has no AgreeName: to find the key for encryption again, store it
// under its key id. The error matches ErrHandle if Sign is no Ed25519 key in software. Keys in
// software are a *keyring.Key, such as that of Keyring.Key, and an ed25519.PrivateKey. A handle
// of a KMS, of a token or of Find does not give out the image.
func (p Pair) Image() (Pair, error) {
	key, err := keyring.NewKey(p.Sign)
	if err != nil || key.Type() != keyring.Ed25519 {
		return Pair{}, fmt.Errorf("%w: Pair.Sign has no X25519 image, because it is not an Ed25519 key in software", ErrHandle)
	}
	agree, err := key.X25519()
	if err != nil {
		return Pair{}, err
	}
	return Pair{Sign: key, Agree: agree, SignName: p.SignName}, nil
}

// isImage reports whether agree is the image of the Ed25519 key sign.
func isImage(sign crypto.PublicKey, agree *ecdh.PublicKey) bool {
	public, ok := sign.(ed25519.PublicKey)
	if !ok {
		return false
	}
	image, err := didkey.KeyAgreement(public)
	return err == nil && image.Equal(agree)
}

// Find returns a Pair of two keys in an envelope.Keys, by their names there. The name of a key
// in a keyring is its key id. The name of a key in a KMS is the name that the KMS gave it. If one
// key serves both purposes, both names are the same. An empty name leaves that key out. Errors
// are those of keys, such as envelope.ErrNoKey.
//
// An Identity of such a Pair asks keys for each message anew, with the context of that
// message.
func Find(ctx context.Context, keys envelope.Keys, signName, agreeName string) (Pair, error) {
	p := Pair{SignName: signName, AgreeName: agreeName, keys: keys}
	var err error
	if signName != "" {
		if p.Sign, err = keys.Signer(ctx, signName); err != nil {
			return Pair{}, fmt.Errorf("key %.200s: %w", signName, err)
		}
	}
	if agreeName != "" {
		if p.Agree, err = keys.KeyAgreement(ctx, agreeName); err != nil {
			return Pair{}, fmt.Errorf("key %.200s: %w", agreeName, err)
		}
	}
	return p, nil
}

// Format prints no key, whatever the verb.
func (p Pair) Format(s fmt.State, _ rune) { io.WriteString(s, "Pair(private keys REDACTED)") }

// LogValue shows no key.
func (p Pair) LogValue() slog.Value { return slog.StringValue("Pair(private keys REDACTED)") }

// signing returns the public key of Sign.
func (p Pair) signing() (crypto.PublicKey, error) {
	if p.Sign == nil {
		return nil, fmt.Errorf("%w: Pair.Sign is missing", ErrHandle)
	}
	public := p.Sign.Public()
	switch key := public.(type) {
	case ed25519.PublicKey, did.Secp256k1PublicKey:
		return public, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return public, nil
		}
		return nil, fmt.Errorf("%w: Pair.Sign is an ECDSA key on a curve that is not P-256, P-384 or P-521", ErrHandle)
	}
	return nil, fmt.Errorf("%w: Pair.Sign has a public key of type %T, which does not sign here", ErrHandle, public)
}

// agreement returns the public key of Agree.
func (p Pair) agreement() (*ecdh.PublicKey, error) {
	if p.Agree == nil {
		return nil, fmt.Errorf("%w: Pair.Agree is missing", ErrHandle)
	}
	public := p.Agree.PublicKey()
	if public == nil {
		return nil, fmt.Errorf("%w: Pair.Agree does not agree on keys", ErrHandle)
	}
	switch public.Curve() {
	case ecdh.X25519(), ecdh.P256(), ecdh.P384(), ecdh.P521():
		return public, nil
	}
	return nil, fmt.Errorf("%w: Pair.Agree is on the curve %v", ErrHandle, public.Curve())
}

// both returns the two public keys. It is an error if a key is missing.
func (p Pair) both() (signing crypto.PublicKey, agreement *ecdh.PublicKey, err error) {
	if signing, err = p.signing(); err != nil {
		return nil, nil, err
	}
	agreement, err = p.agreement()
	return signing, agreement, err
}
