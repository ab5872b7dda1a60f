package jose

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Cursor walks JSON text and yields slices of it, so that a large ciphertext
// is never copied to be parsed. jsontext refuses duplicate names and invalid
// UTF-8.
type Cursor struct {
	dec  *jsontext.Decoder
	data []byte
}

// Walk calls f with a Cursor before the one value that data must hold; f
// consumes it. An error of f comes back as it is. What the Cursor yields points
// into data.
func Walk(data []byte, f func(Cursor) error) error {
	w := walk{data: data, f: f}
	err := json.Unmarshal(data, &w)
	if w.err != nil {
		return w.err
	}
	return syntaxError(err)
}

// Check tells whether data is one JSON value without duplicate names: nil,
// ErrDuplicateName or ErrMalformed.
func Check(data []byte) error {
	return Walk(data, func(c Cursor) error {
		_, err := c.Value()
		return err
	})
}

// walk borrows the decoder that json.Unmarshal pools.
type walk struct {
	data []byte
	f    func(Cursor) error
	err  error
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (w *walk) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	w.err = w.f(Cursor{dec, w.data})
	return w.err
}

// Object calls f for each member of the object that comes next; f consumes the
// value.
func (c Cursor) Object(f func(name []byte) error) error {
	return c.compound('{', '}', func() error {
		name, err := c.Text()
		if err != nil {
			return err
		}
		return f(name)
	})
}

// Array calls f for each element of the array that comes next; f consumes it.
func (c Cursor) Array(f func() error) error { return c.compound('[', ']', f) }

func (c Cursor) compound(begin, end jsontext.Kind, f func() error) error {
	tok, err := c.dec.ReadToken()
	if err != nil {
		return syntaxError(err)
	}
	if tok.Kind() != begin {
		return fmt.Errorf("%w: %v where %v belongs", ErrMalformed, tok.Kind(), begin)
	}
	for c.dec.PeekKind() != end {
		if err := f(); err != nil {
			return err
		}
	}
	_, err = c.dec.ReadToken()
	return syntaxError(err)
}

// Value returns the text of the value that comes next.
func (c Cursor) Value() ([]byte, error) {
	v, err := c.dec.ReadValue()
	if err != nil {
		return nil, syntaxError(err)
	}
	end := c.dec.InputOffset()
	return c.data[end-int64(len(v)) : end], nil
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

func syntaxError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrDuplicateName
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}
