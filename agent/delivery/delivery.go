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

// Errors of a Dispatcher; match them with errors.Is.
var (
	// ErrNoRoute means that there is no open connection to the party, and no endpoint
	// for whose URI scheme there is a Sender.
	ErrNoRoute = errors.New("no route")
	// ErrTooMany means that the connection, or the Dispatcher, has reached its limit of
	// return routes.
	ErrTooMany = errors.New("too many return routes")
)

const (
	// MaxEndpoints is how many endpoints of a recipient are tried at most.
	MaxEndpoints = 4
	// MaxStrangerEndpoints is the same for an item of store.ClassStranger.
	MaxStrangerEndpoints = 3
)

// Config configures a [Dispatcher]. Outbox is required. A zero in any other field means
// the default.
type Config struct {
	// Outbox stores the items of Deliver.
	Outbox store.Outbox
	// Senders are the transports by URI scheme, in lower case.
	Senders map[string]transport.Sender
	// Party returns one name for all DIDs of a party, such as the short and the long form
	// of a did:peer:4. The default returns the DID.
	Party func(did string) string
	// Moved returns further endpoints of the recipient of an item, for example those of
	// its current DID document. It is called when the item has endpoints, and none of
	// them accepted the item. The default returns none.
	Moved func(ctx context.Context, it *store.Item) []store.Endpoint
	// Probe packs an empty message from our DID own to the DID peer, that has the given id,
	// asks for an ack of itself, and has return_route "all". With hide, the packet does not show
	// mediators from whom it is. If Probe is nil, no return route
	// of a peer with an endpoint is proven, and no endpoint that refuses an item is probed.
	Probe func(ctx context.Context, id, own, peer string, hide bool) (transport.Packet, error)
	// NeverAcks reports whether the DID peer is known not to acknowledge messages from our DID
	// own, for example from an earlier process. It is called when an item that asks for an ack
	// is tried, until acks that came or did not come have shown that. The default knows
	// nothing.
	NeverAcks func(ctx context.Context, own, peer string) bool
	// LearnedAcks, if not nil, is called when it has changed whether the DID peer is regarded
	// as one that acknowledges messages from our DID own: see Acks.
	LearnedAcks func(ctx context.Context, own, peer string, acks bool)
	// Wrap returns the packet for an endpoint that has routing keys: the Direct packet of the
	// item in a forward for each of the keys. It is called with each try. If the error is
	// no *transport.SendError, the endpoint is tried again later. The default returns an
	// error.
	Wrap func(ctx context.Context, it *store.Item, e store.Endpoint) (transport.Packet, error)
	// Outcome, if not nil, is called with each change of the outcome of an item. Sending
	// goes on when it returns.
	Outcome func(ctx context.Context, o Outcome)
	// Idle makes Run send nothing, because another Dispatcher sends the items of the
	// same outbox.
	Idle bool
	// Logger logs ids and DIDs, but no packets. The default discards logs.
	Logger *slog.Logger
	// Now returns the time for comparison with deadlines. The default is time.Now.
	Now func() time.Time

	// Workers is how many items are sent at the same time, without those of
	// store.ClassStranger and those in the slow lane. The default is 64.
	Workers int
	// StrangerWorkers is the same for items of store.ClassStranger. The default is an eighth
	// of Workers.
	StrangerWorkers int
	// HostTries is how many items are sent to one host at the same time, if the host neither
	// accepts packets quickly nor is slow. The default is 4.
	HostTries int
	// StrangerTries is how often an item of store.ClassStranger is tried. The default is 3.
	StrangerTries int
	// RefusedTries is how many times in a row the endpoints of a recipient refuse an item with
	// the same answer before the item is given up, if they accept others: see Refusals. The
	// default is 16, which with the default Backoff takes about an hour.
	RefusedTries int
	// MaxReturnRoutes is the largest number of return routes. A connection can have at
	// most a thousandth of them. The default is 100,000.
	MaxReturnRoutes int
	// SendTimeout limits one try to send an item on one route. The default is 30
	// seconds.
	SendTimeout time.Duration
	// AckTimeout is how long an ack is waited for. The default is 30 seconds.
	AckTimeout time.Duration
	// StopTimeout is how long Run, when it ends, retries updates of the outbox that
	// fail. The default is 3 seconds.
	StopTimeout time.Duration
	// Backoff is the delay between two tries of an item. The default is 1 second to 10
	// minutes.
	Backoff Backoff
}

// Dispatcher sends packets to other parties. It may be used from several goroutines.
// Use [New] to make one.
type Dispatcher struct {
	// static after New
	cfg  Config
	life context.Context
	end  context.CancelFunc // of life: ends all updates of the outbox

	workers sync.WaitGroup // goroutines that send items or wait for acks
	crews   []*crew        // for all other items, and for those of store.ClassStranger

	probes chan struct{} // has a value for each probe that is being packed or written

	routes      routes
	acks        acks
	parties     parties
	refusals    refusals
	subscribers subscribers
}

// New returns a Dispatcher. Start it with [Dispatcher.Run].
func New(cfg Config) *Dispatcher {
	if cfg.Party == nil {
		cfg.Party = func(did string) string { return did }
	}
	if cfg.Moved == nil {
		cfg.Moved = func(context.Context, *store.Item) []store.Endpoint { return nil }
	}
	if cfg.Wrap == nil {
		cfg.Wrap = func(_ context.Context, _ *store.Item, e store.Endpoint) (transport.Packet, error) {
			return transport.Packet{}, &transport.SendError{Endpoint: e.URI, Err: errors.New("no way to wrap for routing keys")}
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Workers = cmp.Or(max(cfg.Workers, 0), 64)
	cfg.StrangerWorkers = cmp.Or(max(cfg.StrangerWorkers, 0), max(1, cfg.Workers/8))
	cfg.HostTries = cmp.Or(max(cfg.HostTries, 0), 4)
	cfg.StrangerTries = cmp.Or(max(cfg.StrangerTries, 0), 3)
	cfg.RefusedTries = cmp.Or(max(cfg.RefusedTries, 0), 16)
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
		cfg:         cfg,
		probes:      make(chan struct{}, maxProbes),
		routes:      newRoutes(cfg.MaxReturnRoutes),
		parties:     newParties(),
		refusals:    newRefusals(),
		subscribers: newSubscribers(),
		crews: []*crew{
			newCrew(cfg.Workers, &cfg, store.ClassOwn, store.ClassKnown),
			newCrew(cfg.StrangerWorkers, &cfg, store.ClassStranger),
		},
	}
	d.acks = newAcks(&d.parties)
	d.life, d.end = context.WithCancel(context.Background())
	return d
}

// Run sends the items of the outbox until ctx ends. Then it gives back the items that are
// being sent or wait for an ack, and returns at the latest Config.StopTimeout later. Call
// Run only once.
func (d *Dispatcher) Run(ctx context.Context) {
	if !d.cfg.Idle {
		for _, c := range d.crews {
			for range cap(c.busy) + c.maxHang {
				d.workers.Go(func() { d.work(ctx, c) })
			}
		}
	}
	<-ctx.Done()
	grace := time.AfterFunc(d.cfg.StopTimeout, d.end)
	defer grace.Stop()
	d.workers.Wait()
	for _, c := range d.crews {
		for _, l := range c.all() {
			d.workers.Go(func() { d.release(ctx, l) })
		}
	}
	d.workers.Wait()
	d.end()
}

// Deliver stores all items in the outbox, or none of them if there is an error. When it
// returns, the items are as durable as the outbox makes them. Run sends them.
//
// If notify is not nil, it is called with each change of the outcome of each item, until
// forget is called. Sending goes on when notify returns.
//
// Errors are those of the outbox, for example store.ErrFull.
func (d *Dispatcher) Deliver(ctx context.Context, notify func(Outcome), items ...store.Item) (forget func(), err error) {
	forget = d.subscribers.add(notify, items) // before a worker can have sent them
	if err := d.cfg.Outbox.Enqueue(ctx, items...); err != nil {
		forget()
		return func() {}, err
	}
	return forget, nil
}

// Relay stores a packet of another party in the outbox, for example the payload of a
// forward. Run sends the packet to one of the endpoints, unchanged or in forwards for the
// routing keys of the endpoint. After the time expires, the packet is not sent any more.
// There is no ack for the packet, and no order with other packets. The recipient to is a DID
// or the URI of an endpoint. Errors are those of [Dispatcher.Deliver].
func (d *Dispatcher) Relay(ctx context.Context, to string, p store.Packet, endpoints []store.Endpoint, expires time.Time) error {
	id := rand.Text()
	_, err := d.Deliver(ctx, nil, store.Item{
		ID: id, MessageID: id, To: to, Lane: id, Direct: p, Endpoints: endpoints,
		Class: store.ClassKnown, Created: d.cfg.Now(), Deadline: expires, Expires: expires, NeedsReceipt: true,
	})
	return err
}

// Push writes a packet to a return route that peer has for our DID own, either for the
// thread or for all threads, if possible to one that is proven. It does not store the packet
// or wait for an ack. The packet is lost if the connection ends before the peer has read it,
// or if the return route is not proven and belongs to somebody else.
//
// The error matches [ErrNoRoute] if there is no return route, or if none accepts the
// packet.
func (d *Dispatcher) Push(ctx context.Context, own, peer, thread string, p transport.Packet) error {
	err := ErrNoRoute
	list := d.sessions(own, peer, thread)
	provenFirst(list)
	for _, l := range list {
		ctx, cancel := context.WithTimeout(ctx, d.cfg.SendTimeout)
		failed := l.session.Reply(ctx, p)
		cancel()
		if failed == nil {
			return nil
		}
		err = errors.Join(err, failed)
	}
	return err
}

// Sender returns the Sender for the scheme of a URI, or nil if there is none.
func (d *Dispatcher) Sender(uri string) transport.Sender {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok {
		return nil
	}
	return d.cfg.Senders[strings.ToLower(scheme)]
}

// key is a map key for a party, or for a thread or message of parties. It is a digest, so
// that its size does not depend on the length of a stranger's DID.
type key [sha256.Size]byte

// keyOf returns the key of a thread with a party, or, if thread is "", of the party.
func (d *Dispatcher) keyOf(did, thread string) key { return digest(d.cfg.Party(did), thread) }

// digest returns the key of a thread or message of the given parties. The ids of threads
// and messages are compared without case (DIDComm v2.1, Message IDs).
func digest(parties, thread string) key {
	// A DID cannot contain a space.
	return sha256.Sum256([]byte(parties + " " + strings.ToLower(thread)))
}

// subscribers holds the functions to call with the outcomes of items.
type subscribers struct {
	mu     sync.Mutex
	byItem map[string][]*func(Outcome) // by the item's ID
}

func newSubscribers() subscribers { return subscribers{byItem: make(map[string][]*func(Outcome))} }

func (f *subscribers) add(notify func(Outcome), items []store.Item) (forget func()) {
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

// of returns the subscribers of an item.
func (f *subscribers) of(id string) []*func(Outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byItem[id]
}

// report calls the subscribers of an item, and Config.Outcome.
func (d *Dispatcher) report(ctx context.Context, o Outcome) {
	for _, notify := range d.subscribers.of(o.ID) {
		(*notify)(o)
	}
	if d.cfg.Outcome != nil {
		d.cfg.Outcome(ctx, o)
	}
}
