package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// resolver resolves our own DIDs with Config.Keys, and all other DIDs with
// Config.Resolver. It finds the long form of a did:peer:4 in the contacts.
type resolver struct {
	own    did.Resolver // Config.Keys, or nil
	others did.Resolver
	book   *contact.Book
}

var _ did.Refresher = (*resolver)(nil)

// packer returns a Packer that uses Keys and Resolver.
func (c *Config) packer() (*envelope.Packer, error) {
	r := &resolver{others: c.Resolver, book: c.Contacts}
	if _, ok := c.Resolver.(did.Refresher); !ok {
		r.others = did.NewCache(c.Resolver, did.CacheConfig{})
	}
	r.own, _ = c.Keys.(did.Resolver)
	return envelope.New(envelope.Config{Keys: c.Keys, Resolver: r, Now: c.Now})
}

// Resolve implements did.Resolver.
func (r *resolver) Resolve(ctx context.Context, id string) (*did.Document, error) {
	return r.find(ctx, id, r.others.Resolve)
}

// Refresh resolves a DID without a cache.
func (r *resolver) Refresh(ctx context.Context, id string) (*did.Document, error) {
	return r.find(ctx, id, r.refresh)
}

func (r *resolver) refresh(ctx context.Context, id string) (*did.Document, error) {
	if f, ok := r.others.(did.Refresher); ok {
		return f.Refresh(ctx, id)
	}
	return r.others.Resolve(ctx, id)
}

// find resolves a DID, with look if the DID belongs to another party.
func (r *resolver) find(ctx context.Context, id string, look func(context.Context, string) (*did.Document, error)) (*did.Document, error) {
	if r.own != nil {
		if doc, err := r.own.Resolve(ctx, id); !errors.Is(err, did.ErrNotFound) {
			return doc, err
		}
	}
	doc, err := look(ctx, id)
	if !errors.Is(err, did.ErrNotFound) || !strings.HasPrefix(id, "did:peer:4") {
		return doc, err
	}
	// The resolver may have forgotten the long form. After it has resolved the long form
	// again, it can resolve the short form.
	long, failed := r.book.Long(ctx, id)
	if failed != nil {
		return nil, fmt.Errorf("long form: %w", failed)
	}
	if long == "" {
		return doc, err
	}
	if _, err := r.refresh(ctx, long); err != nil {
		return nil, err
	}
	return look(ctx, id)
}
