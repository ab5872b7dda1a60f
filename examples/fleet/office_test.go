package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/devices"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// office is what makes an honest agent a mediator.
type office struct {
	mailbox store.Mailbox
	refused atomic.Int64 // forwards, since a sender has no more room
}

// Mail for one phone, and that of one sender. A swamper asks for more.
var boxShare, pairShare = store.Share{Items: 120}, store.Share{Items: 15}

func newOffice(w *world, name string) *honest {
	h := newHonest(w, name)
	h.office = &office{mailbox: store.NewMailbox(store.MailboxConfig{})}
	h.records = store.NewRecords(store.RecordsConfig{})
	return h
}

// open prepares a life.
func (o *office) open(h *honest, l *life, resolver did.Resolver, cfg *agent.Config) []agent.MuxOption {
	var behind time.Duration
	if h.chance.IntN(3) == 0 { // the clock was set back
		behind = time.Duration(h.chance.Int64N(int64(3 * time.Hour)))
	}
	now := func() time.Time { return time.Now().Add(-behind) }
	m, err := mediator.New(mediator.Config{
		DID: h.did(), Store: cfg.Store, Mailbox: mortalMailbox{o.mailbox, l.host.up}, Documents: resolver,
		Limits: mediator.Limits{Box: boxShare, Pair: pairShare}, Logger: cfg.Logger, Now: now,
		Trace: &mediator.Trace{Refused: func(_ context.Context, e mediator.Event) { o.onRefused(h, e) }},
	})
	h.w.must(err)
	l.tasks.Go(func() {
		ctx, cancel := alive(l.ctx, h.w.days)
		defer cancel()
		_ = m.Run(ctx)
	})
	cfg.Now = now
	cfg.Unopened = routing.Unopened(m)
	return []agent.MuxOption{
		mediation.Serve(m, cfg.Logger),
		routing.Serve(m, routing.Endpoints(h.reachedAt()...)),
		pickup.Serve(m, pickup.Clock(now)),
		devices.Serve(m, cfg.Logger),
	}
}

// onRefused: a sender that sends too much is refused before it takes the room of others.
func (o *office) onRefused(h *honest, e mediator.Event) {
	var limit *mediator.LimitError
	switch {
	case !errors.As(e.Err, &limit):
	case limit.Limit == store.LimitPair:
		o.refused.Add(1)
	default:
		h.w.must(fmt.Errorf("%s has no room for %s: %w", h.name, e.Recipient, e.Err))
	}
}
