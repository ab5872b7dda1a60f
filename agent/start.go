package agent

import "context"

// Start makes an Agent with [New], and calls [Agent.Run] in a new goroutine. The Agent is
// Ready when Start returns. It runs until ctx ends or [Agent.Stop] is called. Stop also
// waits, so that the Store and the Senders can be closed after it. Errors are those of
// New.
//
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: id, Resolver: resolver, Senders: senders, Handler: mux,
//	})
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	a, err := New(cfg)
	if err != nil {
		return nil, err
	}
	go func() { _ = a.Run(ctx) }() // Run fails only if it is called twice
	<-a.Ready()
	return a, nil
}
