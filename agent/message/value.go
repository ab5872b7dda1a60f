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

// Each method here reads one value at the decoder's place; name is the member's,
// for errors and deviations. What the decoder hands out is valid until its next
// read only, so everything kept is copied, or taken of the data itself.

// fail keeps and returns an error that matches ErrInvalid.
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

// want checks the kind of the value ahead. Where there is no value, the next
// read tells what is wrong.
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

// name reads a member's name, valid until the next read.
func (p *parser) name() ([]byte, error) {
	v, err := p.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	return unquote(v)
}

// unquote does without a copy where there is no escape.
func unquote(v []byte) ([]byte, error) {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}

// null reports whether the value ahead is null, which stands for absent.
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
	switch string(s) { // the usual values of some headers need no copy
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

// raw keeps a value as it stands.
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

// kept is a value that the decoder has just read, to be kept.
func (p *parser) kept(v []byte) []byte {
	if p.data == nil {
		return bytes.Clone(v)
	}
	end := int(p.dec.InputOffset())
	return p.data[end-len(v) : end : end]
}

// other keeps a member that the specification does not name, null included.
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

// maxSeconds is the greatest number that is read as seconds; above it lie
// milliseconds. As seconds it is a day in the year 5138.
const maxSeconds = 1e11

// time reads a time in any of the forms that peers send. Text is right by the
// specification for an attachment's lastmod_time alone (section i18n), whose
// form it leaves open.
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
			if name != "attachments.lastmod_time" {
				p.deviate(DeviationTimeISO8601, name)
			}
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

// parseISO8601 reads RFC 3339 and the same without a zone, which is taken for UTC.
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
