package agent

import "time"

// SendOption changes how one message is sent.
type SendOption func(*sendOptions)

// From sends as another DID than Config.DID, or with a certain key of it: a DID,
// or a DID URL of a keyAgreement key.
func From(didOrKID string) SendOption { return func(o *sendOptions) { o.from = didOrKID } }

// ToKeys encrypts for these keyAgreement keys of recipients, given as DID URLs,
// instead of for all keys of one type that their DIDs list. The envelope names
// them as they are given, and the key of From too: an alias, as #6LS... of a
// did:peer:2, is for peers that know keys by no other name. A Responder does so by
// itself.
func ToKeys(kids ...string) SendOption { return func(o *sendOptions) { o.toKeys = kids } }

// Anonymous sends with anoncrypt and no from: the recipient does not learn who
// sent the message.
func Anonymous() SendOption { return func(o *sendOptions) { o.anonymous = true } }

// SignBy signs the message, with the authentication key of each DID, or the keys
// named by DID URL, and encrypts with anoncrypt around: the recipient can prove
// to others who sent the message.
func SignBy(ids ...string) SendOption { return func(o *sendOptions) { o.signBy = ids } }

// ProtectSender hides from everyone but the recipient who sent the message:
// anoncrypt around authcrypt.
func ProtectSender() SendOption { return func(o *sendOptions) { o.protect = true } }

// ReturnRoute sets the return_route header: "all", "thread" or "none".
func ReturnRoute(mode string) SendOption { return func(o *sendOptions) { o.returnRoute = mode } }

// AwaitDelivery makes Send wait until a transport has accepted each packet, or
// it was given up. That is no proof that the recipient could open it.
func AwaitDelivery() SendOption { return func(o *sendOptions) { o.awaited = true } }

// Once sends past the outbox: Send tries each way to the recipients once, now, and
// returns when each has the message, or the first failed, with an error that is a
// *delivery.Error. Nothing is kept.
func Once() SendOption { return func(o *sendOptions) { o.once = true } }

// Outcomes has f called with each change of what has become of the message, for each
// recipient, until Send or Request returns; f is called by the goroutine that sends,
// which waits for it.
func Outcomes(f func(Outcome)) SendOption { return func(o *sendOptions) { o.outcomes = f } }

// Lane names the lane of the message: messages from one DID to one recipient in one lane
// leave one at a time, in the order of Send. Without a name, the lane is the thread of
// the message, or its protocol where that is Ordered.
func Lane(name string) SendOption { return func(o *sendOptions) { o.lane = name } }

// AnsweredByChild makes Request take as answer also a message of the recipient whose
// pthid is the thread of the request, as the answer to an invitation is. It changes
// nothing of Send.
func AnsweredByChild() SendOption { return func(o *sendOptions) { o.byChild = true } }

type sendOptions struct {
	from        string
	toKeys      []string
	anonymous   bool
	signBy      []string
	protect     bool
	returnRoute string
	awaited     bool
	once        bool
	outcomes    func(Outcome)
	lane        string
	keep        []string  // recipients that are contacts from then on, as the caller names them
	answered    bool      // it is a Request: its answer is its ack
	byChild     bool      // its answer may begin a thread
	deadline    time.Time // zero: as the message and Config say
}

func optionsOf(opts ...SendOption) *sendOptions {
	o := new(sendOptions)
	for _, opt := range opts {
		opt(o)
	}
	return o
}
