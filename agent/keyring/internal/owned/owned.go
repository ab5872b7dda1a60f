// Package owned answers envelope.Owner from key ids: it knows the DIDs that a
// keyring's key ids belong to, whatever their number, in constant time.
package owned

import (
	"container/list"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// DIDs are the DIDs of a set of key ids. The zero value is empty. DIDs has no lock.
type DIDs struct {
	order   list.List                // of *owner, by the time of its first key id
	parties map[string]*list.Element // by did.Canonical
}

// owner is a DID of ours. A did:peer:4 has two forms, and its key ids may be under
// either; any other DID has the short one only.
type owner struct{ long, short form }

// form is a DID as key ids have it, and their number.
type form struct {
	did  string
	kids int
}

// did is the long form of a did:peer:4, which always resolves, if there is a key id
// under that form.
func (o *owner) did() string {
	if o.long.kids > 0 {
		return o.long.did
	}
	return o.short.did
}

func (o *owner) form(id, party string) *form {
	if id == party {
		return &o.short
	}
	return &o.long
}

// Add counts a key id, which must be new.
func (d *DIDs) Add(kid string) {
	id, party := did.Base(kid), did.Canonical(kid)
	e, ok := d.parties[party]
	if !ok {
		if d.parties == nil {
			d.parties = make(map[string]*list.Element)
		}
		e = d.order.PushBack(new(owner))
		d.parties[party] = e
	}
	f := e.Value.(*owner).form(id, party)
	f.did = id
	f.kids++
}

// Remove takes back an Add of the same key id.
func (d *DIDs) Remove(kid string) {
	id, party := did.Base(kid), did.Canonical(kid)
	e := d.parties[party]
	o := e.Value.(*owner)
	o.form(id, party).kids--
	if o.long.kids+o.short.kids == 0 {
		d.order.Remove(e)
		delete(d.parties, party)
	}
}

// Own is envelope.Owner.Own.
func (d *DIDs) Own(id string) (string, error) {
	if e, ok := d.parties[did.Canonical(id)]; ok {
		return e.Value.(*owner).did(), nil
	}
	return "", fmt.Errorf("%w: %.200s is no DID of ours", envelope.ErrNoKey, id)
}

// First is envelope.Owner.DIDs.
func (d *DIDs) First(n int) []string {
	var ids []string
	for e := d.order.Front(); e != nil && len(ids) < n; e = e.Next() {
		ids = append(ids, e.Value.(*owner).did())
	}
	return ids
}
