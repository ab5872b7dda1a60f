// Package didweb resolves and publishes did:web identifiers. The document of a
// did:web is a file on a web server of the domain in the DID.
//
// To resolve, call [NewResolver] and then [Resolver.Resolve]. To publish, call [New]
// to make the DID of a domain, and mount [Handler] at the path that [PathOf] returns:
//
//	id, err := didweb.New("example.com/users/alice") // did:web:example.com:users:alice
//	path, err := didweb.PathOf(id)                   // /users/alice/did.json
//	router.Handle(path, didweb.Handler(document))
//
// Package agent/identity makes the document. On one machine, without https, the domain
// is "127.0.0.1:8080" or "localhost:8080", and resolvers have
// [Config].AllowHTTPLoopback.
//
// The package implements the did:web Method Specification (W3C Credentials Community
// Group), sections Method-specific identifier and Read (Resolve):
//   - documents are fetched only over https, except with [Config].AllowHTTPLoopback;
//   - a port is written as %3A and its number, and each "/" of a path as ":";
//   - the id of the document must be equal to the DID.
//
// A stranger's message can make an agent resolve a did:web. So the resolver also
// limits the size of a document, the time, and the number of redirects, and connects
// only through the dial function that it is given.
//
// The specification requires absolute ids in a document. The resolver accepts relative
// ids too.
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

// MaxLength is the length of the longest did:web that is made or resolved, in bytes.
// Web servers do not reliably accept longer URLs.
const MaxLength = 2048

// location is the address of the document of a did:web.
type location struct {
	host string // name or IPv4 address
	port string // "" for the default
	path string // escaped, from "/" to "did.json"
}

// New returns the did:web of a domain, which has the form "HOST[:PORT][/PATH]", for
// example "example.com/users/alice". The host of an internationalized domain name must
// be in its A-label form ("xn--..."). Errors match did.ErrInvalid.
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

// URLOf returns the https URL of the document of a did:web. Errors match
// did.ErrInvalid.
func URLOf(id string) (string, error) {
	at, err := locate(id)
	if err != nil {
		return "", err
	}
	return at.url("https"), nil
}

// PathOf returns the escaped URL path at which the document of a did:web has to be
// published: "/.well-known/did.json" for did:web:example.com, and "/a/b/did.json" for
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

// loopback reports whether the host is localhost (RFC 6761, section 6.3) or an
// address in 127.0.0.0/8.
func (l location) loopback() bool {
	if addr, err := netip.ParseAddr(l.host); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(l.host, "localhost")
}

// locate parses the method-specific identifier.
func locate(id string) (location, error) {
	if len(id) > MaxLength {
		return location{}, fmt.Errorf("%w: did:web of %d bytes, more than %d", did.ErrInvalid, len(id), MaxLength)
	}
	parsed, err := did.Parse(id)
	if err != nil {
		return location{}, err
	}
	if parsed.Method != "web" {
		return location{}, fmt.Errorf("%w: %q is not a did:web", did.ErrInvalid, clip(id))
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

// locateHost parses a domain name with an optional port. Only the colon before the
// port may be escaped, so an escape cannot hide another host.
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

// isDomain follows RFC 1123, section 2.1, and also allows underscores, which real
// names have. A name whose last label is a number must be an IPv4 address with four
// parts, because some resolvers treat names like 127.1 and 0x7f000001 as addresses.
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

// isNumber reports whether a label is a decimal or hexadecimal number.
func isNumber(label string) bool {
	if hex, ok := strings.CutPrefix(strings.ToLower(label), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// checkSegment refuses path segments that a server could misinterpret: dot segments,
// and escaped separators or control characters.
func checkSegment(s string) error {
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			plain = append(plain, s[i])
			continue
		}
		b, err := strconv.ParseUint(s[i+1:i+3], 16, 8) // did.Parse checked the two digits
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

// escape percent-encodes all characters that a DID cannot have.
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

// clip bounds the length of a peer's text in errors.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
