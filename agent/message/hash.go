package message

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/mr-tron/base58"
	"github.com/multiformats/go-multibase"
)

// ErrHash is content that is not what an attachment's hash says.
var ErrHash = errors.New("message: content does not match the attachment's hash")

// Multihash codes and digest lengths (github.com/multiformats/multicodec).
const (
	codeSHA256 = 0x12
	codeSHA512 = 0x13
)

// Hash is the value of an attachment's hash for content: its SHA-256 multihash
// in base58btc with the multibase prefix z.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return "z" + base58.Encode(append([]byte{codeSHA256, sha256.Size}, sum[:]...))
}

// VerifyHash checks content, say fetched from one of Links, against Hash. The
// specification says multihash and leaves its text form open, so any multibase
// does, and bare hexadecimal or base58btc; SHA-256 and SHA-512. The error
// matches ErrHash when they differ, ErrInvalid when Hash is none that can be
// checked.
func (d AttachmentData) VerifyHash(content []byte) error {
	h, err := decodeMultihash(d.Hash)
	if err != nil {
		return err
	}
	var sum []byte
	switch {
	case len(h) == 2+sha256.Size && h[0] == codeSHA256 && h[1] == sha256.Size:
		s := sha256.Sum256(content)
		sum = s[:]
	case len(h) == 2+sha512.Size && h[0] == codeSHA512 && h[1] == sha512.Size:
		s := sha512.Sum512(content)
		sum = s[:]
	default:
		return fmt.Errorf("%w: attachment hash is neither a sha2-256 nor a sha2-512 multihash", ErrInvalid)
	}
	if !bytes.Equal(sum, h[2:]) {
		return ErrHash
	}
	return nil
}

// decodeMultihash tells bare forms apart by how the two multihashes begin: 1220
// and 1340 in hexadecimal, Qm and 8V (code 0x12, 0x13) in base58btc. None of
// these is a multibase prefix.
func decodeMultihash(s string) (h []byte, err error) {
	switch {
	case s == "" || len(s) > 256:
		return nil, fmt.Errorf("%w: attachment hash of %d bytes", ErrInvalid, len(s))
	case strings.HasPrefix(s, "1220"), strings.HasPrefix(s, "1340"):
		h, err = hex.DecodeString(s)
	case strings.HasPrefix(s, "Qm"), strings.HasPrefix(s, "8V"):
		h, err = base58.Decode(s)
	default:
		_, h, err = multibase.Decode(s)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: attachment hash is not a multihash in text form", ErrInvalid)
	}
	return h, nil
}
