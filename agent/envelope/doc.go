// Package envelope packs DIDComm messages into signed and encrypted envelopes, and
// opens the envelopes that peers send.
//
// Call [New] with your private keys ([Keys]) and a resolver of DIDs. The [Packer] that
// New returns has a method for each task:
//
//   - [Packer.Pack] signs a message and encrypts it for its recipients.
//   - [Packer.Unpack] opens an envelope and checks who sent it.
//   - [Packer.Routes] and [Packer.Forward] prepare an envelope for the mediators of a
//     recipient.
//   - [Packer.FromPrior] makes the proof that a DID of yours has changed.
//
// For example, with keys that are an identity.Identity or a keyring.Keyring:
//
//	resolver := did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})
//	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
//	packed, err := p.Pack(ctx, msg, envelope.From("did:example:alice"))
//	opened, err := p.Unpack(ctx, packed[0].Data)
//
// # Strict writing, tolerant reading
//
// Pack writes a single strict form, which every known implementation opens. Unpack also
// opens envelopes that deviate from the specification in a harmless way, and lists each
// deviation in [Metadata].Deviations; with [Config].Strict it refuses them. A tolerated
// deviation never weakens a check: a wrong signature, authentication tag, key or sender is
// always an error. [Unpacked.Sender] is the sender that a message proves, whatever its from
// header says. Package doctor explains every deviation and every refusal, and how the
// sender can mend it.
//
// # Errors
//
// Each error of a Packer matches exactly one of five classes with errors.Is. The class
// says what to do:
//
//   - [ErrNotForUs]: the envelope is for keys that we do not hold.
//   - [ErrRefused]: cryptography or policy forbids the message. Drop it.
//   - [ErrMalformed]: the bytes are no message. Drop them.
//   - [ErrTryLater]: a key store or a DID could not be reached. Try the same call later.
//   - [ErrInternal]: this package or a library beneath it has a fault.
//
// The error also matches the rule that was broken, such as [ErrDecrypt]. The rule is for
// logs and for package doctor.
//
// # Clauses
//
// The package implements these parts of DIDComm v2.1:
//
//   - IANA Media Types: the permitted combinations of layers.
//   - Message Layer Addressing Consistency.
//   - Message Encryption: ECDH-ES and ECDH-1PU (draft-04) with A256KW; keys of X25519,
//     P-256, P-384 and P-521; content in A256CBC-HS512, A256GCM and XC20P.
//   - Message Signing: EdDSA, ES256, ES384, ES512 and ES256K.
//   - DID Rotation: from_prior.
//   - Routing Protocol 2.0: forwards as a sender makes them, also to an endpoint that is a
//     DID, and re-wrapped forwards as a recipient opens them.
package envelope
