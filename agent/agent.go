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

// Agent receives, handles and sends DIDComm messages. Its methods may be called
// from any goroutine.
type Agent struct {
	// static after New
	cfg       Config
	handlers  slots // of handlers that run
	unparking slots
	lateAcks  slots       // of acks that are tried again
	suspect   atomic.Bool // one of them may end the process: see cutOff

	// ready is closed when Run begins. life ends when handlers must; stopping is
	// closed before, when no new work is taken.
	ready    chan struct{}
	done     chan struct{} // closed when Run returns
	life     context.Context
	kill     context.CancelFunc
	stopping chan struct{}

	mu      sync.Mutex // guards the next three
	running bool       // ready is closed
	stopped bool
	work    sync.WaitGroup // packets being served; no Add once stopped

	outbox   store.Outbox // of Config.Store
	inbox    store.Inbox
	delivery *delivery.Dispatcher
	lanes    lanes
	requests requests
	problems problemBudget
	reports  rates // what peers did not ask for
	answers  rates // what they did ask for, where that could cost us more than them
	pending  pendingSet
}

var _ transport.Handler = (*Agent)(nil)

// keysTimeout bounds how long New waits to learn whose keys there are.
const keysTimeout = 5 * time.Second

// New makes an agent of cfg. It takes packets and handles them at once; Send and
// Request need Run.
//
// New refuses a Config that cannot work. To learn that there are keys of Config.DID it
// asks the Packer's Keys, which then may resolve the DID, for five seconds at most: a
// DID that does not resolve yet is none to refuse. The error matches envelope.ErrNoKey
// if there are none.
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
		handlers:  make(slots, cfg.MaxHandlers),
		unparking: make(slots, maxUnparking),
		lateAcks:  make(slots, maxLateAcks),
		ready:     make(chan struct{}),
		done:      make(chan struct{}),
		stopping:  make(chan struct{}),
		lanes:     newLanes(cfg.SessionQueue),
		requests:  newRequests(cfg.MaxRequests),
		problems:  newProblemBudget(cfg.MaxThreadProblems),
		reports:   newRates(cfg.ReportBurst, cfg.ReportsPerHour),
		answers:   newRates(cfg.AnswerBurst, cfg.AnswersPerHour),
		pending:   newPendingSet(),
	}
	a.delivery = delivery.New(delivery.Config{
		Outbox: a.outbox, Senders: cfg.Senders, Party: party, Moved: a.moved, Outcome: a.became, Idle: cfg.Guest,
		Logger: cfg.Logger, Now: cfg.Now,
		Workers: cfg.Workers, MaxReturnRoutes: cfg.MaxSessions,
		SendTimeout: cfg.SendTimeout, AckTimeout: cfg.AckTimeout, StopTimeout: cfg.StopTimeout, Backoff: cfg.backoff(),
	})
	a.life, a.kill = context.WithCancel(context.Background())
	for _, s := range cfg.Senders {
		if b, ok := s.(transport.Binder); ok {
			b.Bind(a) // twice where one sender serves http and https, to the same effect
		}
	}
	return a, nil
}

// DID is the DID that the agent sends from where a message names none: Config.DID.
func (a *Agent) DID() string { return a.cfg.DID }

// Packer opens and makes the envelopes of the agent.
func (a *Agent) Packer() *envelope.Packer { return a.cfg.Packer }

// Store keeps what the agent must not lose.
func (a *Agent) Store() store.Store { return a.cfg.Store }

// Done is closed when Run has returned.
func (a *Agent) Done() <-chan struct{} { return a.done }

// Run delivers messages, and handles those that an earlier life of the agent took
// in and did not get to handle, until ctx ends. Then it takes no more packets,
// ends every Request with ErrStopped, gives what it has taken Config.StopTimeout
// to be handled before it cancels the handlers' context, and returns nil when all
// have ended. Messages not delivered or not handled yet stay in the stores. An
// agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.running {
		a.mu.Unlock()
		return errors.New("agent: runs already, or has run")
	}
	a.running = true
	close(a.ready)
	a.mu.Unlock()
	defer close(a.done)

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
