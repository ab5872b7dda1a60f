package envelope

import (
	"errors"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jose"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/agent/envelope/internal/jws"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Classes of the errors of a Packer: each error of its methods matches exactly one
// of them with errors.Is. They say what to do; the errors below say why.
var (
	// ErrNotForUs is ErrNoKey: we hold none of the keys that an envelope names, or
	// none of the DID that is to sign or to send. It is final unless Keys gets more.
	ErrNotForUs = errors.New("not for us")
	// ErrRefused is what cryptography or policy forbids, among it a DID that does not
	// resolve and never will. It is final. A sender needs to learn no more than that.
	ErrRefused = errors.New("refused")
	// ErrMalformed is what does not have the form of a JWE, a JWS or a message, or
	// passes a limit of Config; message.ErrInvalid too. It is final.
	ErrMalformed = jose.ErrMalformed
	// ErrTryLater is a failure of the moment, which the same call may not meet later: a
	// context that ended, or a Resolver or Keys that could not be reached.
	ErrTryLater = errors.New("try later")
	// ErrInternal is a fault on our side which no sender can mend and no wait will:
	// that of this package or of a library beneath.
	ErrInternal = errors.New("internal fault")
)

// Errors of Unpack; match them with errors.Is. Those that concern keys and
// algorithms can come from Pack too. The class of each is ErrRefused, or, of a
// limit, ErrMalformed.
var (
	// ErrDecrypt is all that is said when a key does not unwrap or a tag does
	// not verify. An authcrypt of ECDH-1PU draft-03 (no tag in the key
	// derivation, as Veramo makes it) or without the tag's length (Affinidi
	// before 0.14) ends here too: nothing that is not secret tells it apart
	// from a forgery, and to try those derivations would answer questions about
	// our keys that draft-04 does not.
	ErrDecrypt = jwe.ErrDecrypt
	// ErrSignature is a signature that does not verify.
	ErrSignature = jws.ErrSignature
	// ErrSenderMismatch is a from that is absent or not the DID of the key that
	// encrypted (Message Layer Addressing Consistency), or a sender's key that
	// its DID does not list for key agreement.
	ErrSenderMismatch = errors.New("sender mismatch")
	// ErrSignerMismatch is a from that is absent or not the DID of the key that
	// signed, or a signer's key that its DID does not list for authentication.
	ErrSignerMismatch = errors.New("signer mismatch")
	// ErrRecipientMismatch is a to without the DID of the key that opened it, or
	// no to in a message that is signed and anoncrypted.
	ErrRecipientMismatch = errors.New("recipient mismatch")
	// ErrHeaderConflict is two headers that must say the same and do not: apu
	// and skid, the two places of kid, two epk.
	ErrHeaderConflict = jose.ErrHeaderConflict
	// ErrUnprotectedAlg is an algorithm outside the protected header.
	ErrUnprotectedAlg = jose.ErrUnprotectedAlg
	// ErrUnsupportedAlg is an algorithm, or a combination, that DIDComm v2.1
	// does not have, or one that does not fit its key.
	ErrUnsupportedAlg = jose.ErrUnsupportedAlg
	// ErrInvalidPoint is an epk that is not on its curve, or not on the curve
	// of the recipient's or sender's key.
	ErrInvalidPoint = jwe.ErrInvalidPoint
	// ErrLowOrderPoint is an X25519 public key that yields an all-zero secret.
	ErrLowOrderPoint = jwe.ErrLowOrderPoint
	// ErrNesting is a combination of layers outside of IANA Media Types.
	ErrNesting = errors.New("layers nested in a way that is not permitted")
	// ErrTooManyRecipients, ErrTooManySignatures, ErrTooLarge and ErrTooDeep
	// are the limits of Config.
	ErrTooManyRecipients = jwe.ErrTooManyRecipients
	ErrTooManySignatures = jws.ErrTooManySignatures
	ErrTooLarge          = jose.ErrTooLarge
	ErrTooDeep           = jose.ErrTooDeep
	// ErrDuplicateName is a JSON object that names a member twice. Its class is
	// ErrMalformed where that is a message, since message.ErrInvalid is then too.
	ErrDuplicateName = jose.ErrDuplicateName
	// ErrCritical is a crit header: we understand no extension.
	ErrCritical = jose.ErrCritical
	// ErrCompressed is a zip header: decompression before authentication is a
	// way to exhaust memory.
	ErrCompressed = jwe.ErrCompressed
	// ErrFromPrior is a from_prior that proves no rotation to the sender. An issuer
	// that cannot be resolved for now is the Resolver's error instead, without this
	// class.
	ErrFromPrior = errors.New("invalid from_prior")
)

// Errors of Pack, Routes and Forward. Their class is ErrRefused.
var (
	// ErrNoRecipient is an encryption without anyone to encrypt for.
	ErrNoRecipient = errors.New("no recipient")
	// ErrNoCommonKey is a recipient without a key agreement key that we can
	// encrypt for, or, for authcrypt, none of a type that the sender has too.
	ErrNoCommonKey = errors.New("no common key type")
	// ErrService is a service that cannot be used: a mediator behind a mediator's
	// DID, a loop, too many hops.
	ErrService = errors.New("unusable service")
)

// Deviations that Unpack tolerates in envelopes, beside those that package
// message names.
const (
	DeviationSerialization   = jose.DevSerialization  // JWE not in General, JWS in Compact serialization
	DeviationPadding         = jose.DevPadding        // base64url with padding
	DeviationTyp             = jose.DevTyp            // typ of the envelope missing or not its media type
	DeviationAPVMissing      = jwe.DevAPVMissing      // no apv
	DeviationAPVMismatch     = jwe.DevAPVMismatch     // apv is not the hash of the sorted kids
	DeviationAPUMissing      = jwe.DevAPUMissing      // no apu beside skid
	DeviationSKIDMissing     = jwe.DevSKIDMissing     // sender known from apu only
	DeviationEPKUnprotected  = jwe.DevEPKUnprotected  // epk in a recipient's header
	DeviationEPKString       = jwe.DevEPKString       // epk as the string of a JWK
	DeviationShortCoordinate = jwe.DevShortCoordinate // epk coordinate without its leading zeros
	DeviationHighS           = jws.DevHighS           // secp256k1 signature in its high-S form
	// DeviationMixedDIDs is one envelope for keys of several DIDs.
	DeviationMixedDIDs message.DeviationCode = "mixed-dids"
	// DeviationKID is a kid that names our key otherwise than its document.
	DeviationKID message.DeviationCode = "kid-alias"
	// DeviationSignedNoTo is no to in a message that is signed and authcrypted,
	// which nobody else could have encrypted for us.
	DeviationSignedNoTo message.DeviationCode = "signed-encrypted-no-to"
	// DeviationRecipient is a to that names a DID of ours, but not that of the key
	// that opened the message. Unpack looks for such a DID among the first
	// [Config.MaxRecipients] different DIDs of to. A sender who learns that the message
	// was taken learns that both DIDs are ours.
	DeviationRecipient message.DeviationCode = "recipient-mismatch"

	DeviationMessageTyp message.DeviationCode = "message-typ"  // typ of the message not that of a plaintext
	DeviationTypeURI    message.DeviationCode = "type-uri"     // type not a message type URI
	DeviationFrom       message.DeviationCode = "from-not-did" // from not a DID, or a DID URL without fragment
	DeviationTo         message.DeviationCode = "to-not-did"   // an entry of to not one either
)

// ResolveError says that a message did not open because a DID that the message names
// did not resolve: the DID of the sender, of the signer, or of the issuer of from_prior.
// Find it with errors.As in an error of Unpack. If the error matches ErrTryLater, the DID
// cannot be reached now and the same message may open later; if it matches ErrRefused,
// the DID will never resolve.
//
// No ResolveError is in the error for a DID of ours or of a mediator, or where Keys failed.
type ResolveError struct {
	DID string // without path, query and fragment
	Err error  // of the Resolver, or the reason why DID is none
}

// Error is the text of Err, which names the DID.
func (e *ResolveError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ResolveError) Unwrap() error { return e.Err }

// DeviationError is what Unpack returns with Config.Strict for an envelope that
// it would else tolerate.
type DeviationError struct {
	Deviations []message.Deviation
}

// Error lists the deviations.
func (e *DeviationError) Error() string {
	list := make([]string, len(e.Deviations))
	for i, d := range e.Deviations {
		list[i] = fmt.Sprintf("%s (%s)", d.Code, d.Detail)
	}
	return "deviates from the specification: " + strings.Join(list, ", ")
}
