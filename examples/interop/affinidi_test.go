//go:build interop

package interop_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// TestAffinidi exchanges envelopes with affinidi-messaging-didcomm 0.15.11. The
// library takes keys and reads no documents, so that the cells about their forms
// are not asked.
func TestAffinidi(t *testing.T) {
	s := newRustSuite(t, "affinidi", 95)
	s.service = endpointService
	s.reports = affinidiReports
	s.lacks = affinidiLacks()
	s.defects = affinidiDefects()
	s.table(t)
	s.protectedKID(t)
	s.mixed(t)
	s.bareAttachment(t)
	s.rotation(t)
	s.forwards(t)
	s.methods(t)
	s.resolvers(t)
	s.faults(t)
	s.tampers(t)
	s.report(t)
}

// affinidiReports is what the library reports: authenticated is authcrypt alone,
// and of the recipients it names none but the one whose key it was given.
func affinidiReports(m envelope.Metadata) envelope.Metadata {
	m.Authenticated = m.EncryptedFromKID != ""
	m.EncryptedToKIDs = nil
	return m
}

// affinidiLacks are the encryptions and protocols that the library has not.
func affinidiLacks() []*lack {
	return []*lack{
		// A256CBC-HS512 alone (src/jwe/encrypt.rs). Opening does not look at enc
		// but finds that the rest does not fit (src/jwe/decrypt.rs).
		lacking(`to peer: anoncrypt.*/(A256GCM|XC20P)/.*`, "IV must be 16 bytes"),
		lacking(`from peer: anoncrypt.*/(A256GCM|XC20P)/.*`, "lacks: a choice of enc"),
		// from_prior is to it one of the headers that it does not know
		// (src/message/mod.rs).
		lacking(`to peer: from_prior/.*`, "lacks: from_prior, which it hands out unread"),
		lacking(`from peer: from_prior/.*`, "lacks: from_prior"),
		lacking(`to peer: re-wrapped/.*`, "lacks: an unpack that opens what is forwarded to oneself"),
		lacking(`.*(own resolvers|its DID)/.*`, "lacks: no DID methods"),
	}
}

// affinidiDefects are the cells that fail because of the library.
func affinidiDefects() map[string]defect {
	unwrap := defect{
		reason: "unwrap_forward looks for the attachments among the headers that Message does not know (src/message/forward.rs), " +
			"where wrap_in_forward puts them but Message::from_json does not: it opens no forward that has been sent " +
			"(the SDK reads the attachments by itself: affinidi-tdk-rs pull request 209)",
		want: "missing attachments in forward",
	}
	return map[string]defect{
		"to peer: forward/X25519": unwrap,
		"to peer: forward/P-256":  unwrap,
	}
}
