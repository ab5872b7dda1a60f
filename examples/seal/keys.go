package main

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"io"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// kmsKeys lends out the keys of the KMS by their names. Only their public halves are in
// this process. Package identity asks by the name, whatever key id the DID document gives
// a key.
type kmsKeys struct{ service *kms }

var _ envelope.Keys = (*kmsKeys)(nil)

// KeyAgreement returns a handle that derives shared secrets. The error for a key that the
// service does not have matches envelope.ErrNoKey.
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

// Signer returns a handle that signs.
func (k *kmsKeys) Signer(ctx context.Context, name string) (crypto.Signer, error) {
	key, err := k.handle(ctx, name)
	if err != nil {
		return nil, err
	}
	return &signer{key}, nil
}

// handle is a key of the KMS for the time of one message. The interfaces of
// package crypto take no context, so the handle keeps the one it was asked for
// with: when that ends, calls to the service end.
type handle struct {
	ctx     context.Context
	service *kms
	name    string
	public  *ecdsa.PublicKey
}

// handle asks the service for the public half, which never changes: you may keep it.
func (k *kmsKeys) handle(ctx context.Context, name string) (handle, error) {
	public, err := k.service.publicKey(ctx, name)
	if err != nil {
		return handle{}, err
	}
	return handle{ctx, k.service, name, public}, nil
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
	return e.service.deriveSharedSecret(e.ctx, e.name, peer)
}

// signer is all that signing needs of a private key.
type signer struct{ handle }

var _ crypto.Signer = (*signer)(nil)

func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign leaves the random numbers to the service. The signature is ASN.1 DER, as
// crypto.Signer wants it of ECDSA; the Packer brings it into the form of JWS.
func (s *signer) Sign(_ io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return s.service.sign(s.ctx, s.name, digest)
}
