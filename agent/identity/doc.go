// Package identity makes DIDs for an agent from private keys and endpoints. It also keeps the
// DIDs of an agent that has many of them.
//
// # One identity
//
// Make a [Pair] of private keys. Then call [Peer2], [Peer4], [Web], [Key] or [JWK]. Each of
// these functions returns an [Identity], which has the DID, the DID document and the key ids:
//
//	pair, err := identity.Generate(keyring.Ed25519)
//	id, err := identity.Peer2(pair, "https://agent.example.org/didcomm")
//	peers := network.New(network.Config{})
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: id, Resolver: peers.Resolver, Senders: peers.Senders(), Handler: mux,
//	})
//
// An Identity implements envelope.Keys. To keep software keys for the next start of the
// program, seal those of [Identity.Keyring] in a store (keyring.Sealed.AddAll). Use
// [FromDocument] for a document that was made before, or that was written by hand.
//
// # Private keys
//
// A private key is a handle, a crypto.Signer or a crypto/ecdh.KeyExchanger. The package never
// needs the bytes of a key. There are three ways to get a Pair:
//
//   - [Generate] makes two software keys.
//   - [Find] finds two keys in an envelope.Keys by their names, for example in a KMS or in a
//     PKCS#11 token.
//   - A *keyring.Key, and a private key of the standard library, can be used as it is:
//     Pair{Sign: signing, Agree: agreement}.
//
// # Many identities
//
// A [Set] has all identities of an agent, for example one identity for each tenant. Call
// [NewSet] first, and then [Set.Add] for each identity:
//
//	set, err := identity.NewSet(ctx, identity.SetConfig{Records: st.Records(), Keys: kms})
//	err = set.Add(ctx, id, identity.Settings{Party: "alice"})
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: set, Shares: set.Shares, Store: st, Handler: agent.PerIdentity(pick),
//		Resolver: peers.Resolver, Senders: peers.Senders(),
//	})
//
// A Set keeps its identities in records of a store, so they are there again after a restart.
// It does not keep private keys, but their names in SetConfig.Keys.
//
// Identities can be added and retired while the agent runs:
//
//   - [Set.Add] adds an identity, or changes it.
//   - [Set.Retire] lets an identity end at a given time. Until then, messages that are on their
//     way can be opened.
//   - [Set.Remove] removes an identity at once.
//
// Several processes may share the records. A process finds an identity that another process
// has added within a second, and sees all other changes within SetConfig.Fresh.
//
// A Set finds a key among 100,000 identities as fast as the key of a single identity. It also
// resolves the DIDs of its identities, and an agent asks it for them (agent.Config.Keys). For an
// envelope.Packer without an agent, [Before] makes a resolver of a Set and of the resolver for
// all other DIDs.
//
// # Another URL
//
// The endpoints are in the DID document. What to do when they change depends on the method:
//
//   - A did:web stays the same. Call [Web] with the same keys and the new endpoints, call
//     [Set.Add], and publish the new document. Peers read it when the former endpoint fails.
//   - A did:peer becomes another DID. Make a new identity with new keys, and keep the former
//     one. Send each peer a message from the new DID that proves the rotation: its FromPrior is
//     the result of envelope.Packer.FromPrior. Then retire the former identity ([Set.Retire]).
//
// # Tenants are kept apart
//
// Peers cannot find out from a Set that two identities belong to one agent, unless both have
// the same Settings.Party. [Set.Add] refuses a key that an identity of another party has.
// Nothing that a Set says about a DID depends on another DID. A message that is encrypted for
// one identity and addressed to another is opened only if both have the same Party
// ([Set.Related]). The same holds for a message for one identity within a forward, or within
// a layer of encryption, for another.
//
// An agent does not ask by which endpoint a message came. If two identities have different
// endpoints, a peer can send a message for one identity to the endpoint of the other, and see
// that it is opened. Where that matters, the server in front of each endpoint has to pass on
// only messages whose key ids belong there.
//
// A key id without a DID, such as "#key-1", can name a key of any identity. An envelope.Packer
// looks for such a key only among the identities that were added first
// (envelope.MaxRelativeDIDs).
package identity
