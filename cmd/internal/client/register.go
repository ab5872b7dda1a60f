package client

import (
	"context"
	"errors"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

const (
	// registerTime limits the time to register a DID with a mediator.
	registerTime = 10 * time.Second
	// reachTime limits the time to reach the mediator.
	reachTime = 3 * time.Second
)

// Register registers a DID of an open home with a mediator of the home. An agent that serves the
// home does so as well, but not before the DID is given out.
func Register(ctx context.Context, cfg Config, h *home.Home, via *home.Mediation, id string) (err error) {
	c, err := start(cfg, agent.Config{DID: via.Own, Keys: h.AgentKeys(via.Own), MaxAge: reachTime})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	list, err := mediation.NewClient(mediation.ClientConfig{Agent: c.agent, Mediator: via.Mediator, Set: h.Set, Logger: cfg.Logger})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	return list.Register(ctx, id)
}
