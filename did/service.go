package did

import (
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// TypeDIDCommMessaging is the service type of DIDComm v2.1 ("DID Document
// Service Endpoint").
const TypeDIDCommMessaging = "DIDCommMessaging"

// Service is a service of a DID document: a way to communicate with its subject
// (DID Core 1.0, section 5.4).
type Service struct {
	ID        string // absolute DID URL; "" if the service has no id
	Type      []string
	Endpoints []Endpoint                    // serviceEndpoint, in the order of the document
	Extra     map[string]stdjson.RawMessage // all other members, including accept and routingKeys

	wireID   string             // relative id as received
	typeList bool               // type was an array in the JSON
	raw      stdjson.RawMessage // serviceEndpoint as received
}

// QueueURI is the endpoint URI of a party that cannot be connected to. Messages for
// this party are kept until it asks for them, or go back over a connection that it
// has opened (return_route).
const QueueURI = "didcomm:transport/queue"

// Endpoint is one address of a service (DIDComm v2.1, "DID Document Service
// Endpoint"). A serviceEndpoint that is a plain string becomes an Endpoint with only
// a URI. Older peers write accept and routingKeys beside serviceEndpoint; each
// endpoint without its own values takes these.
type Endpoint struct {
	URI         string                        // URL, DID of a mediator, or QueueURI; "" for an object without uri
	Accept      []string                      // media type profiles, such as "didcomm/v2"
	RoutingKeys []string                      // DID URLs of keys or did:keys, the outermost hop first
	Extra       map[string]stdjson.RawMessage // all other members
}

// NewDIDCommService returns a DIDCommMessaging service in the shape that every peer
// reads: serviceEndpoint is one object with the URI, the routing keys, and the
// profile "didcomm/v2" under accept. The id may be relative.
func NewDIDCommService(id, uri string, routingKeys ...string) Service {
	return Service{ID: id, Type: []string{TypeDIDCommMessaging}, Endpoints: []Endpoint{
		{URI: uri, Accept: []string{"didcomm/v2"}, RoutingKeys: routingKeys},
	}}
}

// oneOrMany is a string or an array of strings.
type oneOrMany struct {
	list  []string
	array bool // write an array even for one string
}

func (o oneOrMany) IsZero() bool { return o.list == nil }

func (o oneOrMany) MarshalJSON() ([]byte, error) {
	if len(o.list) == 1 && !o.array {
		return json.Marshal(o.list[0])
	}
	return json.Marshal(o.list)
}

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	if data[0] == '"' {
		o.list, o.array = make([]string, 1), false
		return json.Unmarshal(data, &o.list[0])
	}
	o.list, o.array = nil, true
	return json.Unmarshal(data, &o.list)
}

type wireService struct {
	ID       string                        `json:"id,omitzero"`
	Type     oneOrMany                     `json:"type,omitzero"`
	Endpoint stdjson.RawMessage            `json:"serviceEndpoint,omitzero"`
	Extra    map[string]stdjson.RawMessage `json:",embed"`
}

type wireEndpoint struct {
	URI         string                        `json:"uri,omitzero"`
	Accept      oneOrMany                     `json:"accept,omitzero"`
	RoutingKeys oneOrMany                     `json:"routingKeys,omitzero"`
	Extra       map[string]stdjson.RawMessage `json:",embed"`
}

// MarshalJSON writes the service. If Endpoints did not change, serviceEndpoint is
// written as it was received. Otherwise each endpoint is written as an object, or as
// a string if the service is not for DIDComm and the endpoint has only a URI.
func (s Service) MarshalJSON() ([]byte, error) {
	w := wireService{ID: wireID(s.ID, s.wireID), Type: oneOrMany{s.Type, s.typeList}, Endpoint: s.raw, Extra: s.Extra}
	if !s.asReceived() {
		var err error
		if w.Endpoint, err = s.marshalEndpoints(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(w, json.Deterministic(true))
}

// asReceived reports whether raw still has the same content as Endpoints.
func (s Service) asReceived() bool {
	endpoints, err := parseEndpoints(s.raw)
	if s.raw == nil || err != nil {
		return false
	}
	was := Service{Endpoints: endpoints, Extra: s.Extra}
	was.inherit()
	return reflect.DeepEqual(s.Endpoints, was.Endpoints)
}

func (s Service) marshalEndpoints() (stdjson.RawMessage, error) {
	all := make([]any, len(s.Endpoints))
	for i, e := range s.Endpoints {
		if e.Accept == nil && e.RoutingKeys == nil && e.Extra == nil && !s.isDIDComm() {
			all[i] = e.URI
		} else {
			all[i] = wireEndpoint{e.URI, oneOrMany{e.Accept, true}, oneOrMany{e.RoutingKeys, true}, e.Extra}
		}
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return json.Marshal(all[0], json.Deterministic(true))
	}
	return json.Marshal(all, json.Deterministic(true))
}

func (s *Service) isDIDComm() bool { return slices.Contains(s.Type, TypeDIDCommMessaging) }

// UnmarshalJSON parses a service. Its serviceEndpoint may be a string, an object, or
// an array of strings and objects. Errors match ErrInvalid.
func (s *Service) UnmarshalJSON(data []byte) error {
	var w wireService
	if err := json.Unmarshal(data, &w); err != nil {
		return fmt.Errorf("%w: service: %w", ErrInvalid, err)
	}
	endpoints, err := parseEndpoints(w.Endpoint)
	if err != nil {
		return fmt.Errorf("%w: service %q: %w", ErrInvalid, abbreviate(w.ID), err)
	}
	*s = Service{
		ID: w.ID, Type: w.Type.list, Endpoints: endpoints, Extra: w.Extra,
		typeList: w.Type.array, raw: w.Endpoint,
	}
	s.inherit()
	return nil
}

// inherit copies accept and routingKeys from the service to the endpoints that lack
// them. A member of another type belongs to another kind of service, and is ignored.
func (s *Service) inherit() {
	read := func(name string) []string {
		var o oneOrMany
		if raw := s.Extra[name]; len(raw) == 0 || json.Unmarshal(raw, &o) != nil {
			return nil
		}
		return o.list
	}
	accept, routing := read("accept"), read("routingKeys")
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; e.Accept == nil {
			e.Accept = accept
		}
		if e := &s.Endpoints[i]; e.RoutingKeys == nil {
			e.RoutingKeys = routing
		}
	}
}

func parseEndpoints(raw stdjson.RawMessage) ([]Endpoint, error) {
	switch jsontext.Value(raw).Kind() {
	case '[':
		var all []stdjson.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		if len(all) > maxEndpoints {
			return nil, fmt.Errorf("more than %d endpoints", maxEndpoints)
		}
		endpoints := make([]Endpoint, len(all))
		for i, one := range all {
			var err error
			if endpoints[i], err = parseEndpoint(one); err != nil {
				return nil, err
			}
		}
		return endpoints, nil
	case '"', '{':
		e, err := parseEndpoint(raw)
		if err != nil {
			return nil, err
		}
		return []Endpoint{e}, nil
	case 0, 'n':
		return nil, nil
	}
	return nil, fmt.Errorf("serviceEndpoint is neither string, object nor array")
}

func parseEndpoint(raw stdjson.RawMessage) (Endpoint, error) {
	if jsontext.Value(raw).Kind() == '"' {
		var e Endpoint
		err := json.Unmarshal(raw, &e.URI)
		return e, err
	}
	var w wireEndpoint
	if err := json.Unmarshal(raw, &w); err != nil {
		// An object of another vocabulary may have a uri or accept of another type.
		var extra map[string]stdjson.RawMessage
		if err := json.Unmarshal(raw, &extra); err != nil {
			return Endpoint{}, err
		}
		return Endpoint{Extra: extra}, nil
	}
	return Endpoint{URI: w.URI, Accept: w.Accept.list, RoutingKeys: w.RoutingKeys.list, Extra: w.Extra}, nil
}
