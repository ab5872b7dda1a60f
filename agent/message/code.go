package message

import (
	"fmt"
	"strings"
)

// Sorters and scopes of problem codes (section Problem Codes). A scope may also
// be the name of a state of the protocol.
const (
	SorterError   = "e"
	SorterWarning = "w"
	ScopeProtocol = "p"
	ScopeMessage  = "m"
)

// Descriptors that the specification defines (section Descriptors); more
// specific ones may follow each after a dot.
const (
	DescriptorTrust       = "trust"
	DescriptorTrustCrypto = "trust.crypto"
	DescriptorXfer        = "xfer"
	DescriptorDID         = "did"
	DescriptorMsg         = "msg"
	DescriptorMe          = "me"
	DescriptorMeRes       = "me.res"
	DescriptorReq         = "req"
	DescriptorReqTime     = "req.time"
	DescriptorLegal       = "legal"
)

// Codes that agents use whatever the protocol.
const (
	CodeUnsupported       = "e.p.msg.unsupported"         // no handler for the message type
	CodeMaxErrorsExceeded = "e.p.req.max-errors-exceeded" // section Cascading Problems
	CodeInternal          = "e.p.me"                      // a fault on our side
	CodeExpired           = "e.m.req.time"                // expires_time is past
)

// Code is a problem code taken apart: "e.p.xfer.cant-use-endpoint" is
// {"e", "p", "xfer.cant-use-endpoint"}.
type Code struct {
	Sorter     string // SorterError or SorterWarning
	Scope      string // ScopeProtocol, ScopeMessage or a state name
	Descriptor string // dotted, may be empty in what is received
}

// ParseCode takes a problem code apart. The error matches ErrInvalid when the
// sorter is neither e nor w, the scope is missing, a token is not lower
// kebab-case, or the code is longer than 256 bytes.
func ParseCode(s string) (Code, error) {
	if len(s) > 256 {
		return Code{}, fmt.Errorf("%w: problem code of %d bytes", ErrInvalid, len(s))
	}
	sorter, rest, ok := strings.Cut(s, ".")
	if sorter != SorterError && sorter != SorterWarning {
		return Code{}, fmt.Errorf("%w: problem code %q starts neither with e nor with w", ErrInvalid, clip(s))
	}
	if !ok {
		return Code{}, fmt.Errorf("%w: problem code %q has no scope", ErrInvalid, clip(s))
	}
	for token := range strings.SplitSeq(rest, ".") {
		if !isKebab(token) {
			return Code{}, fmt.Errorf("%w: problem code %q is not lower kebab-case", ErrInvalid, clip(s))
		}
	}
	scope, descriptor, _ := strings.Cut(rest, ".")
	return Code{sorter, scope, descriptor}, nil
}

// String is the code as it is written.
func (c Code) String() string {
	s := c.Sorter + "." + c.Scope
	if c.Descriptor != "" {
		s += "." + c.Descriptor
	}
	return s
}

// CodeHasPrefix reports whether code begins with the tokens of prefix: a
// receiver may understand "e.p.xfer" of "e.p.xfer.cant-use-endpoint".
func CodeHasPrefix(code, prefix string) bool {
	rest, ok := strings.CutPrefix(code, prefix)
	return ok && (rest == "" || rest[0] == '.')
}

// StandardComment is the comment that the specification ties to the descriptor
// of code, or to the longest known beginning of it; "" if there is none.
func StandardComment(code string) string {
	c, err := ParseCode(code)
	if err != nil {
		return ""
	}
	for d := c.Descriptor; d != ""; {
		if s := descriptorComment(d); s != "" {
			return s
		}
		d = d[:max(strings.LastIndexByte(d, '.'), 0)]
	}
	return ""
}

func descriptorComment(d string) string {
	switch d {
	case DescriptorTrust:
		return "Failed to achieve required trust."
	case DescriptorTrustCrypto:
		return "Cryptographic operation failed."
	case DescriptorXfer:
		return "Unable to transport data."
	case DescriptorDID:
		return "DID is unusable."
	case DescriptorMsg:
		return "Bad message."
	case DescriptorMe:
		return "Internal error."
	case DescriptorMeRes:
		return "A required resource is inadequate or unavailable."
	case DescriptorReq:
		return "Circumstances don't satisfy requirements."
	case DescriptorReqTime:
		return "Failed to satisfy timing constraints."
	case DescriptorLegal:
		return "Failed for legal reasons."
	}
	return ""
}

func isKebab(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('0' > c || c > '9') && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}
