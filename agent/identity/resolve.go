package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/lru"
)

// methods are the DIDs whose documents follow from them.
func methods(longForm func(ctx context.Context, short string) (string, error)) did.Methods {
	return did.Methods{
		"jwk":  didjwk.Resolver{},
		"key":  didkey.Resolver{},
		"peer": &didpeer.Resolver{MaxBytes: 1, LongForm: longForm},
	}
}

// followsFromDID tells whether the document of a DID follows from it.
func followsFromDID(id string) bool {
	for _, prefix := range []string{"did:jwk:", "did:key:", "did:peer:"} {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	return false
}

// longForm is the long form of a did:peer:4 of ours.
func (s *Set) longForm(_ context.Context, short string) (string, error) {
	if e := s.look(short); e != nil {
		return e.did, nil
	}
	return "", nil
}

// maxDocuments is how many documents a Set keeps ready.
const maxDocuments = 1000

// documents are those that were used last.
type documents struct {
	mu   sync.Mutex
	kept lru.Map[string, versioned] // guarded by mu; by the DID as it was asked for
}

type versioned struct {
	doc     *did.Document
	version uint64 // of the record
}

func (d *documents) get(id string, version uint64) *did.Document {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.kept.Get(id); ok && v.version == version {
		return v.doc
	}
	return nil
}

func (d *documents) put(id string, version uint64, doc *did.Document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept.Put(id, versioned{doc, version})
	if d.kept.Len() > maxDocuments {
		d.kept.RemoveOldest()
	}
}

// Resolve returns the document of a DID of ours, as long as its keys work. The document of
// the short form of a did:peer:4 has that as its id. Errors: did.ErrNotFound for the DIDs
// of others; those of the records.
func (s *Set) Resolve(ctx context.Context, id string) (*did.Document, error) {
	e, err := s.resolvable(ctx, id)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, notOurs(id)
	}
	if doc := s.docs.get(id, e.version); doc != nil {
		return doc, nil
	}
	if followsFromDID(id) {
		doc, err := s.methods.Resolve(ctx, id)
		if err == nil {
			s.docs.put(e.form(id), e.version, doc)
		}
		return doc, err
	}
	r, err := s.cfg.Records.Get(ctx, collection, e.did)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notOurs(id)
	}
	if err != nil {
		return nil, fmt.Errorf("document of %.200s: %w", id, err)
	}
	kept, err := parseStored(r)
	if err != nil {
		return nil, err
	}
	if kept.Removed {
		return nil, notOurs(id)
	}
	doc, err := did.ParseDocument(kept.Document)
	if err != nil {
		return nil, fmt.Errorf("record of %.200s: %w", id, err)
	}
	s.docs.put(e.did, r.Version, doc)
	return doc, nil
}

// resolvable is find for Resolve, which is asked for the DIDs of others, too. What they
// say themselves is not looked for in the records.
func (s *Set) resolvable(ctx context.Context, id string) (*entry, error) {
	if followsFromDID(id) && s.look(id) == nil && !isShort4(id) {
		return nil, nil
	}
	return s.find(ctx, id)
}

func isShort4(id string) bool { return isPeer4(id) && strings.Count(id, ":") == 2 }

// form is id, which is one of the forms of the DID, in the memory of the entry.
func (e *entry) form(id string) string { return e.did[:len(id)] }

func notOurs(id string) error { return fmt.Errorf("%w: %.200s is not ours", did.ErrNotFound, id) }

// Resolve returns the document if id is the DID. Otherwise the error matches
// did.ErrNotFound.
func (id *Identity) Resolve(_ context.Context, other string) (*did.Document, error) {
	if other != id.doc.ID {
		return nil, notOurs(other)
	}
	return id.doc, nil
}

// Before resolves by own, a Set or an Identity, and what is did.ErrNotFound there by next.
// So our own did:web documents need no network. If next is a did.Cache, its Refresh is
// there too.
func Before(own, next did.Resolver) did.Resolver { return &ownFirst{own, next} }

type ownFirst struct{ own, next did.Resolver }

var _ did.Resolver = (*ownFirst)(nil)

func (b *ownFirst) Resolve(ctx context.Context, id string) (*did.Document, error) {
	doc, err := b.own.Resolve(ctx, id)
	if errors.Is(err, did.ErrNotFound) {
		return b.next.Resolve(ctx, id)
	}
	return doc, err
}

// Refresh is asked for by envelope.Packer.Refresh.
func (b *ownFirst) Refresh(ctx context.Context, id string) (*did.Document, error) {
	doc, err := b.own.Resolve(ctx, id)
	if !errors.Is(err, did.ErrNotFound) {
		return doc, err
	}
	if r, ok := b.next.(interface {
		Refresh(ctx context.Context, id string) (*did.Document, error)
	}); ok {
		return r.Refresh(ctx, id)
	}
	return b.next.Resolve(ctx, id)
}
