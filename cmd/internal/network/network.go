package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Reach says which addresses are allowed for connections to other agents. Addresses of
// the public Internet are always allowed.
type Reach struct {
	// Loopback allows loopback addresses, and plain http to them for did:web.
	Loopback bool
	// Private allows the addresses of private networks (RFC 1918, RFC 6598, RFC 4193), and
	// everything that Loopback allows.
	Private bool
	// Budget limits the memory of what is being received. nil means one of its own for
	// each transport, and none for documents.
	Budget *transport.Budget
	// MaxConns is how many connections each of the Senders keeps open for further messages. 0
	// means the default of their packages.
	MaxConns int
	// Meter returns the dial function for WebSockets. nil means the one that it is given.
	Meter func(Dial) Dial
}

// Dial opens a connection.
type Dial = func(ctx context.Context, network, addr string) (net.Conn, error)

// privateNetworks returns the networks of Reach.Private. It has no link-local networks,
// where clouds have their metadata services.
func privateNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("fc00::/7"),
	}
}

func (r Reach) guard() *netguard.Guard {
	g := &netguard.Guard{AllowLoopback: r.Loopback || r.Private}
	if r.Private {
		g.Allow = privateNetworks()
	}
	return g
}

// Dial returns the function that opens connections to the allowed addresses.
func (r Reach) Dial() Dial { return r.guard().DialContext }

// Check returns nil if connections to an address are allowed.
func (r Reach) Check(addr netip.Addr) error { return r.guard().Check(addr) }

// From returns r without Loopback, unless text is a URL of this machine: what a URL elsewhere
// redirects to must not be on this machine.
func (r Reach) From(text string) Reach {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil {
		r.Loopback = false
		return r
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, _ := netip.ParseAddr(host) // the zero Addr is not loopback
	r.Loopback = r.Loopback && (host == "localhost" || strings.HasSuffix(host, ".localhost") || addr.Unmap().IsLoopback())
	return r
}

// Resolver returns a resolver for did:key, did:jwk, did:peer and did:web with a cache. longForm
// may be nil; it is that of didpeer.Resolver.
func (r Reach) Resolver(cache did.CacheConfig, longForm func(ctx context.Context, short string) (string, error)) (*did.Cache, error) {
	cfg := didweb.Config{Dial: r.guard().DialContext, AllowHTTPLoopback: r.Loopback || r.Private}
	if r.Budget != nil {
		cfg.Budget = r.Budget
	}
	web, err := didweb.NewResolver(cfg)
	if err != nil {
		return nil, err
	}
	return did.NewCache(did.Methods{
		"key":  didkey.Resolver{},
		"jwk":  didjwk.Resolver{},
		"peer": &didpeer.Resolver{LongForm: longForm},
		"web":  web,
	}, cache), nil
}

// Docs maps DIDs to their documents.
type Docs map[string]*did.Document

var _ did.Resolver = Docs(nil)

// Resolve returns the document of a DID. The error matches did.ErrNotFound if there is none.
func (d Docs) Resolve(_ context.Context, id string) (*did.Document, error) {
	doc, ok := d[id]
	if !ok {
		return nil, fmt.Errorf("%w: no document of %.200s", did.ErrNotFound, id)
	}
	return doc, nil
}

// ParseDocs parses JSON that is an object from DIDs to documents, an array of documents,
// or a single document.
func ParseDocs(data []byte) (Docs, error) {
	var list []jsontext.Value
	byDID := map[string]jsontext.Value{}
	docs := Docs{}
	add := func(raw jsontext.Value, id string) error {
		doc, err := did.ParseDocument(raw)
		switch {
		case err != nil:
			return err
		case id != "" && doc.ID != id:
			return fmt.Errorf("the document under %s has the id %s", id, doc.ID)
		}
		docs[doc.ID] = doc
		return nil
	}
	if err := json.Unmarshal(data, &list); err == nil {
		for i, raw := range list {
			if err := add(raw, ""); err != nil {
				return nil, fmt.Errorf("document %d: %w", i+1, err)
			}
		}
		return docs, nil
	}
	if err := json.Unmarshal(data, &byDID); err != nil {
		return nil, errors.New("neither a JSON object from DID to document nor an array of documents")
	}
	if _, ok := byDID["id"]; ok {
		return docs, add(data, "")
	}
	for id, raw := range byDID {
		if err := add(raw, id); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
	}
	return docs, nil
}
