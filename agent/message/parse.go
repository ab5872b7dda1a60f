package message

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits are the limits of a message that is read. A message that exceeds a limit is refused
// before it is decoded that far. A field of zero or less stands for its default.
type Limits struct {
	Bytes       int // size of the message in bytes; default 5 MiB
	Depth       int // nesting of objects and arrays; default 64
	Attachments int // number of attachments; default 1000
	List        int // entries of each list: to, ack, please_ack, accept-lang and links; default 1000
	Extra       int // members that the specification does not name, outside of bodies and of JSON in attachments; default 1000
}

// maxIDBytes is the largest size of id, thid and pthid, which agents keep in tables. The
// specification recommends 32 bytes, but a UUID has 36.
const maxIDBytes = 1024

// maxTypeBytes is the largest size of type, which agents log and quote in problem reports.
const maxTypeBytes = 2048

// Parse reads a plaintext message with the default Limits. It returns the message and the
// deviations that it tolerated, each of them once. A member that is null counts as absent.
// The message does not share memory with data.
//
// The error matches ErrInvalid in these cases:
//
//   - data is not JSON, or a member has the wrong type.
//   - id or type is missing.
//   - An object has two members of the same name; the error matches ErrDuplicateName, too.
//   - The message exceeds a limit; for Limits.Depth the error matches ErrTooDeep, too.
func Parse(data []byte) (*Message, []Deviation, error) { return Limits{}.Parse(data) }

// Parse reads a plaintext message like the function Parse, with the limits l.
func (l Limits) Parse(data []byte) (*Message, []Deviation, error) { return l.parse(data, false) }

// ParseInPlace reads a plaintext message like Parse, but the message keeps references to
// data, so that a large body is not copied. The caller must not use or change data any more.
func (l Limits) ParseInPlace(data []byte) (*Message, []Deviation, error) { return l.parse(data, true) }

func (l Limits) parse(data []byte, keep bool) (*Message, []Deviation, error) {
	l.Bytes = cmp.Or(max(l.Bytes, 0), 5<<20)
	l.Depth = cmp.Or(max(l.Depth, 0), 64)
	l.Attachments = cmp.Or(max(l.Attachments, 0), 1000)
	l.List = cmp.Or(max(l.List, 0), 1000)
	l.Extra = cmp.Or(max(l.Extra, 0), 1000)
	if len(data) > l.Bytes {
		return nil, nil, fmt.Errorf("%w: message of %d bytes, the limit is %d", ErrInvalid, len(data), l.Bytes)
	}
	if !depthWithin(data, l.Depth) {
		return nil, nil, fmt.Errorf("%w: message: %w, the limit is %d", ErrInvalid, ErrTooDeep, l.Depth)
	}
	p := &parser{limits: l, m: new(Message)}
	if keep {
		p.data = data
	}
	if err := jsonv2.Unmarshal(data, p); err != nil {
		if p.err != nil {
			return nil, nil, p.err
		}
		return nil, nil, syntaxError("message", err)
	}
	if err := p.m.check(); err != nil {
		return nil, nil, err
	}
	return p.m, p.deviations, nil
}

// UnmarshalJSON reads a message like Parse. It drops the deviations.
func (m *Message) UnmarshalJSON(data []byte) error {
	parsed, _, err := Parse(data)
	if err != nil {
		return err
	}
	*m = *parsed
	return nil
}

// check returns an error if a required header is missing or an id or type is too long, in
// messages that are read and that are written.
func (m *Message) check() error {
	switch {
	case m.ID == "":
		return fmt.Errorf("%w: no id", ErrInvalid)
	case m.Type == "":
		return fmt.Errorf("%w: no type", ErrInvalid)
	case len(m.Type) > maxTypeBytes:
		return fmt.Errorf("%w: a type of more than %d bytes", ErrInvalid, maxTypeBytes)
	case len(m.ID) > maxIDBytes, len(m.ThreadID) > maxIDBytes, len(m.ParentThreadID) > maxIDBytes:
		return fmt.Errorf("%w: an id of more than %d bytes", ErrInvalid, maxIDBytes)
	}
	return nil
}

// depthWithin reports whether the brackets of data are nested no deeper than limit. It runs
// before the JSON decoder, which needs memory for each level.
func depthWithin(data []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			n := stringLen(data[i+1:])
			if n < 0 {
				return true // not JSON: the decoder will return an error
			}
			i += n
		case '{', '[':
			if depth++; depth > limit {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// stringLen returns the number of bytes of s up to and including the quote that ends a JSON
// string, or -1 if there is none.
func stringLen(s []byte) int {
	for i := 0; ; i++ {
		j := bytes.IndexByte(s[i:], '"')
		if j < 0 {
			return -1
		}
		i += j
		esc := i
		for esc > 0 && s[esc-1] == '\\' {
			esc--
		}
		if (i-esc)%2 == 0 {
			return i + 1
		}
	}
}

// syntaxError makes an error of a JSON error, with the place and without the excerpt.
func syntaxError(what string, err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("%w: %s: %w", ErrInvalid, what, ErrDuplicateName)
	case errors.As(err, &syntactic):
		return fmt.Errorf("%w: %s: not JSON at byte %d", ErrInvalid, what, syntactic.ByteOffset)
	default:
		return fmt.Errorf("%w: %s: not JSON", ErrInvalid, what)
	}
}

// parser reads a message. jsonv2.Unmarshal calls its UnmarshalJSONFrom with a decoder that
// checks grammar, UTF-8, duplicate names and trailing data.
type parser struct {
	limits     Limits
	data       []byte // nil if the message must not keep parts of it
	m          *Message
	dec        *jsontext.Decoder
	deviations []Deviation
	bodyKind   jsontext.Kind
	extra      int
	err        error // first error that is not from the decoder
}

func (p *parser) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	p.dec = dec
	return p.message()
}

func (p *parser) message() error {
	if err := p.open("message"); err != nil {
		return err
	}
	m := p.m
	for p.dec.PeekKind() != '}' {
		name, err := p.name()
		if err != nil {
			return err
		}
		switch string(name) {
		case "id":
			err = p.string(&m.ID, "id")
		case "type":
			err = p.string(&m.Type, "type")
		case "typ":
			err = p.string(&m.Typ, "typ")
		case "from":
			err = p.string(&m.From, "from")
		case "to":
			err = p.strings(&m.To, "to")
		case "thid":
			err = p.string(&m.ThreadID, "thid")
		case "pthid":
			err = p.string(&m.ParentThreadID, "pthid")
		case "created_time":
			err = p.time(&m.CreatedTime, "created_time")
		case "expires_time":
			err = p.time(&m.ExpiresTime, "expires_time")
		case "from_prior":
			err = p.string(&m.FromPrior, "from_prior")
		case "lang":
			err = p.string(&m.Lang, "lang")
		case "accept-lang":
			err = p.strings(&m.AcceptLang, "accept-lang")
		case "please_ack":
			err = p.pleaseAck(&m.PleaseAck)
		case "ack":
			err = p.strings(&m.Ack, "ack")
		case "return_route":
			err = p.string(&m.ReturnRoute, "return_route")
		case "return_route_thread":
			err = p.string(&m.ReturnRouteThread, "return_route_thread")
		case "attachments":
			err = p.attachments(&m.Attachments)
		case "body":
			err = p.body(&m.Body)
		default:
			err = p.other(&m.Headers, string(name))
		}
		if err != nil {
			return err
		}
	}
	if err := p.checkBody(); err != nil {
		return err
	}
	_, err := p.dec.ReadToken()
	return err
}

// isHeader reports whether Message has a field for the member.
func isHeader(name string) bool {
	switch name {
	case "id", "type", "typ", "from", "to", "thid", "pthid", "created_time", "expires_time", "from_prior", "lang", "accept-lang",
		"please_ack", "ack", "return_route", "return_route_thread", "attachments", "body":
		return true
	}
	return false
}

// body reads the body. Whether it must be an object depends on the type: see checkBody.
func (p *parser) body(dst *json.RawMessage) error {
	p.bodyKind = p.dec.PeekKind()
	return p.raw(dst, "body")
}

// checkBody checks that the body is an object, after the type is known. A problem report
// whose body is a bare code is read too, because an error here could lead to a problem report
// about a problem report. Its body becomes an object with the code.
func (p *parser) checkBody() error {
	switch m := p.m; {
	case m.Body == nil:
		m.Body = json.RawMessage("{}")
	case p.bodyKind == '{':
	case IsProblemReport(m.Type):
		p.deviate(DeviationReportBody, "body")
		m.Body = slices.Concat([]byte(`{"code":`), m.Body, []byte("}"))
	default:
		return p.fail("body is %s, not %s", kindName(p.bodyKind), kindName('{'))
	}
	return nil
}

func (p *parser) pleaseAck(dst *[]string) error {
	switch p.dec.PeekKind() {
	case 't':
		*dst = []string{""}
	case 'f':
	default:
		return p.strings(dst, "please_ack")
	}
	p.deviate(DeviationPleaseAckBool, "please_ack")
	return p.dec.SkipValue()
}

func (p *parser) attachments(dst *[]Attachment) error {
	if p.null("attachments") {
		return p.dec.SkipValue()
	}
	if err := p.want('[', "attachments"); err != nil {
		return err
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	*dst = []Attachment{}
	for p.dec.PeekKind() != ']' {
		if len(*dst) == p.limits.Attachments {
			return p.fail("more than %d attachments", p.limits.Attachments)
		}
		*dst = append(*dst, Attachment{})
		if err := p.attachment(&(*dst)[len(*dst)-1]); err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken()
	return err
}

func (p *parser) attachment(a *Attachment) error {
	if err := p.open("attachment"); err != nil {
		return err
	}
	data := false
	for p.dec.PeekKind() != '}' {
		name, err := p.name()
		if err != nil {
			return err
		}
		switch string(name) {
		case "id":
			err = p.string(&a.ID, "attachments.id")
		case "description":
			err = p.string(&a.Description, "attachments.description")
		case "filename":
			err = p.string(&a.Filename, "attachments.filename")
		case "media_type":
			err = p.string(&a.MediaType, "attachments.media_type")
		case "format":
			err = p.string(&a.Format, "attachments.format")
		case "lastmod_time":
			err = p.lastMod(a)
		case "byte_count":
			err = p.count(&a.ByteCount, "attachments.byte_count")
		case "data":
			data = true
			err = p.attachmentData(&a.Data)
		default:
			err = p.other(&a.Extra, string(name))
		}
		if err != nil {
			return err
		}
	}
	if !data {
		return p.fail("attachment has no data")
	}
	_, err := p.dec.ReadToken()
	return err
}

func isAttachmentMember(name string) bool {
	switch name {
	case "id", "description", "filename", "media_type", "format", "lastmod_time", "byte_count", "data":
		return true
	}
	return false
}

func (p *parser) attachmentData(d *AttachmentData) error {
	if err := p.open("attachments.data"); err != nil {
		return err
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.name()
		if err != nil {
			return err
		}
		switch string(name) {
		case "json":
			err = p.raw(&d.JSON, "attachments.data.json")
		case "base64":
			err = p.string(&d.Base64, "attachments.data.base64")
		case "links":
			err = p.strings(&d.Links, "attachments.data.links")
		case "hash":
			err = p.string(&d.Hash, "attachments.data.hash")
		case "jws":
			err = p.raw(&d.JWS, "attachments.data.jws")
		default:
			err = p.other(&d.Extra, string(name))
		}
		if err != nil {
			return err
		}
	}
	if d.JSON == nil && d.Base64 == "" && len(d.Links) == 0 {
		p.deviate(DeviationNoData, "attachments.data")
	}
	if len(d.Links) > 0 && d.Hash == "" {
		p.deviate(DeviationLinksNoHash, "attachments.data.hash")
	}
	_, err := p.dec.ReadToken()
	return err
}

func isDataMember(name string) bool {
	switch name {
	case "json", "base64", "links", "hash", "jws":
		return true
	}
	return false
}

// kindName returns the name of a kind of JSON value for an error text.
func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	default:
		return "a boolean"
	}
}
