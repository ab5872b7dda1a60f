// Package pkcs11 gives access to the private keys of a PKCS#11 token, such as an HSM or a
// smart card. A [Token] implements envelope.Keys, envelope.Owner and envelope.KeyFinder. The
// private keys never leave the token.
//
// The package needs cgo and the build tag pkcs11. Without the tag it is empty.
//
// Call [Open] first. If the token has no key yet, [Token.Generate] makes one. Package
// agent/identity makes a DID of two keys, which it finds by their labels:
//
//	token, err := pkcs11.Open(pkcs11.Config{
//		Module: "/usr/lib/softhsm/libsofthsm2.so",
//		Token:  "wallet",
//		PIN:    pkcs11.PINFile("/run/secrets/pin"),
//	})
//	_, err = token.Generate("signing", keyring.P256, pkcs11.Signatures)
//	_, err = token.Generate("agreement", keyring.P256, pkcs11.Agreement)
//	pair, err := identity.Find(ctx, token.Labels(), "signing", "agreement")
//	id, err := identity.Web("did:web:example.org", pair, "https://example.org/didcomm")
//
// The name of a key in the token is its label, CKA_LABEL. [Token.Labels] finds keys by their
// labels. To use a key without package agent/identity, bind it to the key id of a DID document
// with [Token.Bind]. If a label is a DID URL with a fragment, Open binds the key to that key id.
//
// The package uses these mechanisms of PKCS#11 v2.40 and v3.0:
//
//   - CKM_ECDH1_DERIVE with CKD_NULL for key agreement on P-256, P-384 and P-521, and on X25519
//     if the token has X25519. The shared secret leaves the token; the key does not.
//   - CKM_ECDSA for signatures on P-256, P-384 and P-521. The digest is made outside of the
//     token.
//   - CKM_EDDSA for signatures of Ed25519, if the token has Ed25519.
//
// The tests use SoftHSM 2.6.1, which has all of these. X25519 keys of SoftHSM have the type
// CKK_EC_EDWARDS, as before PKCS#11 v3.0. The type CKK_EC_MONTGOMERY is not tested, since
// SoftHSM does not have it.
package pkcs11
