//go:build interop

package interop_test

import (
	"fmt"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// TestVeramo exchanges envelopes with an agent of Veramo 7.0.1.
func TestVeramo(t *testing.T) {
	s := newNodeSuite(t, "veramo")
	s.base = "anoncrypt"
	s.service = endpointService
	// veramo issue 1500; pull request 1501 brings apv to what follows 7.0.1.
	s.quirks = []message.DeviationCode{envelope.DeviationAPVMissing}
	s.reports = veramoReports
	s.lacks = veramoLacks()
	s.defects = veramoDefects()
	s.protectedKID(t)
	s.all(t)
}

// veramoReports is what follows from the name of a packing, which is all that
// the peer reports.
func veramoReports(m envelope.Metadata) envelope.Metadata {
	return envelope.Metadata{
		Encrypted:       m.Encrypted,
		Authenticated:   m.Authenticated,
		NonRepudiation:  m.NonRepudiation,
		AnonymousSender: m.AnonymousSender,
	}
}

// veramoLacks are the layers, curves and algorithms that the peer's did-comm has
// not: it encrypts for X25519 alone, in one layer, and signs by EdDSA and ES256K
// (src/didcomm.ts).
func veramoLacks() []*lack {
	return []*lack{
		lacking(`to peer: (anoncrypt.*/P-.*|(forward|re-wrapped|did:.*, documents given)/P-256)`,
			"unable to decrypt DIDComm message with any of the locally managed keys"),
		lacking(`to peer: (authcrypt.*/P-.*|two key types)`, "not_supported: sender key of type JsonWebKey2020"),
		lacking(`to peer: anoncrypt\(.*\)/X25519/.*`, "lacks: what is in the envelope, an envelope, is handed out"),
		lacking(`to peer: re-wrapped/X25519`, "lacks: a forward is handed out as the message"),

		lacking(`from peer: (anoncrypt|forward|re-wrapped|did:.*, documents given)/P-256.*`,
			"not_supported: no compatible key agreement keys found for recipient"),
		lacking(`from peer: anoncrypt/P-(384|521)/.*`, "key_not_found: no key agreement keys found for recipient"),
		lacking(`from peer: (authcrypt/P-.*|two key types)`, "key_not_found: could not map an agent key to an skid"),
		lacking(`from peer: anoncrypt\(sign\)/.*`, "not_implemented: packing messages as anoncrypt+jws"),
		lacking(`from peer: (did:key, own resolvers/)?authcrypt\(sign\)(/.*)?`, "lacks: no packing authcrypt+jws"),
		lacking(`from peer: anoncrypt\(authcrypt\)/.*`, "not_implemented: packing messages as anoncrypt+authcrypt"),
		lacking(`from peer: anoncrypt\(authcrypt\(sign\)\)/.*`, "lacks: no packing anoncrypt+authcrypt+jws"),
		lacking(`from peer: from_prior/.*`, "lacks: no way to sign a from_prior"),

		lacking(`.*did:peer:2, own resolvers/.*`, "lacks: no resolver for did:peer:2."),
		lacking(`.*did:peer:2, its DID/.*`, "lacks: operation create_peer_did"),
	}
}

// veramoDefects are the cells that fail because of Veramo.
func veramoDefects() map[string]defect {
	draft03 := defect{
		reason: "did-comm derives the keys of ECDH-1PU as draft-03 did, without the tag, for A256CBC-HS512 too " +
			"(src/encryption/a256kw-encrypters.ts with createX25519Ecdh1PUv3Kek and computeX25519Ecdh1PUv3Kek of did-jwt); " +
			"DIDComm demands draft-04 (veramo issue 1375)",
		want: "unable to decrypt DIDComm message with any of the locally managed keys",
	}
	kid := defect{
		reason: "unpackDIDCommMessageJWS reads kid of the protected header alone (src/didcomm.ts), " +
			"where the specification's examples have it in the unprotected one (didcomm-messaging issue 446 is about the two shapes); " +
			"envelope.ProtectedKID is for such peers",
		want: "invalid_jws: sender is not a DID or does not match the `kid`",
	}
	all := map[string]defect{}
	for _, l := range layouts() {
		switch {
		case l.name == "authcrypt" && l.curve == keyring.X25519:
			all["to peer: "+l.String()] = draft03
			all["from peer: "+l.String()] = defect{reason: draft03.reason, want: "our unpack: cannot decrypt"}
		case l.name == "authcrypt(sign)" && l.curve == keyring.X25519:
			all["to peer: "+l.String()] = draft03
		case l.name == "signed":
			all["to peer: "+l.String()] = kid
		}
	}
	for _, alg := range signatures {
		all["to peer: from_prior/"+alg] = draft03
	}
	for _, mode := range []string{"authcrypt", "authcrypt(sign)"} {
		all["to peer: did:key, own resolvers/"+mode] = draft03
	}
	all["from peer: did:key, own resolvers/authcrypt"] = defect{reason: draft03.reason, want: "our unpack: cannot decrypt"}
	all["to peer: did:key, own resolvers/signed"] = kid
	all["from peer: signed/ES256"] = defect{
		reason: "the key manager has P-256 keys in compressed form (kms-local), documents give them uncompressed " +
			"(extractPublicKeyBytes of did-jwt), so that no key of keyRef is found; packDIDCommMessageJWS then signs " +
			"by the first key that is, without a word (src/didcomm.ts)",
		want: "metadata: got",
	}
	return all
}

// protectedKID is what we sign for peers that read kid of the protected header
// alone.
func (s *suite) protectedKID(t *testing.T) {
	for _, alg := range signatures {
		s.cell(t, "to peer: signed, protected kid/"+alg, func(t *testing.T) error {
			x := newExchange(t, layoutOf("signed", "", "", alg))
			envs, err := packer(t, x.sender, x.recipient).Pack(t.Context(), x.message, append(x.options(), envelope.ProtectedKID())...)
			if err != nil {
				return fmt.Errorf("our pack: %w", err)
			}
			got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.held, x.sender), Envelope: envs[0].Data})
			if err != nil {
				return err
			}
			return s.check(t, x, got)
		})
	}
}
