package store

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// DefaultReplayEntries is how many messages a Replay in memory remembers
// unless told otherwise.
const DefaultReplayEntries = 1 << 16

// NewReplay makes a Replay in memory that remembers at most max messages,
// DefaultReplayEntries if max is not positive. When it is full, the one
// recorded first is forgotten. It keeps digests, so that an entry costs the
// same however long an id is.
func NewReplay(max int) Replay {
	if max <= 0 {
		max = DefaultReplayEntries
	}
	return &replay{max: max, seen: make(map[[sha256.Size]byte]*list.Element)}
}

var _ Replay = (*replay)(nil)

type replay struct {
	max int

	mu    sync.Mutex // guards all below
	seen  map[[sha256.Size]byte]*list.Element
	order list.List // of replayEntry, first recorded first
	count uint64    // of messages ever recorded, which numbers the entries
}

type replayEntry struct {
	key   [sha256.Size]byte
	n     uint64
	until time.Time
}

func (r *replay) Add(ctx context.Context, sender, id string, until time.Time) (bool, error) {
	key := replayKey(sender, id)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.seen[key]; ok {
		if now.Before(e.Value.(replayEntry).until) {
			return false, nil
		}
		r.drop(e)
	}
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		if len(r.seen) < r.max && now.Before(e.Value.(replayEntry).until) {
			break
		}
		r.drop(e)
	}
	r.count++
	r.seen[key] = r.order.PushBack(replayEntry{key, r.count, until})
	return true, nil
}

func (r *replay) Forget(ctx context.Context, sender, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.seen[replayKey(sender, id)]; ok {
		r.drop(e)
	}
	return nil
}

func (r *replay) Received(ctx context.Context, sender string, ids []string) ([]string, error) {
	type found struct {
		id string
		n  uint64
	}
	var list []found
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if e, ok := r.seen[replayKey(sender, id)]; ok && now.Before(e.Value.(replayEntry).until) {
			list = append(list, found{id, e.Value.(replayEntry).n})
		}
	}
	slices.SortFunc(list, func(a, b found) int { return cmp.Compare(a.n, b.n) })
	received := make([]string, len(list))
	for i := range list {
		received[i] = list[i].id
	}
	return received, nil
}

func (r *replay) drop(e *list.Element) {
	delete(r.seen, e.Value.(replayEntry).key)
	r.order.Remove(e)
}

// replayKey hashes both parts with the length of the first before them, so
// that no two pairs run together.
func replayKey(sender, id string) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	b = binary.AppendUvarint(b, uint64(len(sender)))
	b = append(append(b, sender...), id...)
	return sha256.Sum256(b)
}
