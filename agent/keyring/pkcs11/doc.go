// Package pkcs11 lends out private keys of a PKCS#11 token, an HSM or smart card:
// a [Token] is an envelope.Keys whose keys never leave it.
//
// It needs cgo, and so the build tag pkcs11; without that, this package is empty.
// Start with [Open]. Where there is no key yet, [Token.Generate] makes one, and
// its public key goes into a DID document:
//
//	token, err := pkcs11.Open(pkcs11.Config{
//		Module: "/usr/lib/softhsm/libsofthsm2.so",
//		Token:  "wallet",
//		PIN:    pkcs11.PINFile("/run/secrets/pin"),
//	})
//	public, err := token.Generate("agreement", keyring.P256, pkcs11.Agreement)
//	err = token.Bind("did:web:example.org#key-2", "agreement")
//
// A key is known to the token by its CKA_LABEL. [Token.Bind] says by which key id
// it is lent out. A key whose label is itself a DID URL with a fragment is lent
// out under that from Open on.
//
// Of PKCS#11 v2.40 and v3.0 it uses: CKM_ECDH1_DERIVE with CKD_NULL for key
// agreement, which gives away the shared secret and not the key, on P-256, P-384,
// P-521 and, where the token has it, X25519; CKM_ECDSA on the same three, of a
// digest that is made outside; CKM_EDDSA where the token has Ed25519. The tests
// run on SoftHSM 2.6.1, which has all of these; its X25519 keys are of the type
// CKK_EC_EDWARDS, as before v3.0. CKK_EC_MONTGOMERY, which it lacks, is untested.
package pkcs11
