package message

import (
	"bytes"
	"encoding/json"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of the parts of a problem report.
const (
	maxCode = 256
	maxArgs = 100
)

// IsProblemReport reports whether typ is the type of a problem report: the last part of typ,
// the message name, is "problem-report", in any protocol and version. Case and punctuation of
// the name are ignored. The rest of typ need not be a valid message type URI.
func IsProblemReport(typ string) bool {
	return equalName(typ[strings.LastIndexAny(typ, "/?&:;=#")+1:], "problem-report")
}

// ReadProblem reads the body of a problem report in each of the forms that peers write:
//
//	{"code": "e.p.msg", "comment": "{1} is odd", "args": ["3"], "escalate_to": "..."}
//	{"description": {"code": "message-parse-failure", "en": "..."}}
//	"e.p.msg"
//
// The first form is that of the specification (section Problem Reports). The second is that
// of Aries RFC 0035; its text can be in any language, and its code can be missing. The third
// is a bare code.
//
//   - An argument that is not a string becomes its JSON text; null becomes "".
//   - Members that cannot be read are left out.
//   - A code of more than 256 bytes, and arguments after the hundredth, are left out.
//
// ReadProblem does not check the form of the code: use ParseCode.
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

// stringOf returns the value of a JSON string, or "" for any other JSON value.
func stringOf(v jsontext.Value) (s string) {
	if v.Kind() == '"' {
		_ = jsonv2.Unmarshal(v, &s) // a string that cannot be read is left out
	}
	return s
}

// localized reads a text that is a string, or an object from language to text. Such an object
// can have a code, too. Of several languages English is preferred.
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

// eachMember calls f for each member of an object. The value is valid until f returns.
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
		key := name.String() // name is valid until the next read
		v, err := dec.ReadValue()
		if err != nil {
			return
		}
		f(key, v)
	}
}

// arguments reads args: a list, or a single argument.
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
	_ = v.Compact() // v is valid JSON: the decoder has read it
	return string(v)
}
