// Package keyring holds private keys in memory and lends out what they can do:
// key agreement and signatures, never their bytes. A [Keyring] is an
// envelope.Keys.
//
// Start with [ParseSecrets] to read a secrets file, the JSON array of private
// JWKs of DIDComm Messaging v2.1, Appendix A (or a JWK Set), or with [Generate]
// and [Keyring.Add] to make keys:
//
//	key, err := keyring.Generate(keyring.X25519)
//	ring := keyring.New()
//	err = ring.Add("did:example:alice#key-1", key)
//
// Key types: Ed25519 and secp256k1 sign, X25519 agrees on keys, P-256, P-384 and
// P-521 do both under one key id. A private key is parsed and checked when it is
// added, never per message.
//
// A key id stands for one key. Adding the same key again changes nothing; adding
// another key under a known id is [ErrDuplicate], also within one secrets file.
//
// Nothing here prints a private key: keys, keyrings and the handles they lend
// show as "REDACTED" under every verb of fmt and in slog. The two ways out are
// [Keyring.MarshalSecrets] and the file that it is written to, which should have
// mode 0600.
package keyring
