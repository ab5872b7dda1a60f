package envelope

import (
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
)

// Enc is a content encryption algorithm, by its JOSE name.
type Enc string

// Content encryption algorithms (DIDComm v2.1, Curves and Content Encryption
// Algorithms). Authcrypt takes only A256CBCHS512.
const (
	A256CBCHS512 = Enc(jwe.A256CBCHS512)
	A256GCM      = Enc(jwe.A256GCM)
	XC20P        = Enc(jwe.XC20P)
)

// PackOption changes how Pack packs a message, or how Forward wraps an envelope.
type PackOption func(*packOptions)

type packOptions struct {
	from          string
	to            []string
	signBy        []string
	protectSender bool
	plain         bool
	signed        bool
	enc           Enc
	allKeyTypes   bool
	protectKID    bool
	expires       time.Time
	capability    string
}

// From encrypts by authcrypt, which proves the sender to the recipient. id is the sender:
// a DID, or the DID URL of a key. The envelope names the key by that DID URL, which may be
// an alias of the key. Without From, messages are encrypted by anoncrypt.
func From(id string) PackOption { return func(o *packOptions) { o.from = id } }

// To names the recipients: DIDs, or DID URLs of keys. The envelope names a key by the DID
// URL given, even if the DID URL is an alias such as #6LS... of a did:peer:2; some peers
// know their keys by the alias only. Without To, the recipients are those of the message's
// to header. Several To options add up.
func To(ids ...string) PackOption {
	return func(o *packOptions) { o.to = append(o.to, ids...) }
}

// SignBy signs the message before it is encrypted. Each id is a DID, or the DID URL of a
// key, and makes one signature. All of them must belong to the sender of the message.
func SignBy(ids ...string) PackOption {
	return func(o *packOptions) { o.signBy = append(o.signBy, ids...) }
}

// Signed leaves a message that is signed by SignBy without encryption.
func Signed() PackOption { return func(o *packOptions) { o.signed = true } }

// Plain leaves the message without signature and without encryption.
func Plain() PackOption { return func(o *packOptions) { o.plain = true } }

// ProtectSender adds a layer of anoncrypt around the authcrypt that From asks for, so that
// nobody on the way can read the sender's key id (DIDComm v2.1, Protecting the Sender
// Identity).
func ProtectSender() PackOption { return func(o *packOptions) { o.protectSender = true } }

// ContentEncryption sets the algorithm of anoncrypt. The default is A256CBCHS512, which
// every known implementation supports.
func ContentEncryption(enc Enc) PackOption { return func(o *packOptions) { o.enc = enc } }

// AllKeyTypes makes an envelope for each key type that both sides have. Without
// AllKeyTypes, Pack makes one envelope for each recipient, for the first key type in the
// recipient's DID document that both sides have.
func AllKeyTypes() PackOption { return func(o *packOptions) { o.allKeyTypes = true } }

// ProtectedKID puts the signer's key id into the protected header of a JWS. By default the
// key id is in the unprotected header, as in the examples of the specification. Veramo
// needs the protected header; the libraries of SICPA do not read it.
func ProtectedKID() PackOption { return func(o *packOptions) { o.protectKID = true } }

// Expires sets the expires_time of the forward messages that Forward makes. Pack ignores
// Expires.
func Expires(t time.Time) PackOption { return func(o *packOptions) { o.expires = t } }

// Capability adds a capability that the recipient has given us to the forward for its own
// mediator, which is the innermost of those that Forward makes: the member "capability" of the
// body. An empty token adds nothing. Pack ignores Capability.
func Capability(token string) PackOption { return func(o *packOptions) { o.capability = token } }

func collect(opts []PackOption) packOptions {
	o := packOptions{enc: A256CBCHS512}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
