//go:build interop

package interop_test

import "testing"

// TestDIDCommRust exchanges envelopes with didcomm 0.4.1 for Rust, by SICPA.
func TestDIDCommRust(t *testing.T) {
	s := newRustSuite(t, "didcomm-rust", 85)
	s.service = endpointService
	// The library knows key agreement on X25519 and P-256 alone
	// (src/utils/crypto.rs, KnownKeyPair; sicpa-dlab/didcomm-gemini issue 91), and
	// brings no DID resolver.
	s.lacks = []*lack{
		lacking(`to peer: .*/P-(384|521)/.*`, "Unsupported key type or curve"),
		lacking(`from peer: anoncrypt(\(sign\))?/P-(384|521)/.*`, "No key agreement keys found for recipient"),
		lacking(`from peer: .*auth.*/P-(384|521)/.*`, "No common keys between sender and recipient found"),
		lacking(`.*(own resolvers|its DID)/.*`, "lacks: no DID methods"),
	}
	s.all(t)
}
