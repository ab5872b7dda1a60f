// Package keyring holds private keys for package envelope. There are two kinds of keyring:
//
//   - A [Keyring] holds keys in memory.
//   - A [Sealed] holds keys in memory and keeps them, encrypted, in a store.SealedKeys.
//
// Both implement envelope.Keys, envelope.Owner and envelope.KeyFinder. They hand out key handles
// for key agreement and signatures, but not the bytes of the keys.
//
// To use the keys of a secrets file, call [ParseSecrets]. A secrets file is a JSON array of
// private JWKs, as in Appendix A of DIDComm Messaging v2.1, or a JWK Set. To make new keys,
// call [Generate] and [Keyring.Add]:
//
//	key, err := keyring.Generate(keyring.X25519)
//	ring := keyring.New()
//	err = ring.Add("did:example:alice#key-1", key)
//
// To keep keys for the next start of the program, call [Create] the first time and [Open] later:
//
//	passphrase := keyring.Passphrase(secret, keyring.Argon2id{})
//	ring, err := keyring.Open(ctx, keys, passphrase)
//	if errors.Is(err, store.ErrNotFound) {
//		ring, err = keyring.Create(ctx, keys, passphrase)
//	}
//
// # Keys
//
// Ed25519 and secp256k1 keys sign. X25519 keys agree on shared secrets. P-256, P-384 and P-521
// keys do both under the same key id. A private key is parsed and checked when it is added or
// opened, and not for each message.
//
// A key id belongs to a single key. Adding the same key again changes nothing. Adding another
// key under a key id that is taken is an [ErrDuplicate], also within a secrets file.
//
// The number of keys does not change the time that a keyring needs to find a key or a DID, or
// to add and delete a key.
//
// Keys, keyrings, passphrases and key handles print as "REDACTED", with each verb of package
// fmt and in log/slog. Private keys leave the package in one way only: in the results of
// [Keyring.MarshalSecrets] and [Sealed.MarshalSecrets]. Write these only to a file of mode
// 0600.
//
// # Sealed keyrings
//
// A Sealed has a random key of its own, the sealing key. The sealing key encrypts each private
// key with XChaCha20-Poly1305 under a random nonce. The associated data are the version of the
// format, the key type and the key id.
//
// The sealing key is stored beside the private keys, and is itself protected by a [Wrapper]:
//
//   - [Passphrase] encrypts the sealing key with a key that Argon2id (RFC 9106) derives from a
//     passphrase. The salt and the cost are stored with it.
//   - [None] stores the sealing key in clear.
//   - A Wrapper of your own can call a KMS.
//
// [Sealed.Rewrap] changes the Wrapper in a single write to the store. The private keys in the
// store stay as they are.
//
// With a passphrase, a person who can read the store or a backup of it sees the key ids, the
// key types and the number of keys. That person gets the private keys only by guessing the
// passphrase, and each guess has the cost of Argon2id.
//
// A person who can write to the store can do the following:
//
//   - delete keys, or restore an earlier state of the store;
//   - replace the keyring by another one. Open then returns [ErrWrapper] or [ErrPassphrase], if
//     the program itself, and not the store, decides which Wrapper to use.
//
// That person cannot make up a key, use a key under another key id or for another purpose, or
// move a key to another keyring. Open returns [ErrInvalid], with the key id, for a key that
// was changed.
//
// A Sealed does not protect against these:
//
//   - A person who can read the memory of the process has the keys. Use a token (package
//     agent/keyring/pkcs11) or a KMS to keep keys out of the memory.
//   - With None, only the file mode protects the keys.
//   - A copy of the store from before a new passphrase still opens with the old passphrase.
package keyring
