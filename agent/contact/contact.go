// Package contact keeps what an agent knows of the parties that it exchanges messages
// with, in records of its store: to which DID a party has rotated, and the long form of
// a did:peer:4.
//
// An agent has a [Book] and fills it by itself. Make one with [New], and give it to the
// agent and, by its method [Book.Long], to the resolver of did:peer, where both are made
// by hand:
//
//	book := contact.New(st, contact.Config{})
//	peers := &didpeer.Resolver{LongForm: book.Long}
//	a, err := agent.New(agent.Config{Store: st, Contacts: book, ...})
//
// A protocol that must not lose a party, such as a mediator that has granted mediation,
// calls [Book.Keep]. A message that the agent sends on its own account does the same.
//
// # Contacts and strangers
//
// A party that the agent was asked to send to, or to keep, is a contact. All others are
// strangers: anybody can write to an agent, from as many DIDs as they like. Of strangers
// the Book keeps no more than Config.MaxStrangers, those that it has heard of last, so
// that a flood of them neither fills the store nor pushes out a contact.
//
// All that is known is known between one DID of ours and one of a party: a party that
// knows two DIDs of ours cannot tell from it that they belong to one agent. The long
// form of a did:peer:4 alone is found for any DID of ours, since the short form follows
// from it.
//
// # Clauses
//
// Of DIDComm v2.1: DID Rotation and Ending a Relationship, on the side of the party that
// is told; of the Peer DID Method Specification: the receiver of a did:peer:4 keeps its
// long form (section Method 4, Resolving a DID).
package contact

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/lru"
)

// ErrEnded: the party has ended the relationship (DIDComm v2.1, Ending a Relationship).
var ErrEnded = errors.New("contact: the party has ended the relationship")

// Collections of the records.
const (
	contacts  = "contact"
	strangers = "contact/stranger"
)

const (
	// maxRotations bounds how many rotations of one party are followed.
	maxRotations = 16
	// maxCached bounds the parties of which something is held in memory.
	maxCached = 10_000
	// maxTries bounds how often a record is changed that others change too.
	maxTries = 8
)

// Config bounds a Book. Zero fields take the defaults.
type Config struct {
	MaxContacts  int // default 1,000,000
	MaxStrangers int // default 10,000
	// Fresh is how long what was read is taken to hold. Where several processes share a
	// store, one of them may act for so long on what another has changed. Default 5 s.
	Fresh  time.Duration
	Logger *slog.Logger // gets DIDs. Default: none
}

// Book is what is known of parties. Its methods may be called from any goroutine.
type Book struct {
	cfg Config
	st  store.Store

	mu      sync.Mutex // guards all below
	cache   lru.Map[key, known]
	changes int // that Kept was told of
}

// New makes a Book that is kept in the records of st.
func New(st store.Store, cfg Config) *Book {
	cfg.MaxContacts = cmp.Or(max(cfg.MaxContacts, 0), 1_000_000)
	cfg.MaxStrangers = cmp.Or(max(cfg.MaxStrangers, 0), 10_000)
	cfg.Fresh = cmp.Or(max(cfg.Fresh, 0), 5*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Book{cfg: cfg, st: st}
}

// entry is the value of a record.
type entry struct {
	Own  string `json:"own"`
	Peer string `json:"peer"` // in the form that resolves
	// Next is the DID that the party goes by since, empty if it goes by Peer, or has
	// ended the relationship.
	Next  string `json:"next,omitzero"`
	Ended bool   `json:"ended,omitzero"`
	// IssuedAt is the iat of the last from_prior that Peer issued, and Received is when
	// that came.
	IssuedAt time.Time `json:"iat,omitzero"`
	Received time.Time `json:"received,omitzero"`
}

// past tells whether the party does not go by the DID any more.
func (e *entry) past() bool { return e.Next != "" || e.Ended }

// known is an entry as it is stored, the zero value of version if it is not.
type known struct {
	entry
	collection string
	version    uint64
	read       time.Time
}

// key is a digest of a pair of DIDs, so that what is filed under it costs the same however
// long a stranger's DID is.
type key [sha256.Size]byte

// pairOf names a DID of ours and one of a party in the store. No DID has a space in it.
func pairOf(own, peer string) string { return did.Canonical(own) + " " + did.Canonical(peer) }

// Current is the DID that a party goes by now: peer, or where the party has rotated to
// since, as our DID own was told. Errors: ErrEnded; those of the store.
func (b *Book) Current(ctx context.Context, own, peer string) (string, error) {
	for range maxRotations {
		k, err := b.load(ctx, own, peer)
		switch {
		case err != nil:
			return "", err
		case k.Ended:
			return "", fmt.Errorf("%w: %.200s", ErrEnded, peer)
		case k.Next == "":
			return peer, nil
		}
		peer = k.Next
	}
	return "", fmt.Errorf("contact: more than %d rotations, up to %.200s", maxRotations, peer)
}

// Past tells whether a party goes by another DID than peer since, or has ended the
// relationship, as our DID own was told. What comes from peer now is to be ignored (DID
// Rotation). Errors: those of the store.
func (b *Book) Past(ctx context.Context, own, peer string) (bool, error) {
	k, err := b.load(ctx, own, peer)
	return k.past(), err
}

// Long is the long form of a did:peer:4 in short form, empty if none is known. It has the
// shape that didpeer.Resolver asks for. Errors: those of the store.
func (b *Book) Long(ctx context.Context, short string) (string, error) {
	for _, collection := range [...]string{contacts, strangers} {
		list, err := b.st.Records().List(ctx, store.Query{Collection: collection, Index: short, N: 1})
		if err != nil {
			return "", fmt.Errorf("contact: %w", err)
		}
		if len(list) == 0 {
			continue
		}
		e, err := decode(list[0].Value)
		if err != nil {
			return "", err
		}
		return e.Peer, nil
	}
	return "", nil
}

// Met notes that peer has proven to our DID own that it goes by that DID, in the form
// given. Errors: those of the store.
func (b *Book) Met(ctx context.Context, own, peer string) error {
	if did.Canonical(peer) == peer {
		return nil // nothing that the DID alone does not tell
	}
	return b.change(ctx, func() (*store.Changes, error) {
		k, err := b.load(ctx, own, peer)
		if err != nil || k.Peer == peer && k.version != 0 {
			return nil, err
		}
		k.Own, k.Peer = own, peer
		r, err := b.record(k)
		return &store.Changes{Put: []store.Record{r}}, err
	})
}

// Rotation is what a proven from_prior says.
type Rotation struct {
	Prior    string    // the DID that the party has gone by
	DID      string    // the one that it goes by now; empty ends the relationship
	IssuedAt time.Time // of the from_prior
}

// Rotate notes that our DID own was told of a rotation, now. Only a rotation that was
// issued later than those known acts; a party may go back to a DID that it had. Errors:
// those of the store.
func (b *Book) Rotate(ctx context.Context, own string, r Rotation, now time.Time) error {
	return b.change(ctx, func() (*store.Changes, error) {
		prior, err := b.load(ctx, own, r.Prior)
		if err != nil || !r.IssuedAt.After(prior.IssuedAt) {
			return nil, err
		}
		var c store.Changes
		if r.DID != "" {
			next, err := b.load(ctx, own, r.DID)
			if err != nil || next.past() && !r.IssuedAt.After(next.IssuedAt) {
				return nil, err
			}
			next.Own, next.Peer, next.Next, next.Ended = own, longer(next.Peer, r.DID), "", false
			if prior.collection == contacts && next.collection == strangers {
				if next.version != 0 {
					c.Delete = append(c.Delete, store.Record{Collection: strangers, Key: pairOf(own, r.DID), Version: next.version})
				}
				next.collection, next.version = contacts, 0
			}
			put, err := b.record(next)
			if err != nil {
				return nil, err
			}
			c.Put = append(c.Put, put)
		}
		prior.Own, prior.Peer = own, longer(prior.Peer, r.Prior)
		prior.Next, prior.Ended, prior.IssuedAt, prior.Received = r.DID, r.DID == "", r.IssuedAt, now
		put, err := b.record(prior)
		c.Put = append(c.Put, put)
		return &c, err
	})
}

// Keep makes a party a contact of our DID own. Errors: store.ErrFull where there are
// Config.MaxContacts; others of the store.
func (b *Book) Keep(ctx context.Context, own, peer string) error {
	return b.change(ctx, func() (*store.Changes, error) { return b.Keeping(ctx, own, peer) })
}

// Keeping are the changes of Keep, to be committed together with others; nil if the party
// is a contact. Call Kept when they are. Errors: those of the store.
func (b *Book) Keeping(ctx context.Context, own, peer string) (*store.Changes, error) {
	k, err := b.load(ctx, own, peer)
	if err != nil || k.version != 0 && k.collection == contacts {
		return nil, err
	}
	var c store.Changes
	if k.version != 0 {
		c.Delete = []store.Record{{Collection: strangers, Key: pairOf(own, peer), Version: k.version}}
	}
	k.Own, k.Peer, k.collection, k.version = own, longer(k.Peer, peer), contacts, 0
	r, err := b.record(k)
	if err != nil {
		return nil, err
	}
	c.Put = []store.Record{r}
	return &c, nil
}

// Kept notes that changes of Keeping were committed, or that another has changed the
// same: what is known of the parties is read anew.
func (b *Book) Kept(c *store.Changes) {
	if c == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	for _, r := range c.Put {
		b.cache.Remove(sha256.Sum256([]byte(r.Key)))
	}
}

// longer is the longer of two forms of one DID, the one that always resolves.
func longer(a, b string) string {
	if len(a) > len(b) {
		return a
	}
	return b
}

// change commits what f returns, again when another was faster. Strangers that have no
// room take that of the one that was heard of least recently.
func (b *Book) change(ctx context.Context, f func() (*store.Changes, error)) error {
	var err error
	for range maxTries {
		var c *store.Changes
		if c, err = f(); c == nil || err != nil {
			return err
		}
		err = b.st.Commit(ctx, c)
		b.Kept(c)
		switch {
		case errors.Is(err, store.ErrVersion), errors.Is(err, store.ErrNotFound):
		case errors.Is(err, store.ErrFull) && c.Put[0].Collection == strangers:
			if none, failed := b.forget(ctx); none || failed != nil {
				return fmt.Errorf("contact: %w", errors.Join(err, failed))
			}
		case err != nil:
			return fmt.Errorf("contact: %w", err)
		default:
			return nil
		}
	}
	return fmt.Errorf("contact: %w", err)
}

// forget makes room for a stranger. It reports whether there is none to forget.
func (b *Book) forget(ctx context.Context) (none bool, err error) {
	oldest, err := b.st.Records().List(ctx, store.Query{Collection: strangers, N: 1})
	if err != nil || len(oldest) == 0 {
		return true, err
	}
	b.Kept(&store.Changes{Put: oldest})
	err = b.st.Records().Delete(ctx, strangers, oldest[0].Key, oldest[0].Version)
	if errors.Is(err, store.ErrVersion) || errors.Is(err, store.ErrNotFound) {
		err = nil // another did it
	}
	return false, err
}

// load is what is known of a party; its version is 0 if that is nothing.
func (b *Book) load(ctx context.Context, own, peer string) (known, error) {
	pair := pairOf(own, peer)
	at := sha256.Sum256([]byte(pair))
	b.mu.Lock()
	k, ok := b.cache.Get(at)
	changes := b.changes
	b.mu.Unlock()
	now := time.Now()
	if ok && now.Sub(k.read) < b.cfg.Fresh {
		return k, nil
	}
	k = known{collection: strangers, read: now}
	for _, collection := range [...]string{contacts, strangers} {
		r, err := b.st.Records().Get(ctx, collection, pair)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return known{}, fmt.Errorf("contact: %w", err)
		}
		if k.entry, err = decode(r.Value); err != nil {
			return known{}, err
		}
		k.collection, k.version = collection, r.Version
		break
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changes != changes { // perhaps to what was read
		return k, nil
	}
	b.cache.Put(at, k)
	if b.cache.Len() > maxCached {
		b.cache.RemoveOldest()
	}
	return k, nil
}

// record is what a party is stored as.
func (b *Book) record(k known) (store.Record, error) {
	value, err := json.Marshal(&k.entry)
	if err != nil {
		return store.Record{}, fmt.Errorf("contact: %w", err)
	}
	r := store.Record{
		Collection: k.collection, Key: pairOf(k.Own, k.Peer), Value: value, Version: k.version, Limit: b.cfg.MaxContacts,
	}
	if k.collection == strangers {
		r.Limit = b.cfg.MaxStrangers
	}
	if short := did.Canonical(k.Peer); short != k.Peer {
		r.Index = []string{short}
	}
	return r, nil
}

func decode(value []byte) (e entry, err error) {
	if err := json.Unmarshal(value, &e); err != nil {
		return entry{}, fmt.Errorf("contact: damaged record: %w", err)
	}
	return e, nil
}
