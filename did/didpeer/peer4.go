package didpeer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/internal/peer4"
)

const (
	prefix4 = peer4.Prefix
	// multicodecJSON is the multicodec prefix for JSON, the varint of 0x0200.
	multicodecJSON = "\x80\x04"
)

// relationships are the members of a document that hold verification methods
// or references to them.
func relationships() []string {
	return []string{"authentication", "assertionMethod", "keyAgreement", "capabilityInvocation", "capabilityDelegation"}
}

// New4 makes a did:peer:4 in long form from a document (section Method 4, Creating a
// DID). [Short] returns the short form. The document may have a placeholder as its ID,
// or none. The ID is removed: ids and references that start with it become relative,
// and a controller that is equal to it is left out. Errors match did.ErrInvalid.
func New4(doc *did.Document) (string, error) {
	text, err := doc.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("did:peer:4: %w", err)
	}
	input, err := relativize(text, doc.ID)
	if err != nil {
		return "", fmt.Errorf("did:peer:4: %w: %w", did.ErrInvalid, err)
	}
	return Encode4(input)
}

// Encode4 makes a did:peer:4 in long form from the JSON of an input document: a
// document without "id", in which all key ids are relative. The order of its members
// is kept. Most callers want [New4]. Errors match did.ErrInvalid.
func Encode4(input []byte) (string, error) {
	text := jsontext.Value(slices.Clone(input))
	if err := text.Compact(); err != nil {
		return "", fmt.Errorf("did:peer:4: %w: %w", did.ErrInvalid, err)
	}
	if text.Kind() != '{' {
		return "", fmt.Errorf("did:peer:4: %w: input document is not an object", did.ErrInvalid)
	}
	if len(text) > MaxLength {
		return "", fmt.Errorf("did:peer:4: %w: input document of %d bytes", did.ErrInvalid, len(text))
	}
	encoded := "z" + base58.Encode(append([]byte(multicodecJSON), text...))
	long := prefix4 + peer4.Hash(encoded) + ":" + encoded
	if len(long) > MaxLength {
		return "", fmt.Errorf("did:peer:4: %w: %d bytes, more than %d", did.ErrInvalid, len(long), MaxLength)
	}
	// A DID that does not resolve here would not resolve at a peer.
	if _, err := contextualize(long, long, long[:strings.LastIndexByte(long, ':')]); err != nil {
		return "", fmt.Errorf("did:peer:4: %w", err)
	}
	return long, nil
}

// cut4 returns the short form and the encoded document of a did:peer:4; encoded is ""
// for a short form. It checks the syntax, and the hash of a long form.
func cut4(id string) (short, encoded string, err error) {
	rest, ok := strings.CutPrefix(id, prefix4)
	if !ok || len(id) > MaxLength || strings.ContainsAny(rest, "/?#") {
		return "", "", fmt.Errorf("%w: %q is not a did:peer:4", did.ErrInvalid, clip(id))
	}
	hash, encoded, long := strings.Cut(rest, ":")
	if len(hash) > peer4.MaxHash || !strings.HasPrefix(hash, "z") {
		return "", "", fmt.Errorf("%w: did:peer:4 hash %q", did.ErrInvalid, clip(hash))
	}
	if long {
		if !strings.HasPrefix(encoded, "z") {
			return "", "", fmt.Errorf("%w: did:peer:4 document is not base58btc multibase", did.ErrInvalid)
		}
		if peer4.Hash(encoded) != hash {
			return "", "", fmt.Errorf("%w: did:peer:4 hash does not match its document", did.ErrInvalid)
		}
		return prefix4 + hash, encoded, nil
	}
	sum, err := base58.Decode(hash[1:])
	if err != nil || len(sum) != len(peer4.MultihashSHA256)+sha256.Size || string(sum[:2]) != peer4.MultihashSHA256 {
		return "", "", fmt.Errorf("%w: did:peer:4 hash %q", did.ErrInvalid, clip(hash))
	}
	return id, "", nil
}

// Short returns the short form of a did:peer:4 in long form. It returns false if id
// is a short form, another DID or a DID URL, or if the hash in id does not match its
// document.
func Short(id string) (string, bool) { return peer4.Short(id) }

// SameParty reports whether the text of two DIDs or DID URLs shows that they name the
// same party: their DIDs are equal, or are the long and the short form of the same
// did:peer:4. It is false for two empty strings.
func SameParty(a, b string) bool {
	a, b = did.Base(a), did.Base(b)
	if a == b {
		return a != ""
	}
	// Two different long forms cannot have the same hash, so the shorter DID has to be
	// the short form.
	if len(a) > len(b) {
		a, b = b, a
	}
	if !strings.HasPrefix(a, prefix4) || !strings.HasPrefix(b, a) || b[len(a)] != ':' {
		return false
	}
	short, ok := Short(b)
	return ok && short == a
}

// resolve4 follows section Resolving a DID of method 4.
func (r *Resolver) resolve4(ctx context.Context, id string) (*did.Document, error) {
	short, encoded, err := cut4(id)
	if err != nil {
		return nil, err
	}
	long := id
	if encoded == "" {
		if long, err = r.longForm(ctx, short); err != nil {
			return nil, err
		}
	}
	doc, err := contextualize(id, long, short)
	if err != nil {
		return nil, err
	}
	limit := r.MaxBytes
	if limit <= 0 {
		limit = DefaultMaxBytes
	}
	r.seen.put(short, long, limit)
	return doc, nil
}

// longForm finds the long form in memory, or calls LongForm. A wrong hash is not
// did.ErrInvalid, because the short form is not at fault.
func (r *Resolver) longForm(ctx context.Context, short string) (string, error) {
	if long, ok := r.seen.get(short); ok {
		return long, nil
	}
	var long string
	if r.LongForm != nil {
		var err error
		if long, err = r.LongForm(ctx, short); err != nil {
			return "", fmt.Errorf("look up the long form of %s: %w", short, err)
		}
	}
	if long == "" {
		return "", fmt.Errorf("%w: no long form of %s", did.ErrNotFound, short)
	}
	if s, ok := Short(long); !ok || s != short {
		return "", fmt.Errorf("look up the long form of %s: got %q, which has another hash", short, clip(long))
	}
	return long, nil
}

// contextualize returns the document for id, which is either the long or the short
// form.
func contextualize(id, long, short string) (*did.Document, error) {
	encoded := long[len(short)+1:]
	text, err := base58.Decode(encoded[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: did:peer:4 document: %w", did.ErrInvalid, err)
	}
	text, ok := bytes.CutPrefix(text, []byte(multicodecJSON))
	if !ok {
		return nil, fmt.Errorf("%w: did:peer:4 document lacks the multicodec prefix of json", did.ErrInvalid)
	}
	other := long
	if id == long {
		other = short
	}
	text, err = contextualized(text, id, other)
	if err != nil {
		return nil, fmt.Errorf("%w: did:peer:4 document: %w", did.ErrInvalid, err)
	}
	doc, err := did.ParseDocument(text)
	if err != nil {
		return nil, err
	}
	alias := func(m *did.VerificationMethod) {
		if fragment, ok := strings.CutPrefix(m.ID, id); ok {
			doc.AddAlias(other+fragment, m.ID)
		}
	}
	for i := range doc.VerificationMethod {
		alias(&doc.VerificationMethod[i])
	}
	for _, list := range [][]did.Relationship{doc.Authentication, doc.AssertionMethod, doc.KeyAgreement, doc.CapabilityInvocation, doc.CapabilityDelegation} {
		for _, r := range list {
			if r.Embedded != nil {
				alias(r.Embedded)
			}
		}
	}
	return doc, nil
}

// contextualized adds the id, the other form (under alsoKnownAs) and missing
// controllers to an input document.
func contextualized(text []byte, id, other string) ([]byte, error) {
	var doc map[string]jsontext.Value
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, fmt.Errorf("not an object")
	}
	quotedID, err := json.Marshal(id)
	if err != nil {
		return nil, err
	}
	doc["id"] = quotedID

	var known []string
	if raw, ok := doc["alsoKnownAs"]; ok && raw.Kind() != 'n' {
		if err := json.Unmarshal(raw, &known); err != nil {
			return nil, fmt.Errorf("alsoKnownAs: %w", err)
		}
	}
	if !slices.Contains(known, other) {
		known = append(known, other)
	}
	if doc["alsoKnownAs"], err = json.Marshal(known); err != nil {
		return nil, err
	}

	err = eachMethod(doc, func(m map[string]jsontext.Value) error {
		if _, ok := m["controller"]; !ok {
			m["controller"] = quotedID
		}
		// With an absolute id, a document could claim the key id of another DID.
		var methodID string
		if err := json.Unmarshal(m["id"], &methodID); err != nil || strings.HasPrefix(methodID, "did:") {
			return fmt.Errorf("verification method without relative id")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return json.Marshal(doc, json.Deterministic(true))
}

// eachMethod calls change on every verification method of a document, including the
// embedded ones, and stores the result. References are not changed.
func eachMethod(doc map[string]jsontext.Value, change func(map[string]jsontext.Value) error) error {
	for _, name := range append(relationships(), "verificationMethod") {
		raw, ok := doc[name]
		if !ok || raw.Kind() != '[' {
			continue
		}
		var list []jsontext.Value
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
		for i, entry := range list {
			if entry.Kind() != '{' {
				continue
			}
			var m map[string]jsontext.Value
			if err := json.Unmarshal(entry, &m); err != nil {
				return err
			}
			err := change(m)
			if err == nil {
				list[i], err = json.Marshal(m, json.Deterministic(true))
			}
			if err != nil {
				return err
			}
		}
		changed, err := json.Marshal(list)
		if err != nil {
			return err
		}
		doc[name] = changed
	}
	return nil
}

// relativize turns a document with the given id into an input document.
func relativize(text []byte, id string) ([]byte, error) {
	var doc map[string]jsontext.Value
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	delete(doc, "id")
	err := eachMethod(doc, func(m map[string]jsontext.Value) error {
		var controller string
		if err := json.Unmarshal(m["controller"], &controller); err == nil && controller == id {
			delete(m, "controller")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out, err := json.Marshal(doc, json.Deterministic(true))
	if err != nil || id == "" {
		return out, err
	}
	return bytes.ReplaceAll(out, []byte(`"`+id+`#`), []byte(`"#`)), nil
}
