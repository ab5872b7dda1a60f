package contact

import (
	"context"
	"time"
)

// heardEvery is how much time has to pass between two messages of a contact, so that the time
// of the second is stored.
const heardEvery = time.Minute

// hear notes the time of a message. It reports whether the record needs that time.
func (b *Book) hear(r *record, at time.Time) bool {
	if !r.Contact || !at.After(r.Heard) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, ok := b.heard.Get(r.key); !ok || at.After(last) {
		b.heard.Put(r.key, at)
		if b.heard.Len() > maxCached {
			b.heard.RemoveOldest()
		}
	}
	return at.Sub(r.Heard) >= heardEvery
}

// lastHeard returns the time of the last message of a contact.
func (b *Book) lastHeard(r *record) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if last, ok := b.heard.Get(r.key); ok && last.After(r.Heard) {
		return last
	}
	return r.Heard
}

// Reopen ends the end of a relationship, since our DID own has got a message from the DID peer
// that is authenticated, new, and was sent to own at the time at, by the clock of the party. It
// reports whether the relationship had been ended, and not later than at. The caller then calls
// [Book.Met] again. Errors are those of the store.
func (b *Book) Reopen(ctx context.Context, own, peer string, at time.Time) (reopened bool, err error) {
	at = at.UTC().Truncate(time.Second)
	err = b.change(ctx, func() ([]record, error) {
		r, err := b.load(ctx, own, peer)
		if reopened = err == nil && r.Ended && !at.Before(r.IssuedAt); !reopened {
			return nil, err
		}
		r.Ended = false
		return []record{r}, nil
	})
	if err != nil {
		return false, err
	}
	if reopened {
		b.cfg.Logger.InfoContext(ctx, "a party has returned after it had ended the relationship", "own", own, "did", peer)
	}
	return reopened, nil
}
