package agent

import "github.com/didcomm-go/didcomm/agent/store"

// slots limits how many goroutines do something at the same time, for example call a
// Handler.
type slots chan struct{}

// take waits for a slot, and reports whether it has one. It returns false if done is
// closed. The caller gives the slot back with free.
func (s slots) take(done <-chan struct{}) bool {
	select {
	case s <- struct{}{}:
	case <-done:
		return false
	}
	select {
	case <-done:
		s.free()
		return false
	default:
		return true
	}
}

// takeFree is take without waiting.
func (s slots) takeFree() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

// free gives a slot back.
func (s slots) free() { <-s }

// handlerSlots are slots of which strangers can take three quarters at most.
type handlerSlots struct{ all, strangers slots }

func newHandlerSlots(n int) handlerSlots {
	return handlerSlots{all: make(slots, n), strangers: make(slots, max(1, n-n/4))}
}

// take is slots.take for the Handler of a message.
func (h handlerSlots) take(c store.Class, done <-chan struct{}) bool {
	if c != store.ClassStranger {
		return h.all.take(done)
	}
	if !h.strangers.take(done) {
		return false
	}
	if !h.all.take(done) {
		h.strangers.free()
		return false
	}
	return true
}

// takeFree is take without waiting.
func (h handlerSlots) takeFree(c store.Class) bool {
	if c != store.ClassStranger {
		return h.all.takeFree()
	}
	if !h.strangers.takeFree() {
		return false
	}
	if !h.all.takeFree() {
		h.strangers.free()
		return false
	}
	return true
}

// free gives a slot back that take or takeFree has taken for the same class.
func (h handlerSlots) free(c store.Class) {
	h.all.free()
	if c == store.ClassStranger {
		h.strangers.free()
	}
}
