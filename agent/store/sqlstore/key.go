package sqlstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Names in a store come from peers: they may be any bytes, of any length. A
// column of an index takes neither NUL nor broken UTF-8 (PostgreSQL's TEXT) and
// at most some 2,700 bytes, so it holds the key of a name: the name itself where
// that will do, as a rule, else its hash. The names stand whole beside the
// packets.
const (
	maxKey = 255
	hashed = "\x01"
)

func key(name string) string {
	if len(name) <= maxKey && utf8.ValidString(name) && !strings.Contains(name, "\x00") && !strings.HasPrefix(name, hashed) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return hashed + hex.EncodeToString(sum[:])
}

// ownLane is the key of the lane that one item has for itself, which is that of no
// name. The ID is a key.
func ownLane(id string) string { return hashed + "=" + id }

// ownerKey is the key of an owner, which is that of no peer; empty for none.
func ownerKey(owner string) string {
	if owner == "" {
		return ""
	}
	return hashed + "@" + key(owner)
}

// messageKey is the key of a message in the inbox.
func messageKey(sender, id string) string {
	return hex.EncodeToString(hash(sender, id))
}

func hash(names ...string) []byte {
	h := sha256.New()
	var b []byte
	for _, name := range names {
		b = appendField(b[:0], name)
		h.Write(b)
	}
	return h.Sum(nil)
}

// clean makes a reason fit for a TEXT column.
func clean(reason string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(reason, "\uFFFD"), "\x00", "\uFFFD")
}
