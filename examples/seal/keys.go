package main

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"fmt"
	"io"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// kmsKeys finds the key of the KMS for a key id of a DID document. Only public
// halves and the names of keys are in this process.
type kmsKeys struct {
	service *kms
	// Keys by DID URL. A key serves one purpose.
	agreement, signing map[string]kmsKey
}

var _ envelope.Keys = (*kmsKeys)(nil)

// KeyAgreement returns a handle that derives shared secrets. A key that is not
// held must be ErrNoKey: the Packer then tries the next one of the envelope.
func (k *kmsKeys) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	key, ok := k.agreement[kid]
	if !ok {
		return nil, fmt.Errorf("%w: %s", envelope.ErrNoKey, kid)
	}
	public, err := key.public.ECDH()
	if err != nil {
		return nil, err
	}
	return &exchanger{handle{ctx, k.service, key}, public}, nil
}

// Signer returns a handle that signs.
func (k *kmsKeys) Signer(ctx context.Context, kid string) (crypto.Signer, error) {
	key, ok := k.signing[kid]
	if !ok {
		return nil, fmt.Errorf("%w: %s", envelope.ErrNoKey, kid)
	}
	return &signer{handle{ctx, k.service, key}}, nil
}

// handle is a key of the KMS for the time of one message. The interfaces of
// package crypto take no context, so the handle keeps the one it was asked for
// with: when that ends, calls to the service end.
type handle struct {
	ctx     context.Context
	service *kms
	key     kmsKey
}

// exchanger is all that encrypting and decrypting need of a private key.
type exchanger struct {
	handle
	public *ecdh.PublicKey
}

var _ ecdh.KeyExchanger = (*exchanger)(nil)

func (e *exchanger) PublicKey() *ecdh.PublicKey { return e.public }
func (e *exchanger) Curve() ecdh.Curve          { return e.public.Curve() }

func (e *exchanger) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	return e.service.deriveSharedSecret(e.ctx, e.key.name, peer)
}

// signer is all that signing needs of a private key.
type signer struct{ handle }

var _ crypto.Signer = (*signer)(nil)

func (s *signer) Public() crypto.PublicKey { return s.key.public }

// Sign leaves the random numbers to the service. The signature is ASN.1 DER, as
// crypto.Signer wants it of ECDSA; the Packer brings it into the form of JWS.
func (s *signer) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.service.sign(s.ctx, s.key.name, digest)
}
