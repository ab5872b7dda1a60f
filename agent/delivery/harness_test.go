package delivery_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// The parties of the tests: all items are from one to the other.
const alice, bob = "did:example:alice", "did:example:bob"

// outbox is the interface of an outbox that the tests need.
type outbox interface {
	store.Outbox
	store.OutboxAdmin
}

// post is a Dispatcher with its outbox and the outcomes that it has reported.
type post struct {
	*delivery.Dispatcher
	t      *testing.T
	outbox outbox
	stop   func()  // ends Run and waits for its end
	told   *record // the reported outcomes
}

// run starts a Dispatcher that ends with the test, with an outbox in memory if cfg
// has none.
func run(t *testing.T, cfg delivery.Config) *post {
	t.Helper()
	p := newPost(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.Run(ctx)
	}()
	p.stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(p.stop)
	return p
}

// newPost is like run, but does not call Run.
func newPost(t *testing.T, cfg delivery.Config) *post {
	t.Helper()
	if cfg.Outbox == nil {
		cfg.Outbox = store.NewOutbox(store.OutboxConfig{})
	}
	p := &post{t: t, outbox: cfg.Outbox.(outbox), told: newRecord()}
	hook := cfg.Outcome
	cfg.Outcome = func(ctx context.Context, o delivery.Outcome) {
		p.told.outcome(o)
		if hook != nil {
			hook(ctx, o)
		}
	}
	p.Dispatcher = delivery.New(cfg)
	return p
}

// deliver delivers items without a notify function.
func (p *post) deliver(items ...store.Item) {
	p.t.Helper()
	if _, err := p.Deliver(p.t.Context(), nil, items...); err != nil {
		p.t.Fatal(err)
	}
}

// bind makes a session a return route of bob's, from alice.
func (p *post) bind(s transport.Session) {
	p.t.Helper()
	if err := p.Bind(p.t.Context(), delivery.Binding{Own: alice, Peer: bob, Session: s}); err != nil {
		p.t.Fatal(err)
	}
}

// queued returns the message ids of the items in the outbox that are not buried.
func (p *post) queued() (ids []string) {
	p.t.Helper()
	list, err := p.outbox.List(p.t.Context(), 0, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range list {
		if e.State != store.Buried {
			ids = append(ids, e.Item.MessageID)
		}
	}
	return ids
}

// entry returns the entry of a message in the outbox.
func (p *post) entry(id string) store.Entry[store.Item] {
	p.t.Helper()
	e, err := p.outbox.Get(p.t.Context(), "item of "+id)
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

// item returns an item for bob with some endpoints, in a lane of its own.
func item(id string, endpoints ...string) store.Item {
	it := store.Item{
		ID: "item of " + id, MessageID: id, Thread: id, From: alice, To: bob,
		Direct:  store.Packet{MediaType: transport.MediaTypeEncrypted, Data: []byte(id)},
		Created: time.Now(), Deadline: time.Now().Add(24 * time.Hour),
	}
	for _, e := range endpoints {
		it.Endpoints = append(it.Endpoints, store.Endpoint{URI: e})
	}
	return it
}

// with returns a changed item.
func with(it store.Item, change func(*store.Item)) store.Item {
	change(&it)
	return it
}

// ackWanted returns an item that asks for an ack.
func ackWanted(id string, endpoints ...string) store.Item {
	return with(item(id, endpoints...), func(it *store.Item) { it.AskAck = true })
}

// record is a list of lines, each with its time.
type record struct {
	start time.Time

	mu    sync.Mutex
	lines []string
	times []time.Duration
}

func newRecord() *record { return &record{start: time.Now()} }

func (r *record) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
	r.times = append(r.times, time.Since(r.start))
}

// outcome adds an outcome.
func (r *record) outcome(o delivery.Outcome) { r.add("%s %d: %v", o.MessageID, o.Attempts, o) }

func (r *record) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

func (r *record) at() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.times)
}

// want compares the lines.
func (r *record) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := r.list(); !slices.Equal(got, lines) {
		t.Errorf("got\n%q, want\n%q", got, lines)
	}
}

// web is a Sender that gives receipts.
type web func(ctx context.Context, endpoint, packet string) error

func (w web) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	return w(ctx, endpoint, string(p.Data))
}

func (web) Receipts() bool { return true }

// cast is a Sender that gives no receipt and has no connection, as with core NATS.
type cast struct{ web }

func (cast) Receipts() bool { return false }

// wire is a Sender that gives no receipt and sends by one connection.
type wire struct{ *session }

func (w wire) Send(ctx context.Context, _ string, p transport.Packet) error { return w.Reply(ctx, p) }

func (w wire) SendOn(ctx context.Context, _ string, p transport.Packet) (transport.Session, error) {
	return w.session, w.Reply(ctx, p)
}

func (wire) Receipts() bool { return false }

// dialing is like wire, but sends on the newest connection.
type dialing struct{ now func() *session }

func (w dialing) Send(ctx context.Context, _ string, p transport.Packet) error {
	return w.now().Reply(ctx, p)
}

func (w dialing) SendOn(ctx context.Context, _ string, p transport.Packet) (transport.Session, error) {
	s := w.now()
	return s, s.Reply(ctx, p)
}

func (dialing) Receipts() bool { return false }

var (
	_ transport.Sender        = web(nil)
	_ transport.Sender        = cast{}
	_ transport.SessionSender = wire{}
	_ transport.SessionSender = dialing{}
)

// session is a live connection.
type session struct {
	got  *record
	take func(ctx context.Context, packet string) error // nil takes everything
	done chan struct{}
	end  func()
}

func newSession() *session {
	s := &session{got: newRecord(), done: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.done) })
	return s
}

func (s *session) Reply(ctx context.Context, p transport.Packet) error {
	select {
	case <-s.done:
		return transport.ErrNoReturnRoute
	default:
	}
	if s.take != nil {
		if err := s.take(ctx, string(p.Data)); err != nil {
			return err
		}
	}
	s.got.add("%s", p.Data)
	return nil
}

func (s *session) Done() <-chan struct{} { return s.done }

// senders are the same Sender for each scheme.
func senders(s transport.Sender, schemes ...string) map[string]transport.Sender {
	m := make(map[string]transport.Sender)
	for _, scheme := range schemes {
		m[scheme] = s
	}
	return m
}

// Failures of a try.
var (
	errDown    = errors.New("down")
	unreached  = &transport.SendError{Endpoint: "http://b", Retryable: true, Err: errDown}
	refused    = &transport.SendError{Endpoint: "http://b", Retryable: true, Answered: true, Err: errors.New("refused")}
	busy       = &transport.SendError{Endpoint: "http://b", Retryable: true, Answered: true, Busy: true, Err: errors.New("busy")}
	unwanted   = &transport.SendError{Endpoint: "http://b", Answered: true, Err: errors.New("gone")}
	errProblem = errors.New("e.p.me: cannot")
)

func later(d time.Duration) error {
	return &transport.SendError{Endpoint: "http://b", Retryable: true, RetryAfter: d, Err: errDown}
}

// within reports whether a delay may come from a backoff.
func within(d, backoff time.Duration) bool { return d >= backoff/2 && d <= backoff }

// sorted returns a sorted copy.
func sorted[T cmp.Ordered](list []T) []T { return slices.Sorted(slices.Values(list)) }

// fault is the error that a route fails with, or nil.
type fault struct {
	mu  sync.Mutex
	err error
}

func newFault(err error) *fault { return &fault{err: err} }

func (f *fault) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fault) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// web is a Sender that fails with f.
func (f *fault) web() web { return func(context.Context, string, string) error { return f.get() } }
