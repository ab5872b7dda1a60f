package jose

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Cursor reads JSON text and returns slices of it, so that parsing does not copy a large
// ciphertext. It refuses the same input as package jsontext, including duplicate names and
// invalid UTF-8. Cursor reads objects, arrays and plain strings itself; it passes other values
// to jsontext.
type Cursor struct{ s *scanner }

// scanner is the text, the position in it, the current depth of arrays and objects, and the
// greatest depth permitted.
type scanner struct {
	data     []byte
	at       int
	depth    int
	maxDepth int
}

// Walk calls f with a Cursor at the start of data, which must hold a single JSON value. f must
// read that value. Walk returns an error of f as it is. The slices that the Cursor returns are
// parts of data. Arrays and objects nested deeper than maxDepth are ErrTooDeep.
func Walk(data []byte, maxDepth int, f func(Cursor) error) error {
	s := scanner{data: data, maxDepth: maxDepth}
	if err := f(Cursor{&s}); err != nil {
		return err
	}
	if s.next(); s.at < len(data) {
		return s.syntax()
	}
	return nil
}

// Check checks that data is a single JSON value without duplicate names. The error matches
// ErrDuplicateName, ErrTooDeep or ErrMalformed.
func Check(data []byte, maxDepth int) error { return Walk(data, maxDepth, Cursor.Skip) }

// Object reads an object. It calls f for each member, and f must read the value.
func (c Cursor) Object(f func(name []byte) error) error {
	s := c.s
	var seen names
	more, err := s.begin('{', '}')
	for more && err == nil {
		var name []byte
		if name, err = c.name(&seen); err != nil {
			break
		}
		if err = f(name); err == nil {
			more, err = s.more('}')
		}
	}
	return err
}

// name reads the name of a member and the colon after the name.
func (c Cursor) name(seen *names) ([]byte, error) {
	if c.s.next() != '"' {
		return nil, c.s.syntax()
	}
	name, err := c.Text()
	switch {
	case err != nil:
		return nil, err
	case !seen.add(name):
		return nil, ErrDuplicateName
	case c.s.next() != ':':
		return nil, c.s.syntax()
	}
	c.s.at++
	return name, nil
}

// Array reads an array. It calls f for each element, and f must read the element.
func (c Cursor) Array(f func() error) error {
	more, err := c.s.begin('[', ']')
	for more && err == nil {
		if err = f(); err == nil {
			more, err = c.s.more(']')
		}
	}
	return err
}

// Value returns the text of the next value.
func (c Cursor) Value() ([]byte, error) {
	s := c.s
	first := s.next()
	begin := s.at
	var err error
	switch first {
	case '{':
		err = c.Object(func([]byte) error { return c.Skip() })
	case '[':
		err = c.Array(c.Skip)
	case '"':
		if s.at += 1 + plain(s.data[s.at+1:]); s.at < len(s.data) && s.data[s.at] == '"' {
			s.at++
			break
		}
		s.at = min(stringEnd(s.data, begin)+1, len(s.data))
		err = judge(s.data[begin:s.at])
	default:
		n := bytes.IndexAny(s.data[begin:], ",]}:\" \t\r\n")
		if n < 0 {
			n = len(s.data) - begin
		}
		s.at += n
		err = judge(s.data[begin:s.at])
	}
	return s.data[begin:s.at], err
}

// Skip skips the next value.
func (c Cursor) Skip() error {
	_, err := c.Value()
	return err
}

// Text returns the next string, unquoted.
func (c Cursor) Text() ([]byte, error) {
	v, err := c.Value()
	if err != nil {
		return nil, err
	}
	if v[0] != '"' {
		return nil, fmt.Errorf("%w: %.20s is not a string", ErrMalformed, v)
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1], nil
	}
	return jsontext.AppendUnquote(nil, v)
}

// next skips white space and returns the next byte, or 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.data); s.at++ {
		switch b := s.data[s.at]; b {
		case ' ', '\t', '\r', '\n':
		default:
			return b
		}
	}
	return 0
}

// begin reads the opening bracket of an array or object, and reports whether it has elements.
func (s *scanner) begin(bracket, end byte) (more bool, err error) {
	if got := s.next(); got != bracket {
		return false, fmt.Errorf("%w: %q where %q belongs", ErrMalformed, got, bracket)
	}
	if s.depth++; s.depth > s.maxDepth {
		return false, ErrTooDeep
	}
	s.at++
	if s.next() != end {
		return true, nil
	}
	s.at++
	s.depth--
	return false, nil
}

// more reads the comma or the closing bracket after an element, and reports whether there is
// another element.
func (s *scanner) more(end byte) (bool, error) {
	switch s.next() {
	case ',':
		s.at++
		return true, nil
	case end:
		s.at++
		s.depth--
		return false, nil
	}
	return false, s.syntax()
}

func (s *scanner) syntax() error { return fmt.Errorf("%w: not JSON at byte %d", ErrMalformed, s.at) }

// judge checks with jsontext that v is a single value.
func judge(v []byte) error {
	if jsontext.Value(v).IsValid() {
		return nil
	}
	_, err := jsontext.NewDecoder(bytes.NewBuffer(v)).ReadValue()
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrDuplicateName
	case err != nil:
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return fmt.Errorf("%w: not JSON", ErrMalformed)
}

// names are the member names of an object. A few names are kept in a list, more in a map.
type names struct {
	few  [12][]byte
	n    int
	many map[string]bool
}

// add adds name and reports whether it is new.
func (s *names) add(name []byte) bool {
	for _, have := range s.few[:s.n] {
		if bytes.Equal(have, name) {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = name
		s.n++
		return true
	}
	if s.many[string(name)] {
		return false
	}
	if s.many == nil {
		s.many = map[string]bool{}
	}
	s.many[string(name)] = true
	return true
}
