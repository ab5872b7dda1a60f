package didpeer

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/did"
)

// Purpose is the purpose code of a key in a did:peer:2 (section Purpose Codes). It
// names the verification relationship that lists the key.
type Purpose byte

// The purpose codes of the verification relationships of DID Core.
const (
	Assertion            Purpose = 'A'
	KeyAgreement         Purpose = 'E'
	Authentication       Purpose = 'V'
	CapabilityInvocation Purpose = 'I'
	CapabilityDelegation Purpose = 'D'
)

// service is the purpose code of a service.
const service Purpose = 'S'

// relationship returns the member of a document that p stands for, or "" if p is not
// the purpose code of a key.
func (p Purpose) relationship() string {
	switch p {
	case Assertion:
		return "assertionMethod"
	case KeyAgreement:
		return "keyAgreement"
	case Authentication:
		return "authentication"
	case CapabilityInvocation:
		return "capabilityInvocation"
	case CapabilityDelegation:
		return "capabilityDelegation"
	}
	return ""
}

// Key is a public key with its purpose. A key with two purposes needs two entries.
type Key struct {
	Purpose Purpose
	Public  crypto.PublicKey // of a type that did.FormatMultikey accepts
}

// New2 makes a did:peer:2 (section Generating a did:peer:2). The keys get the ids
// #key-1, #key-2 and so on, in the given order. The services without an ID get the ids
// #service, #service-1 and so on. Any other ID of a service must be relative, for
// example "#inbox"; some libraries only read services without an ID. An endpoint of a
// DIDCommMessaging service whose Accept is nil gets ["didcomm/v2"]. With an Accept that is
// empty and not nil, the endpoint gets none, and is written as a plain string if it has
// nothing but a URI. The routing DIDs of Credo have such an endpoint.
//
// The error matches
//   - did.ErrInvalid if there is no key, a key cannot serve its purpose, a service has
//     no type or no endpoint, or the DID exceeds MaxElements or MaxLength;
//   - did.ErrUnsupported if a key has a type that is not supported.
func New2(keys []Key, services ...did.Service) (string, error) {
	if len(keys) == 0 || len(keys) > MaxElements || len(services) > MaxElements {
		return "", fmt.Errorf("%w: did:peer:2 of %d keys and %d services", did.ErrInvalid, len(keys), len(services))
	}
	var b strings.Builder
	b.WriteString(prefix + "2")
	for i, k := range keys {
		if err := k.check(); err != nil {
			return "", fmt.Errorf("key %d: %w", i+1, err)
		}
		encoded, err := did.FormatMultikey(k.Public)
		if err != nil {
			return "", fmt.Errorf("key %d: %w", i+1, err)
		}
		b.WriteByte('.')
		b.WriteByte(byte(k.Purpose))
		b.WriteString(encoded)
	}
	unnamed := 0
	for i, s := range services {
		if s.ID == defaultServiceID(unnamed) {
			s.ID = ""
		}
		if s.ID == "" {
			unnamed++
		}
		encoded, err := abbreviateService(s)
		if err != nil {
			return "", fmt.Errorf("service %d: %w", i+1, err)
		}
		b.WriteByte('.')
		b.WriteByte(byte(service))
		b.WriteString(base64.RawURLEncoding.EncodeToString(encoded))
	}
	if b.Len() > MaxLength {
		return "", fmt.Errorf("%w: did:peer:2 of %d bytes, more than %d", did.ErrInvalid, b.Len(), MaxLength)
	}
	return b.String(), nil
}

// check refuses a key whose type cannot serve its purpose.
func (k Key) check() error {
	if k.Purpose.relationship() == "" {
		return fmt.Errorf("%w: purpose %q", did.ErrInvalid, k.Purpose)
	}
	switch pub := k.Public.(type) {
	case ed25519.PublicKey:
		if k.Purpose == KeyAgreement {
			return fmt.Errorf("%w: ed25519 key for key agreement", did.ErrInvalid)
		}
	case *ecdh.PublicKey:
		if pub.Curve() == ecdh.X25519() && k.Purpose != KeyAgreement {
			return fmt.Errorf("%w: x25519 key for %s", did.ErrInvalid, k.Purpose.relationship())
		}
	}
	return nil
}

// method2 is a verification method in the document of a did:peer:2.
type method2 struct {
	ID                 string `json:"id"`
	Type               string `json:"type"`
	Controller         string `json:"controller"`
	PublicKeyMultibase string `json:"publicKeyMultibase"`
}

// resolve2 follows section Resolving a did:peer:2. It writes the JSON document that
// the section describes, and package did parses it.
func resolve2(id string) (*did.Document, error) {
	elements := strings.Split(id[len(prefix)+1:], ".")
	if elements[0] != "" || len(elements) < 2 {
		return nil, fmt.Errorf("%w: did:peer:2 without elements", did.ErrInvalid)
	}
	if len(elements) > 2*MaxElements+1 {
		return nil, fmt.Errorf("%w: did:peer:2 with more than %d elements", did.ErrInvalid, 2*MaxElements)
	}
	var methods []method2
	var services []jsontext.Value
	relationships := map[string][]string{}
	unnamed := 0
	for _, e := range elements[1:] {
		if len(e) < 2 {
			return nil, fmt.Errorf("%w: did:peer:2 with an empty element", did.ErrInvalid)
		}
		purpose, value := Purpose(e[0]), e[1:]
		if purpose == service {
			more, err := expandServices(value, &unnamed)
			if err != nil {
				return nil, fmt.Errorf("service %d: %w", len(services)+1, err)
			}
			services = append(services, more...)
			continue
		}
		name := purpose.relationship()
		if name == "" || value[0] != 'z' {
			return nil, fmt.Errorf("%w: did:peer:2 element %q", did.ErrInvalid, clip(e))
		}
		key := fmt.Sprintf("#key-%d", len(methods)+1)
		methods = append(methods, method2{ID: key, Type: did.TypeMultikey, Controller: id, PublicKeyMultibase: value})
		relationships[name] = append(relationships[name], key)
	}
	if len(methods) > MaxElements || len(services) > MaxElements {
		return nil, fmt.Errorf("%w: did:peer:2 of %d keys and %d services", did.ErrInvalid, len(methods), len(services))
	}
	text, err := json.Marshal(struct {
		Context       []string            `json:"@context"`
		ID            string              `json:"id"`
		Methods       []method2           `json:"verificationMethod,omitempty"`
		Relationships map[string][]string `json:",embed"`
		Services      []jsontext.Value    `json:"service,omitempty"`
	}{
		[]string{"https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"},
		id, methods, relationships, services,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	doc, err := did.ParseDocument(text)
	if err != nil {
		return nil, err
	}
	// A malformed key makes the DID itself malformed. A key of an unknown type stays in
	// the document.
	for i := range doc.VerificationMethod {
		m := &doc.VerificationMethod[i]
		if _, err := m.PublicKey(); err != nil && !errors.Is(err, did.ErrUnsupported) {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		addKeyAliases(doc, m.ID, m.PublicKeyMultibase)
	}
	return doc, nil
}
