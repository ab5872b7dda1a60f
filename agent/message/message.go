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

// MediaType is the media type of a plaintext message, which is also the value of its typ
// header (section IANA Media Types).
const MediaType = "application/didcomm-plain+json"

// ErrInvalid is the error for a malformed message, attachment, type URI or problem code. All
// errors of this package match ErrInvalid with errors.Is, except ErrHash.
var ErrInvalid = errors.New("message: invalid")

// Errors of Parse that match ErrInvalid as well.
var (
	// ErrTooDeep: the objects and arrays of a message are nested deeper than Limits.Depth.
	ErrTooDeep = errors.New("nested too deep")
	// ErrDuplicateName: a JSON object has two members of the same name.
	ErrDuplicateName = errors.New("duplicate member name")
)

// Message is a DIDComm plaintext message (section Plaintext Message Structure). A field with
// the zero value stands for an absent header. A Message has no lock: goroutines that share a
// Message must not change it. A copy of a Message shares the slices and maps of the original.
type Message struct {
	ID   string // "id", required; at most 1024 bytes
	Type string // "type", required; at most 2048 bytes; see ParseType
	Typ  string // "typ": MediaType, or MediaType without "application/"
	From string // "from": a DID, or a DID URL without fragment
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

	PleaseAck []string // "please_ack": message ids; "" stands for this message
	Ack       []string // "ack": message ids in the order in which the messages came

	ReturnRoute       string // "return_route": "none", "all" or "thread"
	ReturnRouteThread string // "return_route_thread": the id of a thread

	// Attachments is written as an empty list if it is empty and not nil, because a protocol
	// can require the member (message pickup 4.0, delivery).
	Attachments []Attachment

	// Body is a JSON object. Parse sets it to {} if the body was absent or null.
	Body json.RawMessage
	// Headers has all other top-level members, by name, as they were received. Append
	// refuses a name for which Message has a field.
	Headers map[string]json.RawMessage
}

// New makes a message with a new id (see NewID), the message type URI typ, and a body. body
// is marshalled to a JSON object by the rules of encoding/json/v2; nil makes an empty object.
// The error matches ErrInvalid if typ is not a message type URI or body is not an object.
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

// Reply makes a message that answers m. The reply has a new id and these headers:
//
//   - thid is the thread of m.
//   - to is the from header of m, or absent if m has none.
//   - from is the recipient in the to header of m, or absent if m has not exactly one.
//
// The from header is only a claim. In an agent, send the reply by the Responder, which knows who
// has sent m.
//
// The errors are those of New.
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

// Thread returns the id of the thread that the message belongs to: the thid header, or the
// id of a message without thid (section Threads).
func (m *Message) Thread() string {
	if m.ThreadID != "" {
		return m.ThreadID
	}
	return m.ID
}

// DecodeBody unmarshals the body into v by the rules of encoding/json/v2: names are
// case-sensitive, and two members of the same name are refused. An absent body is an empty
// object. The error matches ErrInvalid. It tells the place in the body, not the value there.
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

// LogValue returns the id, type, thid, from and to headers. It leaves out the content.
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
