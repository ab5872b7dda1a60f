package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/devices"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// phone is what makes an honest agent one without endpoints. Mediators hold its mail.
type phone struct {
	first  *honest       // the device that made the account
	shared bool          // it is another device, which sends nothing by itself
	apart  bool          // the DID that is enrolled is known to mediators alone
	polls  bool          // it never goes live
	away   time.Duration // how long it has no network when the faults have ended

	// Of its step alone.
	offices []*honest // with which it is enrolled; its document names the last
	device  string    // its DID that is enrolled

	mu        sync.Mutex // guards all below
	lazy      bool       // it looks for mail now and then
	collector *pickup.Collector
	quit      context.CancelFunc // ends the collecting
	collects  sync.WaitGroup
}

// mailWindow is longer than all days of a world.
const mailWindow = 10 * 24 * time.Hour

func newPhone(w *world, name string, office *honest) *honest {
	h := newHonest(w, name)
	h.records = store.NewRecords(store.RecordsConfig{})
	h.phone = &phone{first: h, polls: h.chance.IntN(3) == 0, device: h.did(), offices: []*honest{office}}
	if h.phone.apart = h.chance.IntN(2) == 0; h.phone.apart {
		h.phone.device = h.adopt(w, newParty(name+"a"))
	}
	if h.chance.IntN(3) == 0 {
		h.phone.away = 20*time.Hour + time.Duration(h.chance.Int64N(int64(28*time.Hour)))
	}
	w.must(h.move(w.registry, office.did()))
	return h
}

// newDevice is another device of a phone. The devices share the DIDs of the phone, and so
// its keys. Each has a DID of its own at the mediator.
func newDevice(w *world, first *honest) *honest {
	h := newHonest(w, first.name+"b")
	h.records = store.NewRecords(store.RecordsConfig{})
	h.phone = &phone{first: first, shared: true, polls: h.chance.IntN(3) == 0}
	h.phone.device = first.adopt(w, h.party)
	h.party = first.party
	return h
}

// adopt gives a party the keys of another, which has a DID without endpoints. It returns
// the DID.
func (p *party) adopt(w *world, other *party) string {
	if len(other.dids) == 0 {
		w.must(other.newDID(w.registry))
	}
	for kid, public := range other.public {
		key, err := other.keys.Key(kid)
		w.must(err)
		w.must(p.keys.Add(kid, key))
		p.public[kid] = public
	}
	w.must(w.registry.publish(p, other.did(), nil))
	return other.did()
}

// open prepares a life.
func (p *phone) open(h *honest, l *life, cfg *agent.Config) []agent.MuxOption {
	cfg.MailWindow = mailWindow
	c := pickup.Config{
		NoLive: p.polls, Poll: 40 * time.Second, SlowPoll: time.Minute, MaxBackoff: time.Minute, Batch: 20, Logger: cfg.Logger,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lazy {
		c.Poll, c.SlowPoll, c.MaxBackoff = 3*time.Hour, 3*time.Hour, 3*time.Hour
	}
	p.collector = pickup.NewCollector(c)
	return []agent.MuxOption{p.collector.Handle()}
}

// begin enrolls in the first life, and collects.
func (p *phone) begin(h *honest, l *life) {
	switch {
	case p.shared && p.offices == nil:
		p.offices = p.first.phone.offices
		p.persist(h, "join", func(ctx context.Context) error { return p.join(ctx, l) })
	case !p.shared && h.stopped+h.killed == 0:
		p.persist(h, "enroll", func(ctx context.Context) error { return p.register(ctx, h, l, p.offices[0], "") })
	}
	p.collect(h, l)
}

// collect collects from all mediators, and no longer as before.
func (p *phone) collect(h *honest, l *life) {
	p.hush()
	ctx, quit := context.WithCancel(l.ctx)
	p.mu.Lock()
	p.quit = quit
	p.mu.Unlock()
	for _, o := range p.offices {
		p.collects.Go(func() {
			err := p.collector.Run(ctx, l.agent, pickup.Source{Mediator: o.did(), DID: p.device})
			if !errors.Is(err, agent.ErrStopped) {
				h.w.must(err)
			}
		})
	}
}

// hush ends the collecting.
func (p *phone) hush() {
	p.mu.Lock()
	quit := p.quit
	p.mu.Unlock()
	if quit != nil {
		quit()
		p.collects.Wait()
	}
}

// persist does what a mediator must do, until it has.
func (p *phone) persist(h *honest, what string, do func(ctx context.Context) error) bool {
	var err error
	for range 60 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err = do(ctx)
		cancel()
		h.w.log.Info(what, "agent", h.id, "error", err)
		if err == nil {
			return true
		}
		time.Sleep(10 * time.Second)
	}
	h.w.must(fmt.Errorf("%s cannot %s: %w", h.id, what, err))
	return false
}

func (p *phone) join(ctx context.Context, l *life) error {
	o := p.offices[0].did()
	ticket, err := devices.Ticket(ctx, p.first.now().agent, o, p.device)
	if err != nil {
		return err
	}
	_, err = devices.Join(ctx, l.agent, o, ticket, agent.From(p.device))
	return err
}

// register enrolls with a mediator, and registers all DIDs there.
func (p *phone) register(ctx context.Context, h *honest, l *life, office *honest, replaces string) error {
	o := office.did()
	if _, err := mediation.Enroll(ctx, l.agent, o, mediation.As(p.device), mediation.Replaces(replaces)); err != nil {
		return err
	}
	var changes []mediation.Change
	var proofs []message.Attachment
	for _, id := range h.all() {
		if id == p.device {
			continue
		}
		proof, err := mediation.Prove(ctx, l.packer, id, p.device, o, time.Now())
		if err != nil {
			return err
		}
		changes, proofs = append(changes, mediation.Change{RecipientDID: id, Action: mediation.Add}), append(proofs, proof)
	}
	if len(changes) == 0 {
		return nil
	}
	results, err := mediation.Update(ctx, l.agent, o, changes, mediation.As(p.device), mediation.Proofs(proofs...))
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Result != mediation.Success && r.Result != mediation.NoChange {
			return fmt.Errorf("%s: %s", r.RecipientDID, r.Result)
		}
	}
	return nil
}

// rotate makes a DID, which the mediators know before others do.
func (p *phone) rotate(h *honest) bool {
	if p.shared {
		return false
	}
	l, old := h.now(), p.device
	h.w.must(h.newDID(h.w.registry))
	replaces := ""
	if !p.apart {
		replaces, p.device = old, h.did()
	}
	for _, o := range slices.Backward(p.offices) { // first the one that others come to by the document
		p.persist(h, "register", func(ctx context.Context) error { return p.register(ctx, h, l, o, replaces) })
	}
	p.collect(h, l)
	return true
}

// change moves to another mediator, if there is one. The mail of those that know the old
// document is still collected.
func (p *phone) change(h *honest) {
	for _, o := range h.w.offices() {
		if slices.Contains(p.offices, o) || p.shared || len(h.w.readers(h.name)) > 1 {
			continue
		}
		l := h.now()
		p.persist(h, "move", func(ctx context.Context) error { return p.register(ctx, h, l, o, "") })
		p.offices = append(p.offices, o)
		h.w.must(h.move(h.w.registry, o.did()))
		h.w.log.Info("moved", "agent", h.id, "mediator", o.name)
		p.collect(h, l)
		return
	}
}

// settle makes it well, some after days without a network.
func (p *phone) settle(h *honest) {
	if h.now() != nil {
		h.shut()
	}
	p.mu.Lock()
	p.lazy = true
	p.mu.Unlock()
	h.waits.Go(func() {
		if p.away > 0 {
			time.Sleep(p.away)
		}
		h.start()
	})
}
