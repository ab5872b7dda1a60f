package fleet_test

import (
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
	behind  time.Duration // of its clock, in the life of now
}

// Mail for one phone. The room of one sender is enough for what an honest party says, and
// less than what a swamper asks for.
var boxShare, pairShare = store.Share{Items: 1000}, store.Share{Items: 150}

func newOffice(w *world, name string) *honest {
	h := newAgent(w, name, &office{mailbox: store.NewMailbox(store.MailboxConfig{})})
	h.records = store.NewRecords(store.RecordsConfig{})
	return h
}

// open prepares a life.
func (o *office) open(h *honest, l *life, resolver did.Resolver, cfg *agent.Config) []agent.MuxOption {
	o.behind = 0
	if h.chance.IntN(3) == 0 { // the clock was set back
		o.behind = time.Duration(h.chance.Int64N(int64(3 * time.Hour)))
	}
	now := func() time.Time { return time.Now().Add(-o.behind) }
	m, err := mediator.New(mediator.Config{
		DID: h.did(), Store: cfg.Store, Mailbox: mortalMailbox{o.mailbox, l.host.up}, Documents: resolver,
		Limits: mediator.Limits{Box: boxShare, Pair: pairShare}, Logger: cfg.Logger, Now: now,
	})
	h.w.must(err)
	l.tasks.Go(func() {
		ctx, cancel := alive(l.ctx, h.w.days)
		defer cancel()
		_ = m.Run(ctx)
	})
	cfg.Unopened = routing.Unopened(m)
	return []agent.MuxOption{
		mediation.Serve(m, cfg.Logger),
		routing.Serve(m, routing.Endpoints(h.reachedAt()...)),
		pickup.Serve(m, pickup.Clock(now)),
		devices.Serve(m, cfg.Logger),
	}
}
