// Package did turns decentralized identifiers into documents and keys.
//
// Call [Methods] with one resolver per DID method (packages didkey, didjwk,
// didpeer and didweb hold them), wrap it in a [Cache], and ask it for a
// [Document]; [Document.KeyAgreementKeys] and [Document.Method] give the keys,
// [Document.DIDCommServices] the endpoints.
//
// It implements Decentralized Identifiers (DIDs) v1.0, W3C Recommendation of
// 19 July 2022: the DID and DID URL grammar and relative references (section
// 3), the core properties of documents (section 5) and their JSON form (section
// 6.2). A document is read tolerantly and written as it was read: members that
// DID Core does not name, relative ids and the shape of a service survive a
// round trip. Reading is bounded (see [ParseDocument]), and a key is parsed once,
// when its document is.
package did

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/did/internal/peer4"
)

// DID is a decentralized identifier, "did:" Method ":" ID (DID Core 1.0, section
// 3.1). DIDs compare with ==, percent-encoded letters as they are written.
type DID struct {
	Method string // lower-case letters and digits
	ID     string // the method-specific id, which may hold colons
}

// URL is a DID with what may follow it (DID Core 1.0, section 3.2). Percent
// escapes stay as they are written. An empty query or fragment and an absent
// one are the same.
type URL struct {
	DID      DID
	Path     string // with its leading "/"
	Query    string // without "?"
	Fragment string // without "#"
}

// Parse reads a bare DID. What is not one, a DID URL included, is ErrInvalid.
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
	// Older did:peer:2 DIDs carry padded base64url, which the grammar does not
	// have.
	padded := func(c byte) bool { return c == '=' && method == "peer" }
	if !consists(id, func(c byte) bool { return isIDChar(c) || padded(c) }) {
		return DID{}, fmt.Errorf("%w: %q has a character that no DID has", ErrInvalid, abbreviate(s))
	}
	return DID{Method: method, ID: id}, nil
}

// String is the DID as it was parsed; "" for the zero DID.
func (d DID) String() string {
	if d == (DID{}) {
		return ""
	}
	return "did:" + d.Method + ":" + d.ID
}

// Reference resolves ref against d: an absolute DID URL as it is, else a
// fragment, query or path of d (DID Core 1.0, section 3.2.2, after RFC 3986,
// section 5.2, where the DID takes the place of the authority). A reference of
// another scheme, and one that starts with "//", is ErrInvalid.
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

// ParseURL reads an absolute DID URL; a bare DID is one. Errors match ErrInvalid.
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

// String puts the URL together again.
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

// parseTail fills what stands behind the DID: path-abempty, query, fragment.
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

// Base is the part of a DID URL that names its document: everything before the
// first "/", "?" or "#". It checks nothing and allocates nothing.
func Base(didURL string) string {
	for i := range len(didURL) {
		switch didURL[i] {
		case '/', '?', '#':
			return didURL[:i]
		}
	}
	return didURL
}

// Canonical is the one DID that all DIDs and DID URLs of a party share as far as
// their text shows: the Base, or, for the long form of a did:peer:4 whose hash
// matches, its short form.
func Canonical(didURL string) string {
	base := Base(didURL)
	if short, ok := peer4.Short(base); ok {
		return short
	}
	return base
}

// split cuts a reference behind its path.
func split(s string) (path, rest string) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// removeDotSegments takes "." and ".." out of an absolute path (RFC 3986,
// section 5.2.4).
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

// consists tells whether s holds only bytes that ok takes, and whole percent
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

// isIDChar is idchar of DID Core 1.0, section 3.1, and the colon between.
func isIDChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '.' || c == '-' || c == '_' || c == ':'
}

// isPathChar is pchar of RFC 3986, section 3.3.
func isPathChar(c byte) bool {
	return isIDChar(c) || strings.IndexByte("~!$&'()*+,;=@", c) >= 0
}

func isQueryChar(c byte) bool { return isPathChar(c) || c == '/' || c == '?' }

// abbreviate keeps a hostile identifier from filling the log.
func abbreviate(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
