package envelope

import (
	"context"
	"errors"
	"slices"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// classed is an error with its class, one of ErrNotForUs, ErrRefused and so on.
type classed struct {
	error
	class error
}

func (e *classed) Is(target error) bool { return target == e.class }

func (e *classed) Unwrap() error { return e.error }

// outside is a failure of Config.Resolver or Config.Keys.
type outside struct{ error }

func (e outside) Unwrap() error { return e.error }

// classify gives the error of an exported method its class.
func classify(err *error) {
	if done := (*classed)(nil); *err != nil && !errors.As(*err, &done) {
		*err = &classed{*err, classOf(*err)}
	}
}

// classOf returns the first class that err matches itself, or that has a rule which err
// matches. The order of the list matters: malformed bytes stay malformed, but any other
// verdict is uncertain if the time ran out.
func classOf(err error) error {
	for _, c := range []struct {
		class error
		rules []error
	}{
		{ErrMalformed, []error{
			message.ErrInvalid, ErrTooLarge, ErrTooDeep, ErrTooManyRecipients, ErrTooManySignatures,
		}},
		{ErrTryLater, []error{context.Canceled, context.DeadlineExceeded}},
		{ErrNotForUs, []error{ErrNoKey}},
		{ErrRefused, []error{
			ErrDecrypt, ErrSignature, ErrSenderMismatch, ErrSignerMismatch, ErrRecipientMismatch, ErrHeaderConflict,
			ErrUnprotectedAlg, ErrUnsupportedAlg, ErrInvalidPoint, ErrLowOrderPoint, ErrNesting, ErrDuplicateName,
			ErrCritical, ErrCompressed, ErrFromPrior, ErrNoRecipient, ErrNoCommonKey, ErrService,
		}},
		{ErrInternal, nil},
	} {
		if errors.Is(err, c.class) || slices.ContainsFunc(c.rules, func(rule error) bool { return errors.Is(err, rule) }) {
			return c.class
		}
	}
	var strict *DeviationError
	var failed outside
	switch {
	case errors.As(err, &strict), isFinal(err):
		return ErrRefused
	case errors.As(err, &failed):
		return ErrTryLater
	}
	return ErrInternal
}

// isFinal reports whether err says that a DID will never resolve. An address of a peer that the
// Resolver refuses is like an address that cannot be reached now. Otherwise a stranger could
// find out which hosts have such an address.
func isFinal(err error) bool {
	if peer := (*ResolveError)(nil); errors.As(err, &peer) && errors.Is(err, did.ErrRefused) {
		return false
	}
	return slices.ContainsFunc([]error{
		did.ErrNotFound, did.ErrInvalid, did.ErrMethod, did.ErrUnsupported, did.ErrRefused,
	}, func(class error) bool { return errors.Is(err, class) })
}
