package delivery

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Errors that users of a Dispatcher act on; match them with errors.Is.
var (
	// ErrNoRoute: there is no live connection to the party, and no endpoint that a
	// Sender speaks.
	ErrNoRoute = errors.New("no route")
	// ErrTooMany: the connection, or all together, have as many return routes as
	// they may.
	ErrTooMany = errors.New("too many return routes")
)

// MaxEndpoints bounds the endpoints of one recipient that are tried.
const MaxEndpoints = 4

// Config is what a Dispatcher is made of. Outbox is required; every other field has a
// default for its zero value.
type Config struct {
	// Outbox keeps what Deliver is given.
	Outbox store.Outbox
	// Senders carry packets out, by URI scheme in lower case.
	Senders map[string]transport.Sender
	// Party is the name under which a DID is filed: all spellings of one DID have
	// one. Default: the DID itself.
	Party func(did string) string
	// Moved finds routes to the recipient of an item that the item does not have,
	// once none of its own could be used. Default: there are none.
	Moved func(ctx context.Context, it *store.Item) []store.Endpoint
	// Outcome, if not nil, is called with each change of the outcome of an item, by the
	// worker or the caller of Try that sends it, which waits.
	Outcome func(ctx context.Context, o Outcome)
	// Idle leaves the items in the outbox to another Dispatcher that has the same one:
	// Run takes none.
	Idle bool
	// Logger gets ids and DIDs, never packets. Default: discard.
	Logger *slog.Logger
	// Now tells the time that deadlines are compared with. Default: time.Now.
	Now func() time.Time

	Workers         int           // items being sent at a time. Default 64
	MaxReturnRoutes int           // bound at a time, a hundredth to one connection. Default 100,000
	SendTimeout     time.Duration // for one try of one way. Default 30 s
	AckTimeout      time.Duration // for the ack of what went by a way without receipt. Default 30 s
	StopTimeout     time.Duration // for the outbox to be told what became of items when Run ends. Default 3 s
	Backoff         Backoff       // between the tries of an item. Default 1 s to 10 min
}

// Dispatcher delivers packets. Its methods may be called from any goroutine.
type Dispatcher struct {
	// static after New
	cfg  Config
	life context.Context
	end  context.CancelFunc // of life: the outbox is told no more

	workers sync.WaitGroup // those that send, and those that hold a lease until an ack

	routes    routes
	acks      acks
	parties   parties
	followers followers
}

// New makes a Dispatcher of cfg.
func New(cfg Config) *Dispatcher {
	if cfg.Party == nil {
		cfg.Party = func(did string) string { return did }
	}
	if cfg.Moved == nil {
		cfg.Moved = func(context.Context, *store.Item) []store.Endpoint { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Workers = cmp.Or(max(cfg.Workers, 0), 64)
	cfg.MaxReturnRoutes = cmp.Or(max(cfg.MaxReturnRoutes, 0), 100_000)
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&cfg.SendTimeout, 30 * time.Second},
		{&cfg.AckTimeout, 30 * time.Second},
		{&cfg.StopTimeout, 3 * time.Second},
		{&cfg.Backoff.Min, time.Second},
		{&cfg.Backoff.Max, 10 * time.Minute},
	} {
		*d.value = cmp.Or(max(*d.value, 0), d.def)
	}
	d := &Dispatcher{
		cfg:       cfg,
		routes:    newRoutes(cfg.MaxReturnRoutes),
		parties:   newParties(),
		followers: newFollowers(),
	}
	d.acks = newAcks(&d.parties)
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Run delivers what is in the outbox until ctx ends, and returns when the outbox has
// been told of all that was being delivered, or Config.StopTimeout later. A Dispatcher
// runs once.
func (d *Dispatcher) Run(ctx context.Context) {
	if !d.cfg.Idle {
		for range d.cfg.Workers {
			d.workers.Go(func() { d.work(ctx) })
		}
	}
	<-ctx.Done()
	grace := time.AfterFunc(d.cfg.StopTimeout, d.end)
	defer grace.Stop()
	d.workers.Wait()
	d.end()
}

// Deliver puts items into the outbox, all or none, which holds them when Deliver
// returns, as durably as Config.Outbox does. Run delivers them. Notify, if not nil, is
// called with each change of the outcome of each item until forget is called; a worker
// waits for it.
//
// Errors: those of the outbox, such as store.ErrFull.
func (d *Dispatcher) Deliver(ctx context.Context, notify func(Outcome), items ...store.Item) (forget func(), err error) {
	return d.DeliverBy(func() error { return d.cfg.Outbox.Enqueue(ctx, items...) }, notify, items...)
}

// DeliverBy is Deliver for items that enqueue puts into the outbox, as it commits them
// together with something else. Errors: those of enqueue.
func (d *Dispatcher) DeliverBy(enqueue func() error, notify func(Outcome), items ...store.Item) (forget func(), err error) {
	forget = d.followers.add(notify, items) // before a worker can be done with them
	if err := enqueue(); err != nil {
		forget()
		return func() {}, err
	}
	return forget, nil
}

// Relay is Deliver for a packet that is not ours, such as the payload of a forward, by
// one of these routes, before a time. To is the DID, or the URI of the endpoint, that the
// packet is for. The packet goes as it is; nothing acks it, and it keeps no order with
// others.
func (d *Dispatcher) Relay(ctx context.Context, to string, p store.Packet, routes []store.Endpoint, expires time.Time) error {
	id := rand.Text()
	_, err := d.Deliver(ctx, nil, store.Item{
		ID: id, MessageID: id, To: to, Lane: id, Direct: p, Endpoints: routes, Created: d.cfg.Now(), Deadline: expires,
	})
	return err
}

// Push writes a packet to a live connection that peer has bound for own and the
// thread, or for own and any thread, now. Nothing is queued, and no ack waited for: the
// peer has the packet if its connection lives on.
//
// Errors: ErrNoRoute if there is no such connection, or none that takes the packet.
func (d *Dispatcher) Push(ctx context.Context, own, peer, thread string, p transport.Packet) error {
	err := ErrNoRoute
	for _, s := range d.sessions(own, peer, thread) {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
		failed := s.Reply(ctx, p)
		cancel()
		if failed == nil {
			return nil
		}
		err = errors.Join(err, failed)
	}
	return err
}

// Sender is the Sender for an endpoint, nil if there is none.
func (d *Dispatcher) Sender(uri string) transport.Sender {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return nil
	}
	return d.cfg.Senders[strings.ToLower(scheme)]
}

// key names something that concerns one party. It is a digest, so that what is filed
// under it costs the same however long a stranger's DID is.
type key [sha256.Size]byte

// keyOf names a conversation with a party, or with "" the party.
func (d *Dispatcher) keyOf(did, thread string) key { return digest(d.cfg.Party(did), thread) }

// digest is the key of a thread, or a message, of some parties. Threads and ids are
// compared without case (Message IDs).
func digest(parties, thread string) key {
	// No DID has a space in it.
	return sha256.Sum256([]byte(parties + " " + strings.ToLower(thread)))
}

// followers are those who want to know what becomes of items.
type followers struct {
	mu     sync.Mutex
	byItem map[string][]*func(Outcome) // by the item's ID
}

func newFollowers() followers { return followers{byItem: make(map[string][]*func(Outcome))} }

func (f *followers) add(notify func(Outcome), items []store.Item) (forget func()) {
	if notify == nil {
		return func() {}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := make([]string, len(items))
	for i, it := range items {
		ids[i] = it.ID
		f.byItem[it.ID] = append(f.byItem[it.ID], &notify)
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, id := range ids {
			f.byItem[id] = slices.DeleteFunc(slices.Clone(f.byItem[id]), func(n *func(Outcome)) bool { return n == &notify })
			if len(f.byItem[id]) == 0 {
				delete(f.byItem, id)
			}
		}
	}
}

// of are the followers of an item.
func (f *followers) of(id string) []*func(Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byItem[id]
}

// became tells all who want to know what has become of an item.
func (d *Dispatcher) became(ctx context.Context, o Outcome) {
	for _, notify := range d.followers.of(o.ID) {
		(*notify)(o)
	}
	if d.cfg.Outcome != nil {
		d.cfg.Outcome(ctx, o)
	}
}
