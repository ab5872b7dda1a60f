// Package peer4 holds what the text of a did:peer:4 tells without its document
// (Peer DID Method Specification, Method 4): which short form a long form has.
package peer4

import (
	"crypto/sha256"
	"strings"

	"github.com/mr-tron/base58"
)

// Prefix is what every did:peer:4 begins with.
const Prefix = "did:peer:4"

// MultihashSHA256 is the multihash prefix for SHA2-256 of 32 bytes.
const MultihashSHA256 = "\x12\x20"

// MaxLength is the longest did:peer in bytes.
const MaxLength = 8 << 10

// MaxHash is the longest hash of a did:peer:4, as text, in bytes.
const MaxHash = 64

// Hash is the hash of an encoded document as it stands in the DID.
func Hash(encoded string) string {
	sum := sha256.Sum256([]byte(encoded))
	return "z" + base58.Encode(append([]byte(MultihashSHA256), sum[:]...))
}

// Short returns the short form of a long form, and whether id was one whose hash
// matches.
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
