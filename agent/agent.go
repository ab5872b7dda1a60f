package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Agent receives, handles and sends DIDComm messages. Make one with [Start] or [New]. An
// Agent may be used from several goroutines.
type Agent struct {
	// static after New
	cfg       Config
	handlers  handlerSlots // for running Handlers
	unparking slots        // for parked messages that are being opened
	lateAcks  slots        // for acks that are retried
	poison    atomic.Bool  // a message that may be the cause of crashes is being handled: see crashes

	ready    chan struct{}      // closed when Run begins
	stopping chan struct{}      // closed when no new work is accepted
	life     context.Context    // ends when Handlers must end, some time after stopping
	kill     context.CancelFunc // ends life
	done     chan struct{}      // closed when Run returns
	stop     chan struct{}      // closed by Stop
	stopOnce sync.Once

	mu      sync.Mutex     // guards the next three
	running bool           // Run has begun
	stopped bool           // stopping is closed
	work    sync.WaitGroup // work that Run waits for; no Add by enter once stopped

	outbox   store.Outbox
	inbox    store.Inbox
	delivery *delivery.Dispatcher
	lanes    lanes
	requests requests
	problems byClass[problemBudget]
	reports  byClass[rates] // limit problem reports
	answers  byClass[rates] // limit answers that could cost us more than they cost the peer
	pending  pendingSet

	allowances allowances
	forwards   forwards
}

var _ transport.Handler = (*Agent)(nil)

// keysTimeout is how long New waits for the check that there are keys of Config.DID.
const keysTimeout = 5 * time.Second

// New returns an Agent. The Agent handles received packets at once, but [Agent.Send] and
// [Agent.Request] only work while [Agent.Run] runs. [Start] calls both New and Run.
//
// New returns an error for a Config that cannot work. The error matches envelope.ErrNoKey
// if there is no private key of Config.DID. New may resolve the DID to find that out, for
// 5 seconds at most, and accepts a DID that does not resolve yet.
func New(cfg Config) (*Agent, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()
	if err := cfg.Packer.Holds(ctx, cfg.DID); errors.Is(err, envelope.ErrNoKey) {
		return nil, fmt.Errorf("agent: Config.DID: %w", err)
	}
	a := &Agent{
		cfg:       cfg,
		outbox:    cfg.Store.Outbox(),
		inbox:     cfg.Store.Inbox(),
		handlers:  newHandlerSlots(cfg.MaxHandlers),
		unparking: make(slots, maxUnparking),
		lateAcks:  make(slots, maxLateAcks),
		ready:     make(chan struct{}),
		done:      make(chan struct{}),
		stop:      make(chan struct{}),
		stopping:  make(chan struct{}),
		lanes:     newLanes(cfg.SessionQueue),
		requests:  newRequests(cfg.MaxRequests),
		problems:  byClass[problemBudget]{newProblemBudget(&cfg), newProblemBudget(&cfg)},
		reports:   byClass[rates]{newRates(&cfg, cfg.ReportBurst, cfg.ReportsPerHour), newRates(&cfg, cfg.ReportBurst, cfg.ReportsPerHour)},
		answers:   byClass[rates]{newRates(&cfg, cfg.AnswerBurst, cfg.AnswersPerHour), newRates(&cfg, cfg.AnswerBurst, cfg.AnswersPerHour)},
		pending:   newPendingSet(),

		allowances: newAllowances(cfg.StrangerBytes),
	}
	a.delivery = delivery.New(delivery.Config{
		Outbox: a.outbox, Senders: cfg.Senders, Party: party, Moved: a.moved, Probe: a.probe, Wrap: a.wrap,
		NeverAcks: a.neverAcks, LearnedAcks: a.learnedAcks,
		Outcome: a.traceOutcome, Idle: cfg.Guest,
		Logger: cfg.Logger, Now: cfg.Now,
		Workers: cfg.Workers, StrangerWorkers: cfg.StrangerWorkers, HostTries: cfg.HostTries, StrangerTries: cfg.StrangerTries, RefusedTries: cfg.RefusedTries,
		MaxReturnRoutes: cfg.MaxSessions,
		SendTimeout:     cfg.SendTimeout, AckTimeout: cfg.AckTimeout, StopTimeout: cfg.StopTimeout, Backoff: cfg.backoff(),
	})
	a.life, a.kill = context.WithCancel(context.Background())
	for _, s := range cfg.Senders {
		if b, ok := s.(transport.Binder); ok {
			b.Bind(a) // twice for a Sender of two schemes, such as http and https, to the same effect
		}
	}
	return a, nil
}

// DID returns Config.DID, from which the Agent sends messages that name no other sender.
func (a *Agent) DID() string { return a.cfg.DID }

// Packer returns Config.Packer, or the Packer that New has made of Keys and Resolver.
func (a *Agent) Packer() *envelope.Packer { return a.cfg.Packer }

// Store returns Config.Store, or the Store in memory that New has made.
func (a *Agent) Store() store.Store { return a.cfg.Store }

// Stop ends Run, as the end of its context does, and waits until Run has returned. If Run
// was not called yet, Stop returns at once, and a later Run returns at once. A Handler must
// not call Stop, which would wait for the Handler.
func (a *Agent) Stop() {
	a.stopOnce.Do(func() { close(a.stop) })
	a.mu.Lock()
	running := a.running
	a.mu.Unlock()
	if running {
		<-a.done
	}
}

// Done returns a channel that is closed when Run has returned.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Run delivers the messages in the outbox, and handles the messages in the inbox that an
// earlier process or another process has left, until ctx ends. Then Run
//   - accepts no more packets;
//   - ends every Request with [ErrStopped];
//   - waits for running Handlers, and cancels their contexts after Config.StopTimeout;
//   - returns nil when all Handlers have returned.
//
// Messages that are not delivered or not handled stay in Config.Store. Run returns an error
// only if it is called a second time.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.running {
		a.mu.Unlock()
		return errors.New("agent: Run was called before")
	}
	a.running = true
	close(a.ready)
	a.mu.Unlock()
	defer close(a.done)
	ctx, end := context.WithCancel(ctx)
	defer end()
	go func() {
		select {
		case <-a.stop:
			end()
		case <-ctx.Done():
		}
	}()

	var workers sync.WaitGroup
	workers.Go(func() { a.delivery.Run(ctx) })
	if !a.cfg.Guest {
		workers.Go(func() { a.keepPending(ctx) })
		workers.Go(func() { a.redeliverAll(ctx) })
	}
	<-ctx.Done()

	a.mu.Lock()
	a.stopped = true
	close(a.stopping)
	a.mu.Unlock()
	grace := time.AfterFunc(a.cfg.StopTimeout, a.kill)
	defer grace.Stop()
	workers.Wait()
	a.work.Wait()
	a.kill()
	return nil
}
