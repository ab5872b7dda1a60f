package pickup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// Config configures a [Collector]. The zero value is ready to use.
type Config struct {
	// Poll is the time between two polls of a mediator that has no connection for live mode.
	// The default is 1 minute.
	Poll time.Duration
	// SlowPoll is the time between two polls beneath live mode, by its connection. It keeps
	// the connection open, so it should be less than the IdleTimeout of the WebSocket client.
	// The default is 4 minutes.
	SlowPoll time.Duration
	// MinBackoff and MaxBackoff are the shortest and the longest pause after a failure. The
	// pause doubles with each further failure. The defaults are 1 second and 5 minutes. To
	// each pause and each time between polls, a random part of up to a quarter is added.
	MinBackoff, MaxBackoff time.Duration
	// Batch is how many messages a request asks for. The default is 50.
	Batch int
	// NoLive polls only.
	NoLive bool
	// MaxParked and MaxParkedBytes limit the parked mail. The oldest is dropped first. The
	// defaults are 200 and 16 MiB.
	MaxParked      int
	MaxParkedBytes int64
	// Progress is called after each step. Calls may come from several goroutines.
	Progress func(Progress)
	// Logger logs ids and reasons, never contents. The default discards logs.
	Logger *slog.Logger
}

// Progress tells what a Collector has done in a step.
type Progress struct {
	Mediator string
	Live     bool  // a connection is live
	Taken    int   // messages that are durable here now
	Parked   int   // messages that cannot be opened, and were set aside
	Left     int   // messages that could not be taken now, and that the mediator delivers again
	Err      error // why the step has failed, or nil
}

// Collector collects the mail of an agent from mediators.
//
// Pass [Collector.Handle] to [agent.NewMux], so that mail which is pushed gets here. Set
// agent.Config.MailWindow of the agent, and call [Collector.Reported] with the problem reports
// that the agent receives. Then call [Collector.Run] for each mediator, or [Collector.Collect]
// to collect once.
//
// A Collector has no state of its own but the parked mail: what is not acked is still at the
// mediator after a crash, and what was taken twice is handled once (the agent's inbox).
type Collector struct {
	cfg Config

	mu      sync.Mutex
	running map[string]*route // by mediator and our DID
	parked  parked
}

// NewCollector returns a Collector.
func NewCollector(cfg Config) *Collector {
	cfg.Poll = cmp.Or(max(cfg.Poll, 0), time.Minute)
	cfg.SlowPoll = cmp.Or(max(cfg.SlowPoll, 0), 4*time.Minute)
	cfg.MinBackoff = cmp.Or(max(cfg.MinBackoff, 0), time.Second)
	cfg.MaxBackoff = cmp.Or(max(cfg.MaxBackoff, 0), 5*time.Minute)
	cfg.Batch = min(cmp.Or(max(cfg.Batch, 0), 50), maxAttachments)
	cfg.MaxParked = cmp.Or(max(cfg.MaxParked, 0), 200)
	cfg.MaxParkedBytes = cmp.Or(max(cfg.MaxParkedBytes, 0), 16<<20)
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Collector{cfg: cfg, running: make(map[string]*route)}
}

// Errors of a Collector; match them with errors.Is.
var (
	// ErrRunning: Run is collecting from that mediator for that DID already.
	ErrRunning = errors.New("pickup: collecting already")
	// ErrLeft: some mail could not be taken now. The mediator still holds the mail.
	ErrLeft = errors.New("pickup: mail left at the mediator")
	// ErrAcksIgnored: the mediator delivers mail that was acked.
	ErrAcksIgnored = errors.New("pickup: the mediator ignores acks")
)

// route is a source that mail is being collected from.
type route struct {
	c     *Collector
	a     *agent.Agent
	s     Source
	more  chan struct{} // has room for one; gets a value when a pushed delivery was taken
	heard chan struct{} // has room for one; gets a value for each message of the mediator
	ended chan error    // has room for one; gets why the mediator may have ended live mode
}

func routeKey(mediator, own string) string {
	return did.Canonical(did.Base(mediator)) + " " + did.Canonical(did.Base(own))
}

// Run collects until ctx ends, and returns nil then. It uses live mode where the mediator has
// a WebSocket endpoint, and polls where it has not. After a failure, Run tries again. The
// error is [ErrRunning], or agent.ErrStopped after the end of the agent.
func (c *Collector) Run(ctx context.Context, a *agent.Agent, s Source) error {
	r := &route{c: c, a: a, s: s, more: make(chan struct{}, 1), heard: make(chan struct{}, 1), ended: make(chan error, 1)}
	key := routeKey(s.Mediator, s.own(a))
	c.mu.Lock()
	if c.running[key] != nil {
		c.mu.Unlock()
		return fmt.Errorf("%w from %s", ErrRunning, s.Mediator)
	}
	c.running[key] = r
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.running, key)
	}()
	return r.run(ctx)
}

// run lives while it can, and polls in between.
func (r *route) run(ctx context.Context) error {
	cfg := &r.c.cfg
	var liveAt time.Time
	live, poll := pause{cfg: cfg}, pause{cfg: cfg}
	for {
		if !cfg.NoLive && !time.Now().Before(liveAt) {
			start := time.Now()
			err := r.live(ctx)
			if time.Since(start) > cfg.SlowPoll {
				live.reset()
			}
			liveAt = time.Now().Add(live.next())
			if !errors.Is(err, agent.ErrNoRoute) { // otherwise the poll tells whether the mediator can be reached
				r.failed(ctx, err)
			}
		}
		_, err := r.drain(ctx)
		wait := cfg.jitter(cfg.Poll)
		if err != nil {
			wait = poll.next()
			r.failed(ctx, err)
		} else {
			poll.reset()
		}
		if errors.Is(err, agent.ErrStopped) {
			return err
		}
		if !cfg.NoLive {
			wait = min(wait, max(time.Until(liveAt), 0))
		}
		if sleep(ctx, wait); ctx.Err() != nil {
			return nil
		}
	}
}

func (r *route) failed(ctx context.Context, err error) {
	if ctx.Err() != nil || err == nil {
		return
	}
	r.c.cfg.Logger.InfoContext(ctx, "mail not collected", "mediator", r.s.Mediator, "error", err)
	r.c.cfg.Progress(Progress{Mediator: r.s.Mediator, Err: err})
}

// pause is the pause after a number of failures.
type pause struct {
	cfg *Config
	d   time.Duration
}

func (p *pause) reset() { p.d = 0 }

func (p *pause) next() time.Duration {
	p.d = min(max(2*p.d, p.cfg.MinBackoff), p.cfg.MaxBackoff)
	return p.cfg.jitter(p.d)
}

func (c *Config) jitter(d time.Duration) time.Duration { return d + rand.N(d/4+1) }

// live makes a connection live, and returns the reason when it has ended.
func (r *route) live(ctx context.Context) error {
	conn, f, err := r.s.connect(ctx, r.a)
	if err != nil {
		return err
	}
	select {
	case <-r.ended: // about a live mode before
	default:
	}
	cfg := &r.c.cfg
	cfg.Progress(Progress{Mediator: r.s.Mediator, Live: true})
	// A mediator need not push what it had before, so that is asked for.
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-conn.Done():
			return fmt.Errorf("pickup: the live connection to %s has ended", r.s.Mediator)
		case err := <-r.ended:
			return err
		case <-r.heard:
			asked = time.Time{}
			continue
		case <-r.more:
		case <-timer.C:
			if !asked.IsZero() {
				return fmt.Errorf("pickup: %s does not answer on the live connection", r.s.Mediator)
			}
		}
		m, err := f.message(NameDeliveryRequest, f.deliveryRequest(cfg.Batch, ""))
		if err != nil {
			return err
		}
		// Credo answers a request without return_route on any connection that it finds.
		m.From, m.ReturnRoute = r.s.own(r.a), "all"
		if err := conn.Push(ctx, m); err != nil {
			return err
		}
		asked = time.Now()
		timer.Reset(cfg.jitter(cfg.SlowPoll))
	}
}

// Collect collects all mail of a source once, by polling, and returns how much. The error is
// [ErrLeft] if the mediator still holds mail that could not be taken now.
func (c *Collector) Collect(ctx context.Context, a *agent.Agent, s Source) (Progress, error) {
	r := &route{c: c, a: a, s: s}
	return r.drain(ctx)
}

// drain collects until the queue is empty.
func (r *route) drain(ctx context.Context) (all Progress, err error) {
	all.Mediator = r.s.Mediator
	acked := make(map[MailID]bool)
	for {
		mail, f, err := r.s.deliver(ctx, r.a, r.c.cfg.Batch, "")
		if err != nil {
			return all, err
		}
		if len(mail) == 0 {
			return all, nil
		}
		p, ids := r.take(ctx, mail)
		all.Taken, all.Parked = all.Taken+p.Taken, all.Parked+p.Parked
		fresh := 0
		for _, id := range ids {
			if !acked[id] {
				fresh++
			}
			acked[id] = true
		}
		if len(ids) > 0 {
			if err := r.s.received(ctx, r.a, f, ids); err != nil {
				return all, err
			}
		}
		switch {
		case ctx.Err() != nil:
			return all, ctx.Err()
		case fresh == 0 && len(ids) > 0:
			return all, fmt.Errorf("%w: %s", ErrAcksIgnored, r.s.Mediator)
		case fresh == 0:
			all.Left = p.Left
			return all, p.Err
		}
		if len(acked) > 100_000 {
			clear(acked)
		}
	}
}

// take gives mail to the agent. It returns the ids of the mail that the mediator need not
// hold any longer: mail that is durable here, and mail that nobody can open.
func (r *route) take(ctx context.Context, mail []Mail) (p Progress, done []MailID) {
	p.Mediator = r.s.Mediator
	for _, m := range mail {
		_, err := r.a.ServeMail(ctx, m.Packet)
		reason, refused := agent.Refused(err)
		switch {
		case err == nil:
			p.Taken++
		case refused:
			if err := r.c.park(ctx, r.a, r.s, m, reason); err != nil {
				p.Left, p.Err = p.Left+1, fmt.Errorf("%w: %w", ErrLeft, err)
				continue
			}
			r.c.cfg.Logger.WarnContext(ctx, "mail cannot be opened, and is parked", "mediator", r.s.Mediator, "mail", string(m.ID), "error", err)
			p.Parked++
		default:
			p.Left, p.Err = p.Left+1, fmt.Errorf("%w: %w", ErrLeft, err)
			continue
		}
		if m.ID != "" && len(m.ID) <= maxID {
			done = append(done, m.ID)
		}
	}
	r.c.cfg.Progress(p)
	return p, done
}

// Handle registers the recipient's side of the protocol: mail that a mediator pushes, and
// what it says about its queue. Only mediators that Run collects from are listened to.
func (c *Collector) Handle() agent.MuxOption {
	return func(mux *agent.Mux) {
		for _, f := range forms() {
			agent.Handle(agent.Protocol{
				PIURI: f.piuri,
				Roles: []string{"recipient"},
				Custody: map[string]agent.Handler{
					f.piuri + "/" + NameDelivery: agent.HandlerFunc(c.handleDelivery),
					f.piuri + "/" + NameStatus:   agent.HandlerFunc(c.handleStatus),
				},
			})(mux)
		}
	}
}

func (c *Collector) route(in *agent.Inbound) (*route, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.running[routeKey(in.From, in.To)]; r != nil && in.Authenticated() {
		select {
		case r.heard <- struct{}{}:
		default:
		}
		return r, nil
	}
	return nil, message.NewProblem("e.m.req", errors.New("pickup: not from a mediator that mail is collected from"))
}

// Reported tells the Collector of a problem report. Call it from the Handler of package report.
// If a mediator that Run collects from reports an error, such as a block, it may have ended live
// mode. Run then polls, and makes a connection live again after a pause. Other reports are
// ignored.
func (c *Collector) Reported(in *agent.Inbound, p *message.Problem) {
	if !in.Authenticated() || !strings.HasPrefix(p.Code, "e.") {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.running[routeKey(in.From, in.To)]; r != nil {
		select {
		case r.ended <- fmt.Errorf("pickup: %s: %w", r.s.Mediator, p):
		default:
		}
	}
}

func (c *Collector) handleStatus(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
	_, _ = c.route(in)
	return nil
}

// handleDelivery takes a delivery that answers no Request: one that was pushed, or the answer
// to a poll beneath live mode.
func (c *Collector) handleDelivery(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	r, err := c.route(in)
	if err != nil {
		return err
	}
	mail := readDelivery(in.Message)
	if len(mail) == 0 {
		return nil
	}
	_, ids := r.take(ctx, mail)
	if len(ids) == 0 {
		return nil
	}
	if err := r.ack(ctx, w.Connection(), in, ids); err != nil { // the mail comes again
		c.cfg.Logger.InfoContext(ctx, "mail not acked", "mediator", r.s.Mediator, "error", err)
		return nil
	}
	if in.Message.ThreadID != "" { // the answer to a poll: there may be more
		select {
		case r.more <- struct{}{}:
		default:
		}
	}
	return nil
}

// ack acks mail by the connection that the mail came by, if it is open.
func (r *route) ack(ctx context.Context, conn *agent.Connection, in *agent.Inbound, ids []MailID) error {
	f, err := formOf(in.Message)
	if err != nil {
		return err
	}
	if conn == nil {
		return r.s.received(ctx, r.a, f, ids)
	}
	m, err := r.s.receivedMessage(r.a, f, ids)
	if err != nil {
		return err
	}
	return conn.Push(ctx, m)
}
