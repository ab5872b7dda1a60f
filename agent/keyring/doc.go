// Package keyring holds private keys and lends out what they can do: key agreement
// and signatures, never their bytes. A [Keyring], in memory, and a [Sealed], kept
// in a store.SealedKeys, are each an envelope.Keys.
//
// Start with [ParseSecrets] to read a secrets file, the JSON array of private
// JWKs of DIDComm Messaging v2.1, Appendix A (or a JWK Set), or with [Generate]
// and [Keyring.Add] to make keys:
//
//	key, err := keyring.Generate(keyring.X25519)
//	ring := keyring.New()
//	err = ring.Add("did:example:alice#key-1", key)
//
// or, to find them again after a restart, with [Create] and then [Open]:
//
//	passphrase := keyring.Passphrase(secret, keyring.Argon2id{})
//	ring, err := keyring.Open(ctx, keys, passphrase)
//	if errors.Is(err, store.ErrNotFound) {
//		ring, err = keyring.Create(ctx, keys, passphrase)
//	}
//
// Key types: Ed25519 and secp256k1 sign, X25519 agrees on keys, P-256, P-384 and
// P-521 do both under one key id. A private key is parsed and checked when it is
// added or opened, never per message.
//
// A key id stands for one key. Adding the same key again changes nothing; adding
// another key under a known id is [ErrDuplicate], also within one secrets file.
//
// Nothing here prints a private key or a passphrase: keys, keyrings, passphrases
// and the handles that are lent show as "REDACTED" under every verb of fmt and in
// slog. The two ways out are MarshalSecrets and the file that it is written to,
// which should have mode 0600.
//
// # At rest
//
// A Sealed has a random key of its own, which seals each private key by
// XChaCha20-Poly1305 under a random nonce. The associated data bind the key id,
// the key type, which says what the key is for, and the version of the form. That
// key is kept beside them, protected by a [Wrapper]: [Passphrase] (Argon2id, RFC
// 9106, with salt and cost kept beside it), an embedder's own, such as a call of
// a KMS, or [None]. [Sealed.Rewrap] is one compare-and-swap and leaves the sealed
// keys as they are.
//
// What that protects: who reads the store, a copy or a backup of it has the key
// ids, the key types and how many keys there are, but no key, as far as the
// passphrase withstands guessing at the cost of Argon2id. Who writes to it can
// delete keys, or put back a state that it once had, but cannot make up a key, or
// pass one off under another id, for another purpose or in another keyring; what
// is changed is [ErrInvalid] at Open, with the key id. They can put a keyring of
// their own in its place: Open refuses that with [ErrWrapper] or [ErrPassphrase],
// as long as the program, and not the store, decides on the Wrapper.
//
// What it does not: a process that has opened it has the keys in its memory, for
// who can read that; use a token (agent/keyring/pkcs11) or a KMS against it. With
// None the mode of the file is all there is. A new passphrase does not protect a
// copy that was made under the old one.
package keyring
