package envelope

import (
	"encoding/json"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Unpacked is an opened envelope.
type Unpacked struct {
	Message  *message.Message
	Metadata Metadata
	// OpenedWith is the kid, as Keys has it, of our key that opened the innermost
	// encryption; empty if there was none. The peer may have named it otherwise:
	// OpenedAs.
	OpenedWith, OpenedAs string
	// SenderAs is how the peer named the key Metadata.EncryptedFromKID.
	SenderAs string
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
	Iss string // the prior DID
	// Sub is the new DID, "" if the relationship ends.
	Sub string
	// IssuedAt is when the rotation happened, to the second; zero if the peer
	// did not say.
	IssuedAt time.Time
}

// claims is FromPrior as a JWT writes it (RFC 7519, section 4.1).
type claims struct {
	Iss string `json:"iss"`
	Sub string `json:"sub,omitempty"`
	Iat *int64 `json:"iat,omitempty"` // seconds since 1970
}

// MarshalJSON writes the claims of the JWT: iss, sub and iat.
func (f FromPrior) MarshalJSON() ([]byte, error) {
	c := claims{Iss: f.Iss, Sub: f.Sub}
	if !f.IssuedAt.IsZero() {
		c.Iat = new(f.IssuedAt.Unix())
	}
	return json.Marshal(c)
}

// UnmarshalJSON reads what MarshalJSON writes.
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
