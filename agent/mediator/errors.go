package mediator

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
)

// Errors that the peers of a mediator act on; match them with errors.Is.
var (
	// ErrNotEnrolled: the DID is neither a device nor a recipient of an account.
	ErrNotEnrolled = errors.New("mediator: not enrolled")
	// ErrDenied: the operator does not let the DID enroll.
	ErrDenied = errors.New("mediator: enrolment denied")
	// ErrBlocked: the operator has blocked the account.
	ErrBlocked = errors.New("mediator: account blocked")
	// ErrNotAllowed: the recipient does not take mail of the sender.
	ErrNotAllowed = errors.New("mediator: the recipient does not accept the sender")
	// ErrTaken: the DID belongs to another account.
	ErrTaken = errors.New("mediator: the DID belongs to another account")
	// ErrRecipient: the DID cannot be registered.
	ErrRecipient = errors.New("mediator: the DID cannot be registered")
)

// CodeNotEnrolled is the code of the problem report for ErrNotEnrolled. The code breaks the
// grammar of problem codes (DIDComm v2.1, Problem Codes), and is the code that the mediators
// of Identus and their test suite use.
const CodeNotEnrolled = "e.p.req.not_enroll"

// CodeMalformed returns the code of the problem report for a message of the type typ whose body
// is malformed. As CodeNotEnrolled, the code breaks the grammar of problem codes.
func CodeMalformed(typ string) string { return "e.p.msg." + typ }

// The limits that a LimitError names, besides those of a store.LimitError: store.LimitStore,
// store.LimitBox, store.LimitPair and store.LimitSender.
const (
	LimitAddressRate  = "address.rate"        // forwards from an address
	LimitSenderRate   = "sender.rate"         // forwards of a DID
	LimitEnrolAddress = "enroll.address.rate" // enrolments from an address
	LimitEnrolRate    = "enroll.rate"         // all enrolments
	LimitAccountRate  = "account.rate"        // changes of an account by its devices
	LimitDocuments    = "documents.rate"      // documents of DIDs to register
	LimitRecipients   = "recipients"          // recipients of an account
	LimitDevices      = "devices"             // devices of an account
	LimitSenders      = "senders"             // DIDs in a list of senders, or bytes of all lists of an account
	LimitCapabilities = "capabilities"        // capabilities of an account
	LimitName         = "name"                // bytes in the name of a capability
	LimitPacket       = "packet"              // bytes of a packet of mail, see Limits.MaxPacket
	LimitMoving       = "moving"              // a minute or more after a loss of a recipient, while its mail moves
)

// LimitError tells which limit refuses a call.
type LimitError struct {
	// Limit names the limit, for example store.LimitPair or LimitAddressRate.
	Limit string
	// RetryAfter is when the call may succeed; 0 if nobody knows.
	RetryAfter time.Duration
	// Rate reports whether the limit is one of calls in a time, and not of space.
	Rate bool
	// Most is the limit of LimitPacket, in bytes. No later try succeeds. Other limits have 0.
	Most int64
}

// Error implements error.
func (e *LimitError) Error() string { return fmt.Sprintf("mediator: limit %s reached", e.Limit) }

// retryFull is when to try again after a limit of space: devices collect mail all the time.
const retryFull = 5 * time.Minute

// full returns the LimitError for an error of a Deposit, or the error.
func full(err error) error {
	var limit *store.LimitError
	if errors.As(err, &limit) {
		return &LimitError{Limit: limit.Limit, RetryAfter: retryFull}
	}
	if errors.Is(err, store.ErrFull) {
		return &LimitError{Limit: store.LimitStore, RetryAfter: retryFull}
	}
	return err
}

// Problem returns the problem report for an error of this package, or nil for any other error.
func Problem(err error) *message.Problem {
	var limit *LimitError
	switch {
	case errors.As(err, &limit) && limit.Most > 0:
		return &message.Problem{
			Code: "e.p.me.res." + limit.Limit, Comment: "The limit {1} is {2} bytes.",
			Args: []string{limit.Limit, strconv.FormatInt(limit.Most, 10)}, Err: err,
		}
	case errors.As(err, &limit):
		return &message.Problem{Code: "e.p.me.res." + limit.Limit, Comment: "The limit {1} is reached.", Args: []string{limit.Limit}, Err: err}
	case errors.Is(err, ErrNotEnrolled):
		return &message.Problem{Code: CodeNotEnrolled, Comment: "Not enrolled with this mediator.", Err: err}
	case errors.Is(err, ErrBlocked):
		return &message.Problem{Code: "e.p.req.blocked", Comment: "The account is blocked.", Err: err}
	case errors.Is(err, ErrNotAllowed):
		return &message.Problem{Code: "e.p.req.not-allowed", Comment: "The recipient does not accept the sender.", Err: err}
	case errors.Is(err, ErrDenied):
		return &message.Problem{Code: "e.p.req.denied", Comment: "The request is denied.", Err: err}
	case errors.Is(err, ErrTaken):
		return &message.Problem{Code: "e.p.req.taken", Comment: "The DID belongs to another account.", Err: err}
	case errors.Is(err, ErrRecipient):
		return &message.Problem{Code: "e.p.req.recipient", Comment: "The DID cannot be registered.", Err: err}
	}
	return nil
}
