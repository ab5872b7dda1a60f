package contact

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
)

const (
	// maxTries is how often a change is retried after another change of the same record.
	maxTries = 16
	// eldest is how many of the oldest strangers are candidates to be forgotten, but no
	// more than a quarter of all. With one candidate, goroutines that make room at the same
	// time would all choose the same.
	eldest = 128
)

// ErrTooLong means that the DIDs of a contact and of ours are too long to be kept: their
// record would have more than 32 KiB. Match it with errors.Is.
var ErrTooLong = errors.New("contact: DIDs too long to be kept")

// errNoRoom means that there is no room for a stranger.
var errNoRoom = errors.New("contact: no room for a stranger")

// change stores the records that f returns. If the records change at the same time, it
// calls f again. If there is no room for a stranger, it forgets one of the oldest
// strangers. Errors are those of f, ErrTooLong, errNoRoom if none of the records belongs
// to a contact, and those of the store.
func (b *Book) change(ctx context.Context, f func() ([]record, error)) error {
	full := false
	for n := 0; ; n++ {
		list, err := f()
		if err != nil || len(list) == 0 {
			return err
		}
		c := changes{cfg: &b.cfg}
		for _, r := range list {
			if n > 0 { // a store without atomic Commit may have failed halfway
				if r.marked, err = b.isMarked(ctx, r.key); err != nil {
					return err
				}
			}
			if err := c.add(r); err != nil {
				return err
			}
		}
		if full {
			if err := b.makeRoom(ctx, &c); err != nil {
				return err
			}
		}
		err = b.st.Commit(ctx, &c.Changes)
		b.drop(c.keys)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, store.ErrFull) && !full && c.added > 0:
			full = true
		case errors.Is(err, store.ErrFull) && !c.kept:
			return errNoRoom
		case !errors.Is(err, store.ErrVersion) && !errors.Is(err, store.ErrNotFound), n == maxTries:
			return fmt.Errorf("contact: %w", err)
		}
	}
}

// changes collects records to store together.
type changes struct {
	store.Changes
	cfg   *Config
	keys  []key // of the records
	added int   // how many new strangers there are
	kept  bool  // whether a record belongs to a contact
}

// add adds a record.
func (c *changes) add(r record) error {
	name := r.key.String()
	c.keys = append(c.keys, r.key)
	switch stranger := !r.Contact && !r.forgotten; {
	case r.marked && !stranger:
		c.Delete = append(c.Delete, store.Record{Collection: strangers, Key: name})
	case !r.marked && stranger:
		c.Put = append(c.Put, store.Record{Collection: strangers, Key: name, Limit: c.cfg.MaxStrangers})
		c.added++
	}
	if r.forgotten {
		c.Delete = append(c.Delete, store.Record{Collection: parties, Key: name, Version: r.version})
		return nil
	}
	value, err := json.Marshal(&r.entry)
	if err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	longest := maxStrangerBytes
	if r.Contact {
		longest = maxContactBytes
	}
	if len(value) > longest {
		return ErrTooLong
	}
	put := store.Record{Collection: parties, Key: name, Value: value, Version: r.version}
	if !r.unbounded {
		put.Limit = c.cfg.MaxContacts + c.cfg.MaxStrangers
	}
	if short := did.Canonical(r.Peer); short != r.Peer {
		put.Index = []string{short}
	}
	c.Put, c.kept = append(c.Put, put), c.kept || r.Contact
	return nil
}

// isMarked reports whether the party of a record is stored in strangers.
func (b *Book) isMarked(ctx context.Context, k key) (bool, error) {
	_, err := b.st.Records().Get(ctx, strangers, k.String())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("contact: %w", err)
	}
	return true, nil
}

// makeRoom adds the deletion of as many old strangers as c adds new ones.
func (b *Book) makeRoom(ctx context.Context, c *changes) error {
	n := min(eldest, b.cfg.MaxStrangers/4) + len(c.keys)
	list, err := b.st.Records().List(ctx, store.Query{Collection: strangers, N: n})
	if err != nil {
		return fmt.Errorf("contact: %w", err)
	}
	list = slices.DeleteFunc(list, func(mark store.Record) bool {
		return slices.ContainsFunc(c.keys, func(k key) bool { return k.String() == mark.Key })
	})
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for _, mark := range list[:min(c.added, len(list))] {
		c.Delete = append(c.Delete, store.Record{Collection: strangers, Key: mark.Key, Version: mark.Version})
		k, ok := parseKey(mark.Key)
		if !ok {
			continue
		}
		// A store without atomic Commit may have a mark without its record.
		switch r, err := b.stored(ctx, k); {
		case err != nil:
			return err
		case r.version != 0 && !r.Contact:
			c.Delete = append(c.Delete, store.Record{Collection: parties, Key: mark.Key, Version: r.version})
			c.keys = append(c.keys, k)
		}
	}
	return nil
}

// drop removes changed records from the cache.
func (b *Book) drop(keys []key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range keys {
		b.changed[k[0]]++
		b.cache.Remove(k)
	}
}

// passOver returns nil if err means that there is no room for a stranger, and logs that. It
// returns any other err.
func (b *Book) passOver(ctx context.Context, err error, own, peer string) error {
	if !errors.Is(err, errNoRoom) && !errors.Is(err, ErrTooLong) {
		return err
	}
	b.cfg.Logger.InfoContext(ctx, "rotation or long form of a party not recorded", "own", own, "did", peer, "error", err)
	return nil
}
