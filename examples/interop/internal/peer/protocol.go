package peer

import (
	"context"
	stdjson "encoding/json"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// Hello is the result of the operation "hello": the language and the packages of the peer.
type Hello struct {
	Name     string            `json:"name"`
	Language string            `json:"language"` // with its version
	Versions map[string]string `json:"versions"` // of the packages that matter
}

// Known has the private keys and DID documents that a peer gets with a request. The keys are
// JWKs whose kid is the DID URL of the key. The peer resolves all other DIDs itself, as far as
// its library can.
type Known struct {
	Secrets   []stdjson.RawMessage `json:"secrets,omitzero"`
	Documents []stdjson.RawMessage `json:"documents,omitzero"`
}

// PackParams are the params of "pack". Without To the message is only signed. Without To and
// SignBy it stays plaintext. Each of To, From and SignBy is a DID or a
// DID URL of a key.
type PackParams struct {
	Known
	// Message is the plaintext, with the claims of a from_prior in place of a
	// JWT.
	Message            stdjson.RawMessage `json:"message"`
	To                 string             `json:"to,omitzero"`
	From               string             `json:"from,omitzero"`
	SignBy             string             `json:"sign_by,omitzero"`
	Enc                envelope.Enc       `json:"enc,omitzero"` // of anoncrypt
	ProtectSender      bool               `json:"protect_sender,omitzero"`
	Forward            bool               `json:"forward,omitzero"` // wrap as the recipient's document says
	FromPriorIssuerKID string             `json:"from_prior_issuer_kid,omitzero"`
}

// PackResult is the result of "pack".
type PackResult struct {
	Envelope stdjson.RawMessage `json:"envelope"`
}

// UnpackParams are the params of "unpack" and of "unwrap", which opens a forward
// as a mediator does.
type UnpackParams struct {
	Known
	Envelope stdjson.RawMessage `json:"envelope"` // a string in Compact serialization
}

// UnpackResult is the result of "unpack": the message without from_prior, the claims of
// from_prior, and the metadata of the peer, under the names of envelope.Metadata.
type UnpackResult struct {
	Message   stdjson.RawMessage `json:"message"`
	FromPrior *FromPrior         `json:"from_prior"` // nil if there was none
	Metadata  envelope.Metadata  `json:"metadata"`
}

// FromPrior is the claims of a from_prior.
type FromPrior struct {
	Iss      string `json:"iss"`
	Sub      string `json:"sub"`
	IssuedAt int64  `json:"iat"` // seconds since 1970
}

// UnwrapResult is the result of "unwrap".
type UnwrapResult struct {
	Next            string             `json:"next"`
	Envelope        stdjson.RawMessage `json:"envelope"`
	EncryptedToKIDs []string           `json:"encrypted_to_kids"`
}

// CreateParams are the params of "create_peer_did": public JWKs.
type CreateParams struct {
	KeyAgreement   []stdjson.RawMessage `json:"key_agreement"`
	Authentication []stdjson.RawMessage `json:"authentication"`
}

// ResolveParams are the params of "resolve".
type ResolveParams struct {
	DID string `json:"did"`
}

// DIDResult is the result of "create_peer_did" and of "resolve": a DID, and its document as
// the peer's library makes it.
type DIDResult struct {
	DID      string             `json:"did"`
	Document stdjson.RawMessage `json:"document"`
}

// Hello asks for the language and the packages of the peer.
func (p *Process) Hello(ctx context.Context) (Hello, error) {
	var r Hello
	err := p.Call(ctx, "hello", nil, &r)
	return r, err
}

// Pack asks the peer to pack a message.
func (p *Process) Pack(ctx context.Context, params PackParams) (PackResult, error) {
	var r PackResult
	err := p.Call(ctx, "pack", params, &r)
	return r, err
}

// Unpack asks the peer to open an envelope.
func (p *Process) Unpack(ctx context.Context, params UnpackParams) (UnpackResult, error) {
	var r UnpackResult
	err := p.Call(ctx, "unpack", params, &r)
	return r, err
}

// Unwrap asks the peer, as mediator, to open a forward.
func (p *Process) Unwrap(ctx context.Context, params UnpackParams) (UnwrapResult, error) {
	var r UnwrapResult
	err := p.Call(ctx, "unwrap", params, &r)
	return r, err
}

// CreatePeerDID asks the peer to make a did:peer:2.
func (p *Process) CreatePeerDID(ctx context.Context, params CreateParams) (DIDResult, error) {
	var r DIDResult
	err := p.Call(ctx, "create_peer_did", params, &r)
	return r, err
}

// Resolve asks the peer for the document of a DID.
func (p *Process) Resolve(ctx context.Context, params ResolveParams) (DIDResult, error) {
	var r DIDResult
	err := p.Call(ctx, "resolve", params, &r)
	return r, err
}
