package agent

import "context"

// Start is New and Run in one call: it makes an agent of cfg that runs until ctx ends, and
// returns when the agent is Ready. Done tells when it has ended. Errors: those of New.
//
//	a, err := agent.Start(ctx, agent.Config{
//		DID: id.DID(), Keys: id, Resolver: resolver, Senders: senders, Handler: mux,
//	})
func Start(ctx context.Context, cfg Config) (*Agent, error) {
	a, err := New(cfg)
	if err != nil {
		return nil, err
	}
	go func() { _ = a.Run(ctx) }() // which fails only if an agent runs twice
	<-a.Ready()
	return a, nil
}
