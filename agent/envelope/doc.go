// Package envelope packs DIDComm messages into signed and encrypted envelopes
// and opens the envelopes of others.
//
// Call New with the private keys (Keys) and a resolver for DIDs, then Pack,
// Unpack and, for a recipient behind mediators, Routes and Forward. A Packer is
// safe for concurrent use.
//
//	p, err := envelope.New(envelope.Config{Keys: keys, Resolver: resolver})
//	sealed, err := p.Pack(ctx, msg, envelope.From("did:example:alice"))
//	opened, err := p.Unpack(ctx, sealed[0].Data)
//
// Pack writes one strict shape that every peer known to us opens. Unpack takes
// more, lists in Metadata.Deviations what it tolerated, and refuses it all with
// Config.Strict. Nothing tolerated weakens a check: a wrong signature, tag, key
// or sender is always an error. Package doctor explains envelopes, and all that
// is refused or tolerated here, with the fix.
//
// Each error matches one of five classes, which say what to do: ErrNotForUs,
// ErrRefused, ErrMalformed, ErrTryLater, ErrInternal. The rule that was broken is
// matched too, for logs and for package doctor.
//
// Implemented of DIDComm v2.1: IANA Media Types (the permitted combinations of
// layers), Message Layer Addressing Consistency, Message Encryption (ECDH-ES
// and ECDH-1PU draft-04 with A256KW; X25519, P-256, P-384, P-521;
// A256CBC-HS512, A256GCM, XC20P), Message Signing (EdDSA, ES256, ES384, ES512,
// ES256K), DID Rotation (from_prior), Routing 2.0 on the sender's side with a
// DID as endpoint, and re-wrapped forwards on the receiver's.
package envelope
