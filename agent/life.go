package agent

// Ready returns a channel that is closed when Run has begun. Then [Agent.Send] and
// [Agent.Request] work:
//
//	go a.Run(ctx)
//	<-a.Ready()
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// runs returns nil while the Agent can send, or ErrNotRunning or ErrStopped.
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

// enter begins work that Run waits for until leave is called. It returns false if the Agent
// is stopping.
func (a *Agent) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return false
	}
	a.work.Add(1)
	return true
}

// leave ends the work that enter began.
func (a *Agent) leave() { a.work.Done() }
