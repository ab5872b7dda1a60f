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
)

// Pair are the private keys of an identity, as handles: of software, a KMS or a token
// alike. A Pair prints as "REDACTED".
type Pair struct {
	// Sign makes signatures: Ed25519, P-256, P-384, P-521 or secp256k1 (whose Public is a
	// did.Secp256k1PublicKey).
	Sign crypto.Signer
	// Agree opens what is encrypted for us: X25519, P-256, P-384 or P-521.
	Agree ecdh.KeyExchanger
	// SignName and AgreeName are the names under which an envelope.Keys has the two
	// handles. An empty name stands for the key id that the DID document gives the key.
	SignName, AgreeName string

	keys envelope.Keys // has both handles under their names; nil if the fields above are the handles
}

var (
	_ fmt.Formatter  = Pair{}
	_ slog.LogValuer = Pair{}
)

// Generate makes two software keys of a curve: one that signs and one that agrees on
// keys. With keyring.Ed25519 the second one is X25519. The error matches
// keyring.ErrInvalid for a curve that does not serve both purposes.
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

// Single is the Pair of one software key, for Key and JWK: the key signs, agrees on keys,
// or does both, as its type goes.
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

// Find takes the two handles of a Pair from keys, by the names that they have there. The
// names are what keys knows them by: key ids for a keyring, the names of the service for a
// KMS. Where one key serves both purposes, both names are the same. An empty name leaves
// that handle out. Errors are those of keys, such as envelope.ErrNoKey.
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

// signing is the public key of Sign.
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

// agreement is the public key of Agree.
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

// both are the public keys of a Pair that has both handles.
func (p Pair) both() (signing crypto.PublicKey, agreement *ecdh.PublicKey, err error) {
	if signing, err = p.signing(); err != nil {
		return nil, nil, err
	}
	agreement, err = p.agreement()
	return signing, agreement, err
}
