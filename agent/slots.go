package agent

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
