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

// ErrHash is the error for content that does not have the hash in its attachment.
var ErrHash = errors.New("message: content does not match the attachment's hash")

// Multihash codes and digest lengths (github.com/multiformats/multicodec).
const (
	codeSHA256 = 0x12
	codeSHA512 = 0x13
)

// Hash returns the hash of content in the form of an attachment: the SHA-256 multihash in
// base58btc with the multibase prefix z.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return "z" + base58.Encode(append([]byte{codeSHA256, sha256.Size}, sum[:]...))
}

// VerifyHash checks that content, for example from one of Links, has the hash d.Hash. The
// hash is a multihash of SHA-256 or SHA-512. Since the specification leaves the text form of
// a multihash open, each multibase is accepted, and also hexadecimal and base58btc without a
// multibase prefix. The error matches ErrHash if the content has another hash, and ErrInvalid
// if the hash is missing or of an unknown form.
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

// decodeMultihash recognizes a text without multibase prefix by its first characters, which
// are the code of the hash and its length: 1220 and 1340 in hexadecimal, Qm and 8V in
// base58btc. None of these is a multibase prefix.
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
