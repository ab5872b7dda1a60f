package sqlstore

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Names in a store come from peers, and may be any bytes of any length. An indexed TEXT
// column of PostgreSQL takes no NUL, no invalid UTF-8, and at most about 2,700 bytes. So
// columns hold the key of a name: the name itself if it is valid and short, and its hash
// otherwise. The full names are stored beside the packets.
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

// ownLane is the key of the lane for one item that was set aside. No name has this key. id
// is the key of the item.
func ownLane(id string) string { return hashed + "=" + id }

// classMarks begin the keys of the peers of each class, by number. No other key begins like
// them: a hash has only the digits 0 to 9 and a to f.
var classMarks = [...]string{"", hashed + "k", hashed + "s"}

// peerKey is the key of a To, for the items of one class.
func peerKey(to string, class int) string { return classMarks[class] + key(to) }

// classOf is the number of the class of a peer.
func classOf(peer string) int {
	for class := len(classMarks) - 1; class > 0; class-- {
		if strings.HasPrefix(peer, classMarks[class]) {
			return class
		}
	}
	return 0
}

// strangers is the key of the party of all strangers, which is no key of a peer.
const strangers = hashed + "s"

// partyKey is the key of the party in whose share a message is remembered. peer is the key of
// its Peer.
func partyKey(peer string, class store.Class) string {
	if class.Number() == store.ClassStranger.Number() {
		return strangers
	}
	return peer
}

// ownerKey is the key of an owner, which differs from the key of every peer. It is empty
// for an empty owner.
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

// clean makes a reason valid for a TEXT column.
func clean(reason string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(reason, "\uFFFD"), "\x00", "\uFFFD")
}
