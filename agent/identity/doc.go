// Package identity makes the DIDs of an agent: DID, document and key ids in one call,
// from two private keys and the endpoints at which the agent takes messages.
//
// Start with a [Pair] of private keys and call [Peer2], [Peer4], [Web], [Key] or [JWK]:
//
//	pair, err := identity.Generate(keyring.Ed25519)
//	id, err := identity.Peer2(pair, "https://agent.example.org/didcomm")
//	packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
//
// An [Identity] has the DID, the document, and the private keys as an envelope.Keys.
// [Identity.Keyring] gives software keys to keep: keyring.Sealed.AddAll seals them in a
// store.
//
// Private keys are handles, crypto.Signer and crypto/ecdh.KeyExchanger, and never bytes:
//
//   - [Generate] makes two software keys.
//   - A *keyring.Key and the private keys of the standard library are handles as they
//     are: Pair{Sign: signing, Agree: agreement}.
//   - [Find] takes handles from an envelope.Keys, of a KMS or a PKCS#11 token say, by the
//     names that they have there. The Identity asks for them by these names for each
//     message, with the context of that message.
//
// [FromDocument] is for a DID that was made before, and for a document that is written by
// hand.
package identity
