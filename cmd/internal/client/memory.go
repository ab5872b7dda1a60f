package client

import (
	"context"
	"reflect"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// memory is what a home knows about Config.Peer. The Client has a DID of its own, but the
// home must know the party under the DID that its agent uses.
type memory struct {
	own   string // the DID of the agent of the home
	known contact.Dialect
}

// memory returns what the home knows about Peer. It returns nil without a Peer, in a home
// whose agent has no DID yet, or if the home cannot say, since the Client works without.
func (c Config) memory(ctx context.Context, h *home.Home) *memory {
	if c.Peer == "" {
		return nil
	}
	own, err := h.AgentDID(ctx)
	m := &memory{own: own}
	if err == nil && own != "" {
		m.known, err = h.Dialect(ctx, own, c.Peer)
	}
	if err != nil {
		c.Logger.Warn("the home does not say what it knows about the other agent", "did", c.Peer, "error", err)
	}
	if err != nil || own == "" {
		return nil
	}
	return m
}

// recall tells the agent of a Client what the home knows.
func (m *memory) recall(ctx context.Context, c Config, a *agent.Agent) {
	err := a.Contacts().Keep(ctx, a.DID(), c.Peer)
	if err == nil {
		err = a.Contacts().Learn(ctx, a.DID(), c.Peer, func(d *contact.Dialect) { *d = m.known })
	}
	if err != nil {
		c.Logger.Warn("the client does not know what the home knows about the other agent", "did", c.Peer, "error", err)
	}
}

// remember tells the home what the agent of a Client has learned. A home that is busy or
// cannot be written does not make a command fail, or wait for longer than rememberTimeout.
func (m *memory) remember(c Config, a *agent.Agent) {
	ctx, cancel := context.WithTimeout(context.Background(), rememberTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { // ends with the program, if SQLite waits for a lock without looking at ctx
		d, err := a.Contacts().Dialect(ctx, a.DID(), c.Peer)
		if err == nil && !reflect.DeepEqual(d, m.known) {
			err = c.Home.Remember(ctx, m.own, c.Peer, d)
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		c.Logger.Warn("the home does not remember what the other agent speaks", "did", c.Peer, "error", err)
	}
}
