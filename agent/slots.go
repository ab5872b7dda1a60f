package agent

// slots bound how many do a thing at the same time, such as run a handler.
type slots chan struct{}

// take waits for a slot until done is closed; free gives the slot back. A message that
// was taken in before the agent began to stop is handled if there is time: the peer may
// hold the message for delivered.
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

// takeFree is take where there is a slot without waiting.
func (s slots) takeFree() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() { <-s }
