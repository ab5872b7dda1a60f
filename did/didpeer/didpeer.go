// Package didpeer makes and resolves peer DIDs: identifiers that carry their own
// document, for agents that know each other and need no registry.
//
// Call [New2] for a did:peer:2 or [New4] for a did:peer:4, and
// [Resolver.Resolve] for any of them. [Short] and [SameParty] relate the two
// forms of a did:peer:4.
//
// It implements the Peer DID Method Specification (DIF), section Generation
// Method: methods 2 and 4 to create and resolve, method 0 to resolve. Methods 1
// and 3 are did.ErrUnsupported.
//
// What is written follows the current text of the specification. What is read
// includes what older libraries write: see [Resolver] for keys and services.
package didpeer

import (
	"context"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/internal/peer4"
)

const (
	prefix = "did:peer:"

	// MaxLength is the longest peer DID that is made or resolved, in bytes.
	// The document repeats the DID for each key, so it has to be modest; a
	// usual did:peer:2 has 300 to 1300 bytes.
	MaxLength = peer4.MaxLength
	// MaxElements is the largest number of keys, and of services, that a
	// did:peer:2 may hold.
	MaxElements = 32
	// DefaultMaxBytes is what a Resolver keeps of long forms unless told
	// otherwise, in bytes: about 3000 of a usual did:peer:4.
	DefaultMaxBytes = 4 << 20
)

// Resolver resolves peer DIDs (methods 0, 2 and 4). The zero value works. It
// may be used from several goroutines.
//
// The short form of a did:peer:4 does not hold the document, so Resolve needs the
// long form too. The Resolver keeps in memory each long form that it resolves, up
// to MaxBytes. For a short form whose long form is not in memory, Resolve calls
// LongForm. Without LongForm, such a short form is did.ErrNotFound.
//
// A document made from a did:peer:2 has key ids #key-1, #key-2 ... in the order
// of the DID, of type Multikey. Document.Method also finds a key under the
// fragments that earlier texts of the specification and libraries used: #z6LS...,
// #6LS... and its first eight characters, #6LSbysY2. A service is read with
// abbreviated or full names, as an object or a list of them, with the endpoint
// nested or as a string beside its routing keys, in base64url with or without
// padding. In a did:peer:4, Document.Method takes ids under the long and the
// short form.
type Resolver struct {
	// MaxBytes bounds the memory for long forms, in bytes. The least recently used
	// ones are dropped first. 0 means DefaultMaxBytes. Set it before use.
	MaxBytes int
	// LongForm, if not nil, is asked for the long form of a did:peer:4 in short form
	// that is not in memory, such as a long form that a store has kept. It returns ""
	// if it knows none. An error means that the lookup failed and may succeed later,
	// so it must not match an error of package did. Resolve may call LongForm from
	// several goroutines at the same time. Set it before use.
	LongForm func(ctx context.Context, short string) (string, error)

	seen seen
}

var _ did.Resolver = (*Resolver)(nil)

// NewResolver returns a Resolver with default limits.
func NewResolver() *Resolver { return &Resolver{} }

// Resolve makes the document of a peer DID from the DID itself. It does no I/O,
// except that it may call LongForm. Errors match
//   - did.ErrInvalid if the DID breaks its grammar, has a wrong hash, or exceeds a
//     limit;
//   - did.ErrNotFound if the DID is a short form whose long form is not known;
//   - did.ErrUnsupported if the numalgo or a key type is not supported;
//   - did.ErrMethod if the DID has another method.
//
// An error of LongForm is wrapped. A long form from LongForm whose hash is wrong is
// an error that matches none of these, because the DID is not at fault.
func (r *Resolver) Resolve(ctx context.Context, id string) (*did.Document, error) {
	rest, ok := strings.CutPrefix(id, prefix)
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: %q is no peer did", did.ErrMethod, clip(id))
	case rest == "" || strings.ContainsAny(rest, "/?#"):
		return nil, fmt.Errorf("%w: peer did %q", did.ErrInvalid, clip(id))
	case len(id) > MaxLength:
		return nil, fmt.Errorf("%w: peer did of %d bytes, more than %d", did.ErrInvalid, len(id), MaxLength)
	}
	var doc *did.Document
	var err error
	switch numalgo := rest[0]; numalgo {
	case '0':
		doc, err = resolve0(ctx, id)
	case '2':
		doc, err = resolve2(id)
	case '4':
		doc, err = r.resolve4(ctx, id)
	case '1', '3', '5', '6', '7', '8', '9':
		err = fmt.Errorf("%w: peer did with numalgo %c", did.ErrUnsupported, numalgo)
	default:
		err = fmt.Errorf("%w: peer did without numalgo", did.ErrInvalid)
	}
	if err != nil {
		return nil, fmt.Errorf("did:peer: %w", err)
	}
	return doc, nil
}

// resolve0 takes the document of the equivalent did:key ("functionally
// equivalent", section Method 0) under the peer DID's name.
func resolve0(ctx context.Context, id string) (*did.Document, error) {
	key := id[len(prefix)+1:]
	if !strings.HasPrefix(key, "z") {
		return nil, fmt.Errorf("%w: key is not base58btc multibase", did.ErrInvalid)
	}
	equivalent, err := didkey.Resolver{}.Resolve(ctx, "did:key:"+key)
	if err != nil {
		return nil, err
	}
	text, err := equivalent.MarshalJSON()
	if err != nil {
		return nil, err
	}
	doc, err := did.ParseDocument([]byte(strings.ReplaceAll(string(text), "did:key:"+key, id)))
	if err != nil {
		return nil, err
	}
	for i := range doc.VerificationMethod {
		m := &doc.VerificationMethod[i]
		if _, fragment, ok := strings.Cut(m.ID, "#"); ok {
			addKeyAliases(doc, m.ID, fragment)
		}
	}
	return doc, nil
}

// addKeyAliases indexes a method under the fragments that older libraries give
// a key: its multibase string, that without the "z", and eight characters of it.
func addKeyAliases(doc *did.Document, id, multibase string) {
	key, ok := strings.CutPrefix(multibase, "z")
	if !ok {
		return
	}
	doc.AddAlias("#z"+key, id)
	doc.AddAlias("#"+key, id)
	if len(key) > shortFragment {
		doc.AddAlias("#"+key[:shortFragment], id)
	}
}

// shortFragment is the number of characters of a key that the SICPA libraries
// use as its fragment.
const shortFragment = 8

// clip keeps an error readable and bounded.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
