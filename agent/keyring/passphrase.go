package keyring

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Argon2id is the cost of deriving a key from a passphrase (RFC 9106), which is also the cost
// of guessing a passphrase. A field of zero stands for the second recommendation of RFC 9106,
// section 4: 3 passes over 64 MiB in 4 lanes.
type Argon2id struct {
	Time    uint32 // passes, at most 16
	Memory  uint32 // in KiB, at least 8 KiB for each lane, at most 256 MiB in all
	Threads uint8  // lanes, at most 16
}

// Limits of Argon2id. They also hold for a stored cost, so that a person who can write to the
// store cannot make Open exhaust memory or time.
const (
	maxTime    = 16
	maxMemory  = 256 << 10
	maxThreads = 16
)

func (c Argon2id) valid() bool {
	return c.Time >= 1 && c.Time <= maxTime && c.Threads >= 1 && c.Threads <= maxThreads &&
		c.Memory >= 8*uint32(c.Threads) && c.Memory <= maxMemory
}

// Passphrase returns a Wrapper that encrypts the sealing key of a Sealed with a key derived
// from secret by Argon2id. Each Wrap uses a new salt and the given cost. Unwrap uses the salt
// and the cost that were stored. secret is copied.
//
// Wrap returns an error that matches ErrInvalid if secret is empty or cost exceeds the limits
// of Argon2id. Unwrap returns an error that matches ErrInvalid if the stored cost exceeds
// these limits.
func Passphrase(secret []byte, cost Argon2id) Wrapper {
	kept := string(secret)
	cost.Time = cmp.Or(cost.Time, 3)
	cost.Memory = cmp.Or(cost.Memory, 64<<10)
	cost.Threads = cmp.Or(cost.Threads, 4)
	return passphrase{func() string { return kept }, cost}
}

type passphrase struct {
	secret func() string // a function hides it from reflection
	cost   Argon2id
}

// A wrapped key has four parts: the cost, the salt, the nonce, and the key encrypted with
// XChaCha20-Poly1305. The associated data are the label, the cost and the salt.
const (
	saltSize         = 16
	costSize         = 9
	passphraseLabel  = "didcomm-go keyring passphrase 1\x00"
	passphraseLength = costSize + saltSize + chacha20poly1305.NonceSizeX + keySize + chacha20poly1305.Overhead
)

func (p passphrase) Name() string               { return PassphraseName }
func (p passphrase) Format(s fmt.State, _ rune) { io.WriteString(s, "passphrase REDACTED") }
func (p passphrase) LogValue() slog.Value       { return slog.StringValue("passphrase REDACTED") }

func (p passphrase) Wrap(_ context.Context, key []byte) ([]byte, error) {
	if !p.cost.valid() {
		return nil, fmt.Errorf("%w: Argon2id of %d passes over %d KiB in %d lanes is out of bounds", ErrInvalid, p.cost.Time, p.cost.Memory, p.cost.Threads)
	}
	if p.secret() == "" {
		return nil, fmt.Errorf("%w: the passphrase is empty", ErrInvalid)
	}
	out := make([]byte, costSize+saltSize+chacha20poly1305.NonceSizeX, passphraseLength)
	binary.BigEndian.PutUint32(out, p.cost.Time)
	binary.BigEndian.PutUint32(out[4:], p.cost.Memory)
	out[8] = p.cost.Threads
	rand.Read(out[costSize:])
	head, nonce := out[:costSize+saltSize], out[costSize+saltSize:]
	aead, err := chacha20poly1305.NewX(p.derive(p.cost, head[costSize:]))
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, nonce, key, append([]byte(passphraseLabel), head...)), nil
}

func (p passphrase) Unwrap(_ context.Context, wrapped []byte) ([]byte, error) {
	if len(wrapped) != passphraseLength {
		return nil, fmt.Errorf("%w: it has %d bytes instead of %d", ErrInvalid, len(wrapped), passphraseLength)
	}
	cost := Argon2id{binary.BigEndian.Uint32(wrapped), binary.BigEndian.Uint32(wrapped[4:]), wrapped[8]}
	if !cost.valid() {
		return nil, fmt.Errorf("%w: Argon2id of %d passes over %d KiB in %d lanes is out of bounds", ErrInvalid, cost.Time, cost.Memory, cost.Threads)
	}
	if p.secret() == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrPassphrase)
	}
	head := wrapped[:costSize+saltSize]
	nonce := wrapped[len(head) : len(head)+chacha20poly1305.NonceSizeX]
	aead, err := chacha20poly1305.NewX(p.derive(cost, head[costSize:]))
	if err != nil {
		return nil, err
	}
	key, err := aead.Open(nil, nonce, wrapped[len(head)+len(nonce):], append([]byte(passphraseLabel), head...))
	if err != nil { // damage cannot be told from a wrong passphrase
		return nil, ErrPassphrase
	}
	return key, nil
}

func (p passphrase) derive(cost Argon2id, salt []byte) []byte {
	return argon2.IDKey([]byte(p.secret()), salt, cost.Time, cost.Memory, cost.Threads, keySize)
}
