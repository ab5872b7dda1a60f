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

// Limits bound what is read, before the work of reading it. A zero field means
// its default.
type Limits struct {
	Bytes       int // of the whole message; default 5 MiB
	Depth       int // of nested objects and arrays; default 64
	Attachments int // default 1000
	List        int // entries of to, ack, please_ack, accept-lang, and of links each; default 1000
	Extra       int // members that the specification does not name, bodies and embedded JSON aside; default 1000
}

// maxIDBytes bounds id, thid and pthid, which agents keep in tables. The
// specification asks for 32 bytes; UUIDs alone have 36.
const maxIDBytes = 1024

// maxTypeBytes bounds type, which agents log and quote in problem reports.
const maxTypeBytes = 2048

// Parse reads a plaintext message under the default Limits.
//
// Deviations tell what was tolerated, each once. The error matches ErrInvalid:
// not JSON, a duplicate name (ErrDuplicateName too), a member of a wrong type, no
// id, no type, or a limit passed (ErrTooDeep too for Depth). A null member counts as
// absent. The message does not alias data.
func Parse(data []byte) (*Message, []Deviation, error) { return Limits{}.Parse(data) }

// Parse reads a plaintext message like the function Parse, under these limits.
func (l Limits) Parse(data []byte) (*Message, []Deviation, error) { return l.parse(data, false) }

// ParseInPlace is Parse for data that nobody else uses or changes: the message
// keeps it, so that a large body is not copied.
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

// UnmarshalJSON is Parse without the deviations.
func (m *Message) UnmarshalJSON(data []byte) error {
	parsed, _, err := Parse(data)
	if err != nil {
		return err
	}
	*m = *parsed
	return nil
}

// check holds what is required of a message in both directions.
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

// depthWithin looks at brackets outside of strings only, so that nothing that
// recurses or keeps a stack sees deep input.
func depthWithin(data []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			n := stringLen(data[i+1:])
			if n < 0 {
				return true // not JSON, the parser says so
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

// stringLen is the number of bytes up to and including the quote that ends a
// JSON string, or -1.
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

// syntaxError keeps the place of a JSON error and drops the excerpt.
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

// parser reads one message. Unmarshal calls UnmarshalJSONFrom with a pooled
// decoder, which checks grammar, UTF-8, duplicate names and trailing data.
type parser struct {
	limits     Limits
	data       []byte // nil if the message must not keep parts of it
	m          *Message
	dec        *jsontext.Decoder
	deviations []Deviation
	bodyKind   jsontext.Kind
	extra      int
	err        error // the first error that is not the decoder's
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

// body reads a body that need not be an object, as checkBody will see.
func (p *parser) body(dst *json.RawMessage) error {
	p.bodyKind = p.dec.PeekKind()
	return p.raw(dst, "body")
}

// checkBody makes an object of the body, once the type is known: a problem report
// that is a bare code is read all the same, since it must not be answered.
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
			err = p.time(&a.LastModTime, "attachments.lastmod_time")
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

// kindName is what a person calls a kind of JSON value.
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
