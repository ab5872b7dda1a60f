package did

import (
	"fmt"
	"slices"
	"strings"
)

// index is what a document's users ask for, worked out once.
type index struct {
	methods        map[string]*VerificationMethod // by localID
	keyAgreement   []*VerificationMethod
	authentication []*VerificationMethod
	endpoints      []Endpoint
}

// Index completes a document that was built by hand or changed, before it is
// shared: it resolves relative ids, parses keys, and prepares the look-ups. It
// drops aliases. An id that is not a DID, two different methods of one id, and
// too many of anything are ErrInvalid.
func (d *Document) Index() error {
	if _, err := Parse(d.ID); err != nil {
		return fmt.Errorf("document id: %w", err)
	}
	ix, err := d.buildIndex()
	if err != nil {
		return err
	}
	d.index = ix
	return nil
}

func (d *Document) relationships() [5][]Relationship {
	return [...][]Relationship{d.Authentication, d.AssertionMethod, d.KeyAgreement, d.CapabilityInvocation, d.CapabilityDelegation}
}

func (d *Document) buildIndex() (*index, error) {
	n := len(d.VerificationMethod)
	for _, relationship := range d.relationships() {
		if len(relationship) > maxRelations {
			return nil, fmt.Errorf("%w: more than %d entries in a verification relationship", ErrInvalid, maxRelations)
		}
		for i := range relationship {
			if relationship[i].Embedded != nil {
				n++
			}
		}
	}
	if n > maxMethods {
		return nil, fmt.Errorf("%w: more than %d verification methods", ErrInvalid, maxMethods)
	}
	if len(d.Service) > maxServices {
		return nil, fmt.Errorf("%w: more than %d services", ErrInvalid, maxServices)
	}
	endpoints := 0
	for i := range d.Service {
		if endpoints += len(d.Service[i].Endpoints); endpoints > maxEndpoints {
			return nil, fmt.Errorf("%w: more than %d endpoints", ErrInvalid, maxEndpoints)
		}
	}
	ix := &index{methods: make(map[string]*VerificationMethod, n)}
	for i := range d.VerificationMethod {
		if err := ix.add(d, &d.VerificationMethod[i]); err != nil {
			return nil, err
		}
	}
	for _, relationship := range d.relationships() {
		for i := range relationship {
			r := &relationship[i]
			if r.Embedded == nil {
				r.ID, r.wireID = d.resolveID(r.ID, r.wireID)
				continue
			}
			if err := ix.add(d, r.Embedded); err != nil {
				return nil, err
			}
			r.ID = r.Embedded.ID
		}
	}
	ix.keyAgreement = ix.resolve(d, d.KeyAgreement)
	ix.authentication = ix.resolve(d, d.Authentication)
	for i := range d.Service {
		s := &d.Service[i]
		s.ID, s.wireID = d.resolveID(s.ID, s.wireID)
		if s.isDIDComm() {
			for _, e := range s.Endpoints {
				if e.URI != "" {
					ix.endpoints = append(ix.endpoints, e)
				}
			}
		}
	}
	return ix, nil
}

// add takes a method in, its key parsed. DID Core 1.0, section 5.2, forbids two
// methods of one id; the same method embedded twice does no harm.
func (ix *index) add(d *Document, m *VerificationMethod) error {
	if m.ID == "" {
		return fmt.Errorf("%w: verification method without id", ErrInvalid)
	}
	m.ID, m.wireID = d.resolveID(m.ID, m.wireID)
	m.parsed = m.parse()
	local := d.localID(m.ID)
	if have := ix.methods[local]; have == nil {
		ix.methods[local] = m
	} else if !have.sameMaterial(m) {
		return fmt.Errorf("%w: two verification methods %s", ErrInvalid, abbreviate(m.ID))
	}
	return nil
}

// resolve gives the methods of a relationship. A reference to a method that the
// document does not have is passed over.
func (ix *index) resolve(d *Document, relationship []Relationship) []*VerificationMethod {
	methods := make([]*VerificationMethod, 0, len(relationship))
	for _, r := range relationship {
		if r.Embedded != nil {
			methods = append(methods, r.Embedded)
		} else if m := ix.methods[d.localID(r.ID)]; m != nil {
			methods = append(methods, m)
		}
	}
	return methods
}

// resolveID makes an id absolute and keeps how it was written.
func (d *Document) resolveID(id, relative string) (string, string) {
	if abs := absolute(d.ID, id); abs != id {
		return abs, id
	}
	return id, relative
}

// localID cuts the document's own DID off an id, so that the absolute and the
// relative form of it are one key.
func (d *Document) localID(id string) string {
	if rest, ok := strings.CutPrefix(id, d.ID); ok && rest != "" && strings.IndexByte("#?/", rest[0]) >= 0 {
		return rest
	}
	return id
}

// indexed gives the index, made anew for each call on a document that nobody
// indexed: storing it would race.
func (d *Document) indexed() *index {
	if d.index != nil {
		return d.index
	}
	ix, err := d.clone().buildIndex()
	if err != nil {
		return &index{}
	}
	return ix
}

// clone copies what buildIndex writes to.
func (d *Document) clone() *Document {
	c := *d
	c.VerificationMethod = slices.Clone(d.VerificationMethod)
	c.Service = slices.Clone(d.Service)
	for _, relationship := range []*[]Relationship{&c.Authentication, &c.AssertionMethod, &c.KeyAgreement, &c.CapabilityInvocation, &c.CapabilityDelegation} {
		*relationship = slices.Clone(*relationship)
		for i := range *relationship {
			if r := &(*relationship)[i]; r.Embedded != nil {
				m := *r.Embedded
				r.Embedded = &m
			}
		}
	}
	return &c
}

// AddAlias makes [Document.Method] find the method id (absolute or relative) by
// another DID URL or fragment too: a DID method's older ways to name a key. It
// reports whether the document has that method; a name that is taken stays. Call
// it after Index or ParseDocument, and before the document is shared.
func (d *Document) AddAlias(alias, id string) bool {
	m, ok := d.Method(id)
	if !ok || d.index == nil {
		return false
	}
	if local := d.localID(alias); d.index.methods[local] == nil {
		d.index.methods[local] = m
	}
	return true
}

// Method finds a verification method, embedded ones included, by its DID URL,
// absolute or relative to the document, or by an alias of it.
func (d *Document) Method(id string) (*VerificationMethod, bool) {
	m, ok := d.indexed().methods[d.localID(id)]
	return m, ok
}

// KeyAgreementKeys are the methods of keyAgreement in the document's order,
// references resolved. The slice is shared; some of its keys may be unusable.
func (d *Document) KeyAgreementKeys() []*VerificationMethod { return d.indexed().keyAgreement }

// AuthenticationKeys are the methods of authentication, as KeyAgreementKeys.
func (d *Document) AuthenticationKeys() []*VerificationMethod { return d.indexed().authentication }

// DIDCommServices are the endpoints of all services of type DIDCommMessaging, in
// the document's order. The slice is shared.
func (d *Document) DIDCommServices() []Endpoint { return d.indexed().endpoints }
