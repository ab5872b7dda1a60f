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

// Classes of errors. Each error of a method of Packer matches exactly one class with
// errors.Is. The class says what to do about the error; the rules below (ErrDecrypt and so
// on) say why it happened.
var (
	// ErrNotForUs: we hold none of the keys that the envelope names, or none of the keys
	// of the DID that is to sign or to send. The error is final unless Keys gets another
	// key. Its rule is ErrNoKey.
	ErrNotForUs = errors.New("not for us")
	// ErrRefused: cryptography or policy forbids the message. A DID that does not resolve
	// and never will is refused, too. The error is final. A sender needs to learn no more
	// than that the message was refused.
	ErrRefused = errors.New("refused")
	// ErrMalformed: the bytes do not have the form of a JWE, a JWS or a message, or exceed
	// a limit of Config. An error that matches message.ErrInvalid has this class. The
	// error is final.
	ErrMalformed = jose.ErrMalformed
	// ErrTryLater: the same call may succeed later. The context ended, or the Resolver or
	// Keys could not be reached.
	ErrTryLater = errors.New("try later")
	// ErrInternal: this package or a library beneath it has a fault. Neither another
	// message nor waiting will help.
	ErrInternal = errors.New("internal fault")
)

// Rules of Unpack. An error of Unpack matches the rule that the envelope broke with
// errors.Is. Pack returns some of them, too: those about keys and algorithms. Their class
// is ErrRefused; the class of the limits is ErrMalformed.
var (
	// ErrDecrypt: a content key could not be unwrapped, or an authentication tag did not
	// verify. The error tells no more, so that a forger learns nothing.
	//
	// Two incompatible forms of authcrypt end in ErrDecrypt, too: ECDH-1PU draft-03, whose
	// key derivation lacks the tag (as in Veramo), and a key derivation without the length
	// of the tag (as in Affinidi before 0.14). No public value tells these from a forgery.
	// Trying their key derivations would let a stranger test our keys in ways that
	// draft-04 excludes.
	ErrDecrypt = jwe.ErrDecrypt
	// ErrSignature: a signature does not verify.
	ErrSignature = jws.ErrSignature
	// ErrSenderMismatch: the from header is absent, or is not the DID of the key that
	// encrypted the message (Message Layer Addressing Consistency), unless the message has
	// DeviationFromPriorSender; or the DID of the sender does not list that key for key
	// agreement.
	ErrSenderMismatch = errors.New("sender mismatch")
	// ErrSignerMismatch: the from header is absent, or is not the DID of the key that
	// signed the message; or the DID of the signer does not list that key for
	// authentication.
	ErrSignerMismatch = errors.New("signer mismatch")
	// ErrRecipientMismatch: the to header does not name the DID whose key opened the
	// message, or a message that is signed and anoncrypted has no to header.
	ErrRecipientMismatch = errors.New("recipient mismatch")
	// ErrHeaderConflict: two header members that must agree do not: apu and skid, kid in
	// the protected and in the unprotected header, or two epk.
	ErrHeaderConflict = jose.ErrHeaderConflict
	// ErrUnprotectedAlg: an algorithm is named outside of the protected header.
	ErrUnprotectedAlg = jose.ErrUnprotectedAlg
	// ErrUnsupportedAlg: DIDComm v2.1 does not have the algorithm or the combination of
	// algorithms, or the algorithm does not fit the key.
	ErrUnsupportedAlg = jose.ErrUnsupportedAlg
	// ErrInvalidPoint: the epk is not a point of its curve, or its curve is not that of
	// the recipient's or the sender's key.
	ErrInvalidPoint = jwe.ErrInvalidPoint
	// ErrLowOrderPoint: an X25519 public key makes the shared secret all zeros.
	ErrLowOrderPoint = jwe.ErrLowOrderPoint
	// ErrNesting: the layers are combined in a way that IANA Media Types does not permit.
	ErrNesting = errors.New("layers nested in a way that is not permitted")
	// ErrTooManyRecipients: a JWE has more recipients than Config.MaxRecipients.
	ErrTooManyRecipients = jwe.ErrTooManyRecipients
	// ErrTooManySignatures: a JWS has more signatures than Config.MaxSignatures.
	ErrTooManySignatures = jws.ErrTooManySignatures
	// ErrTooLarge: an envelope has more bytes than Config.MaxBytes.
	ErrTooLarge = jose.ErrTooLarge
	// ErrTooDeep: JSON is nested deeper than Config.MaxDepth.
	ErrTooDeep = jose.ErrTooDeep
	// ErrDuplicateName: a JSON object has two members of one name. In a message the error
	// matches message.ErrInvalid as well, and its class is ErrMalformed.
	ErrDuplicateName = jose.ErrDuplicateName
	// ErrCritical: a header has the member crit. Unpack knows no extension of JOSE.
	ErrCritical = jose.ErrCritical
	// ErrCompressed: a header has the member zip. Decompressing data that is not yet
	// authenticated would let a stranger exhaust the memory.
	ErrCompressed = jwe.ErrCompressed
	// ErrFromPrior: the from_prior header does not prove a rotation to the sender. If the
	// issuer's DID cannot be resolved now, the error has a *ResolveError instead and does
	// not match ErrFromPrior.
	ErrFromPrior = errors.New("invalid from_prior")
)

// Rules of Pack, Routes and Forward. Their class is ErrRefused.
var (
	// ErrNoRecipient: a message is to be encrypted, but neither To nor its to header names
	// a recipient.
	ErrNoRecipient = errors.New("no recipient")
	// ErrNoCommonKey: the recipient has no key agreement key that can be encrypted for, or,
	// for authcrypt, none of a type that the sender has, too. For example, an X25519 key and
	// a P-256 key have no type in common.
	ErrNoCommonKey = errors.New("no common key type")
	// ErrService: a service of a DID document cannot be used: it has a mediator behind
	// another mediator's DID, a loop, or too many hops.
	ErrService = errors.New("unusable service")
)

// Codes of the deviations that Unpack tolerates in envelopes. The codes of deviations in a
// message are in package message.
const (
	DeviationSerialization   = jose.DevSerialization  // JWE not in General, JWS in Compact serialization
	DeviationPadding         = jose.DevPadding        // base64url with padding
	DeviationTyp             = jose.DevTyp            // typ of the envelope is missing or not its media type
	DeviationAPVMissing      = jwe.DevAPVMissing      // no apv
	DeviationAPVMismatch     = jwe.DevAPVMismatch     // apv is not the hash of the sorted kids
	DeviationAPUMissing      = jwe.DevAPUMissing      // skid without apu
	DeviationSKIDMissing     = jwe.DevSKIDMissing     // apu without skid
	DeviationEPKUnprotected  = jwe.DevEPKUnprotected  // epk in a recipient's header
	DeviationEPKString       = jwe.DevEPKString       // epk is a string that holds a JWK
	DeviationShortCoordinate = jwe.DevShortCoordinate // a coordinate of epk lacks its leading zeros
	DeviationHighS           = jws.DevHighS           // secp256k1 signature with a high S
	// DeviationMixedDIDs: one envelope is encrypted for keys of several DIDs.
	DeviationMixedDIDs message.DeviationCode = "mixed-dids"
	// DeviationKID: a kid names our key otherwise than our DID document does.
	DeviationKID message.DeviationCode = "kid-alias"
	// DeviationSignedNoTo: a message that is signed and authcrypted has no to header. It is
	// tolerated because only the signer can have encrypted the message for us.
	DeviationSignedNoTo message.DeviationCode = "signed-encrypted-no-to"
	// DeviationRecipient: the to header does not name the DID whose key opened the message,
	// but names another DID of ours. Unpack looks for that DID among the first
	// Config.MaxRecipients different DIDs of to. A sender that learns that we took the
	// message learns that both DIDs are ours.
	DeviationRecipient message.DeviationCode = "recipient-mismatch"
	// DeviationFromPriorKID: the kid in from_prior is relative. It counts as a key of iss.
	DeviationFromPriorKID message.DeviationCode = "from-prior-kid"
	// DeviationFromPriorSender: the message is authcrypted by a key of the DID that from_prior
	// leaves, iss, and its from header is the new DID, sub. The message proves iss for its
	// sender. Nothing proves that it comes from sub, since anybody can sign any sub.
	DeviationFromPriorSender message.DeviationCode = "from-prior-sender"

	DeviationMessageTyp message.DeviationCode = "message-typ"  // typ of the message is not that of a plaintext
	DeviationTypeURI    message.DeviationCode = "type-uri"     // type is not a message type URI
	DeviationFrom       message.DeviationCode = "from-not-did" // from is neither a DID nor a DID URL without fragment
	DeviationTo         message.DeviationCode = "to-not-did"   // an entry of to is neither a DID nor a DID URL without fragment
)

// ResolveError says that Unpack could not open a message because a DID of the peer did
// not resolve: the DID of the sender, of the signer, or of the issuer of from_prior. Use
// errors.As to find the ResolveError in an error of Unpack.
//
//   - If the error matches ErrTryLater, the DID cannot be reached now, or its document may be
//     old and cannot be refreshed now. The same message may open later.
//   - If it matches did.ErrRefused besides, the message will hardly ever open. Its sender
//     should not see the difference.
//   - If the error matches ErrRefused, the DID will never resolve.
//
// If a DID of ours or of a mediator did not resolve, or if Keys failed, the error has no
// ResolveError.
type ResolveError struct {
	DID string // without path, query and fragment
	Err error  // of the Resolver, or says why DID is not a DID
}

// Error returns the text of Err, which names the DID.
func (e *ResolveError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *ResolveError) Unwrap() error { return e.Err }

// OthersError says that an envelope is encrypted for none of our keys. It is in the error of
// Unpack only for the outermost layer of an envelope: the envelope as a whole is for somebody
// else. It matches ErrNotForUs and ErrNoKey.
type OthersError struct {
	KIDs []string // the key ids of the recipients, as the envelope has them; at least one
	Err  error
}

// Error returns the text of Err, which names the first recipient.
func (e *OthersError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *OthersError) Unwrap() error { return e.Err }

// DeviationError is the error of Unpack with Config.Strict for an envelope that deviates
// from the specification. Without Strict, Unpack would have opened the envelope. The class
// of the error is ErrRefused.
type DeviationError struct {
	Deviations []message.Deviation
}

// Error lists the codes and details of the deviations.
func (e *DeviationError) Error() string {
	list := make([]string, len(e.Deviations))
	for i, d := range e.Deviations {
		list[i] = fmt.Sprintf("%s (%s)", d.Code, d.Detail)
	}
	return "deviates from the specification: " + strings.Join(list, ", ")
}
