package jose

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// Cursor walks JSON text and yields slices of it, so that a large ciphertext
// is never copied to be parsed. It refuses what jsontext does, duplicate names
// and invalid UTF-8 among it: what envelopes are made of, objects and plain
// strings, it reads itself, all else it has jsontext judge.
type Cursor struct{ s *scanner }

// scanner is the text and how much of it has been read.
type scanner struct {
	data []byte
	at   int
}

// Walk calls f with a Cursor before the one value that data must hold; f
// consumes it. An error of f comes back as it is. What the Cursor yields points
// into data.
func Walk(data []byte, f func(Cursor) error) error {
	s := scanner{data: data}
	if err := f(Cursor{&s}); err != nil {
		return err
	}
	if s.next(); s.at < len(data) {
		return s.syntax()
	}
	return nil
}

// Check tells whether data is one JSON value without duplicate names: nil,
// ErrDuplicateName or ErrMalformed.
func Check(data []byte) error { return Walk(data, Cursor.Skip) }

// Object calls f for each member of the object that comes next; f consumes the
// value.
func (c Cursor) Object(f func(name []byte) error) error {
	var seen names
	return c.compound('{', '}', func() error {
		if c.s.next() != '"' {
			return c.s.syntax()
		}
		name, err := c.Text()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return ErrDuplicateName
		}
		if c.s.next() != ':' {
			return c.s.syntax()
		}
		c.s.at++
		return f(name)
	})
}

// Array calls f for each element of the array that comes next; f consumes it.
func (c Cursor) Array(f func() error) error { return c.compound('[', ']', f) }

func (c Cursor) compound(begin, end byte, f func() error) error {
	s := c.s
	if got := s.next(); got != begin {
		return fmt.Errorf("%w: %q where %q belongs", ErrMalformed, got, begin)
	}
	s.at++
	if s.next() == end {
		s.at++
		return nil
	}
	for {
		if err := f(); err != nil {
			return err
		}
		switch s.next() {
		case end:
			s.at++
			return nil
		case ',':
			s.at++
		default:
			return s.syntax()
		}
	}
}

// Value returns the text of the value that comes next.
func (c Cursor) Value() ([]byte, error) {
	s := c.s
	first := s.next()
	rest := s.data[s.at:]
	var n int
	switch first {
	case '"':
		if n = 1 + plain(rest[1:]); n < len(rest) && rest[n] == '"' {
			s.at += n + 1
			return rest[:n+1], nil
		}
		n = stringEnd(rest, 0) + 1
	case '{', '[':
		n = compoundEnd(rest)
	default:
		if n = bytes.IndexAny(rest, ",]}:\" \t\r\n"); n < 0 {
			n = len(rest)
		}
	}
	v := rest[:min(n, len(rest))]
	if err := judge(v); err != nil {
		return nil, err
	}
	s.at += len(v)
	return v, nil
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
