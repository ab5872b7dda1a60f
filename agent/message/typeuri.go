package message

import (
	"fmt"
	"strconv"
	"strings"
)

// TypeURI is a message type URI (MTURI) in its parts, or, if Name is empty, a protocol
// identifier URI (PIURI). The message type "https://didcomm.org/trust-ping/2.0/ping" is the
// TypeURI {"https://didcomm.org/", "trust-ping", 2, 0, "ping"}.
type TypeURI struct {
	DocURI       string // with the delimiter at its end, one of ? / & : ; =
	Protocol     string
	Major, Minor int
	Name         string
}

// ParseType splits a message type URI into its parts (section Message Type URI). A patch
// version is dropped, and a missing minor version is 0. The error matches ErrInvalid.
func ParseType(s string) (TypeURI, error) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 || !isIdentifier(s[i+1:]) {
		return TypeURI{}, fmt.Errorf("%w: message type %q has no message name", ErrInvalid, clip(s))
	}
	t, err := parsePIURI(s[:i])
	if err != nil {
		return TypeURI{}, err
	}
	t.Name = s[i+1:]
	return t, nil
}

// ParsePIURI splits a protocol identifier URI into its parts (section Protocol Identifier
// URI). A slash at the end is ignored. The error matches ErrInvalid.
func ParsePIURI(s string) (TypeURI, error) {
	return parsePIURI(strings.TrimSuffix(s, "/"))
}

func parsePIURI(s string) (TypeURI, error) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return TypeURI{}, fmt.Errorf("%w: protocol %q has no version", ErrInvalid, clip(s))
	}
	major, minor, ok := parseVersion(s[i+1:])
	if !ok {
		return TypeURI{}, fmt.Errorf("%w: protocol %q has no version of the form 1.0", ErrInvalid, clip(s))
	}
	j := strings.LastIndexAny(s[:i], "?/&:;=") + 1
	if j == 0 || !isIdentifier(s[j:i]) {
		return TypeURI{}, fmt.Errorf("%w: protocol %q has no name after a document URI", ErrInvalid, clip(s))
	}
	return TypeURI{DocURI: s[:j], Protocol: s[j:i], Major: major, Minor: minor}, nil
}

// String returns the message type URI, or, if Name is empty, the protocol identifier URI.
func (t TypeURI) String() string {
	if t.Name == "" {
		return t.PIURI()
	}
	return t.PIURI() + "/" + t.Name
}

// PIURI returns the protocol identifier URI of the message's protocol.
func (t TypeURI) PIURI() string {
	return t.DocURI + t.Protocol + "/" + strconv.Itoa(t.Major) + "." + strconv.Itoa(t.Minor)
}

// Matches reports whether t and o are the same message of the same protocol (section Semver
// Rules). They must have the same document URI, protocol name, message name and major version.
// The minor versions may differ, and case and punctuation of the names are ignored.
func (t TypeURI) Matches(o TypeURI) bool {
	return t.SameProtocol(o) && equalName(t.Name, o.Name)
}

// Is reports whether the message m has the type typ: the two types are the same text, or
// TypeURI.Matches is true of them. A type that is not a message type URI is equal only to the
// same text.
func Is(m *Message, typ string) bool {
	if m.Type == typ {
		return true
	}
	got, err := ParseType(m.Type)
	if err != nil {
		return false
	}
	want, err := ParseType(typ)
	return err == nil && want.Matches(got)
}

// SameProtocol reports whether t and o belong to the same protocol. It compares like Matches,
// without the message name.
func (t TypeURI) SameProtocol(o TypeURI) bool {
	return t.Major == o.Major && t.DocURI == o.DocURI && equalName(t.Protocol, o.Protocol)
}

// parseVersion reads MAJOR[.MINOR[.PATCH]].
func parseVersion(s string) (major, minor int, ok bool) {
	maj, rest, _ := strings.Cut(s, ".")
	if major, ok = parseNumber(maj); !ok || len(maj) == len(s) {
		return major, 0, ok
	}
	mnr, patch, more := strings.Cut(rest, ".")
	if minor, ok = parseNumber(mnr); !ok || !more {
		return major, minor, ok
	}
	_, ok = parseNumber(patch)
	return major, minor, ok
}

func parseNumber(s string) (int, bool) {
	if s == "" || len(s) > 9 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		if c := s[i]; fold(c) == 0 && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// fold returns an ASCII letter in lower case, a digit as it is, and 0 for any other byte.
func fold(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return 0
}

// equalName compares names without case and punctuation. It does not allocate.
func equalName(a, b string) bool {
	for {
		for a != "" && fold(a[0]) == 0 {
			a = a[1:]
		}
		for b != "" && fold(b[0]) == 0 {
			b = b[1:]
		}
		if a == "" || b == "" {
			return a == b
		}
		if fold(a[0]) != fold(b[0]) {
			return false
		}
		a, b = a[1:], b[1:]
	}
}

// clip shortens a text of a peer for an error text.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
