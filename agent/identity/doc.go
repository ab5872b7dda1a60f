// Package identity makes the DIDs of an agent, and keeps many of them for one agent.
//
// # One identity
//
// Start with a [Pair] of private keys and call [Peer2], [Peer4], [Web], [Key] or [JWK],
// which give the DID, its document and the key ids in one call:
//
//	pair, err := identity.Generate(keyring.Ed25519)
//	id, err := identity.Peer2(pair, "https://agent.example.org/didcomm")
//	packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
//
// An [Identity] is an envelope.Keys of its private keys. [Identity.Keyring] gives software
// keys to keep: keyring.Sealed.AddAll seals them in a store. [FromDocument] is for a DID
// that was made before, and for a document that is written by hand.
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
// # Many identities
//
// A [Set] has the identities of an agent with many tenants. Start with [NewSet], and add
// each identity by [Set.Add]:
//
//	set, err := identity.NewSet(ctx, identity.SetConfig{Records: st.Records(), Keys: kms})
//	err = set.Add(ctx, id, identity.Settings{Party: "alice"})
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: set, Resolver: identity.Before(set, resolver), Senders: senders, Handler: mux,
//	})
//
// [Set.Retire] ends the use of an identity at a later time, so that what is under way is
// still opened. [Set.Remove] forgets it at once. Identities are added, retired and removed
// while the agent runs, and are there again after a restart. Several processes may share
// one database: each finds what the others add at once, and what they retire and remove
// within SetConfig.Fresh.
//
// The Set is the envelope.Keys and envelope.Owner of all its identities, and takes the same
// time to find a key among 100,000 of them as with one. It resolves their DIDs
// ([Set.Resolve]), and [Before] asks it before another resolver. The private keys stay where
// they are: the Set knows them by the names of [Identity.Handles].
//
// No identity of a Set leads to another one: [Set.Add] refuses a key that another identity
// has, and what the Set says of one DID does not depend on the others. The exception is a
// key id that names no DID ("#key-1"): an envelope.Packer looks for its key among the
// identities that were added first.
package identity
