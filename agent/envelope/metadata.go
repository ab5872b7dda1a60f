package envelope

import (
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Unpacked is an opened envelope.
type Unpacked struct {
	Message  *message.Message
	Metadata Metadata
}

// Metadata says how a message was protected and what was tolerated. The JSON
// names are those that other DIDComm libraries use.
type Metadata struct {
	// Encrypted: there was at least one layer of encryption.
	Encrypted bool `json:"encrypted"`
	// Authenticated: the message's from is proven, by authcrypt or a signature.
	Authenticated bool `json:"authenticated"`
	// NonRepudiation: the message was signed.
	NonRepudiation bool `json:"non_repudiation"`
	// AnonymousSender: there was a layer of anoncrypt. Unless Authenticated, a
	// from in the message is a claim and no more.
	AnonymousSender bool `json:"anonymous_sender"`
	// ReWrappedInForward: a mediator had wrapped the message in a forward for us
	// (Routing 2.0, Rewrapping).
	ReWrappedInForward bool `json:"re_wrapped_in_forward"`

	// EncryptedFromKID is the sender's key, of authcrypt.
	EncryptedFromKID string `json:"encrypted_from_kid,omitempty"`
	// EncryptedToKIDs are the recipients' keys of the innermost encryption.
	EncryptedToKIDs []string `json:"encrypted_to_kids,omitempty"`
	// SignFrom and SignAlg are the key and algorithm of the first signature;
	// Signers are the keys of all.
	SignFrom string   `json:"sign_from,omitempty"`
	SignAlg  string   `json:"sign_alg,omitempty"`
	Signers  []string `json:"signers,omitempty"`
	// EncAlgAuth and EncAlgAnon are the content encryption of authcrypt and
	// anoncrypt.
	EncAlgAuth Enc `json:"enc_alg_auth,omitempty"`
	EncAlgAnon Enc `json:"enc_alg_anon,omitempty"`
	// FromPriorIssuerKID and FromPrior tell of a DID rotation that was checked.
	FromPriorIssuerKID string     `json:"from_prior_issuer_kid,omitempty"`
	FromPrior          *FromPrior `json:"from_prior,omitempty"`
	// Deviations is what was tolerated.
	Deviations []message.Deviation `json:"deviations,omitempty"`
}

// FromPrior is a verified DID rotation (DIDComm v2.1, DID Rotation).
type FromPrior struct {
	Iss string `json:"iss"` // the prior DID
	// Sub is the new DID, "" if the relationship ends.
	Sub string `json:"sub,omitempty"`
	// IssuedAt is when the rotation happened; zero if the peer did not say.
	IssuedAt time.Time `json:"iat,omitzero"`
}
