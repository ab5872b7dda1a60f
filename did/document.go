package did

import (
	stdjson "encoding/json"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Limits of ParseDocument.
const (
	maxDocumentBytes = 1 << 20
	maxDocumentDepth = 32  // nesting of objects and arrays
	maxMethods       = 256 // verification methods, embedded ones included
	maxRelations     = 256 // entries of one verification relationship
	maxServices      = 256
	maxEndpoints     = 256 // of all services together, because a sender tries them one by one
)

// Document is a DID document (DID Core 1.0, section 5). A document that a resolver
// returned is shared, so treat it as read-only. To build a document, fill in the
// exported fields and call [Document.Index].
type Document struct {
	Context              stdjson.RawMessage // JSON value of @context as received; nil if absent
	ID                   string             // a DID
	AlsoKnownAs          []string
	Controller           []string
	VerificationMethod   []VerificationMethod
	Authentication       []Relationship
	AssertionMethod      []Relationship
	KeyAgreement         []Relationship
	CapabilityInvocation []Relationship
	CapabilityDelegation []Relationship
	Service              []Service
	Extra                map[string]stdjson.RawMessage // members that DID Core 1.0 does not name

	controllerList bool // controller was an array in the JSON
	size           int  // bytes of the JSON that was parsed; 0 for a document that was built
	index          *index
}

type wireDocument struct {
	Context              stdjson.RawMessage            `json:"@context,omitzero"`
	ID                   string                        `json:"id"`
	AlsoKnownAs          []string                      `json:"alsoKnownAs,omitzero"`
	Controller           oneOrMany                     `json:"controller,omitzero"`
	VerificationMethod   []VerificationMethod          `json:"verificationMethod,omitzero"`
	Authentication       []Relationship                `json:"authentication,omitzero"`
	AssertionMethod      []Relationship                `json:"assertionMethod,omitzero"`
	KeyAgreement         []Relationship                `json:"keyAgreement,omitzero"`
	CapabilityInvocation []Relationship                `json:"capabilityInvocation,omitzero"`
	CapabilityDelegation []Relationship                `json:"capabilityDelegation,omitzero"`
	Service              []Service                     `json:"service,omitzero"`
	Extra                map[string]stdjson.RawMessage `json:",embed"`
}

// ParseDocument parses the JSON representation of a document, and indexes it as
// [Document.Index] does. The error matches ErrInvalid if the JSON
//   - is longer than 1 MiB, is nested deeper than 32 levels, or has a duplicate
//     member name;
//   - has an id that is not a DID;
//   - has more than 256 verification methods, 256 services, 256 endpoints in all
//     services together, or 256 entries in one verification relationship;
//   - has a verification method without id, or two different ones with the same id.
//
// A malformed key does not make the document invalid. The error comes from
// [VerificationMethod.PublicKey] of that key.
func ParseDocument(data []byte) (*Document, error) {
	if len(data) > maxDocumentBytes {
		return nil, fmt.Errorf("%w: document of %d bytes, more than %d", ErrInvalid, len(data), maxDocumentBytes)
	}
	if tooDeep(data, maxDocumentDepth) {
		return nil, fmt.Errorf("%w: document nested deeper than %d", ErrInvalid, maxDocumentDepth)
	}
	var w wireDocument
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%w: document: %w", ErrInvalid, err)
	}
	d := &Document{
		Context: w.Context, ID: w.ID, AlsoKnownAs: w.AlsoKnownAs, Controller: w.Controller.list,
		VerificationMethod: w.VerificationMethod,
		Authentication:     w.Authentication, AssertionMethod: w.AssertionMethod, KeyAgreement: w.KeyAgreement,
		CapabilityInvocation: w.CapabilityInvocation, CapabilityDelegation: w.CapabilityDelegation,
		Service: w.Service, Extra: w.Extra,
		controllerList: w.Controller.array, size: len(data),
	}
	if err := d.Index(); err != nil {
		return nil, err
	}
	return d, nil
}

// UnmarshalJSON parses a document with the limits and errors of [ParseDocument].
func (d *Document) UnmarshalJSON(data []byte) error {
	parsed, err := ParseDocument(data)
	if err != nil {
		return err
	}
	*d = *parsed
	return nil
}

// MarshalJSON writes the document in the JSON representation of DID Core 1.0,
// section 6.2. Relative ids, the shapes of services, and unknown members are
// written as they were received.
func (d *Document) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireDocument{
		Context: d.Context, ID: d.ID, AlsoKnownAs: d.AlsoKnownAs, Controller: oneOrMany{d.Controller, d.controllerList},
		VerificationMethod: d.VerificationMethod,
		Authentication:     d.Authentication, AssertionMethod: d.AssertionMethod, KeyAgreement: d.KeyAgreement,
		CapabilityInvocation: d.CapabilityInvocation, CapabilityDelegation: d.CapabilityDelegation,
		Service: d.Service, Extra: d.Extra,
	}, json.Deterministic(true))
}

// tooDeep reports whether JSON nests deeper than limit. It only counts brackets
// outside of strings, which costs less than any parser. The parser finds other
// errors.
func tooDeep(data []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
