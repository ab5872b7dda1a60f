package identity

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// entry is an identity in the index. An entry does not change. It has only what is needed to
// open a message, because there may be 100,000 entries.
type entry struct {
	did     string
	version uint64 // of the record
	created int64  // in nanoseconds, as Unix time
	until   int64  // in nanoseconds, when the identity ends; 0 if it is not retired
	party   string
	shares  store.Shares
	keys    []entryKey
	names   []keyName // of the public keys
}

// entryKey is a Handle of an entry.
type entryKey struct {
	fragment string // rest of the key id after the DID
	named    string // Handle.Name, empty if the name is the key id
	use      Use
}

// keyName is the beginning of an index name for a public key (see keyNames). Two keys may have
// the same keyName: it only says where to look.
type keyName uint64

// keyNameOf reads an index name. It reports false for a name of another form.
func keyNameOf(name string) (keyName, bool) {
	const digits = 16
	if len(name) < digits {
		return 0, false
	}
	n, err := strconv.ParseUint(name[:digits], 16, 64)
	return keyName(n), err == nil
}

// ended reports whether the identity has ended.
func (e *entry) ended(now int64) bool { return e.until != 0 && e.until <= now }

// name returns the name of a private key.
func (e *entry) name(fragment string, use Use) (string, bool) {
	for i := range e.keys {
		if k := &e.keys[i]; k.fragment == fragment && k.use == use {
			return k.name(e.did), true
		}
	}
	return "", false
}

func (k *entryKey) name(owner string) string {
	if k.named == "" {
		return owner + k.fragment
	}
	return k.named
}

// before compares two entries by the time at which they were added.
func (e *entry) before(other *entry) int {
	return cmp.Or(cmp.Compare(e.created, other.created), strings.Compare(e.did, other.did))
}

// index finds entries by their DIDs and by their public keys.
type index struct {
	byDID   map[string]*entry    // has a did:peer:4 under the long and the short form
	order   []*entry             // in the order in which they were added
	leaving []*entry             // retired; some are no longer in byDID
	byKey   map[keyName][]*entry // each in the order in which they were added
}

// newIndex makes an index of entries.
func newIndex(entries map[string]*entry) index {
	x := index{
		byDID: make(map[string]*entry, len(entries)),
		order: make([]*entry, 0, len(entries)),
		byKey: make(map[keyName][]*entry, 2*len(entries)),
	}
	for _, e := range entries {
		x.order = append(x.order, e)
	}
	slices.SortFunc(x.order, (*entry).before)
	for _, e := range x.order {
		x.name(e)
	}
	return x
}

// name puts an entry under its DIDs and its keys.
func (x *index) name(e *entry) {
	x.byDID[e.did] = e
	if short := did.Canonical(e.did); short != e.did {
		x.byDID[e.did[:len(short)]] = e // shares the memory of the long form, which begins with it
	}
	for _, name := range e.names {
		x.byKey[name] = insert(x.byKey[name], e)
	}
	if e.until != 0 {
		x.leaving = append(x.leaving, e)
	}
}

// insert adds an entry to a list that is in the order in which the entries were added.
func insert(list []*entry, e *entry) []*entry {
	at, _ := slices.BinarySearchFunc(list, e, (*entry).before)
	return slices.Insert(list, at, e)
}

// remove removes an entry from such a list.
func remove(list []*entry, e *entry) []*entry {
	if at, ok := slices.BinarySearchFunc(list, e, (*entry).before); ok {
		return slices.Delete(list, at, at+1)
	}
	return list
}

// put adds an entry, or replaces an older entry of the same DID.
func (x *index) put(e *entry) {
	if old := x.byDID[e.did]; old != nil {
		if old.version > e.version {
			return
		}
		x.drop(old)
	}
	x.order = insert(x.order, e)
	x.name(e)
}

// drop removes an entry of the index.
func (x *index) drop(e *entry) {
	delete(x.byDID, e.did)
	delete(x.byDID, did.Canonical(e.did))
	x.order = remove(x.order, e)
	for _, name := range e.names {
		if list := remove(x.byKey[name], e); len(list) > 0 {
			x.byKey[name] = list
		} else {
			delete(x.byKey, name)
		}
	}
}

// maxSameName bounds the entries with one key name among which a key is looked for. An entry has
// the name of a key but not the key if the entry has an Ed25519 key from which that key is derived.
const maxSameName = 8

// withKey returns the first entries with a key name that have not ended.
func (x *index) withKey(name keyName, now int64) []*entry {
	var found []*entry
	for _, e := range x.byKey[name] {
		if len(found) == maxSameName {
			break
		}
		if !e.ended(now) {
			found = append(found, e)
		}
	}
	return found
}

// sweep removes the entries of identities that have ended.
func (x *index) sweep(now int64) {
	x.leaving = slices.DeleteFunc(x.leaving, func(e *entry) bool {
		switch {
		case x.byDID[e.did] != e: // replaced
			return true
		case !e.ended(now):
			return false
		}
		x.drop(e)
		return true
	})
}

// first returns the DIDs of the first n entries that have not ended.
func (x *index) first(n int, now int64) []string {
	var dids []string
	for _, e := range x.order {
		if len(dids) >= n {
			break
		}
		if !e.ended(now) {
			dids = append(dids, e.did)
		}
	}
	return dids
}
