package jose

import (
	"errors"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Refusal is a reason not to take an envelope, with a stable code: the error
// that a parse ends with, or one of several that a survey finds.
type Refusal struct {
	Code message.DeviationCode
	Err  error
}

// Refusals is what a parser does when it comes upon a reason to refuse. The zero
// value ends the parse.
type Refusals struct {
	// Survey makes the parser go on, so that List gets all reasons.
	Survey bool
	List   []Refusal
}

// Refuse returns err, or keeps it and returns nil in a survey.
func (r *Refusals) Refuse(code message.DeviationCode, err error) error {
	if !r.Survey {
		return err
	}
	r.List = append(r.List, Refusal{code, err})
	return nil
}

// End closes a survey with the error that stopped it, if any: one behind which
// nothing can be read.
func (r *Refusals) End(err error) []Refusal {
	if err == nil {
		return r.List
	}
	code := message.DeviationCode("malformed")
	switch {
	case errors.Is(err, ErrDuplicateName):
		code = "duplicate-member"
	case errors.Is(err, ErrTooDeep):
		code = "too-deep"
	case errors.Is(err, ErrTooLarge):
		code = "too-large"
	}
	return append(r.List, Refusal{code, err})
}
