package client

import (
	"context"
	"errors"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// Guest runs f with an agent that has a DID of the home, and shares the store of the home with
// the agent that serves it: what f learns about other parties is known there. The agent
// listens on no port. cfg.From is the DID, and the default is that of home.Home.Sender.
func Guest(ctx context.Context, cfg PostConfig, f func(context.Context, *agent.Agent) error) (err error) {
	h, err := home.Open(ctx, cfg.Home)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	from, err := cfg.from(ctx, h)
	if err != nil {
		return err
	}
	c, err := start(cfg.Config, agent.Config{DID: from, Keys: h.AgentKeys(from), Store: h.Store, Guest: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	return f(ctx, c.agent)
}
