// Package did parses decentralized identifiers (DIDs), and resolves them to
// documents and public keys.
//
// Start with a [Methods] map that names one [Resolver] for each DID method. The
// packages didkey, didjwk, didpeer and didweb provide these resolvers. Wrap the
// map with [NewCache], and call [Cache.Resolve] to get a [Document]. Then
//   - [Document.KeyAgreementKeys], [Document.AuthenticationKeys] and
//     [Document.Method] return the keys;
//   - [Document.DIDCommServices] returns the endpoints for DIDComm messages.
//
// [Parse] and [ParseURL] check the syntax of a DID or DID URL without resolving
// it.
//
// The package implements these parts of Decentralized Identifiers (DIDs) v1.0
// (DID Core), W3C Recommendation of 19 July 2022:
//   - the grammar of DIDs and DID URLs, and relative references (section 3);
//   - the core properties of documents (section 5);
//   - the JSON representation of documents (section 6.2).
//
// Parsing a document tolerates deviations of known peers, within the limits that
// [ParseDocument] lists. A document is written as it was read: relative ids, the
// shape of a service, and members that DID Core does not name survive a round
// trip. Each key is parsed once, together with its document.
package did

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/did/internal/peer4"
)

// DID is a decentralized identifier, "did:" Method ":" ID (DID Core 1.0, section
// 3.1). DIDs can be compared with ==, which does not normalize percent-encoding.
type DID struct {
	Method string // lower-case letters and digits
	ID     string // the method-specific id, which may hold colons
}

// URL is a DID URL: a DID with an optional path, query and fragment (DID Core 1.0,
// section 3.2). Percent-encoding is not decoded. An empty query or fragment is the
// same as an absent one.
type URL struct {
	DID      DID
	Path     string // with its leading "/"
	Query    string // without "?"
	Fragment string // without "#"
}

// Parse parses a DID without path, query or fragment. The error matches ErrInvalid
// for any other string, including a DID URL.
func Parse(s string) (DID, error) {
	rest, ok := strings.CutPrefix(s, "did:")
	if !ok {
		return DID{}, fmt.Errorf("%w: %q lacks the scheme did", ErrInvalid, abbreviate(s))
	}
	method, id, ok := strings.Cut(rest, ":")
	if !ok || method == "" {
		return DID{}, fmt.Errorf("%w: %q names no method", ErrInvalid, abbreviate(s))
	}
	for i := range len(method) {
		if c := method[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return DID{}, fmt.Errorf("%w: %q has a method name that is not lower-case letters and digits", ErrInvalid, abbreviate(s))
		}
	}
	if id == "" || id[len(id)-1] == ':' {
		return DID{}, fmt.Errorf("%w: %q ends without an identifier", ErrInvalid, abbreviate(s))
	}
	// Older libraries write did:peer:2 with padded base64url, although "=" is not in
	// the grammar.
	padded := func(c byte) bool { return c == '=' && method == "peer" }
	if !consists(id, func(c byte) bool { return isIDChar(c) || padded(c) }) {
		return DID{}, fmt.Errorf("%w: %q has a character that is not allowed in a DID", ErrInvalid, abbreviate(s))
	}
	return DID{Method: method, ID: id}, nil
}

// String returns the DID as it was parsed, or "" for the zero DID.
func (d DID) String() string {
	if d == (DID{}) {
		return ""
	}
	return "did:" + d.Method + ":" + d.ID
}

// Reference resolves ref against d (DID Core 1.0, section 3.2.2). An absolute DID
// URL is parsed as it is. Any other ref is a path, query or fragment of d; it is
// resolved as in RFC 3986, section 5.2, with the DID in place of the authority. The
// error matches ErrInvalid for a reference that has another scheme or starts with
// "//".
func (d DID) Reference(ref string) (URL, error) {
	if strings.HasPrefix(ref, "did:") {
		return ParseURL(ref)
	}
	if strings.HasPrefix(ref, "//") {
		return URL{}, fmt.Errorf("%w: reference %q has an authority", ErrInvalid, abbreviate(ref))
	}
	path, _ := split(ref)
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ":") {
		return URL{}, fmt.Errorf("%w: reference %q has another scheme", ErrInvalid, abbreviate(ref))
	}
	if path != "" {
		ref = removeDotSegments("/"+strings.TrimPrefix(path, "/")) + ref[len(path):]
	}
	u := URL{DID: d}
	if err := u.parseTail(ref); err != nil {
		return URL{}, err
	}
	return u, nil
}

// ParseURL parses an absolute DID URL. A DID without path, query or fragment is
// also a DID URL. Errors match ErrInvalid.
func ParseURL(s string) (URL, error) {
	base := Base(s)
	d, err := Parse(base)
	if err != nil {
		return URL{}, err
	}
	u := URL{DID: d}
	if err := u.parseTail(s[len(base):]); err != nil {
		return URL{}, err
	}
	return u, nil
}

// String returns the DID URL as text.
func (u URL) String() string {
	s := u.DID.String() + u.Path
	if u.Query != "" {
		s += "?" + u.Query
	}
	if u.Fragment != "" {
		s += "#" + u.Fragment
	}
	return s
}

// parseTail parses the part of a DID URL after the DID: path-abempty, query and
// fragment.
func (u *URL) parseTail(s string) error {
	path, rest := split(s)
	u.Path = path
	if q, ok := strings.CutPrefix(rest, "?"); ok {
		u.Query, u.Fragment, _ = strings.Cut(q, "#")
	} else {
		u.Fragment = strings.TrimPrefix(rest, "#")
	}
	switch {
	case !consists(u.Path, func(c byte) bool { return c == '/' || isPathChar(c) }):
		return fmt.Errorf("%w: path %q of a DID URL", ErrInvalid, abbreviate(u.Path))
	case !consists(u.Query, isQueryChar):
		return fmt.Errorf("%w: query %q of a DID URL", ErrInvalid, abbreviate(u.Query))
	case !consists(u.Fragment, isQueryChar):
		return fmt.Errorf("%w: fragment %q of a DID URL", ErrInvalid, abbreviate(u.Fragment))
	}
	return nil
}

// Base returns the DID of a DID URL: everything before the first "/", "?" or "#".
// It does not check the syntax, and does not allocate.
func Base(didURL string) string {
	for i := range len(didURL) {
		switch didURL[i] {
		case '/', '?', '#':
			return didURL[:i]
		}
	}
	return didURL
}

// Canonical returns the same DID for all DIDs and DID URLs whose text shows that
// they name the same party. For the long form of a did:peer:4 whose hash matches,
// that is the short form. For any other DID URL, it is [Base].
func Canonical(didURL string) string {
	base := Base(didURL)
	if short, ok := peer4.Short(base); ok {
		return short
	}
	return base
}

// split splits a reference after its path.
func split(s string) (path, rest string) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// removeDotSegments removes "." and ".." from an absolute path (RFC 3986, section
// 5.2.4).
func removeDotSegments(path string) string {
	segments := strings.Split(path[1:], "/")
	out := make([]string, 0, len(segments))
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
			continue
		}
		if last {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// consists reports whether s has only bytes that ok allows and complete percent
// escapes.
func consists(s string, ok func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return false
			}
			i += 2
		} else if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// isIDChar is idchar of DID Core 1.0, section 3.1, plus the colon that separates
// groups of them.
func isIDChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '-' || c == '_' || c == ':'
}

// isPathChar is pchar of RFC 3986, section 3.3.
func isPathChar(c byte) bool {
	return isIDChar(c) || strings.IndexByte("~!$&'()*+,;=@", c) >= 0
}

func isQueryChar(c byte) bool { return isPathChar(c) || c == '/' || c == '?' }

// abbreviate bounds the length of a peer's identifier in errors and logs.
func abbreviate(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
