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

// Argon2id is what a guess of a passphrase costs (RFC 9106). The zero value of
// each field is that of the second recommendation of its section 4: 3 passes over
// 64 MiB in 4 lanes.
type Argon2id struct {
	Time    uint32 // passes, at most 16
	Memory  uint32 // KiB, at least 8 for each lane and at most 256 MiB in all
	Threads uint8  // lanes, at most 16
}

// What is read is bounded as what is made: a planted wrapping must not eat the
// memory or hours of who opens it.
const (
	maxTime    = 16
	maxMemory  = 256 << 10
	maxThreads = 16
)

func (c Argon2id) valid() bool {
	return c.Time >= 1 && c.Time <= maxTime && c.Threads >= 1 && c.Threads <= maxThreads &&
		c.Memory >= 8*uint32(c.Threads) && c.Memory <= maxMemory
}

// Passphrase wraps by a key that is derived from secret by Argon2id, under a new
// salt each time. cost is for Wrap; Unwrap takes what stands in the wrapping, if it
// is within the bounds of Argon2id. secret is copied. Errors of both besides
// those of Wrapper: ErrInvalid for an empty secret, and a cost out of bounds.
func Passphrase(secret []byte, cost Argon2id) Wrapper {
	kept := string(secret)
	cost.Time = cmp.Or(cost.Time, 3)
	cost.Memory = cmp.Or(cost.Memory, 64<<10)
	cost.Threads = cmp.Or(cost.Threads, 4)
	return passphrase{func() string { return kept }, cost}
}

type passphrase struct {
	secret func() string // hidden from reflection
	cost   Argon2id
}

// The wrapped key is the cost, the salt, the nonce and the key sealed by
// XChaCha20-Poly1305 with the label, cost and salt as associated data.
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
	if err != nil { // of one key that is sealed, damage and another passphrase look the same
		return nil, ErrPassphrase
	}
	return key, nil
}

func (p passphrase) derive(cost Argon2id, salt []byte) []byte {
	return argon2.IDKey([]byte(p.secret()), salt, cost.Time, cost.Memory, cost.Threads, keySize)
}
