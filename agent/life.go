package agent

// Ready is closed when Run has begun, from when on Send and Request work:
//
//	go a.Run(ctx)
//	<-a.Ready()
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// runs is nil while Run runs, else an error that says why nothing is sent.
func (a *Agent) runs() error {
	if a.life.Err() != nil {
		return ErrStopped
	}
	select {
	case <-a.ready:
		return nil
	default:
		return ErrNotRunning
	}
}

// enter counts one piece of work that Run waits for, until leave. It reports
// false when the agent has stopped.
func (a *Agent) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.work.Add(1)
	return true
}

func (a *Agent) leave() { a.work.Done() }
