//go:build interop

package interop_test

import "testing"

// TestDIDCommNode exchanges envelopes with didcomm-node 0.4.1, SICPA's library
// for Rust as WebAssembly.
func TestDIDCommNode(t *testing.T) {
	s := newNodeSuite(t, "didcomm-node")
	s.service = endpointService
	// The library knows key agreement on X25519 and P-256 alone
	// (src/utils/crypto.rs, KnownKeyPair), and brings no DID resolver.
	s.lacks = []*lack{
		lacking(`to peer: .*/P-(384|521)/.*`, "Unsupported key type or curve"),
		lacking(`from peer: anoncrypt(\(sign\))?/P-(384|521)/.*`, "No key agreement keys found for recipient"),
		lacking(`from peer: .*auth.*/P-(384|521)/.*`, "No common keys between sender and recipient found"),
		lacking(`.*, own resolvers/.*`, "lacks: no resolver for did:"),
		lacking(`.*did:peer:2, its DID/.*`, "lacks: operation create_peer_did"),
	}
	s.all(t)
}
