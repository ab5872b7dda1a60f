// Package owned implements envelope.Owner and envelope.KeyFinder for keyrings: an index of the
// DIDs that key ids belong to, and an index of the public keys. Each operation takes the same
// time with few and with many DIDs. Only Keys.Remove takes longer if many DIDs have the same key.
package owned

import (
	"container/list"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// DIDs is a set of key ids, seen as the DIDs that they belong to. The zero value is empty.
// DIDs has no lock.
type DIDs struct {
	order   list.List                // of *owner, in the order of their first key ids
	parties map[string]*list.Element // by did.Canonical
}

// owner is a DID of ours. The key ids of a did:peer:4 can have its long or its short form. Any
// other DID has a single form, which is kept as the short one.
type owner struct{ long, short form }

// form is a form of a DID, and the number of key ids with that form.
type form struct {
	did  string
	kids int
}

// did returns the long form if there is a key id with that form, because the long form of a
// did:peer:4 always resolves. Otherwise it returns the short form.
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

// Add adds a key id, which must not be in the set.
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

// Remove removes a key id, which must be in the set.
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

// Own implements the method Own of envelope.Owner.
func (d *DIDs) Own(id string) (string, error) {
	if e, ok := d.parties[did.Canonical(id)]; ok {
		return e.Value.(*owner).did(), nil
	}
	return "", fmt.Errorf("%w: %.200s is no DID of ours", envelope.ErrNoKey, id)
}

// First implements the method DIDs of envelope.Owner.
func (d *DIDs) First(n int) []string {
	var ids []string
	for e := d.order.Front(); e != nil && len(ids) < n; e = e.Next() {
		ids = append(ids, e.Value.(*owner).did())
	}
	return ids
}
