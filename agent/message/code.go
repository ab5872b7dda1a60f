package message

import (
	"fmt"
	"strings"
)

// Sorters and scopes of problem codes (section Problem Codes). A scope can also be the name
// of a state of the protocol.
const (
	SorterError   = "e"
	SorterWarning = "w"
	ScopeProtocol = "p"
	ScopeMessage  = "m"
)

// Descriptors of problem codes that the specification defines (section Descriptors). A more
// specific descriptor can follow after a dot.
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

// Problem codes that agents use in all protocols.
const (
	CodeUnsupported       = "e.p.msg.unsupported"         // no handler for the message type
	CodeMaxErrorsExceeded = "e.p.req.max-errors-exceeded" // section Cascading Problems
	CodeInternal          = "e.p.me"                      // a fault on our side
	CodeExpired           = "e.m.req.time"                // expires_time is past
)

// Code is a problem code in its parts: "e.p.xfer.cant-use-endpoint" is the Code
// {"e", "p", "xfer.cant-use-endpoint"}.
type Code struct {
	Sorter     string // SorterError or SorterWarning
	Scope      string // ScopeProtocol, ScopeMessage or a state name
	Descriptor string // with dots; empty in some received codes
}

// ParseCode splits a problem code into its parts. The error matches ErrInvalid if the sorter
// is neither e nor w, the scope is missing, a token is not in lower-case kebab-case, or the
// code is longer than 256 bytes.
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

// String returns the code in the form of a problem report.
func (c Code) String() string {
	s := c.Sorter + "." + c.Scope
	if c.Descriptor != "" {
		s += "." + c.Descriptor
	}
	return s
}

// CodeHasPrefix reports whether code begins with the tokens of prefix. A receiver that does
// not know "e.p.xfer.cant-use-endpoint" may still know its prefix "e.p.xfer".
func CodeHasPrefix(code, prefix string) bool {
	rest, ok := strings.CutPrefix(code, prefix)
	return ok && (rest == "" || rest[0] == '.')
}

// StandardComment returns the comment that the specification has for the descriptor of code,
// or for the longest prefix of the descriptor that the specification knows. It returns "" if
// there is none.
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
