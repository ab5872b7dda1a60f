// Package peer4 relates the long form of a did:peer:4 to its short form (Peer DID
// Method Specification, Method 4), without decoding the document. Call [Short].
package peer4

import (
	"crypto/sha256"
	"strings"

	"github.com/mr-tron/base58"
)

// Prefix is the beginning of every did:peer:4.
const Prefix = "did:peer:4"

// MultihashSHA256 is the multihash prefix for SHA2-256 of 32 bytes.
const MultihashSHA256 = "\x12\x20"

// MaxLength is the length of the longest supported did:peer, in bytes.
const MaxLength = 8 << 10

// MaxHash is the length of the longest hash in a did:peer:4 that is compared, in
// bytes of base58btc text.
const MaxHash = 64

// Hash returns the hash of an encoded document, in the base58btc text of the DID.
func Hash(encoded string) string {
	sum := sha256.Sum256([]byte(encoded))
	return "z" + base58.Encode(append([]byte(MultihashSHA256), sum[:]...))
}

// Short returns the short form of a did:peer:4 in long form. It returns false if id is
// not in long form, or if its hash does not match its document.
func Short(id string) (string, bool) {
	rest, ok := strings.CutPrefix(id, Prefix)
	if !ok || len(id) > MaxLength || strings.ContainsAny(rest, "/?#") {
		return "", false
	}
	hash, encoded, long := strings.Cut(rest, ":")
	if !long || len(hash) > MaxHash || !strings.HasPrefix(encoded, "z") || Hash(encoded) != hash {
		return "", false
	}
	return Prefix + hash, true
}
