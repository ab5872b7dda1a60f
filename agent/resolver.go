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

// resolver resolves our own DIDs from what Config.Keys knows, and all others from
// Config.Resolver, with the long forms of did:peer:4 that the contacts have.
type resolver struct {
	own    did.Resolver // or nil
	others did.Resolver
	book   *contact.Book
}

var _ refresher = (*resolver)(nil)

// refresher is an optional interface of a did.Resolver, which did.Cache has.
type refresher interface {
	did.Resolver
	Refresh(ctx context.Context, id string) (*did.Document, error)
}

// packer makes Config.Packer of Keys and Resolver.
func (c *Config) packer() (*envelope.Packer, error) {
	r := &resolver{others: c.Resolver, book: c.Contacts}
	if _, ok := c.Resolver.(refresher); !ok {
		r.others = did.NewCache(c.Resolver, did.CacheConfig{})
	}
	r.own, _ = c.Keys.(did.Resolver)
	return envelope.New(envelope.Config{Keys: c.Keys, Resolver: r, Now: c.Now})
}

// Resolve implements did.Resolver.
func (r *resolver) Resolve(ctx context.Context, id string) (*did.Document, error) {
	return r.find(ctx, id, r.others.Resolve)
}

// Refresh looks a DID up anew.
func (r *resolver) Refresh(ctx context.Context, id string) (*did.Document, error) {
	return r.find(ctx, id, r.refresh)
}

func (r *resolver) refresh(ctx context.Context, id string) (*did.Document, error) {
	if f, ok := r.others.(refresher); ok {
		return f.Refresh(ctx, id)
	}
	return r.others.Resolve(ctx, id)
}

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
	// A short form follows from a long form that its resolver has seen, and perhaps
	// forgotten.
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
