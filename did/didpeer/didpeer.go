// Package didpeer makes and resolves peer DIDs (did:peer). A peer DID contains its
// own document, so agents that know each other need no registry.
//
// Call [New2] to make a did:peer:2, or [New4] to make a did:peer:4. Call
// [Resolver.Resolve] to get the document of a peer DID. [Short] and [SameParty]
// relate the long and the short form of a did:peer:4.
//
// The package implements the Peer DID Method Specification (DIF), section Generation
// Method:
//   - methods 2 and 4 to make and to resolve DIDs;
//   - method 0 to resolve DIDs;
//   - methods 1 and 3 not at all (did.ErrUnsupported).
//
// New DIDs follow the current text of the specification. The [Resolver] also accepts
// the DIDs of older libraries.
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

	// MaxLength is the length of the longest peer DID that is made or resolved, in
	// bytes. The limit is low because the document repeats the DID for each key. A
	// usual did:peer:2 has 300 to 1300 bytes.
	MaxLength = peer4.MaxLength
	// MaxElements is the largest number of keys in a did:peer:2, and the largest
	// number of services.
	MaxElements = 32
	// DefaultMaxBytes is the default of Resolver.MaxBytes, in bytes. About 3000 usual
	// long forms fit.
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
// The keys in the document of a did:peer:2 have the type Multikey and the ids #key-1,
// #key-2 and so on, in the order of the DID. [did.Document.Method] also finds a key
// under the fragments of earlier specifications and libraries: #z6LSbysY2... (the
// key), #6LSbysY2... (without "z"), and #6LSbysY2 (only eight characters).
//
// A service in a did:peer:2 may have any of these forms of older libraries:
//   - an object, or a list of objects;
//   - abbreviated or full member names;
//   - the endpoint as an object, or as a string beside its routing keys;
//   - base64url with or without padding.
//
// In the document of a did:peer:4, [did.Document.Method] accepts key ids that start
// with the long form and key ids that start with the short form.
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
		return nil, fmt.Errorf("%w: %q is not a peer did", did.ErrMethod, clip(id))
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

// resolve0 returns the document of the "functionally equivalent" did:key (section
// Method 0), with the peer DID in place of the did:key.
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

// addKeyAliases adds the fragments that older libraries give to a key: its multibase
// string, the same without the "z", and the first eight characters of the latter.
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

// clip bounds the length of a peer's DID in errors.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
