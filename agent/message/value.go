package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Each method here reads the next value of the decoder. name is the name of the member, for
// errors and deviations. The bytes that the decoder returns are valid until its next read
// only: values that the message keeps are copied, or are slices of parser.data.

// fail sets p.err to an error that matches ErrInvalid, and returns it.
func (p *parser) fail(format string, args ...any) error {
	p.err = fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	return p.err
}

func (p *parser) deviate(code DeviationCode, detail string) {
	d := Deviation{code, detail}
	for _, have := range p.deviations {
		if have == d {
			return
		}
	}
	p.deviations = append(p.deviations, d)
}

// want checks the kind of the next value. If there is no value, want returns nil: the next
// read will return the error.
func (p *parser) want(kind jsontext.Kind, name string) error {
	if k := p.dec.PeekKind(); k != kind && k != jsontext.KindInvalid {
		return p.fail("%s is %s, not %s", name, kindName(k), kindName(kind))
	}
	return nil
}

// open reads the start of an object.
func (p *parser) open(name string) error {
	if err := p.want('{', name); err != nil {
		return err
	}
	_, err := p.dec.ReadToken()
	return err
}

// name reads the name of a member. It is valid until the next read.
func (p *parser) name() ([]byte, error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	return unquote(v)
}

// unquote returns the value of a JSON string. It copies only a string with escapes.
func unquote(v []byte) ([]byte, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}

// null reports whether the next value is null, which stands for an absent member.
func (p *parser) null(name string) bool {
	if p.dec.PeekKind() != 'n' {
		return false
	}
	p.deviate(DeviationNull, name)
	return true
}

func (p *parser) string(dst *string, name string) error {
	if p.null(name) {
		return p.dec.SkipValue()
	}
	if err := p.want('"', name); err != nil {
		return err
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	s, err := unquote(v)
	if err != nil {
		return err
	}
	switch string(s) { // common values are not copied
	case MediaType:
		*dst = MediaType
	case "all":
		*dst = "all"
	default:
		*dst = string(s)
	}
	return nil
}

func (p *parser) strings(dst *[]string, name string) error {
	if p.null(name) {
		return p.dec.SkipValue()
	}
	if p.dec.PeekKind() == '"' {
		p.deviate(DeviationListString, name)
		*dst = make([]string, 1)
		return p.string(&(*dst)[0], name)
	}
	if err := p.want('[', name); err != nil {
		return err
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return err
	}
	for p.dec.PeekKind() != ']' {
		if len(*dst) == p.limits.List {
			return p.fail("%s has more than %d entries", name, p.limits.List)
		}
		if k := p.dec.PeekKind(); k != '"' && k != jsontext.KindInvalid {
			return p.want('"', name+" entry")
		}
		*dst = append(*dst, "")
		if err := p.string(&(*dst)[len(*dst)-1], name); err != nil {
			return err
		}
	}
	_, err := p.dec.ReadToken()
	return err
}

// raw reads a value as JSON text.
func (p *parser) raw(dst *json.RawMessage, name string) error {
	if p.null(name) {
		return p.dec.SkipValue()
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	*dst = p.kept(v)
	return nil
}

// kept returns v, the value that the decoder has just read, for the message to keep.
func (p *parser) kept(v []byte) []byte {
	if p.data == nil {
		return bytes.Clone(v)
	}
	end := int(p.dec.InputOffset())
	return p.data[end-len(v) : end : end]
}

// other reads a member that the specification does not name, even if the value is null.
func (p *parser) other(dst *map[string]json.RawMessage, name string) error {
	if p.extra++; p.extra > p.limits.Extra {
		return p.fail("more than %d unknown members", p.limits.Extra)
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	if *dst == nil {
		*dst = make(map[string]json.RawMessage)
	}
	(*dst)[name] = p.kept(v)
	return nil
}

func (p *parser) count(dst *int64, name string) error {
	if p.null(name) {
		return p.dec.SkipValue()
	}
	if err := p.want('0', name); err != nil {
		return err
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 0 {
		return p.fail("%s is not a count", name)
	}
	*dst = n
	return nil
}

// maxSeconds is the largest number that is read as seconds, a day in the year 5138. A larger
// number is read as milliseconds.
const maxSeconds = 1e11

// lastMod reads lastmod_time of an attachment. By the specification (section i18n), no other
// time can be text.
func (p *parser) lastMod(a *Attachment) error {
	const name = "attachments.lastmod_time"
	if p.dec.PeekKind() != '"' {
		return p.time(&a.LastModTime, name)
	}
	if err := p.string(&a.LastModText, name); err != nil {
		return err
	}
	if t, ok := parseISO8601([]byte(a.LastModText)); ok {
		a.LastModTime = t
	}
	return nil
}

// time reads a time in any of the forms that peers send.
func (p *parser) time(dst *time.Time, name string) error {
	if p.null(name) {
		return p.dec.SkipValue()
	}
	kind := p.dec.PeekKind()
	if kind != '"' {
		if err := p.want('0', name); err != nil {
			return err
		}
	}
	v, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	if kind == '"' {
		if v, err = unquote(v); err != nil {
			return err
		}
		if t, ok := parseISO8601(v); ok {
			p.deviate(DeviationTimeISO8601, name)
			*dst = t
			return nil
		}
		if len(v) == 0 || v[0] < '0' || v[0] > '9' {
			return p.fail("%s is not a time", name)
		}
		p.deviate(DeviationTimeString, name)
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil || !(0 <= f && f < maxSeconds*1000) {
			return p.fail("%s is not a time", name)
		}
		p.deviate(DeviationTimeFloat, name)
		if f <= maxSeconds {
			*dst = time.UnixMilli(int64(math.Round(f * 1000))).UTC()
			return nil
		}
		n = int64(f)
	}
	switch {
	case n < 0 || n > maxSeconds*1000:
		return p.fail("%s is not a time", name)
	case n > maxSeconds:
		p.deviate(DeviationTimeMilliseconds, name)
		*dst = time.UnixMilli(n).UTC()
	default:
		*dst = time.Unix(n, 0).UTC()
	}
	return nil
}

// parseISO8601 reads a time by RFC 3339. A time without a zone is in UTC.
func parseISO8601(v []byte) (time.Time, bool) {
	if len(v) < len("2006-01-02T15:04:05") || len(v) > len("2006-01-02T15:04:05.999999999+00:00") || v[4] != '-' {
		return time.Time{}, false
	}
	s := string(v)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05", s)
	}
	if err != nil || t.Unix() < 0 || t.Unix() > maxSeconds {
		return time.Time{}, false
	}
	return t.UTC(), true
}
