package fleet_test

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/transport"
)

// weather is how bad a network is: the parts, from 0 to 1, of all packets that are
// struck, and the longest times.
type weather struct {
	lose      float64 // lost before, or after, the receiver took them
	duplicate float64 // come twice, the second time up to a minute later
	cut       float64 // end the connection that they go by
	delay     time.Duration
	slow      float64 // take ten times as long, so that others overtake them
}

// silence is the longest time until an end of a connection that broke notices. It is
// shorter than Config.AckTimeout, since a party that stays silent for longer on a
// connection that seems to live is taken for one that does not ack.
const silence = 15 * time.Second

// maxTransit is the longest time of a packet on a connection: a message, what its
// handler takes and the ack stay below Config.AckTimeout, for the same reason.
const maxTransit = 8 * time.Second

// network carries packets between hosts, in memory. An endpoint web:... takes
// requests with one reply each, as HTTP does. At wire:... connections are made that
// carry packets both ways, in order and without a receipt, as a WebSocket does.
type network struct {
	seed    uint64
	flights sync.WaitGroup // goroutines of the network
	fail    func(error)    // for what no agent may do

	mu       sync.Mutex // guards all below
	weather  weather
	hosts    map[string]*host // that listen, by the endpoint
	rands    map[string]*rand.Rand
	packets  int // that left
	faults   int
	captured []captured // the last that were accepted
}

// captured is a packet that its receiver has accepted.
type captured struct {
	to     string // host
	packet transport.Packet
}

const (
	maxCaptured = 30
	maxTraffic  = 40_000 // packets; 24 letters to nobody are tried 580 times each, at two endpoints
)

func newNetwork(seed uint64, w weather, fail func(error)) *network {
	return &network{
		seed: seed, weather: w, fail: fail,
		hosts: make(map[string]*host), rands: make(map[string]*rand.Rand),
	}
}

// seeded is a source of chance for one purpose: what others draw does not change it.
func seeded(seed uint64, purpose string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(purpose))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// calm ends all faults.
func (n *network) calm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.weather = weather{}
}

// traffic is how many packets have left so far.
func (n *network) traffic() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.packets
}

// fate is what becomes of one packet.
type fate struct {
	delay, back, again time.Duration // on the way, of the answer, and until it comes twice
	before, after      bool          // lost
	hangs              bool          // its loss shows by nothing
	twice, cut         bool
	near, far          time.Duration // until the ends of a cut connection notice
}

func (n *network) fate(from, to string) (f fate) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.packets++
	if n.packets >= maxTraffic { // or the world would not end
		if n.packets == maxTraffic {
			n.fail(errors.New("traffic without an end"))
		}
		return fate{before: true, cut: true, hangs: true, near: time.Second, far: time.Second}
	}
	r, w := n.rands[from+" "+to], n.weather
	if r == nil {
		r = seeded(n.seed, from+" "+to)
		n.rands[from+" "+to] = r
	}
	within := func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }
	chance := func(p float64) bool { return r.Float64() < p }
	f.delay, f.back, f.again = within(w.delay), within(w.delay), within(time.Minute)
	if chance(w.slow) {
		f.delay *= 10
	}
	f.before, f.after, f.hangs = chance(w.lose), chance(w.lose), chance(0.3)
	f.twice, f.cut = chance(w.duplicate), chance(w.cut)
	f.near, f.far = within(silence), within(silence)
	if f.before || f.after || f.twice || f.cut {
		n.faults++
	}
	return f
}

// listen names the host that is reached at an endpoint; nil for none.
func (n *network) listen(endpoint string, h *host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h == nil {
		delete(n.hosts, endpoint)
		return
	}
	n.hosts[endpoint] = h
}

func (n *network) at(endpoint string) *host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[endpoint]
}

// capture notes a packet for those who replay it.
func (n *network) capture(to string, p transport.Packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.captured) >= maxCaptured {
		n.captured = n.captured[1:]
	}
	n.captured = append(n.captured, captured{to, p})
}

func (n *network) anyCaptured(r *rand.Rand) (captured, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.captured) == 0 {
		return captured{}, false
	}
	return n.captured[r.IntN(len(n.captured))], true
}

// serve hands a packet to what a host has bound, and returns when it is accepted.
func (n *network) serve(ctx context.Context, h *host, w transport.Replier, p transport.Packet) (handled <-chan struct{}, err error) {
	handled, err = transport.Contain(h.bound()).ServePacket(ctx, w, p)
	if v := (*transport.PanicError)(nil); errors.As(err, &v) {
		n.fail(v)
	}
	if err == nil {
		n.capture(h.name, p)
	}
	return handled, err
}

// host is one life of a party on the network.
type host struct {
	name string
	net  *network
	up   context.Context // ends with the life
	down context.CancelFunc

	mu      sync.Mutex // guards all below
	handler transport.Handler
	conns   map[string]*end   // that it made, by the endpoint
	ends    map[*end]struct{} // all that it has
}

func (n *network) host(name string) *host {
	h := &host{name: name, net: n, conns: make(map[string]*end), ends: make(map[*end]struct{})}
	h.up, h.down = context.WithCancel(context.Background())
	return h
}

// Bind implements transport.Binder for both senders of a host.
func (h *host) Bind(handler transport.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = handler
}

func (h *host) bound() transport.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.handler
}

func (h *host) senders() map[string]transport.Sender {
	return map[string]transport.Sender{"web": web{h}, "wire": wire{h}}
}

// from tells a receiver the address of a host.
func (h *host) from(ctx context.Context) context.Context {
	sum := fnv.New32a()
	sum.Write([]byte(h.name))
	return transport.WithPeer(ctx, netip.AddrFrom4([4]byte(sum.Sum(nil))))
}

// cutOff ends all connections of a host.
func (h *host) cutOff() {
	h.mu.Lock()
	ends := h.ends
	h.ends = make(map[*end]struct{})
	h.mu.Unlock()
	for e := range ends {
		e.conn.snap(e, 0, silence/2)
	}
}

// die ends a host: nothing leaves it or reaches it any more.
func (h *host) die() {
	h.down()
	h.cutOff()
}

func (h *host) dead() bool { return h.up.Err() != nil }

// pause waits, unless one of the contexts ends before.
func pause(d time.Duration, ctxs ...context.Context) bool {
	first, second := ctxs[0], ctxs[len(ctxs)-1]
	if d <= 0 { // timers that are due at once crash the race detector of Go 1.26 in a bubble
		return first.Err() == nil && second.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-first.Done():
		return false
	case <-second.Done():
		return false
	}
}

var (
	errGone = errors.New("nobody listens")
	errLost = errors.New("connection reset")
)

func retryable(endpoint string, err error) error {
	return &transport.SendError{Endpoint: endpoint, Retryable: true, Err: err}
}

// web sends by requests.
type web struct{ *host }

// Receipts implements transport.Sender: the response is one.
func (web) Receipts() bool { return true }

var (
	_ transport.Sender = web{}
	_ transport.Binder = web{}
)

// Send implements transport.Sender.
func (s web) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	f := s.net.fate(s.name, endpoint)
	if f.twice {
		s.net.flights.Go(func() {
			if pause(f.delay+f.again, context.Background()) {
				_, _ = s.net.request(s.from(context.Background()), endpoint, p)
			}
		})
	}
	if !pause(f.delay, ctx, s.up) {
		return retryable(endpoint, errLost)
	}
	lost := func() error {
		if f.hangs {
			pause(time.Hour, ctx, s.up)
		}
		return retryable(endpoint, errLost)
	}
	if f.before {
		return lost()
	}
	reply, err := s.net.request(s.from(ctx), endpoint, p)
	if f.after || !pause(f.back, ctx, s.up) {
		return lost()
	}
	if err != nil || reply == nil {
		return err
	}
	if _, err := s.net.serve(ctx, s.host, transport.NoReply{}, *reply); err != nil {
		return retryable(endpoint, err)
	}
	return nil
}

// request is one exchange with who listens at an endpoint.
func (n *network) request(ctx context.Context, endpoint string, p transport.Packet) (*transport.Packet, error) {
	h := n.at(endpoint)
	if h == nil || h.dead() {
		return nil, retryable(endpoint, errGone)
	}
	ctx, cancel := context.WithCancel(ctx)
	w, served := new(replier), make(chan error, 1)
	n.flights.Go(func() {
		defer cancel()
		handled, err := n.serve(ctx, h, w, p)
		if err == nil && handled != nil {
			select {
			case <-handled:
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		served <- err
	})
	var err error
	select {
	case err = <-served:
	case <-h.up.Done():
		cancel()
		return nil, retryable(endpoint, errLost)
	case <-ctx.Done():
		err = ctx.Err() // or it was served this moment
		select {
		case err = <-served:
		default:
		}
	}
	reply := w.close()
	var reject *transport.RejectError
	var busy *transport.BusyError
	switch {
	case reply != nil:
		return reply, nil
	case errors.As(err, &reject):
		return nil, &transport.SendError{Endpoint: endpoint, Answered: true, Err: errors.New(reject.Reason)}
	case errors.As(err, &busy):
		return nil, &transport.SendError{Endpoint: endpoint, Retryable: true, RetryAfter: busy.RetryAfter, Answered: true, Busy: true, Err: errors.New("busy")}
	case err != nil:
		return nil, retryable(endpoint, errors.New("internal error"))
	}
	return nil, nil
}

// replier takes one reply, while the request is served.
type replier struct {
	mu     sync.Mutex // guards all below
	closed bool
	reply  *transport.Packet
}

// Reply implements transport.Replier.
func (r *replier) Reply(_ context.Context, p transport.Packet) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.reply != nil {
		return transport.ErrNoReturnRoute
	}
	r.reply = &p
	return nil
}

func (r *replier) close() *transport.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.reply
}

// wire sends by connections, one to each endpoint.
type wire struct{ *host }

var (
	_ transport.SessionSender = wire{}
	_ transport.Binder        = wire{}
)

// Send implements transport.Sender.
func (s wire) Send(ctx context.Context, endpoint string, p transport.Packet) error {
	_, err := s.SendOn(ctx, endpoint, p)
	return err
}

// Receipts implements transport.Sender: what was written may be lost.
func (wire) Receipts() bool { return false }

// SendOn implements transport.SessionSender.
func (s wire) SendOn(ctx context.Context, endpoint string, p transport.Packet) (transport.Session, error) {
	e, err := s.connect(ctx, endpoint)
	if err == nil {
		err = e.Reply(ctx, p)
	}
	if err != nil {
		return nil, retryable(endpoint, err)
	}
	return e, nil
}

func (s wire) connect(ctx context.Context, endpoint string) (*end, error) {
	s.mu.Lock()
	e := s.conns[endpoint]
	s.mu.Unlock()
	if e != nil && !e.over() {
		return e, nil
	}
	f := s.net.fate(s.name, endpoint)
	if !pause(f.delay, ctx, s.up) || f.before {
		return nil, errLost
	}
	far := s.net.at(endpoint)
	if far == nil {
		return nil, errGone
	}
	c := &conn{net: s.net}
	near, other := newEnd(c, s.host), newEnd(c, far)
	near.peer, other.peer = other, near
	s.mu.Lock()
	s.conns[endpoint] = near
	s.mu.Unlock()
	for _, e := range [...]*end{near, other} {
		e.host.mu.Lock()
		e.host.ends[e] = struct{}{}
		e.host.mu.Unlock()
		if e.host.dead() { // it may have died meanwhile
			c.snap(e, 0, 0)
		}
		s.net.flights.Go(e.read)
	}
	return near, nil
}

// conn is one connection.
type conn struct {
	net *network

	mu     sync.Mutex // guards broken
	broken bool       // whatever is written is lost
}

// end is one end of it, a transport.Session.
type end struct {
	conn *conn
	host *host
	peer *end
	in   chan arrival
	done chan struct{}
	once sync.Once
}

// arrival is a packet under way.
type arrival struct {
	packet transport.Packet
	at     time.Time
}

var _ transport.Session = (*end)(nil)

func newEnd(c *conn, h *host) *end {
	return &end{conn: c, host: h, in: make(chan arrival, 100), done: make(chan struct{})}
}

// snap breaks a connection, of which one end notices after near, the other after far.
func (c *conn) snap(e *end, near, far time.Duration) {
	c.mu.Lock()
	c.broken = true
	c.mu.Unlock()
	e.endAfter(near)
	e.peer.endAfter(far)
}

func (e *end) endAfter(d time.Duration) {
	if d == 0 {
		e.once.Do(func() { close(e.done) })
		return
	}
	e.conn.net.flights.Go(func() {
		pause(d, e.host.up)
		e.once.Do(func() { close(e.done) })
	})
}

// Done implements transport.Session.
func (e *end) Done() <-chan struct{} { return e.done }

func (e *end) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Reply implements transport.Session: it writes a packet.
func (e *end) Reply(ctx context.Context, p transport.Packet) error {
	if e.over() || e.host.dead() {
		return transport.ErrNoReturnRoute
	}
	f := e.conn.net.fate(e.host.name, e.peer.host.name)
	e.conn.mu.Lock()
	broken := e.conn.broken
	e.conn.mu.Unlock()
	if f.cut && !broken {
		defer e.conn.snap(e, f.near, f.far)
	}
	if broken || f.cut && f.hangs { // what was written as it broke may be lost, too
		return nil
	}
	select {
	case e.peer.in <- arrival{p, time.Now().Add(min(f.delay, maxTransit))}:
	case <-e.done:
		return transport.ErrNoReturnRoute
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// read serves what comes, in order. A packet that fails ends the connection, as it
// does with WebSocket.
func (e *end) read() {
	var last *transport.Turn
	for {
		select {
		case a := <-e.in:
			if !e.pause(time.Until(a.at)) {
				return
			}
			turn := last.Next()
			last = turn
			e.conn.net.flights.Go(func() {
				ctx := transport.WithTurn(e.peer.host.from(e.host.up), turn)
				_, err := e.conn.net.serve(ctx, e.host, e, a.packet)
				turn.End(ctx)
				var busy *transport.BusyError
				var reject *transport.RejectError
				if err != nil && !errors.As(err, &busy) && !errors.As(err, &reject) {
					e.conn.snap(e, 0, 0)
				}
			})
		case <-e.done:
			return
		}
	}
}

// pause waits, unless the connection ends before.
func (e *end) pause(d time.Duration) bool {
	if d <= 0 {
		return !e.over()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.done:
		return false
	}
}

// scheme is that of an endpoint.
func scheme(endpoint string) string {
	s, _, _ := strings.Cut(endpoint, ":")
	return s
}
