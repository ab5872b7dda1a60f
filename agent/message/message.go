package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MediaType is the media type of a plaintext message, the value of its "typ"
// header (section IANA Media Types).
const MediaType = "application/didcomm-plain+json"

// ErrInvalid is matched by every error about a malformed message, attachment,
// type URI or problem code.
var ErrInvalid = errors.New("message: invalid")

// Errors beside ErrInvalid, for messages that are read.
var (
	// ErrTooDeep is a message that nests deeper than Limits.Depth.
	ErrTooDeep = errors.New("nested too deep")
	// ErrDuplicateName is a JSON object that names a member twice.
	ErrDuplicateName = errors.New("duplicate member name")
)

// Message is a DIDComm plaintext message (section Plaintext Message Structure).
// The zero value of a field is an absent header. A Message is plain data: it has
// no lock, and a copy shares slices and maps with its original.
type Message struct {
	ID   string // "id", required; at most 1024 bytes
	Type string // "type", required; at most 2048 bytes; see ParseType
	Typ  string // "typ", the media type; MediaType or a short form of it
	From string // "from": a DID, or DID URL without fragment
	To   []string

	ThreadID       string // "thid"; see Thread
	ParentThreadID string // "pthid"

	// CreatedTime and ExpiresTime are written as whole seconds since 1970 (UTC)
	// and must lie in the years 1970 to 5138.
	CreatedTime time.Time
	ExpiresTime time.Time

	FromPrior  string   // "from_prior": a JWT
	Lang       string   // "lang"
	AcceptLang []string // "accept-lang", most preferred first

	PleaseAck []string // "please_ack": ids, "" is this message itself
	Ack       []string // "ack": ids in the order they were received

	ReturnRoute       string // "return_route": "none", "all" or "thread"
	ReturnRouteThread string // "return_route_thread": a thid

	Attachments []Attachment

	// Body is a JSON object. Parse sets "{}" where it was absent or null.
	Body json.RawMessage
	// Headers holds all other top-level members as they were received. A name
	// that this struct has a field for is refused when writing.
	Headers map[string]json.RawMessage
}

// New makes a message of the given type with a fresh id (see NewID). body is
// marshalled to a JSON object, nil is the empty one. The error matches
// ErrInvalid when typ is not a message type URI or body is not an object.
func New(typ string, body any) (*Message, error) {
	if _, err := ParseType(typ); err != nil {
		return nil, err
	}
	raw, err := marshalBody(body)
	if err != nil {
		return nil, err
	}
	return &Message{ID: NewID(), Typ: MediaType, Type: typ, Body: raw}, nil
}

// Reply makes a message that answers m: on m's thread, to m's sender (to nobody
// if m has none), and from m's recipient if m names exactly one. Errors are
// those of New.
func (m *Message) Reply(typ string, body any) (*Message, error) {
	r, err := New(typ, body)
	if err != nil {
		return nil, err
	}
	r.ThreadID = m.Thread()
	if m.From != "" {
		r.To = []string{m.From}
	}
	if len(m.To) == 1 {
		r.From = m.To[0]
	}
	return r, nil
}

// Thread is the id of the message's thread: thid, or id where there is none
// (section Threads).
func (m *Message) Thread() string {
	if m.ThreadID != "" {
		return m.ThreadID
	}
	return m.ID
}

// DecodeBody unmarshals the body into v by the rules of Go's encoding/json/v2:
// names are case-sensitive and duplicates refused. The error matches ErrInvalid
// and tells the place, not the value.
func (m *Message) DecodeBody(v any) error {
	body := m.Body
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	err := jsonv2.Unmarshal(body, v)
	var semantic *jsonv2.SemanticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &semantic):
		return fmt.Errorf("%w: body: member %q is not a %v", ErrInvalid, clip(string(semantic.JSONPointer)), semantic.GoType)
	default:
		return syntaxError("body", err)
	}
}

// LogValue shows who and what, never the content.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", m.ID),
		slog.String("type", m.Type),
		slog.String("thid", m.ThreadID),
		slog.String("from", m.From),
		slog.Any("to", m.To),
	)
}

func marshalBody(body any) (json.RawMessage, error) {
	if body == nil {
		return json.RawMessage("{}"), nil
	}
	raw, err := jsonv2.Marshal(body, jsonv2.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("%w: body of type %T: %w", ErrInvalid, body, err)
	}
	if jsontext.Value(raw).Kind() != '{' {
		return nil, fmt.Errorf("%w: body of type %T is not a JSON object", ErrInvalid, body)
	}
	return raw, nil
}
