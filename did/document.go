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
	maxEndpoints     = 256 // of all services together: a sender tries them one by one
)

// Document is a DID document (DID Core 1.0, section 5). One that came from
// ParseDocument or a resolver is shared: treat it as read-only. Who builds one
// fills the fields and calls [Document.Index].
type Document struct {
	Context              stdjson.RawMessage // value of @context as received, nil if absent
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

	controllerList bool // controller came as an array
	size           int  // bytes of the JSON it came from
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

// ParseDocument reads a document: at most 1 MiB of JSON, nested at most 32 deep,
// with at most 256 verification methods, services, endpoints of all services and
// entries of a relationship, no member named twice, and a DID as id. What breaks
// that is ErrInvalid. A key that does not parse makes only its own method
// unusable: [VerificationMethod.PublicKey] tells why.
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

// UnmarshalJSON is ParseDocument.
func (d *Document) UnmarshalJSON(data []byte) error {
	parsed, err := ParseDocument(data)
	if err != nil {
		return err
	}
	*d = *parsed
	return nil
}

// MarshalJSON writes the document in the JSON form of DID Core 1.0, section 6.2;
// relative ids, the shapes of services and unknown members as they were received.
func (d *Document) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireDocument{
		Context: d.Context, ID: d.ID, AlsoKnownAs: d.AlsoKnownAs, Controller: oneOrMany{d.Controller, d.controllerList},
		VerificationMethod: d.VerificationMethod,
		Authentication:     d.Authentication, AssertionMethod: d.AssertionMethod, KeyAgreement: d.KeyAgreement,
		CapabilityInvocation: d.CapabilityInvocation, CapabilityDelegation: d.CapabilityDelegation,
		Service: d.Service, Extra: d.Extra,
	}, json.Deterministic(true))
}

// tooDeep tells whether JSON nests deeper than limit. It looks at brackets
// outside of strings alone, so that it costs less than any parser; what is not
// JSON is for the parser to find.
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
