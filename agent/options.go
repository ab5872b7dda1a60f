package agent

import (
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// SendOption is an option of [Agent.Send] and [Agent.Request] for one message. [Agent.Push]
// and [Connection.Push] accept the options that say how to pack a message.
type SendOption func(*sendOptions)

// From sends the message from another DID than Config.DID, or from a certain key. It is
// given the DID, or the DID URL of a keyAgreement key.
func From(didOrKID string) SendOption { return func(o *sendOptions) { o.from = didOrKID } }

// ToKeys encrypts the message for the given keyAgreement keys of its recipients. Without
// ToKeys, a message is encrypted for all keys of one type that the DID document of the
// recipient lists. The same applies to a recipient of whom ToKeys names no key.
//
// A key is given as a DID URL. The envelope names the keys as they are given, and likewise
// the key of the option From. That matters to peers that know a key of a did:peer:2 only by
// an alias such as #6LS..., which is not the id of the key in the document. A [Responder]
// uses the names of its peer without this option.
func ToKeys(kids ...string) SendOption { return func(o *sendOptions) { o.toKeys = kids } }

// Anonymous sends the message with anoncrypt and without from, so that the recipient does
// not learn who sent it.
func Anonymous() SendOption { return func(o *sendOptions) { o.anonymous = true } }

// SignBy signs the message and encrypts the signed message with anoncrypt, so that the
// recipient can prove to others who sent it. Each signer is given as a DID, whose
// authentication key signs, or as the DID URL of an authentication key.
func SignBy(ids ...string) SendOption { return func(o *sendOptions) { o.signBy = ids } }

// ProtectSender hides the sender from everybody except the recipient: the message is
// encrypted with authcrypt, and the result is encrypted with anoncrypt.
func ProtectSender() SendOption { return func(o *sendOptions) { o.protect = true } }

// ReturnRoute sets the return_route header to "all", "thread" or "none".
func ReturnRoute(mode string) SendOption { return func(o *sendOptions) { o.returnRoute = mode } }

// AwaitDelivery makes Send wait until a transport has accepted the packet for each
// recipient, or until delivery has failed for good. Success does not prove that a recipient
// could open its packet.
func AwaitDelivery() SendOption { return func(o *sendOptions) { o.awaited = true } }

// Once makes Send or Request send the message now, without the outbox. Each route to a
// recipient is tried once, until one accepts the message. Send returns when all recipients
// have the message, or when one of them could not be reached, with an error that is a
// *delivery.Error. Nothing is sent later. On a connection without receipts to a contact that
// sends no acks, Send waits a second for a problem report.
func Once() SendOption { return func(o *sendOptions) { o.once = true } }

// Outcomes makes Send or Request call f with each change of the [Outcome] of the message,
// for each recipient, until Send or Request returns. Sending goes on when f returns.
func Outcomes(f func(Outcome)) SendOption { return func(o *sendOptions) { o.outcomes = f } }

// Parent sets the parent thread (pthid) of a message that has none. For a message that answers
// an invitation, that is the id of the invitation.
func Parent(thread string) SendOption { return func(o *sendOptions) { o.parent = thread } }

// Lane sets the name of the lane of the message. Messages in one lane, from one DID to one
// recipient, leave one at a time in the order of Send. Without this option, the lane is the
// protocol of the message if the protocol is ordered (Protocol.Ordered), or else the thread
// of the message.
func Lane(name string) SendOption { return func(o *sendOptions) { o.lane = name } }

// AnsweredByChild makes Request accept one more kind of answer: a message of the recipient
// whose parent thread (pthid) is the thread of the request. The answer to an invitation is
// an example. AnsweredByChild has no effect on Send.
func AnsweredByChild() SendOption { return func(o *sendOptions) { o.byChild = true } }

type sendOptions struct {
	from        string
	toKeys      []string
	anonymous   bool
	signBy      []string
	protect     bool
	returnRoute string
	parent      string
	awaited     bool
	once        bool
	outcomes    func(Outcome)
	lane        string
	keep        []string  // recipients to make contacts, as the caller names them
	answered    bool      // the message is a Request, whose answer serves as its ack
	byChild     bool      // the answer may be on a child thread
	deadline    time.Time // of the delivery; zero means that of the message or of Config
	class       store.Class
	toSender    bool       // the sender of the received message is among the recipients
	allowance   *allowance // of the answers to the message that this one answers, or nil
}

func optionsOf(opts ...SendOption) *sendOptions {
	o := new(sendOptions)
	for _, opt := range opts {
		opt(o)
	}
	return o
}
