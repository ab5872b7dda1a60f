// Package didweb resolves and publishes did:web identifiers, whose documents
// stand on a web server that the domain's certificate vouches for.
//
// Call [NewResolver] with the address guard's dial function, and
// [Resolver.Resolve]. To publish, mount [Handler] at [PathOf]; [New] makes the
// DID of a domain.
//
// It implements the did:web Method Specification (W3C Credentials Community
// Group), sections Method-specific identifier and Read (Resolve): https only, a
// port as %3A, a path in colons, the document's id equal to the DID. Beyond it,
// what is fetched is bounded in size, time and redirects, because a stranger's
// message makes us fetch it. A document with relative ids is read although the
// specification asks for absolute ones.
package didweb

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/didcomm-go/didcomm/did"
)

const prefix = "did:web:"

// MaxLength is the longest did:web that is made or resolved, in bytes: a
// stranger's message makes us ask for it, and web servers take no longer URLs.
const MaxLength = 2048

// location is where the document of a did:web stands.
type location struct {
	host string // name or IPv4 address
	port string // "" for the default
	path string // escaped, from "/" to "did.json"
}

// New makes the did:web of a domain, "HOST[:PORT][/PATH]". A domain name with
// letters beyond ASCII must be given in its A-label (xn--) form. Errors match
// did.ErrInvalid.
func New(domain string) (string, error) {
	host, path, _ := strings.Cut(domain, "/")
	id := prefix + strings.ReplaceAll(host, ":", "%3A")
	if path = strings.TrimSuffix(path, "/"); path != "" {
		for segment := range strings.SplitSeq(path, "/") {
			id += ":" + escape(segment)
		}
	}
	if _, err := locate(id); err != nil {
		return "", err
	}
	return id, nil
}

// URLOf returns the https URL of a did:web's document. Errors match
// did.ErrInvalid.
func URLOf(id string) (string, error) {
	at, err := locate(id)
	if err != nil {
		return "", err
	}
	return at.url("https"), nil
}

// PathOf returns the URL path, escaped, at which the document of a did:web has
// to be published: "/.well-known/did.json", or "/a/b/did.json" for
// did:web:example.com:a:b. Errors match did.ErrInvalid.
func PathOf(id string) (string, error) {
	at, err := locate(id)
	if err != nil {
		return "", err
	}
	return at.path, nil
}

func (l location) url(scheme string) string {
	host := l.host
	if l.port != "" {
		host += ":" + l.port
	}
	return scheme + "://" + host + l.path
}

// loopback tells whether the host is this machine by its very name: localhost
// (RFC 6761, section 6.3) or an address in 127.0.0.0/8.
func (l location) loopback() bool {
	if addr, err := netip.ParseAddr(l.host); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(l.host, "localhost")
}

// locate reads the method-specific identifier.
func locate(id string) (location, error) {
	if len(id) > MaxLength {
		return location{}, fmt.Errorf("%w: did:web of %d bytes, more than %d", did.ErrInvalid, len(id), MaxLength)
	}
	parsed, err := did.Parse(id)
	if err != nil {
		return location{}, err
	}
	if parsed.Method != "web" {
		return location{}, fmt.Errorf("%w: %q is no did:web", did.ErrInvalid, clip(id))
	}
	segments := strings.Split(parsed.ID, ":")
	at, err := locateHost(segments[0])
	if err != nil {
		return location{}, err
	}
	if len(segments) == 1 {
		at.path = "/.well-known/did.json"
		return at, nil
	}
	for _, s := range segments[1:] {
		if err := checkSegment(s); err != nil {
			return location{}, err
		}
	}
	at.path = "/" + strings.Join(segments[1:], "/") + "/did.json"
	return at, nil
}

// locateHost reads a domain name with its optional port. No character of it may
// be escaped but the colon before the port, so nothing can hide there.
func locateHost(s string) (location, error) {
	host, port, hasPort := s, "", false
	if i := strings.Index(strings.ToUpper(s), "%3A"); i >= 0 {
		host, port, hasPort = s[:i], s[i+3:], true
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return location{}, fmt.Errorf("%w: did:web port %q", did.ErrInvalid, clip(port))
		}
	}
	if !isDomain(host) {
		return location{}, fmt.Errorf("%w: did:web host %q", did.ErrInvalid, clip(host))
	}
	return location{host: host, port: port}, nil
}

// isDomain follows RFC 1123, section 2.1, with underscores, which real names
// have. What ends in a number is an IPv4 address in all four parts or nothing:
// some resolvers take 127.1 and 0x7f000001 for addresses too.
func isDomain(host string) bool {
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := range len(l) {
			if !isAlnum(l[i]) && l[i] != '-' && l[i] != '_' {
				return false
			}
		}
	}
	if !isNumber(labels[len(labels)-1]) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4()
}

// isNumber tells whether a label is a decimal or hexadecimal number.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// checkSegment refuses path segments that a server could take for more than the
// name that they are: dot segments, and separators or controls behind escapes.
func checkSegment(s string) error {
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			plain = append(plain, s[i])
			continue
		}
		b, err := strconv.ParseUint(s[i+1:i+3], 16, 8) // did.Parse has seen that two digits follow
		if err != nil || b < 0x20 || b == 0x7f || strings.IndexByte(`/\%?#`, byte(b)) >= 0 {
			return fmt.Errorf("%w: did:web path segment %q", did.ErrInvalid, clip(s))
		}
		plain = append(plain, byte(b))
		i += 2
	}
	if text := string(plain); text == "" || text == "." || text == ".." || !utf8.Valid(plain) {
		return fmt.Errorf("%w: did:web path segment %q", did.ErrInvalid, clip(s))
	}
	return nil
}

// escape percent-encodes what cannot stand in a DID.
func escape(segment string) string {
	var b strings.Builder
	for i := range len(segment) {
		if c := segment[i]; isAlnum(c) || c == '.' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// clip keeps an error readable and bounded.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
