package mediator

import (
	"errors"
	"fmt"
	"time"
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

// LimitError tells which limit refuses a call.
type LimitError struct {
	// Limit names the limit, for example "recipient.messages" or "address.rate".
	Limit string
	// RetryAfter is when the call may succeed; 0 if nobody knows.
	RetryAfter time.Duration
	// Rate reports whether the limit is one of calls in a time, and not of space.
	Rate bool
}

func (e *LimitError) Error() string { return fmt.Sprintf("mediator: limit %s reached", e.Limit) }
