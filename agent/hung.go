package agent

import "sync"

// hung are the parties at which the last try to reach them took long and failed.
// One worker at a time tries again, so that they do not take the workers from all
// others.
type hung struct {
	mu      sync.Mutex // guards all below
	parties map[string]*hanging
}

// hanging is a party that is known to hang.
type hanging struct {
	tried bool // by the worker that got it from try, and clears it in end
}

// maxHung bounds the parties that are known to hang.
const maxHung = 10_000

func newHung() hung { return hung{parties: make(map[string]*hanging)} }

// try reports whether the caller may try to reach a party; then end follows, and
// takes p.
func (h *hung) try(to string) (p *hanging, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p = h.parties[to]
	switch {
	case p == nil:
		return nil, true
	case p.tried:
		return nil, false
	}
	p.tried = true
	return p, true
}

// end tells how a try went. It reports whether a party that hung does so no more.
// Tries that began before the party was known to hang end beside the one that
// goes on, and leave its mark alone.
func (h *hung) end(to string, p *hanging, hangs bool) (recovered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p != nil {
		p.tried = false
	}
	known := h.parties[to] != nil
	switch {
	case !hangs:
		delete(h.parties, to)
		return known
	case !known:
		if len(h.parties) >= maxHung {
			clear(h.parties) // it is learned anew
		}
		h.parties[to] = new(hanging)
	}
	return false
}

// known reports whether a party is known to hang.
func (h *hung) known(to string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parties[to] != nil
}
