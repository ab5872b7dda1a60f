package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Reach is what DIDs and messages of others can make us connect to, besides
// the public Internet.
type Reach struct {
	// Loopback lets this machine's own addresses through, and plain http on
	// them for did:web.
	Loopback bool
	// Private lets private networks through, and loopback.
	Private bool
}

// privateNetworks are the networks that Reach.Private means: RFC 1918, RFC
// 6598 and RFC 4193. Link-local ones, where clouds keep their metadata service,
// are not among them.
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

// Resolver resolves did:key, did:jwk, did:peer and did:web. The documents of
// docs, if any, are used before anything is asked.
func (r Reach) Resolver(docs Docs) (did.Resolver, error) {
	web, err := didweb.NewResolver(didweb.Config{
		Dial:              r.guard().DialContext,
		AllowHTTPLoopback: r.Loopback || r.Private,
	})
	if err != nil {
		return nil, err
	}
	methods := did.Methods{
		"key":  didkey.Resolver{},
		"jwk":  didjwk.Resolver{},
		"peer": didpeer.NewResolver(),
		"web":  web,
	}
	return &overlay{docs: docs, Cache: did.NewCache(methods, did.CacheConfig{})}, nil
}

// overlay is a cache with some documents that are known beforehand. It embeds
// the cache for its Refresh.
type overlay struct {
	docs Docs
	*did.Cache
}

func (o *overlay) Resolve(ctx context.Context, id string) (*did.Document, error) {
	if doc, ok := o.docs[id]; ok {
		return doc, nil
	}
	return o.Cache.Resolve(ctx, id)
}

// Docs are DID documents by DID.
type Docs map[string]*did.Document

// ParseDocs reads a JSON object from DID to document, an array of documents, or
// a single document.
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
			return fmt.Errorf("the document under %s is of %s", id, doc.ID)
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
