package jose

import (
	"bytes"
	"fmt"
)

// Kind is one of the three formats of DIDComm v2.1, IANA Media Types.
type Kind int

// The formats.
const (
	KindMessage Kind = iota // plaintext
	KindJWE
	KindJWS
)

// Detect tells the three formats apart by the first member that marks one, so
// that a large ciphertext is not walked for it. A message may have headers of
// any other name ("tag", "payload"), so those of JOSE mark nothing.
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
