package envelope

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Unpacked is an opened envelope.
type Unpacked struct {
	Message  *message.Message
	Metadata Metadata
	// OpenedWith is the key id of our key that opened the innermost layer of encryption, as
	// our DID document lists it. OpenedAs is the key id by which the peer named that key: it
	// differs from OpenedWith if the peer used an alias, such as a did:key. Both are empty if the
	// message was not encrypted.
	OpenedWith, OpenedAs string
	// SenderAs is the key id by which the peer named its key Metadata.EncryptedFromKID.
	SenderAs string
	// Named is the DID of ours that the to header names, if that is another one than the DID of
	// OpenedWith: see DeviationRecipient. Otherwise Named is empty.
	Named string
}

// Sender returns the DID that the message proves for its sender, or "" if the message proves
// none. It is the DID of the from header, in the form of that header. With
// DeviationFromPriorSender it is the DID of Metadata.EncryptedFromKID instead.
func (u *Unpacked) Sender() string {
	kid := cmp.Or(u.Metadata.EncryptedFromKID, u.Metadata.SignFrom)
	if kid != "" && sameParty(kid, u.Message.From) {
		return did.Base(u.Message.From)
	}
	return did.Base(kid)
}

// SentTo reports whether the message was sent to id, a DID of ours. If not, the message may
// have been sent to another party, which has passed it on together with its signature
// (DIDComm Signed Messages, surreptitious forwarding). A message that only a signature
// protects must name id in its to header.
func (u *Unpacked) SentTo(id string) bool {
	md, to := &u.Metadata, u.Message.To
	switch {
	case md.NonRepudiation && md.EncryptedFromKID == "" && message.Is(u.Message, forwardType):
		// Anybody can have encrypted it, and Unpack does not compare to with the keys.
	case md.Encrypted:
		return true
	case !md.NonRepudiation && len(to) == 0:
		return true // Message Headers, to: assume to be the only recipient
	}
	byKey := strings.HasPrefix(u.OpenedAs, didKeyPrefix) && sameParty(u.OpenedWith, id)
	return namesParty(to, id) || byKey && namesParty(to, u.OpenedAs)
}

// Metadata says how a message was protected and which deviations were tolerated. The JSON
// names are those that other DIDComm libraries use.
type Metadata struct {
	// Encrypted: the message had at least one layer of encryption.
	Encrypted bool `json:"encrypted"`
	// Authenticated: authcrypt or a signature proves who has sent the message: see
	// [Unpacked.Sender].
	Authenticated bool `json:"authenticated"`
	// NonRepudiation: the message was signed.
	NonRepudiation bool `json:"non_repudiation"`
	// AnonymousSender: one layer was anoncrypt. If Authenticated is false, nothing proves
	// the from header of the message.
	AnonymousSender bool `json:"anonymous_sender"`
	// ReWrappedInForward: a mediator had wrapped the message in a forward for us (Routing
	// 2.0, Rewrapping).
	ReWrappedInForward bool `json:"re_wrapped_in_forward"`

	// EncryptedFromKID is the key id of the sender's key; only for authcrypt.
	EncryptedFromKID string `json:"encrypted_from_kid,omitempty"`
	// EncryptedToKIDs are the key ids of all recipients of the innermost encryption.
	EncryptedToKIDs []string `json:"encrypted_to_kids,omitempty"`
	// SignFrom is the key id of the first signature, SignAlg its algorithm, and Signers are
	// the key ids of all signatures.
	SignFrom string   `json:"sign_from,omitempty"`
	SignAlg  string   `json:"sign_alg,omitempty"`
	Signers  []string `json:"signers,omitempty"`
	// EncAlgAuth is the content encryption of authcrypt, EncAlgAnon that of anoncrypt.
	EncAlgAuth Enc `json:"enc_alg_auth,omitempty"`
	EncAlgAnon Enc `json:"enc_alg_anon,omitempty"`
	// FromPrior is the DID rotation that from_prior proves, nil if the message has no
	// from_prior. FromPriorIssuerKID is the key id of the key that signed from_prior, one of
	// the authentication keys of FromPrior.Iss.
	FromPriorIssuerKID string     `json:"from_prior_issuer_kid,omitempty"`
	FromPrior          *FromPrior `json:"from_prior,omitempty"`
	// Deviations are the deviations from the specification that were tolerated.
	Deviations []message.Deviation `json:"deviations,omitempty"`
}

// FromPrior is a DID rotation that Unpack has verified (DIDComm v2.1, DID Rotation): a key
// of the prior DID has signed it. The rotation is proven even if the message itself is not
// [Metadata].Authenticated.
//
// Unpack does not remember rotations. If a from_prior comes again, Unpack returns it again,
// also if the prior DID has rotated to another DID since. Compare IssuedAt to find the last
// rotation of a DID.
type FromPrior struct {
	// Iss is the prior DID, in the form that the peer wrote.
	Iss string
	// Sub is the new DID, in the form that the peer wrote. It is the DID of the from header
	// of the message. Sub is empty if the peer ends the relationship; the message then has
	// no from header.
	Sub string
	// IssuedAt is the time of the rotation, in whole seconds. It is zero if the peer did not
	// give the time, and never more than five minutes in the future.
	IssuedAt time.Time
}

// claims is a FromPrior in the form of a JWT (RFC 7519, section 4.1).
type claims struct {
	Iss string `json:"iss"`
	Sub string `json:"sub,omitempty"`
	Iat *int64 `json:"iat,omitempty"` // seconds since 1970
}

// MarshalJSON returns the claims of the JWT: iss, sub and iat.
func (f FromPrior) MarshalJSON() ([]byte, error) {
	c := claims{Iss: f.Iss, Sub: f.Sub}
	if !f.IssuedAt.IsZero() {
		c.Iat = new(f.IssuedAt.Unix())
	}
	return json.Marshal(c)
}

// UnmarshalJSON reads the claims that MarshalJSON writes.
func (f *FromPrior) UnmarshalJSON(data []byte) error {
	var c claims
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	*f = FromPrior{Iss: c.Iss, Sub: c.Sub}
	if c.Iat != nil {
		f.IssuedAt = time.Unix(*c.Iat, 0).UTC()
	}
	return nil
}
