package agent

import "sync"

// hung are the parties at which the last try to reach them took long and failed.
// One worker at a time tries again, so that they do not take the workers from all
// others.
type hung struct {
	mu      sync.Mutex
	parties map[string]bool // whether a worker tries
}

// maxHung bounds the parties that are known to hang.
const maxHung = 10_000

func newHung() hung { return hung{parties: make(map[string]bool)} }

// try reports whether the caller may try to reach a party; then end follows.
func (h *hung) try(to string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	trying, ok := h.parties[to]
	if ok {
		h.parties[to] = true
	}
	return !trying
}

// end tells how a try went. It reports whether a party that hung does so no more.
func (h *hung) end(to string, hangs bool) (recovered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if hangs {
		if len(h.parties) >= maxHung {
			clear(h.parties) // it is learned anew
		}
		h.parties[to] = false
		return false
	}
	_, recovered = h.parties[to]
	delete(h.parties, to)
	return recovered
}
