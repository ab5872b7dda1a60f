package sqlstore

import (
	"sync"
	"time"
)

// heldLeases has the tokens of the leases of this instance that callers know of, with the
// ends of the leases. Any other lease of this instance is an orphan: its transaction was
// committed, but its caller got an error.
type heldLeases struct {
	mu     sync.Mutex
	tokens map[int64]time.Time
}

func newHeldLeases() *heldLeases { return &heldLeases{tokens: make(map[int64]time.Time)} }

func (h *heldLeases) add(token int64, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[token] = until
}

func (h *heldLeases) remove(token int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tokens, token)
}

func (h *heldLeases) has(token int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.tokens[token]
	return ok
}

// forget removes leases that have run out.
func (h *heldLeases) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for token, until := range h.tokens {
		if until.Before(now) {
			delete(h.tokens, token)
		}
	}
}
