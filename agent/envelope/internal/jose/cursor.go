package jose

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Cursor walks JSON text and yields slices of it, so that a large ciphertext
// is never copied to be parsed. It refuses what jsontext does, duplicate names
// and invalid UTF-8 among it: objects, arrays and plain strings it reads itself,
// all other strings and what is none it has jsontext judge.
type Cursor struct{ s *scanner }

// scanner is the text, how much of it has been read, how many arrays and objects
// have begun and not ended, and how many may have.
type scanner struct {
	data     []byte
	at       int
	depth    int
	maxDepth int
}

// Walk calls f with a Cursor before the one value that data must hold; f
// consumes it. An error of f comes back as it is. What the Cursor yields points
// into data. More than maxDepth arrays and objects in one another are ErrTooDeep.
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

// Check tells whether data is one JSON value without duplicate names: nil,
// ErrDuplicateName, ErrTooDeep or ErrMalformed.
func Check(data []byte, maxDepth int) error { return Walk(data, maxDepth, Cursor.Skip) }

// Object calls f for each member of the object that comes next; f consumes the
// value.
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

// name reads the name of a member and the colon.
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

// Array calls f for each element of the array that comes next; f consumes it.
func (c Cursor) Array(f func() error) error {
	more, err := c.s.begin('[', ']')
	for more && err == nil {
		if err = f(); err == nil {
			more, err = c.s.more(']')
		}
	}
	return err
}

// Value returns the text of the value that comes next.
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

// Skip passes over the value that comes next.
func (c Cursor) Skip() error {
	_, err := c.Value()
	return err
}

// Text returns the string that comes next, unquoted.
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

// next passes over white space and returns the byte that comes next, 0 at the
// end.
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

// begin passes over the bracket that an array or object begins with, and tells
// whether it has elements.
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

// more passes over what follows an element, and tells whether there is another.
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

// judge has jsontext tell whether v is one value.
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

// names are those of one object. Few are compared one by one.
type names struct {
	few  [12][]byte
	n    int
	many map[string]bool
}

// add tells whether name is new.
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
