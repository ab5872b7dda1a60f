package home

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// mediatorKeys is the record with the names of the keys of Home.ServeMediator.
var mediatorKeys = store.Record{Collection: "mediator/keys", Key: "own"}

// names are the names of the two keys of an identity.Pair in the ring.
type names struct {
	Sign  string `json:"sign"`
	Agree string `json:"agree"`
}

// ServeMediator is Serve for a mediator. Its DID has keys of its own, of which the one for
// encryption is the image of the one for signatures (see identity.Pair.Image). The home makes
// the keys once, and keeps them.
func (h *Home) ServeMediator(ctx context.Context, id string, endpoints ...string) (now, former string, err error) {
	pair, err := h.imagePair(ctx)
	if err != nil {
		return "", "", fmt.Errorf("keys of the mediator: %w", err)
	}
	return h.serve(ctx, id, pair, endpoints...)
}

// imagePair returns the keys of the mediator, and makes them if there are none.
func (h *Home) imagePair(ctx context.Context) (identity.Pair, error) {
	r, err := h.Store.Records().Get(ctx, mediatorKeys.Collection, mediatorKeys.Key)
	if errors.Is(err, store.ErrNotFound) {
		r, err = h.makeImagePair(ctx)
	}
	if err != nil {
		return identity.Pair{}, err
	}
	var n names
	if err := json.Unmarshal(r.Value, &n); err != nil {
		return identity.Pair{}, err
	}
	if err := h.Ring.Refresh(ctx); err != nil { // another process may have made the keys
		return identity.Pair{}, err
	}
	return identity.Find(ctx, h.Ring, n.Sign, n.Agree)
}

// makeImagePair makes the keys of the mediator, and their record. Of several processes that
// do, the keys of the first stay.
func (h *Home) makeImagePair(ctx context.Context) (store.Record, error) {
	pair, err := identity.Generate(keyring.Ed25519)
	if err == nil {
		pair, err = pair.Image()
	}
	if err != nil {
		return store.Record{}, err
	}
	id, err := identity.Peer2(pair)
	if err != nil {
		return store.Record{}, err
	}
	keys, err := id.Keyring()
	if err != nil {
		return store.Record{}, err
	}
	var n names
	for _, handle := range id.Handles() {
		if handle.Use == identity.ToSign {
			n.Sign = handle.KID
		} else {
			n.Agree = handle.KID
		}
	}
	r := mediatorKeys
	if r.Value, err = json.Marshal(n); err != nil {
		return store.Record{}, err
	}
	if err := h.Ring.AddAll(ctx, keys); err != nil {
		return store.Record{}, err
	}
	_, err = h.Store.Records().Put(ctx, r)
	if err == nil {
		return r, nil
	}
	other := errors.Is(err, store.ErrVersion)
	for _, kid := range keys.KIDs() {
		err = errors.Join(err, h.Ring.Delete(context.WithoutCancel(ctx), kid))
	}
	if other {
		return h.Store.Records().Get(ctx, r.Collection, r.Key)
	}
	return store.Record{}, err
}

// Mediator is the mediator of a home, to see and to change, also while it is served. Close it.
type Mediator struct {
	*mediator.Mediator
	Endpoint string // URL of the mediator

	store *sqlstore.Store
	cfg   Config
}

// OpenMediator opens the mediator of a home, without its keys.
func OpenMediator(ctx context.Context, cfg Config) (*Mediator, error) {
	s, err := cfg.openOld(ctx)
	if err != nil {
		return nil, err
	}
	m, err := cfg.mediatorOf(ctx, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return m, nil
}

func (c Config) mediatorOf(ctx context.Context, s *sqlstore.Store) (*Mediator, error) {
	_, err := s.Records().Get(ctx, mediatorKeys.Collection, mediatorKeys.Key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errors.New("the agent of this home is no mediator: it was never served with --mediator")
	}
	if err != nil {
		return nil, err
	}
	list, err := servings(ctx, s.Records())
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the mediator of this home has no DID yet; start didcomm serve --mediator")
	}
	id := list[len(list)-1].DID
	set, err := c.newSet(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	doc, err := set.Resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := mediator.New(mediator.Config{DID: id, Store: s, Mailbox: s.Mailbox()})
	if err != nil {
		return nil, err
	}
	made := &Mediator{Mediator: m, store: s, cfg: c}
	if services := doc.DIDCommServices(); len(services) > 0 {
		made.Endpoint = services[0].URI
	}
	return made, nil
}

// Known waits until the agent that serves the home knows of the changes of accounts.
func (m *Mediator) Known(ctx context.Context) error { return m.cfg.known(ctx) }

// Close closes the store.
func (m *Mediator) Close() error { return m.store.Close() }
