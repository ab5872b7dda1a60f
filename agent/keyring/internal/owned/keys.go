package owned

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// Keys is a set of key ids, found by their public keys. The zero value is empty. Keys has no
// lock.
type Keys struct {
	kids map[string][]string // by multikey, in the order in which they were added
}

// Add adds a key id, which must not be in the set.
func (k *Keys) Add(kid string, public crypto.PublicKey) {
	multikey, err := did.FormatMultikey(public)
	if err != nil {
		return // no did:key names such a key
	}
	if k.kids == nil {
		k.kids = make(map[string][]string)
	}
	k.kids[multikey] = append(k.kids[multikey], kid)
}

// Remove removes a key id with the public key with which it was added.
func (k *Keys) Remove(kid string, public crypto.PublicKey) {
	multikey, err := did.FormatMultikey(public)
	if err != nil {
		return
	}
	kids := slices.DeleteFunc(k.kids[multikey], func(other string) bool { return other == kid })
	if len(kids) == 0 {
		delete(k.kids, multikey)
	} else {
		k.kids[multikey] = kids
	}
}

// Find implements envelope.KeyFinder.
func (k *Keys) Find(multikey string) (string, error) {
	if kids := k.kids[multikey]; len(kids) > 0 {
		return kids[0], nil
	}
	return "", fmt.Errorf("%w with the public key %.200s", envelope.ErrNoKey, multikey)
}
