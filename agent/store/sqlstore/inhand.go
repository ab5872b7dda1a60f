package sqlstore

import (
	"sync"
	"time"
)

// inHand are the tokens of the leases that their takers know of, with the ends of the
// leases. Any other lease of this life is nobody's: its commit took effect, and its
// taker was told of an error.
type inHand struct {
	mu     sync.Mutex
	tokens map[int64]time.Time
}

func newInHand() *inHand { return &inHand{tokens: make(map[int64]time.Time)} }

func (h *inHand) add(token int64, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[token] = until
}

func (h *inHand) remove(token int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.tokens, token)
}

func (h *inHand) has(token int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.tokens[token]
	return ok
}

// forget lets go of leases that ran out.
func (h *inHand) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for token, until := range h.tokens {
		if until.Before(now) {
			delete(h.tokens, token)
		}
	}
}
