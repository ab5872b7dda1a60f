//go:build interop

package interop_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
)

// TestGoJose exchanges envelopes with go-jose, as far as they are plain JOSE: the
// cells about documents are not asked. The module's go.mod pins it.
func TestGoJose(t *testing.T) {
	s := newSuite(t, "go-jose", goPeer("go-jose", t.TempDir()))
	// It writes one recipient or signature flattened, and no apv.
	s.quirks = []message.DeviationCode{envelope.DeviationSerialization, envelope.DeviationAPVMissing}
	s.reports = goJoseReports
	s.service = endpointService
	s.justJOSE = true
	s.lacks = goJoseLacks()
	s.defects = goJoseDefects()
	s.table(t)
	s.protectedKID(t)
	s.rotation(t)
	s.forwards(t)
	s.faults(t)
	s.tampers(t)
	s.report(t)
}

// goJoseReports leaves out what a library for JOSE has no notion of.
func goJoseReports(m envelope.Metadata) envelope.Metadata {
	m.Authenticated, m.EncryptedToKIDs = false, nil
	return m
}

// goJoseLacks are the algorithms of DIDComm that go-jose has not.
func goJoseLacks() []*lack {
	return []*lack{
		lacking(`.*: plain`, "lacks: messages without an envelope"),

		lacking(`to peer: .*/XC20P/.*`, `unexpected content encryption algorithm "XC20P"`),
		lacking(`to peer: authcrypt.*`, `unexpected key algorithm "ECDH-1PU+A256KW"`),
		lacking(`to peer: anoncrypt.*/X25519/(A256CBC-HS512|A256GCM)/.*`, "unsupported key type, format, curve"),
		lacking(`to peer: anoncrypt\(authcrypt.*/P-.*/(A256CBC-HS512|A256GCM)/.*`, `unexpected key algorithm "ECDH-1PU+A256KW"`),
		lacking(`to peer: (signed.*|anoncrypt\(sign\)/P-.*)/ES256K.*`, `unexpected signature algorithm "ES256K"`),

		lacking(`to peer: from_prior/.*`, `unexpected key algorithm "ECDH-1PU+A256KW"`),
		lacking(`to peer: forward/.*`, "lacks: operation unwrap"),
		lacking(`to peer: re-wrapped/X25519`, "unsupported key type, format, curve"),
		lacking(`to peer: re-wrapped/P-256`, "lacks: DIDComm's protocols"),

		lacking(`from peer: (from_prior|forward|re-wrapped)/.*`, "lacks: ECDH-1PU"),
		lacking(`from peer: (authcrypt|anoncrypt\(authcrypt).*`, "lacks: ECDH-1PU"),
		lacking(`from peer: (signed|anoncrypt\(sign\)).*/ES256K.*`, "unsupported key type, format, curve"),
		lacking(`from peer: anoncrypt.*/X25519/.*`, "unsupported key type, format, curve"),
		lacking(`from peer: anoncrypt.*/XC20P/.*`, "unknown/unsupported algorithm"),
	}
}

// goJoseDefects are the cells that fail because of go-jose, as DIDComm has it.
func goJoseDefects() map[string]defect {
	all := map[string]defect{}
	for _, l := range layouts() {
		if !l.anon || l.auth || l.curve == keyring.X25519 || l.enc == envelope.XC20P || l.alg == "ES256K" || l.keys.listed == 1 {
			continue
		}
		all["from peer: "+l.String()] = defect{
			reason: "for several recipients go-jose writes alg into the header of each (crypter.go, EncryptWithAuthData), " +
				"as JWE allows; DIDComm has alg in the protected header (didcomm-messaging pull request 393), and we take it from nowhere else",
			want: envelope.ErrUnprotectedAlg.Error(),
		}
	}
	return all
}
