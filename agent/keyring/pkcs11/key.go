//go:build pkcs11

package pkcs11

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// Use is the purpose of a key: Agreement, Signatures or both.
type Use uint8

// Purposes of a key. Agreement|Signatures is a key for both, if the token permits such a key.
const (
	Agreement  Use = 1 << iota // CKA_DERIVE
	Signatures                 // CKA_SIGN
)

// key is a private key in a token.
type key struct {
	token  *Token
	object p11.ObjectHandle
	curve  *curve
	use    Use
	public crypto.PublicKey
}

// find returns the key with the label.
func (t *Token) find(label string) (*key, error) {
	private, err := t.one(p11.CKO_PRIVATE_KEY, p11.NewAttribute(p11.CKA_LABEL, label))
	if err != nil {
		return nil, fmt.Errorf("private key %.200q: %w", label, err)
	}
	attr, err := t.attributes(private, p11.CKA_ID, p11.CKA_EC_PARAMS, p11.CKA_DERIVE, p11.CKA_SIGN)
	if err != nil {
		return nil, err
	}
	k := &key{token: t, object: private}
	for i := range curves {
		if curves[i].is(attr[1]) {
			k.curve = &curves[i]
		}
	}
	if k.curve == nil {
		return nil, fmt.Errorf("%w: private key %.200q is on no curve that is served here", ErrKey, label)
	}
	if yes(attr[2]) && k.curve.agrees {
		k.use |= Agreement
	}
	if yes(attr[3]) && k.curve.signs {
		k.use |= Signatures
	}
	// By convention the keys of a pair have the same CKA_ID, or else the same label.
	by := p11.NewAttribute(p11.CKA_ID, attr[0])
	if len(attr[0]) == 0 {
		by = p11.NewAttribute(p11.CKA_LABEL, label)
	}
	public, err := t.one(p11.CKO_PUBLIC_KEY, by)
	if err != nil {
		return nil, fmt.Errorf("public key of %.200q: %w", label, err)
	}
	if attr, err = t.attributes(public, p11.CKA_EC_POINT, p11.CKA_EC_PARAMS); err != nil {
		return nil, err
	}
	if !k.curve.is(attr[1]) {
		return nil, fmt.Errorf("%w: public key of %.200q is on another curve", ErrKey, label)
	}
	if k.public, err = k.curve.public(attr[0]); err != nil {
		return nil, fmt.Errorf("%w: public key of %.200q: %w", ErrKey, label, err)
	}
	return k, nil
}

// one returns the single object of a class with the attribute by.
func (t *Token) one(class uint, by *p11.Attribute) (p11.ObjectHandle, error) {
	found, err := t.objects(p11.NewAttribute(p11.CKA_CLASS, class), by)
	switch {
	case err != nil:
		return 0, err
	case len(found) != 1:
		return 0, fmt.Errorf("%w: the token has %d of it", ErrKey, len(found))
	}
	return found[0], nil
}

func yes(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// agreement is the handle of a key, found by a name, for ECDH.
func (k *key) agreement(name string) (ecdh.KeyExchanger, error) {
	if k.use&Agreement == 0 {
		return nil, fmt.Errorf("%w: %.200s is for signatures only", envelope.ErrNoKey, name)
	}
	return (*exchanger)(k), nil
}

// signing is the handle of a key, found by a name, for signatures.
func (k *key) signing(name string) (crypto.Signer, error) {
	if k.use&Signatures == 0 {
		return nil, fmt.Errorf("%w: %.200s is for key agreement only", envelope.ErrNoKey, name)
	}
	return (*signer)(k), nil
}

// exchanger and signer are the handles that KeyAgreement and Signer return.
type exchanger key

var _ ecdh.KeyExchanger = (*exchanger)(nil)

func (e *exchanger) Curve() ecdh.Curve { return e.curve.ecdh }

func (e *exchanger) PublicKey() *ecdh.PublicKey {
	switch public := e.public.(type) {
	case *ecdh.PublicKey:
		return public
	case *ecdsa.PublicKey:
		if public, err := public.ECDH(); err == nil { // find has checked the key
			return public
		}
	}
	return nil
}

// ECDH derives the shared secret in the token, reads it, and destroys it in the token.
func (e *exchanger) ECDH(remote *ecdh.PublicKey) ([]byte, error) {
	if remote == nil || remote.Curve() != e.curve.ecdh {
		return nil, fmt.Errorf("pkcs11: the other key is not on the curve %s", e.curve.name)
	}
	var secret []byte
	err := e.token.with(func(s p11.SessionHandle) error {
		params := p11.NewECDH1DeriveParams(p11.CKD_NULL, nil, remote.Bytes())
		derived, err := e.token.module.DeriveKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE, params)}, e.object, []*p11.Attribute{
			p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
			p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
			p11.NewAttribute(p11.CKA_TOKEN, false),
			p11.NewAttribute(p11.CKA_SENSITIVE, false),
			p11.NewAttribute(p11.CKA_EXTRACTABLE, true),
			p11.NewAttribute(p11.CKA_VALUE_LEN, e.curve.size),
		})
		if err != nil {
			return err
		}
		got, err := e.token.module.GetAttributeValue(s, derived, []*p11.Attribute{p11.NewAttribute(p11.CKA_VALUE, nil)})
		if err == nil && len(got) == 1 {
			secret = got[0].Value
		}
		return errors.Join(err, e.token.module.DestroyObject(s, derived))
	})
	if err != nil {
		return nil, fmt.Errorf("pkcs11: derive a shared secret: %w", err)
	}
	if len(secret) != e.curve.size {
		return nil, fmt.Errorf("pkcs11: the shared secret has %d bytes instead of %d", len(secret), e.curve.size)
	}
	return secret, nil
}

type signer key

var _ crypto.Signer = (*signer)(nil)

func (g *signer) Public() crypto.PublicKey { return g.public }

// Sign returns a signature, for ECDSA in ASN.1 DER. The token makes the randomness.
func (g *signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	mechanism := uint(p11.CKM_ECDSA)
	_, edwards := g.public.(ed25519.PublicKey)
	switch {
	case edwards && opts != nil && opts.HashFunc() != 0:
		return nil, errors.New("pkcs11: Ed25519 signs the message, not a digest of it")
	case edwards:
		mechanism = ckmEdDSA
	case opts != nil && opts.HashFunc() != 0 && len(digest) != opts.HashFunc().Size():
		return nil, fmt.Errorf("pkcs11: a digest of %d bytes is not one of %v", len(digest), opts.HashFunc())
	case len(digest) > g.curve.size: // FIPS 186-5, section 6.4.1: the leftmost bits
		digest = digest[:g.curve.size]
	}
	var sig []byte
	err := g.token.with(func(s p11.SessionHandle) error {
		if err := g.token.module.SignInit(s, []*p11.Mechanism{p11.NewMechanism(mechanism, nil)}, g.object); err != nil {
			return err
		}
		var err error
		sig, err = g.token.module.Sign(s, digest)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pkcs11: sign: %w", err)
	}
	if edwards {
		return sig, nil
	}
	if len(sig) != 2*g.curve.size {
		return nil, fmt.Errorf("pkcs11: the signature has %d bytes instead of %d", len(sig), 2*g.curve.size)
	}
	r, s := new(big.Int).SetBytes(sig[:g.curve.size]), new(big.Int).SetBytes(sig[g.curve.size:])
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}
