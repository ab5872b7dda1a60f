package didpeer

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/did"
)

// longName returns the full name of an abbreviated member name of a service (section
// Common String Abbreviations).
func longName(s string) string {
	switch s {
	case "t":
		return "type"
	case "s":
		return "serviceEndpoint"
	case "r":
		return "routingKeys"
	case "a":
		return "accept"
	}
	return s
}

// defaultServiceID returns the id of the n-th service without an id, from 0.
func defaultServiceID(n int) string {
	if n == 0 {
		return "#service"
	}
	return fmt.Sprintf("#service-%d", n)
}

// shortService and shortEndpoint are a service in the form that New2 writes, with
// their members in this order.
type shortService struct {
	Type     any                           `json:"t"` // a string or []string
	Endpoint any                           `json:"s"` // a string, shortEndpoint or []shortEndpoint
	ID       string                        `json:"id,omitempty"`
	Extra    map[string]stdjson.RawMessage `json:",embed"`
}

type shortEndpoint struct {
	URI         string                        `json:"uri"`
	Accept      []string                      `json:"a,omitempty"`
	RoutingKeys []string                      `json:"r,omitempty"`
	Extra       map[string]stdjson.RawMessage `json:",embed"`
}

// abbreviateService returns the JSON of a service in a did:peer:2.
func abbreviateService(s did.Service) ([]byte, error) {
	if s.ID != "" && (!strings.HasPrefix(s.ID, "#") || len(s.ID) == 1) {
		return nil, fmt.Errorf("%w: id %q is not a relative reference", did.ErrInvalid, clip(s.ID))
	}
	if len(s.Type) == 0 || len(s.Endpoints) == 0 {
		return nil, fmt.Errorf("%w: no type or no endpoint", did.ErrInvalid)
	}
	out := shortService{ID: s.ID, Extra: maps.Clone(s.Extra)}
	delete(out.Extra, "accept") // the endpoints have these members already
	delete(out.Extra, "routingKeys")
	types := make([]string, len(s.Type))
	didcomm := false
	for i, t := range s.Type {
		if types[i] = t; t == did.TypeDIDCommMessaging {
			types[i], didcomm = "dm", true
		}
	}
	out.Type = types
	if len(types) == 1 {
		out.Type = types[0]
	}
	endpoints := make([]shortEndpoint, len(s.Endpoints))
	for i, e := range s.Endpoints {
		if e.URI == "" {
			return nil, fmt.Errorf("%w: endpoint without uri", did.ErrInvalid)
		}
		endpoints[i] = shortEndpoint{e.URI, e.Accept, e.RoutingKeys, e.Extra}
		if didcomm && e.Accept == nil {
			endpoints[i].Accept = []string{"didcomm/v2"}
		}
	}
	first := endpoints[0]
	switch {
	case len(endpoints) > 1:
		out.Endpoint = endpoints
	case (!didcomm || first.Accept != nil) && len(first.Accept) == 0 && first.RoutingKeys == nil && first.Extra == nil:
		out.Endpoint = first.URI
	default:
		out.Endpoint = first
	}
	text, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	return text, nil
}

// expandServices decodes one S element: an object, or a list of objects, which older
// libraries wrote. unnamed counts the services without an id so far.
func expandServices(encoded string, unnamed *int) ([]jsontext.Value, error) {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	text, err = expandNames(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
	}
	list := []jsontext.Value{text}
	if list[0].Kind() == '[' {
		list = nil
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
		}
	}
	for i, entry := range list {
		var s map[string]jsontext.Value
		if err := json.Unmarshal(entry, &s); err != nil || s == nil {
			return nil, fmt.Errorf("%w: a service that is not an object", did.ErrInvalid)
		}
		var id string
		if raw, ok := s["id"]; ok {
			if err := json.Unmarshal(raw, &id); err != nil {
				return nil, fmt.Errorf("%w: id: %w", did.ErrInvalid, err)
			}
		}
		switch {
		case id == "":
			id = defaultServiceID(*unnamed)
			*unnamed++
		case !strings.ContainsAny(id, "#:"):
			id = "#" + id
		}
		if s["id"], err = jsontext.AppendQuote(nil, id); err != nil {
			return nil, fmt.Errorf("%w: id: %w", did.ErrInvalid, err)
		}
		if list[i], err = json.Marshal(s, json.Deterministic(true)); err != nil {
			return nil, fmt.Errorf("%w: %w", did.ErrInvalid, err)
		}
	}
	return list, nil
}

// expandNames replaces the abbreviated member names in a service, at every level, and
// the abbreviated type. An object with both forms of a name is an error, because it
// then has a duplicate name.
func expandNames(text []byte) ([]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	var out bytes.Buffer
	enc := jsontext.NewEncoder(&out)
	name := ""
	for {
		tok, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSpace(out.Bytes()), nil
		}
		if err != nil {
			return nil, err
		}
		if tok.Kind() == '"' {
			switch in, n := dec.StackIndex(dec.StackDepth()); {
			case in == '{' && n%2 == 1: // a member's name
				name = longName(tok.String())
				tok = jsontext.String(name)
			case name == "type" && tok.String() == "dm":
				tok = jsontext.String(did.TypeDIDCommMessaging)
			}
		}
		if err := enc.WriteToken(tok); err != nil {
			return nil, err
		}
	}
}
