package identity

import (
	"cmp"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

// entry is an identity in the index. It does not change: there may be 100,000 of them, so
// it holds what opening a message needs and no more.
type entry struct {
	did     string
	version uint64 // of the record
	created int64  // in nanoseconds, as Unix time
	until   int64  // when it ends, in the same; 0 for an identity that is not retired
	party   string
	shares  store.Shares
	keys    []entryKey
}

// entryKey is a Handle of an entry.
type entryKey struct {
	fragment string // what follows the DID in the key id
	named    string // Handle.Name, empty if that is the key id
	use      Use
}

// ended tells whether the identity was retired until a time before now.
func (e *entry) ended(now int64) bool { return e.until != 0 && e.until <= now }

// name is the name of the private key of a fragment.
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

// before orders entries as they were added.
func (e *entry) before(other *entry) int {
	return cmp.Or(cmp.Compare(e.created, other.created), strings.Compare(e.did, other.did))
}

// index finds identities by their DIDs.
type index struct {
	byDID   map[string]*entry // by the long and the short form of a did:peer:4
	order   []*entry          // as they were added
	leaving []*entry          // retired, some of which may be replaced by now
}

// newIndex makes an index of entries by their DIDs.
func newIndex(entries map[string]*entry) index {
	x := index{byDID: make(map[string]*entry, len(entries)), order: make([]*entry, 0, len(entries))}
	for _, e := range entries {
		x.name(e)
		x.order = append(x.order, e)
	}
	slices.SortFunc(x.order, (*entry).before)
	return x
}

// name makes an entry be found by its DID.
func (x *index) name(e *entry) {
	x.byDID[e.did] = e
	if short := did.Canonical(e.did); short != e.did {
		x.byDID[e.did[:len(short)]] = e // the short form begins the long one: it takes no memory
	}
	if e.until != 0 {
		x.leaving = append(x.leaving, e)
	}
}

// put takes an entry in, in place of that of the same DID unless that is newer.
func (x *index) put(e *entry) {
	if old := x.byDID[e.did]; old != nil {
		if old.version > e.version {
			return
		}
		x.drop(old)
	}
	at, _ := slices.BinarySearchFunc(x.order, e, (*entry).before)
	x.order = slices.Insert(x.order, at, e)
	x.name(e)
}

// drop forgets an entry that the index has.
func (x *index) drop(e *entry) {
	delete(x.byDID, e.did)
	delete(x.byDID, did.Canonical(e.did))
	if at, ok := slices.BinarySearchFunc(x.order, e, (*entry).before); ok {
		x.order = slices.Delete(x.order, at, at+1)
	}
}

// sweep forgets the identities that have ended.
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

// first are the DIDs of the first n entries that have not ended.
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
