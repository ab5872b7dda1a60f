package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// addTenant makes keys and a did:peer for a tenant that has none, and returns the DID. The
// agent answers for the DID at once.
func (b *backend) addTenant(ctx context.Context, name string) (string, error) {
	if id, err := b.did(name); err == nil {
		return id, nil
	}
	pair, err := b.newPair(ctx)
	if err != nil {
		return "", err
	}
	id, err := identity.Peer2(pair, b.postURL(), b.socketURL())
	if err != nil {
		return "", err
	}
	b.serve(name, id.DID()) // before messages can come
	if err := b.own.Add(ctx, id, identity.Settings{Party: name, Shares: tenantShares}); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dids[name] = id.DID()
	return id.DID(), nil
}

// retireTenant ends the use of a tenant's DID. Messages that are under way to the tenant are
// still accepted for the time grace.
func (b *backend) retireTenant(ctx context.Context, name string, grace time.Duration) error {
	id, err := b.did(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.dids, name)
	b.mu.Unlock()
	return b.own.Retire(ctx, id, time.Now().Add(grace))
}

// send sends a text from a tenant. It returns when the message is in the store: the agent
// delivers it from there, also after a restart.
func (b *backend) send(ctx context.Context, tenant, to, content string) error {
	id, err := b.did(tenant)
	if err != nil {
		return err
	}
	return basicmessage.Send(ctx, b.agent, to, content, agent.From(id))
}

// did returns the DID of a tenant.
func (b *backend) did(tenant string) (string, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	id, ok := b.dids[tenant]
	if !ok {
		return "", fmt.Errorf("no tenant %q", tenant)
	}
	return id, nil
}

// loadTenants reads the tenants that earlier runs have added. It is called before the agent
// starts.
func (b *backend) loadTenants(ctx context.Context, web string) error {
	const page = 100
	for after := uint64(0); ; {
		members, err := b.own.List(ctx, after, page)
		if err != nil {
			return err
		}
		for _, m := range members {
			after = m.Version
			if m.DID == web {
				continue
			}
			b.serve(m.Settings.Party, m.DID)
			if m.Retired.IsZero() {
				b.dids[m.Settings.Party] = m.DID
			}
		}
		if len(members) < page {
			return nil
		}
	}
}

// serve sets the Handler of a tenant with a DID. Tenants can have different protocols. Here
// all have the same.
func (b *backend) serve(tenant, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handlers[id] = agent.NewMux(trustping.Handle(), empty.Handle(), basicmessage.Handle(
		func(ctx context.Context, _ agent.Responder, in *agent.Inbound, body basicmessage.Body) error {
			// in.From is proven, or empty. in.Message.From is only what the message says.
			if !in.Authenticated() {
				return message.NewProblem("e.p."+message.DescriptorTrust, errors.New("unknown sender"))
			}
			return b.cfg.onText(ctx, text{tenant, in.From, body.Content})
		}))
}
