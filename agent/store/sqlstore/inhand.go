package sqlstore

import "sync"

// inHand are the tokens of the leases whose takers know of them. What this life has
// leased besides is nobody's: a commit took effect, and what became of it could not
// be found out.
type inHand struct {
	mu     sync.Mutex
	tokens map[int64]struct{}
}

func newInHand() *inHand { return &inHand{tokens: make(map[int64]struct{})} }

func (h *inHand) add(token int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens[token] = struct{}{}
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
