package keyring

import (
	"crypto"
	"crypto/ecdh"
	"fmt"
	"io"
	"log/slog"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/didcomm-go/didcomm/did"
)

// exchanger and signer wrap the keys that are handed out, because the keys of the standard
// library print their secrets.
type exchanger struct{ key ecdh.KeyExchanger }

var _ ecdh.KeyExchanger = (*exchanger)(nil)

func (e *exchanger) PublicKey() *ecdh.PublicKey                  { return e.key.PublicKey() }
func (e *exchanger) Curve() ecdh.Curve                           { return e.key.Curve() }
func (e *exchanger) ECDH(remote *ecdh.PublicKey) ([]byte, error) { return e.key.ECDH(remote) }
func (e exchanger) Format(s fmt.State, _ rune)                   { io.WriteString(s, redacted) }
func (e exchanger) LogValue() slog.Value                         { return slog.StringValue(redacted) }

type signer struct{ key crypto.Signer }

var _ crypto.Signer = (*signer)(nil)

func (g *signer) Public() crypto.PublicKey { return g.key.Public() }
func (g *signer) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return g.key.Sign(rand, digest, opts)
}
func (g signer) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }
func (g signer) LogValue() slog.Value       { return slog.StringValue(redacted) }

const redacted = "private key REDACTED"

// secp256k1Signer makes deterministic ECDSA signatures (RFC 6979) with a low S. Some peers
// refuse a high S.
type secp256k1Signer struct {
	key    *secp256k1.PrivateKey
	public did.Secp256k1PublicKey
}

func (g *secp256k1Signer) Public() crypto.PublicKey { return g.public }

// Sign returns a signature in ASN.1 DER. It uses no randomness.
func (g *secp256k1Signer) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if len(digest) != 32 || opts != nil && opts.HashFunc() != 0 && opts.HashFunc() != crypto.SHA256 {
		return nil, fmt.Errorf("%w: secp256k1 signs a SHA-256 digest", ErrInvalid)
	}
	return ecdsa.Sign(g.key, digest).Serialize(), nil
}
