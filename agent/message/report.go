package message

import (
	"bytes"
	"encoding/json"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of what is kept of a problem report.
const (
	maxCode = 256
	maxArgs = 100
)

// IsProblemReport reports whether a message type is that of a problem report:
// the message is named "problem-report", in whatever protocol and version.
// Names are compared without case and punctuation. The rest of typ need not be
// what ParseType takes.
func IsProblemReport(typ string) bool {
	return equalName(typ[strings.LastIndexAny(typ, "/?&:;=#")+1:], "problem-report")
}

// ReadProblem reads the body of a problem report in each form that peers write:
//
//	{"code": "e.p.msg", "comment": "{1} is odd", "args": ["3"], "escalate_to": "..."}
//	{"description": {"code": "message-parse-failure", "en": "..."}}
//	"e.p.msg"
//
// The first is the specification's (section Problem Reports), the second that of
// Aries RFC 0035, whose text may be in another language, or stand there alone. An
// argument that is no string becomes its JSON text, null the empty string. What
// cannot be read is left out; a code of more than 256 bytes counts as that, and
// arguments after the hundredth. Code is no more than what the peer wrote.
func ReadProblem(body json.RawMessage) *Problem {
	p := new(Problem)
	if v := jsontext.Value(bytes.TrimSpace(body)); v.Kind() == '"' {
		p.Code = code(v)
		return p
	}
	var b struct {
		Code        jsontext.Value `json:"code"`
		Comment     jsontext.Value `json:"comment"`
		Args        jsontext.Value `json:"args"`
		EscalateTo  jsontext.Value `json:"escalate_to"`
		Description jsontext.Value `json:"description"`
	}
	if err := jsonv2.Unmarshal(body, &b); err != nil {
		return p
	}
	inner, text := localized(b.Description)
	p.Code, p.EscalateTo = code(b.Code), stringOf(b.EscalateTo)
	if p.Code == "" {
		p.Code = code(inner)
	}
	if _, p.Comment = localized(b.Comment); p.Comment == "" {
		p.Comment = text
	}
	p.Args = arguments(b.Args)
	return p
}

func code(v jsontext.Value) string {
	if s := stringOf(v); len(s) <= maxCode {
		return s
	}
	return ""
}

// stringOf is the value of a JSON string, or empty.
func stringOf(v jsontext.Value) (s string) {
	if v.Kind() == '"' {
		_ = jsonv2.Unmarshal(v, &s) // what cannot be read is left out
	}
	return s
}

// localized reads a text that is a string, or an object with the text by
// language, of which English is preferred, and perhaps a code beside.
func localized(v jsontext.Value) (code jsontext.Value, text string) {
	if v.Kind() != '{' {
		return nil, stringOf(v)
	}
	english := false
	eachMember(v, func(name string, v jsontext.Value) {
		switch {
		case name == "code":
			code = v.Clone()
		case v.Kind() == '"' && (text == "" || name == "en" || !english && strings.HasPrefix(name, "en-")):
			text, english = stringOf(v), name == "en" || strings.HasPrefix(name, "en-")
		}
	})
	return code, text
}

// eachMember calls f for the members of an object. The value is f's until it
// returns.
func eachMember(object jsontext.Value, f func(name string, v jsontext.Value)) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return
		}
		key := name.String() // before the next read, which makes it invalid
		v, err := dec.ReadValue()
		if err != nil {
			return
		}
		f(key, v)
	}
}

// arguments reads args, which is no list where there is one only.
func arguments(v jsontext.Value) []string {
	switch v.Kind() {
	case '[':
	case 0, 'n':
		return nil
	default:
		return []string{argument(v)}
	}
	var args []string
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for len(args) < maxArgs && dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			break
		}
		args = append(args, argument(v))
	}
	return args
}

func argument(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		return stringOf(v)
	case 'n':
		return ""
	}
	v = v.Clone()
	_ = v.Compact() // it was read once, so it is JSON
	return string(v)
}
