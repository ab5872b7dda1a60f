package home

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/did"
)

// AgentDID returns the DID of Sender. It is empty in a home that was never served, and that
// has sent nothing.
func (h *Home) AgentDID(ctx context.Context) (string, error) {
	list, err := servings(ctx, h.Store.Records())
	if err != nil {
		return "", err
	}
	if own, err := h.lastServed(ctx, list, time.Now()); own != "" || err != nil {
		return own, err
	}
	id, err := identity.Peer2(h.Pair, did.QueueURI)
	if err != nil {
		return "", err
	}
	own, err := h.Set.Own(ctx, id.DID())
	if errors.Is(err, envelope.ErrNoKey) {
		return "", nil
	}
	return own, err
}

// Dialect returns what the DID own of the home knows about the dialect of a contact.
func (h *Home) Dialect(ctx context.Context, own, peer string) (contact.Dialect, error) {
	return bookOf(h.Store, h.cfg).Dialect(ctx, own, peer)
}

// Remember makes a party a contact of the DID own of a home, and records the dialect of the
// party. It needs no passphrase.
func (c Config) Remember(ctx context.Context, own, peer string, d contact.Dialect) error {
	s, err := c.openOld(ctx)
	if err != nil {
		return err
	}
	book := bookOf(s, c)
	err = book.Keep(ctx, own, peer)
	if err == nil {
		err = book.Learn(ctx, own, peer, func(now *contact.Dialect) { *now = d })
	}
	return errors.Join(err, s.Close())
}

func bookOf(s *sqlstore.Store, c Config) *contact.Book {
	return contact.New(s, contact.Config{Logger: c.Logger})
}

// About returns what the DIDs of the home know about the party that uses the DID peer. With
// own, it returns only what this DID of the home knows.
func (d *DIDs) About(ctx context.Context, own, peer string) ([]contact.Party, error) {
	var dids []string
	if own != "" {
		m, err := d.set.Get(ctx, own)
		if errors.Is(err, store.ErrNotFound) {
			err = fmt.Errorf("%s is no DID of this home; see didcomm did list", own)
		}
		if err != nil {
			return nil, err
		}
		dids = []string{m.DID}
	} else {
		list, err := d.List(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			dids = append(dids, e.ID)
		}
	}
	var found []contact.Party
	book := bookOf(d.store, d.cfg)
	for _, id := range dids {
		switch p, known, err := book.About(ctx, id, peer); {
		case err != nil:
			return nil, err
		case known:
			found = append(found, p)
		}
	}
	return found, nil
}
