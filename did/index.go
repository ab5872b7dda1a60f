package did

import (
	"fmt"
	"slices"
	"strings"
)

// index holds the results of Document's look-up methods.
type index struct {
	methods        map[string]*VerificationMethod // by localID
	keyAgreement   []*VerificationMethod
	authentication []*VerificationMethod
	endpoints      []Endpoint
}

// Index completes a document that was built from its fields, or whose fields were
// changed. It makes relative ids absolute, parses the keys, prepares the look-up
// methods, and drops all aliases. Call it before the document is shared. The error
// matches ErrInvalid if the document's id is not a DID, if a verification method has
// no id or the same id as a different one, or if the document exceeds a limit of
// [ParseDocument].
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

// add parses a method's key and indexes the method. DID Core 1.0, section 5.2,
// forbids two methods with the same id. A method that is merely repeated is
// accepted.
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

// resolve returns the methods of a relationship. It skips a reference to a method
// that the document does not have.
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

// resolveID returns the absolute form of an id, and the relative form if the id was
// written so.
func (d *Document) resolveID(id, relative string) (string, string) {
	if abs := absolute(d.ID, id); abs != id {
		return abs, id
	}
	return id, relative
}

// localID removes the document's own DID from an id, so that its absolute and
// relative form are the same key of the index.
func (d *Document) localID(id string) string {
	if rest, ok := strings.CutPrefix(id, d.ID); ok && rest != "" && strings.IndexByte("#?/", rest[0]) >= 0 {
		return rest
	}
	return id
}

// indexed returns the index. For a document that was not indexed, each call builds
// a new index, because storing it would be a data race.
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

// clone copies the parts of a document that buildIndex writes to.
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

// AddAlias makes [Document.Method] find the verification method with the given id
// under another DID URL or fragment too. Resolvers use it for the names that older
// versions of a DID method gave to a key. The id may be absolute or relative. A name
// that already finds a method is not changed. AddAlias reports whether the document
// is indexed and has a method with that id. Call it after [Document.Index] or
// [ParseDocument], and before the document is shared.
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

// Method finds a verification method by its DID URL, which may be absolute or
// relative to the document, or by an alias. It also finds methods that are embedded
// in a verification relationship.
func (d *Document) Method(id string) (*VerificationMethod, bool) {
	m, ok := d.indexed().methods[d.localID(id)]
	return m, ok
}

// KeyAgreementKeys returns the verification methods under keyAgreement, both
// embedded and referenced ones, in the document's order. The slice is shared, so
// treat it as read-only. Some of the keys may be unusable: their
// [VerificationMethod.PublicKey] returns an error.
func (d *Document) KeyAgreementKeys() []*VerificationMethod { return d.indexed().keyAgreement }

// AuthenticationKeys returns the verification methods under authentication, in the
// way of [Document.KeyAgreementKeys].
func (d *Document) AuthenticationKeys() []*VerificationMethod { return d.indexed().authentication }

// DIDCommServices returns the endpoints of all services of type
// [TypeDIDCommMessaging], in the document's order. Endpoints without a URI are left
// out. The slice is shared, so treat it as read-only.
func (d *Document) DIDCommServices() []Endpoint { return d.indexed().endpoints }
