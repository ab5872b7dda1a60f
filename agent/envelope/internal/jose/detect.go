package jose

import (
	"bytes"
	"fmt"
)

// Kind is a message format of DIDComm v2.1 (IANA Media Types).
type Kind int

// Message formats.
const (
	KindMessage Kind = iota // plaintext
	KindJWE
	KindJWS
)

// Detect returns the format of data. It reads members only up to the first that is typical of
// a format, so that it need not read a large ciphertext. Members such as "tag" and "payload"
// are not typical of JOSE, since a message may have headers of any name.
func Detect(data []byte) (Kind, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return 0, fmt.Errorf("%w: empty", ErrMalformed)
	}
	if data[0] != '{' {
		switch bytes.Count(data, []byte{'.'}) {
		case 4:
			return KindJWE, nil
		case 2:
			return KindJWS, nil
		}
		return 0, fmt.Errorf("%w: neither JSON nor compact serialization", ErrMalformed)
	}
	for name := range Names(data) {
		switch string(name) {
		case "ciphertext", "recipients":
			return KindJWE, nil
		case "signatures", "signature":
			return KindJWS, nil
		case "id", "type", "typ", "body", "from", "to", "attachments":
			return KindMessage, nil
		}
	}
	return KindMessage, nil
}
