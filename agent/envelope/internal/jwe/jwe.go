// Package jwe encrypts and decrypts the JSON Web Encryption that DIDComm v2.1
// (Message Encryption) uses: ECDH-ES+A256KW (RFC 7518, section 4.6) and
// ECDH-1PU+A256KW (draft-madden-jose-ecdh-1pu-04) with one ephemeral key for
// all recipients, over A256CBC-HS512, A256GCM (RFC 7518, section 5) and XC20P
// (draft-amringer-jose-chacha-02).
//
// Encrypt writes a single strict form: General JSON serialization with all common headers
// protected. Parse also reads other forms that peers send, and returns Deviations. Decrypt
// opens an envelope with the key of a recipient. Package envelope chooses that key, finds the
// key of the sender and checks the plaintext.
//
// The cryptographic primitives are those of the standard library and golang.org/x/crypto.
package jwe

import (
	"errors"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Key management algorithms.
const (
	AlgES  = "ECDH-ES+A256KW"
	Alg1PU = "ECDH-1PU+A256KW"
)

// Type is the typ header that Encrypt writes.
const Type = "application/didcomm-encrypted+json"

// Errors that only a JWE can have, beside those of package jose; package
// envelope exports and explains them.
var (
	ErrDecrypt           = errors.New("cannot decrypt")
	ErrInvalidPoint      = errors.New("not a point on the curve")
	ErrLowOrderPoint     = errors.New("low-order point")
	ErrTooManyRecipients = errors.New("too many recipients")
	ErrCompressed        = errors.New("compressed content refused")
)

// Deviations that Parse tolerates, beside those of package jose.
const (
	DevAPVMissing      message.DeviationCode = "apv-missing"
	DevAPVMismatch     message.DeviationCode = "apv-mismatch"
	DevAPUMissing      message.DeviationCode = "apu-missing"
	DevSKIDMissing     message.DeviationCode = "skid-missing"
	DevEPKUnprotected  message.DeviationCode = "epk-unprotected"
	DevEPKString       message.DeviationCode = "epk-string"
	DevShortCoordinate message.DeviationCode = "epk-short-coordinate"
)

// Limits are the limits of an envelope. Parse checks each limit before the work that it
// limits.
type Limits struct {
	MaxBytes      int // of the whole envelope
	MaxRecipients int
	MaxDepth      int // of JSON nesting in headers
}
