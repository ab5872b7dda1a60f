//go:build interop

package interop_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

// TestDIDCommJVM exchanges envelopes with org.didcommx:didcomm 0.3.2 for the JVM,
// by SICPA.
func TestDIDCommJVM(t *testing.T) {
	s := newSuite(t, mayMiss, jvmPeer(mayMiss, "org.didcommx:didcomm"))
	s.service = endpointService
	// Anoncrypt has no typ (crypto/JWE.kt), and an attachment's data null for what
	// it lacks (message/Attachment.kt).
	s.quirks = []message.DeviationCode{envelope.DeviationTyp, message.DeviationNull}
	s.reports = func(m envelope.Metadata) envelope.Metadata {
		m.EncryptedToKIDs = nil
		return m
	}
	s.lacks = []*lack{
		lacking(`.*own resolvers/.*`, "lacks: no resolver for did:"),
		lacking(`.*did:peer:2, its DID/.*`, "lacks: operation create_peer_did"),
	}
	s.defects = didcommJVMDefects()
	s.all(t)
}

// didcommJVMDefects are the cells that fail because of the library. They were
// seen with one built from its source, where the artifact could not be had.
func didcommJVMDefects() map[string]defect {
	secp256k1 := "it signs and verifies ES256K by Java's own cryptography (crypto/JWS.kt), which has no secp256k1 since Java 16 " +
		"(pull request 36 has it say so)"
	id := defect{
		reason: "Message.parse demands an id of attachments (message/Attachment.kt), which the specification does not: " +
			"no message that has one without can be opened or packed (didcomm-rust pull request 102 tells of it)",
		want: `The header "id" is missing`,
	}
	all := map[string]defect{
		"to peer: attachment without an id":   id,
		"from peer: attachment without an id": id,
		"to peer: from_prior/ES256K":          {reason: secp256k1, want: "JWT has an invalid signature"},
		"from peer: from_prior/ES256K":        {reason: secp256k1, want: "Curve not supported"},
		"from peer: forward to a DID as endpoint": {
			reason: "packEncrypted does not wrap when the recipient's service has no routing keys, before it looks for a mediator " +
				"whose DID is the endpoint (operations/PackEncrypt.kt, wrapInForwardIfNeeded; pull request 42 brought it)",
			want: "our unpack: no key for",
		},
	}
	for _, l := range layouts() {
		if l.alg == "ES256K" {
			all["to peer: "+l.String()] = defect{reason: secp256k1, want: "Invalid signature"}
			all["from peer: "+l.String()] = defect{reason: secp256k1, want: "Curve not supported"}
		}
	}
	return all
}
