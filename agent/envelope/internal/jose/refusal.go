package jose

import (
	"errors"

	"github.com/didcomm-go/didcomm/agent/message"
)

// Refusal is a reason to refuse an envelope, with a stable code. A parse ends at the first
// reason; a survey finds all of them.
type Refusal struct {
	Code message.DeviationCode
	Err  error
}

// Refusals tells a parser what to do with a reason to refuse. The zero value ends the parse
// with an error.
type Refusals struct {
	// Survey makes the parser add the reason to List and go on.
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

// End returns all reasons of a survey. err is the error that stopped the survey, if any,
// because nothing after it can be read.
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
