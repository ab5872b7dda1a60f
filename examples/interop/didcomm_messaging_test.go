//go:build interop

package interop_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

// TestDIDCommMessaging exchanges envelopes with didcomm-messaging 0.1.1 for
// Python, by Indicio, with aries-askar.
func TestDIDCommMessaging(t *testing.T) {
	s := newPythonSuite(t, "didcomm-messaging", 10, 13)
	s.base = "authcrypt"
	s.service = endpointService
	// Anoncrypt has an epk for each recipient, authcrypt a typ of its own
	// (didcomm_messaging/crypto/backend/askar.py).
	s.quirks = []message.DeviationCode{envelope.DeviationTyp, envelope.DeviationEPKUnprotected}
	s.lacks = didcommMessagingLacks()
	s.defects = didcommMessagingDefects()
	s.all(t)
}

// didcommMessagingLacks are the layers, curves and protocols that the library
// has not: it encrypts bytes, in one layer, and public keys are of X25519
// (didcomm_messaging/packaging.py, AskarKey.alg_to_codec).
func didcommMessagingLacks() []*lack {
	return []*lack{
		lacking(`.*: did:key, own resolvers/.*`, "DIDMethodNotSupported: No resolver found for DID did:key:"),
		lacking(`to peer: (plain|signed/.*|did:peer:2, own resolvers/signed)`, "KeyError: 'protected'"),
		lacking(`from peer: (plain|signed/.*|did:peer:2, .*/signed)`, "lacks: nothing that packs without encryption"),
		lacking(`to peer: (anoncrypt|authcrypt\(sign\)).*/P-521/.*`, "Unsupported JWK for key import"),
		lacking(`from peer: anoncrypt/P-521/XC20P/.*`, "Unsupported JWK for key import"),
		lacking(`.*: authcrypt/P-521/.*`, "Unsupported JWK for key import"),
		lacking(`from peer: anoncrypt/P-(256|384)/XC20P/.*`, "Unsupported key type"),
		lacking(`.*: (authcrypt/P-(256|384)/.*|two key types)`, "Unsupported key type"),
		lacking(`to peer: authcrypt\(sign\)/P-(256|384)/.*`, "Unsupported key type"),
		lacking(`.*: (forward|did:.*, documents given)/P-256`, "Unsupported key type"),
		lacking(`from peer: re-wrapped/P-256`, "Unsupported key type"),
		lacking(`from peer: anoncrypt/.*/(A256CBC-HS512|A256GCM)/.*`, "lacks: a choice of enc"),

		lacking(`to peer: anoncrypt\(.*\)/(X25519|P-256|P-384)/.*`, "lacks: what is in the envelope, an envelope, is handed out"),
		lacking(`to peer: (authcrypt\(sign\)/X25519/.*|did:peer:2, own resolvers/authcrypt\(sign\))`,
			"lacks: what is in the envelope, an envelope, is handed out"),
		lacking(`from peer: (anoncrypt\(sign\)|authcrypt\(sign\)|anoncrypt\(authcrypt\(sign\)\))/.*`, "lacks: signatures"),
		lacking(`from peer: did:peer:2, .*/authcrypt\(sign\)`, "lacks: signatures"),
		lacking(`from peer: anoncrypt\(authcrypt\)/.*`, "lacks: anoncrypt around authcrypt"),
		lacking(`to peer: from_prior/.*`, "lacks: from_prior is handed out unread"),
		lacking(`from peer: from_prior/.*`, "lacks: a way to sign a from_prior"),
		lacking(`to peer: re-wrapped/.*`, "lacks: a forward is handed out as the message"),
	}
}

// didcommMessagingDefects are the cells that fail because of the library, or of
// the pydid that it reads documents with.
func didcommMessagingDefects() map[string]defect {
	routing := "prepare_forward reads no routing keys of the recipient's own service, but only those of a mediator " +
		"whose DID is that service's uri (didcomm_messaging/routing.py): a message to others is not wrapped, without a word"
	return map[string]defect{
		"from peer: forward/X25519":    {reason: routing, want: "first mediator: our unpack: no key for"},
		"from peer: re-wrapped/X25519": {reason: routing, want: "ReWrappedInForward:false"},
		"from peer: forward by a DID": {
			reason: "pydid takes only DID URLs with a path, query or fragment as routing keys (pydid/service.py, " +
				"DIDCommV2ServiceEndpoint; acapy pull request 1977 met the same), so that a service with a plain DID there " +
				"becomes an UnknownService, in which _resolve_services finds no accept",
			want: "'dict' object has no attribute 'accept'",
		},
	}
}
