// Package jose has the common parts of packages jwe and jws: errors for malformed input,
// tolerated deviations, a reader of JSON text that does not copy, and base64url.
package jose

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Errors of both formats; package envelope exports and explains them.
var (
	ErrMalformed      = errors.New("malformed envelope")
	ErrUnsupportedAlg = errors.New("unsupported algorithm")
	ErrUnprotectedAlg = errors.New("algorithm outside the protected header")
	ErrHeaderConflict = errors.New("headers disagree")
	ErrTooLarge       = errors.New("envelope too large")
	ErrTooDeep        = message.ErrTooDeep
	ErrDuplicateName  = message.ErrDuplicateName
	ErrCritical       = errors.New("critical header not understood")
)

// Deviations tolerated in both formats.
const (
	DevSerialization message.DeviationCode = "serialization"
	DevPadding       message.DeviationCode = "base64-padding"
	DevTyp           message.DeviationCode = "envelope-typ"
)

// Deviations are the deviations that a parser has tolerated, each code once.
type Deviations []message.Deviation

// Note records a deviation.
func (d *Deviations) Note(code message.DeviationCode, detail string) {
	for _, have := range *d {
		if have.Code == code {
			return
		}
	}
	*d = append(*d, message.Deviation{Code: code, Detail: detail})
}

// NotePadding records base64url with padding if text has it.
func (d *Deviations) NotePadding(text []byte) {
	if bytes.HasSuffix(text, []byte("=")) {
		d.Note(DevPadding, "base64url with = padding")
	}
}

// NoteTyp records a typ that is not the media type want. The prefix "application/" may be
// missing (DIDComm v2.1, IANA Media Types).
func (d *Deviations) NoteTyp(typ []byte, present bool, want string) {
	switch {
	case !present:
		d.Note(DevTyp, "typ is missing")
	case string(typ) != want && "application/"+string(typ) != want:
		d.Note(DevTyp, fmt.Sprintf("typ is %.200q", typ))
	}
}

// Base64 is the encoding of JOSE: base64url without padding.
var Base64 = base64.RawURLEncoding

// Decode decodes base64url, with or without padding. name is the name of the member, for the
// error.
func (d *Deviations) Decode(name string, text []byte) ([]byte, error) {
	d.NotePadding(text)
	b, err := Base64.AppendDecode(nil, TrimPadding(text))
	if err != nil {
		return nil, fmt.Errorf("%w: %s is not base64url", ErrMalformed, name)
	}
	return b, nil
}

// TrimPadding removes the padding.
func TrimPadding(text []byte) []byte { return bytes.TrimRight(text, "=") }
