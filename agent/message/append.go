package message

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Append appends m to dst as JSON. The order of the members is that of the fields of Message,
// then Headers by name, body and attachments. Absent headers are left out. The body is
// always written, as section Message Headers recommends. Raw JSON values are written byte for
// byte.
//
// The error matches ErrInvalid in these cases:
//
//   - id or type is empty, or an id or the type is too long (see Message).
//   - A text is not UTF-8, a raw value is not JSON, or the body is not a JSON object.
//   - A time is outside of the years 1970 to 5138, or a byte_count is negative.
//   - Headers or Extra has a name for which there is a field.
func (m *Message) Append(dst []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	a := appender{b: slices.Grow(dst, m.size())}
	a.open()
	a.string("id", m.ID)
	a.string("typ", m.Typ)
	a.string("type", m.Type)
	a.string("from", m.From)
	a.strings("to", m.To)
	a.string("thid", m.ThreadID)
	a.string("pthid", m.ParentThreadID)
	a.time("created_time", m.CreatedTime)
	a.time("expires_time", m.ExpiresTime)
	a.string("from_prior", m.FromPrior)
	a.string("lang", m.Lang)
	a.strings("accept-lang", m.AcceptLang)
	a.strings("please_ack", m.PleaseAck)
	a.strings("ack", m.Ack)
	a.string("return_route", m.ReturnRoute)
	a.string("return_route_thread", m.ReturnRouteThread)
	a.others(m.Headers, isHeader)
	a.body(m.Body)
	a.attachments(m.Attachments)
	a.close()
	if a.err != nil {
		return nil, a.err
	}
	return a.b, nil
}

// MarshalJSON returns the JSON that Append writes.
func (m Message) MarshalJSON() ([]byte, error) { return m.Append(nil) }

// size returns about the length of the JSON text, so that Append allocates only once.
func (m *Message) size() int {
	n := 320 + len(m.ID) + len(m.Type) + len(m.Typ) + len(m.From) + len(m.ThreadID) + len(m.ParentThreadID) + len(m.FromPrior) + len(m.Body)
	for _, list := range [...][]string{m.To, m.AcceptLang, m.PleaseAck, m.Ack} {
		for _, s := range list {
			n += len(s) + 3
		}
	}
	for name, v := range m.Headers {
		n += len(name) + len(v) + 4
	}
	for i := range m.Attachments {
		a := &m.Attachments[i]
		n += 160 + len(a.ID) + len(a.Description) + len(a.Filename) + len(a.MediaType) + len(a.Format) + len(a.LastModText)
		n += len(a.Data.JSON) + len(a.Data.Base64) + len(a.Data.JWS) + len(a.Data.Hash)
	}
	return n
}

// appender writes JSON members. If err is set, b is not valid.
type appender struct {
	b   []byte
	err error
}

func (a *appender) fail(format string, args ...any) {
	if a.err == nil {
		a.err = fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
}

func (a *appender) open()  { a.b = append(a.b, '{') }
func (a *appender) close() { a.b = append(a.b, '}') }

// comma writes a comma, unless the next value is the first of its object or array. No value
// ends with an opening bracket.
func (a *appender) comma() {
	if n := len(a.b); n > 0 && a.b[n-1] != '{' && a.b[n-1] != '[' {
		a.b = append(a.b, ',')
	}
}

func (a *appender) name(name string) {
	a.comma()
	a.quote(name)
	a.b = append(a.b, ':')
}

func (a *appender) quote(s string) {
	if a.err != nil {
		return
	}
	if isPlain(s) {
		a.b = append(a.b, '"')
		a.b = append(a.b, s...)
		a.b = append(a.b, '"')
		return
	}
	b, err := jsontext.AppendQuote(a.b, s)
	if err != nil {
		a.fail("text is not UTF-8")
		return
	}
	a.b = b
}

// isPlain reports whether s is ASCII text without characters that JSON escapes.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func (a *appender) string(name, s string) {
	if s != "" {
		a.name(name)
		a.quote(s)
	}
}

func (a *appender) strings(name string, list []string) {
	if len(list) == 0 {
		return
	}
	a.name(name)
	a.b = append(a.b, '[')
	for _, s := range list {
		a.comma()
		a.quote(s)
	}
	a.b = append(a.b, ']')
}

func (a *appender) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	n := t.Unix()
	if n < 0 || n > maxSeconds {
		a.fail("%s lies outside of the years 1970 to 5138", name)
		return
	}
	a.name(name)
	a.b = strconv.AppendInt(a.b, n, 10)
}

func (a *appender) raw(name string, v json.RawMessage) {
	if len(v) == 0 {
		return
	}
	if !jsontext.Value(v).IsValid() {
		a.fail("%s is not JSON", clip(name))
		return
	}
	a.name(name)
	a.b = append(a.b, v...)
}

func (a *appender) body(v json.RawMessage) {
	if len(v) == 0 {
		v = json.RawMessage("{}")
	}
	if jsontext.Value(v).Kind() != '{' {
		a.fail("body is not a JSON object")
		return
	}
	a.raw("body", v)
}

func (a *appender) others(members map[string]json.RawMessage, known func(string) bool) {
	if len(members) == 0 {
		return
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if known(name) {
			a.fail("member %s has a field of its own", name)
			return
		}
		a.raw(name, members[name])
	}
}

func (a *appender) attachments(list []Attachment) {
	if list == nil {
		return
	}
	a.name("attachments")
	a.b = append(a.b, '[')
	for i := range list {
		a.comma()
		a.attachment(&list[i])
	}
	a.b = append(a.b, ']')
}

func (a *appender) attachment(t *Attachment) {
	a.open()
	a.string("id", t.ID)
	a.string("description", t.Description)
	a.string("filename", t.Filename)
	a.string("media_type", t.MediaType)
	a.string("format", t.Format)
	if a.string("lastmod_time", t.LastModText); t.LastModText == "" {
		a.time("lastmod_time", t.LastModTime)
	}
	if t.ByteCount < 0 {
		a.fail("byte_count is negative")
		return
	}
	if t.ByteCount > 0 {
		a.name("byte_count")
		a.b = strconv.AppendInt(a.b, t.ByteCount, 10)
	}
	a.others(t.Extra, isAttachmentMember)
	a.name("data")
	a.open()
	a.raw("json", t.Data.JSON)
	a.string("base64", t.Data.Base64)
	a.strings("links", t.Data.Links)
	a.string("hash", t.Data.Hash)
	a.raw("jws", t.Data.JWS)
	a.others(t.Data.Extra, isDataMember)
	a.close()
	a.close()
}
