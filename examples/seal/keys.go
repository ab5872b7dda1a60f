package main

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"io"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// kmsKeys provides the keys of the KMS by their names. Only the public keys are in this
// process. Package identity uses these names, and maps the key ids of the DID document to
// them.
type kmsKeys struct{ service *kms }

var _ envelope.Keys = (*kmsKeys)(nil)

// KeyAgreement returns a handle that derives shared secrets. The error matches
// envelope.ErrNoKey if the KMS does not have the key.
func (k *kmsKeys) KeyAgreement(ctx context.Context, name string) (ecdh.KeyExchanger, error) {
	key, err := k.handle(ctx, name)
	if err != nil {
		return nil, err
	}
	public, err := key.public.ECDH()
	if err != nil {
		return nil, err
	}
	return &exchanger{key, public}, nil
}

// Signer returns a handle that signs. The error matches envelope.ErrNoKey if the KMS does
// not have the key.
func (k *kmsKeys) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	key, err := k.handle(ctx, name)
	if err != nil {
		return nil, err
	}
	return &signer{key}, nil
}

// handle is a handle for a key of the KMS, for the time of one message. The interfaces of
// package crypto have no context parameter, so the handle keeps the context that it was
// made with. Calls of the KMS end with this context.
type handle struct {
	ctx     context.Context
	service *kms
	name    string
	public  *ecdsa.PublicKey
}

// handle gets the public key from the KMS. The public key never changes, so your code may
// cache it.
func (k *kmsKeys) handle(ctx context.Context, name string) (handle, error) {
	public, err := k.service.publicKey(ctx, name)
	if err != nil {
		return handle{}, err
	}
	return handle{ctx, k.service, name, public}, nil
}

// exchanger is a handle for key agreement, which encryption and decryption need.
type exchanger struct {
	handle
	public *ecdh.PublicKey
}

var _ ecdh.KeyExchanger = (*exchanger)(nil)

func (e *exchanger) PublicKey() *ecdh.PublicKey { return e.public }
func (e *exchanger) Curve() ecdh.Curve          { return e.public.Curve() }

func (e *exchanger) ECDH(peer *ecdh.PublicKey) ([]byte, error) {
	return e.service.deriveSharedSecret(e.ctx, e.name, peer)
}

// signer is a handle for signatures.
type signer struct{ handle }

var _ crypto.Signer = (*signer)(nil)

func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign returns an ECDSA signature in ASN.1 DER, as crypto.Signer requires. The Packer
// converts it to the form of JWS. The KMS has its own random numbers.
func (s *signer) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.service.sign(s.ctx, s.name, digest)
}
