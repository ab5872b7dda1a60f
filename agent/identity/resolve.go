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

// methods returns the resolvers of methods where the document follows from the DID.
func methods(longForm func(ctx context.Context, short string) (string, error)) did.Methods {
	return did.Methods{
		"jwk":  didjwk.Resolver{},
		"key":  didkey.Resolver{},
		"peer": &didpeer.Resolver{MaxBytes: 1, LongForm: longForm},
	}
}

// followsFromDID reports whether the document of a DID follows from the DID.
func followsFromDID(id string) bool {
	for _, prefix := range []string{"did:jwk:", "did:key:", "did:peer:"} {
		if strings.HasPrefix(id, prefix) {
			return true
		}
	}
	return false
}

// longForm returns the long form of a did:peer:4 of ours.
func (s *Set) longForm(_ context.Context, short string) (string, error) {
	if e := s.look(short); e != nil {
		return e.did, nil
	}
	return "", nil
}

// maxDocuments is the number of documents that a Set holds in memory.
const maxDocuments = 1000

// documents holds the documents that were used most recently.
type documents struct {
	mu   sync.Mutex
	kept lru.Map[string, versioned] // guarded by mu; by the form of the DID that was resolved
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

// Resolve returns the document of a DID of ours, until the identity ends (see Set.Retire). id
// may be the long or the short form of a did:peer:4; the document has the same form as its id.
// The error matches did.ErrNotFound for other DIDs. Other errors are those of the records.
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

// resolvable is find for Resolve. Resolve is asked for the DIDs of peers too, most of which
// any resolver can resolve without the Set. For these it does not read records.
func (s *Set) resolvable(ctx context.Context, id string) (*entry, error) {
	if followsFromDID(id) && s.look(id) == nil && !isShort4(id) {
		return nil, nil
	}
	return s.find(ctx, id)
}

func isShort4(id string) bool { return isPeer4(id) && strings.Count(id, ":") == 2 }

// form returns id, which is a form of the DID, as a part of the DID. It saves memory.
func (e *entry) form(id string) string { return e.did[:len(id)] }

func notOurs(id string) error { return fmt.Errorf("%w: %.200s is not ours", did.ErrNotFound, id) }

// Resolve returns the document if other is the DID. Otherwise the error matches
// did.ErrNotFound.
func (id *Identity) Resolve(_ context.Context, other string) (*did.Document, error) {
	if other != id.doc.ID {
		return nil, notOurs(other)
	}
	return id.doc, nil
}

// Before returns a resolver that asks own, a Set or an Identity, before next. It asks next only
// for DIDs that are did.ErrNotFound in own, so our own did:web documents need no network. The
// resolver is a did.Refresher, which calls Refresh of next if next is a did.Refresher too.
func Before(own, next did.Resolver) did.Resolver { return &ownFirst{own, next} }

type ownFirst struct{ own, next did.Resolver }

var _ did.Refresher = (*ownFirst)(nil)

func (b *ownFirst) Resolve(ctx context.Context, id string) (*did.Document, error) {
	doc, err := b.own.Resolve(ctx, id)
	if errors.Is(err, did.ErrNotFound) {
		return b.next.Resolve(ctx, id)
	}
	return doc, err
}

// Refresh is called by envelope.Packer.Refresh.
func (b *ownFirst) Refresh(ctx context.Context, id string) (*did.Document, error) {
	doc, err := b.own.Resolve(ctx, id)
	if !errors.Is(err, did.ErrNotFound) {
		return doc, err
	}
	if r, ok := b.next.(did.Refresher); ok {
		return r.Refresh(ctx, id)
	}
	return b.next.Resolve(ctx, id)
}
