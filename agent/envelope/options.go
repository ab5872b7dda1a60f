package envelope

import (
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
)

// Enc is a content encryption algorithm, in its JOSE name.
type Enc string

// Content encryption algorithms (DIDComm v2.1, Curves and Content Encryption
// Algorithms). Authcrypt takes A256CBCHS512 alone.
const (
	A256CBCHS512 = Enc(jwe.A256CBCHS512)
	A256GCM      = Enc(jwe.A256GCM)
	XC20P        = Enc(jwe.XC20P)
)

// PackOption changes how one message is packed.
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
}

// From makes authcrypt with a key of the DID, or with the key of the DID URL,
// given, which the envelope names as it is given. Without From the encryption is
// anoncrypt.
func From(id string) PackOption { return func(o *packOptions) { o.from = id } }

// To names the recipients: DIDs, or DID URLs of single keys. A key that is given
// by an alias, as #6LS... of a did:peer:2, goes by that in the envelope, which is
// for peers that know no other name of it. Without To they are the message's to.
func To(ids ...string) PackOption {
	return func(o *packOptions) { o.to = append(o.to, ids...) }
}

// SignBy adds a signature inside the encryption by each of the DIDs, or DID
// URLs of keys, given. All must be of the message's sender.
func SignBy(ids ...string) PackOption {
	return func(o *packOptions) { o.signBy = append(o.signBy, ids...) }
}

// Signed leaves a message signed by SignBy unencrypted.
func Signed() PackOption { return func(o *packOptions) { o.signed = true } }

// Plain leaves the message neither signed nor encrypted.
func Plain() PackOption { return func(o *packOptions) { o.plain = true } }

// ProtectSender puts anoncrypt around authcrypt, so that the sender's key id is
// hidden on the way (Protecting the Sender Identity).
func ProtectSender() PackOption { return func(o *packOptions) { o.protectSender = true } }

// ContentEncryption chooses the algorithm of anoncrypt; the default is
// A256CBCHS512, which every peer opens.
func ContentEncryption(enc Enc) PackOption { return func(o *packOptions) { o.enc = enc } }

// AllKeyTypes makes one envelope for each type of key that a recipient and we
// can both use, not for the first alone.
func AllKeyTypes() PackOption { return func(o *packOptions) { o.allKeyTypes = true } }

// ProtectedKID writes the signer's kid into the protected header of a JWS, which
// Veramo needs and SICPA's libraries do not read.
func ProtectedKID() PackOption { return func(o *packOptions) { o.protectKID = true } }

// Expires sets expires_time of the messages that Forward makes.
func Expires(t time.Time) PackOption { return func(o *packOptions) { o.expires = t } }

func collect(opts []PackOption) packOptions {
	o := packOptions{enc: A256CBCHS512}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}
