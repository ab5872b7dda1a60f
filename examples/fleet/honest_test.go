package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// The protocol of the fleet: a note wants nothing, a question an answer.
const (
	fleetProtocol = "https://example.org/fleet/1.0"
	noteType      = fleetProtocol + "/note"
	questionType  = fleetProtocol + "/question"
	answerType    = fleetProtocol + "/answer"
)

// deed is what the handler of a message does with it. It is in the body.
type deed struct {
	Content string `json:"content"` // as basicmessage names it
	Delay   int    `json:"delay"`   // ms that it takes
}

const (
	deedPlain = ""      // it is done
	deedRetry = "retry" // is asked to come again, the first time
	deedFail  = "fail"  // is a problem
)

// honest is an agent that does what it should, while it is stopped, killed, moved and
// rotated.
type honest struct {
	*party
	id      string // the name of the party, unless it is one more device of a phone
	w       *world
	chance  *rand.Rand // of its step alone
	outbox  store.Outbox
	inbox   store.Inbox
	records store.Records  // nil if each life begins with none
	waits   sync.WaitGroup // lives that end, and Sends and Requests that wait
	office  *office        // nil if it is no mediator
	phone   *phone         // nil if it has endpoints

	moves  int // of its step alone
	counts int // letters, of its step alone

	mu       sync.Mutex // guards all below
	life     *life      // nil while it is down
	killed   int
	stopped  int
	waiting  int               // Sends and Requests that have not returned
	known    map[string]string // DIDs of others, by the party
	rotated  map[string]bool   // parties that know our DID in use
	buriedBy map[string]int    // calls of Trace.Buried, by the message
}

// life is one process of an agent.
type life struct {
	agent  *agent.Agent
	packer *envelope.Packer
	host   *host
	stop   context.CancelFunc
	ended  chan struct{}
	tasks  sync.WaitGroup  // those that end when stop is called
	ctx    context.Context // of the tasks
}

// Lives of one agent that may end by each way in one run.
const maxKills, maxStops = 2, 2

// maxItems is the room of an outbox and of an inbox. It is enough for what honest agents say
// in one run, and less than what a flooder asks for.
const maxItems = 400

// maxTries leaves room for those of killed processes, which count as well.
const maxTries = 10

var _ role = (*honest)(nil)

func newHonest(w *world, name string) *honest {
	h := &honest{
		party: newParty(name), id: name, w: w, chance: seeded(w.seed, name),
		outbox: store.NewOutbox(store.OutboxConfig{MaxItems: maxItems}), inbox: store.NewInbox(store.InboxConfig{MaxItems: maxItems}),
		known: make(map[string]string), rotated: make(map[string]bool), buriedBy: make(map[string]int),
	}
	h.endpoints = h.newEndpoints()
	w.must(h.newDID(w.registry))
	return h
}

// newEndpoints are other endpoints than those before.
func (h *honest) newEndpoints() []string {
	h.moves++
	web, wire := fmt.Sprintf("web:%s-%d", h.name, h.moves), fmt.Sprintf("wire:%s-%d", h.name, h.moves)
	ways := [][]string{{web}, {wire}, {wire, web}, {web, wire}}
	return ways[h.chance.IntN(len(ways))]
}

// start begins a life.
func (h *honest) start() {
	l := &life{host: h.w.net.host(h.id), ended: make(chan struct{})}
	resolver := did.NewCache(h.w.resolver(h.id), did.CacheConfig{})
	var err error
	l.packer, err = envelope.New(envelope.Config{Keys: h.keys, Resolver: resolver})
	h.w.must(err)
	records := h.records
	if records == nil {
		records = store.NewRecords(store.RecordsConfig{})
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	cfg := agent.Config{
		DID: h.did(), Packer: l.packer, Senders: l.host.senders(),
		Store: store.Join(mortalOutbox{h.outbox, l.host.up}, mortalInbox{h.inbox, l.host.up}, mortalRecords{records, l.host.up}),
		Trace: &agent.Trace{Sent: h.onSent, Buried: h.onBuried, Dropped: h.onDropped}, MaxTries: maxTries, Workers: 8,
		Logger: h.w.log.With("agent", h.id),
	}
	var more []agent.MuxOption
	switch {
	case h.office != nil:
		more = h.office.open(h, l, resolver, &cfg)
	case h.phone != nil:
		more = h.phone.open(h, l, &cfg)
	}
	cfg.Handler = h.mux(l, more...)
	l.agent, err = agent.New(cfg)
	h.w.must(err)
	go func() {
		defer close(l.ended)
		h.w.must(l.agent.Run(l.ctx))
		l.tasks.Wait()
	}()
	time.Sleep(time.Millisecond) // in virtual time: Run runs when that has passed
	h.listen(l.host)
	h.mu.Lock()
	h.life = l
	h.mu.Unlock()
	if h.phone != nil {
		h.phone.begin(h, l)
	}
}

// now is the life of now, nil while there is none.
func (h *honest) now() *life {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life
}

// end takes the life of now away.
func (h *honest) end(count *int) *life {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.life
	h.life = nil
	*count++
	return l
}

// kill ends a life at once.
func (h *honest) kill() {
	l := h.end(&h.killed)
	h.w.log.Info("killed", "agent", h.id)
	h.listen(nil)
	l.host.die()
	l.stop()
	h.waits.Go(func() { <-l.ended })
}

// shut ends a life as a person ends it.
func (h *honest) shut() {
	l := h.end(&h.stopped)
	h.w.log.Info("stopped", "agent", h.id)
	l.stop()
	<-l.ended
	h.listen(nil)
	l.host.die()
}

// listen names the host that is reached at the endpoints; nil for none.
func (h *honest) listen(at *host) {
	if h.phone != nil {
		return
	}
	for _, e := range h.reachedAt() {
		h.w.net.listen(e, at)
	}
}

// step does one thing.
func (h *honest) step() {
	if h.now() == nil {
		h.start()
		return
	}
	switch n := h.chance.IntN(100); {
	case n < 3 && h.killed < maxKills && h.w.faults.kill:
		h.kill()
		h.back()
	case n < 6 && h.stopped < maxStops && h.w.faults.stop:
		h.shut()
		h.back()
	case n < 9 && h.w.faults.move:
		if h.phone != nil {
			h.phone.change(h)
			return
		}
		h.relocate()
	case n < 12 && h.w.faults.rotate && h.office == nil && len(h.all()) < 3:
		h.rotate()
	case h.phone != nil && h.phone.shared:
	default:
		h.write()
	}
}

// back starts a mediator again, which others wait for.
func (h *honest) back() {
	if h.office != nil {
		time.Sleep(time.Duration(h.chance.Int64N(int64(stepPause))))
		h.start()
	}
}

// relocate moves all DIDs to other endpoints. Nobody listens to the old ones any more.
func (h *honest) relocate() {
	h.listen(nil)
	h.w.must(h.move(h.w.registry, h.newEndpoints()...))
	h.w.log.Info("moved", "agent", h.id, "endpoints", h.reachedAt())
	l := h.now()
	l.host.cutOff()
	h.listen(l.host)
}

// rotate makes a DID that is used from now on.
func (h *honest) rotate() {
	if h.phone != nil {
		if !h.phone.rotate(h) {
			return
		}
	} else {
		h.w.must(h.newDID(h.w.registry))
	}
	h.w.log.Info("rotated", "agent", h.id, "did", h.did())
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.rotated)
}

// settle makes it well for good.
func (h *honest) settle() {
	if h.phone != nil {
		h.phone.settle(h)
		return
	}
	if h.now() == nil {
		h.start()
	}
}

func (h *honest) stop() {
	h.shut()
	h.waits.Wait()
}

// address is the DID by which it knows a party.
func (h *honest) address(to string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id := h.known[to]; id != "" {
		return id
	}
	return h.w.firstDID(to)
}

// write sends something to somebody.
func (h *honest) write() {
	l, to := h.now(), h.w.others(h)[h.chance.IntN(len(h.w.others(h)))]
	h.counts++
	id := fmt.Sprintf("%s-%d", h.name, h.counts)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	do := deed{Content: deedPlain, Delay: h.chance.IntN(1000)}
	switch h.chance.IntN(10) {
	case 0:
		do.Content = deedRetry
	case 1:
		do.Content = deedFail
	}
	kind := h.chance.IntN(10)
	thread := fmt.Sprintf("thread-%s-%s-%d", h.name, to, h.chance.IntN(2))
	opts := h.options()
	if kind == 9 {
		h.await(cancel, func() error {
			_, err := trustping.Ping(ctx, l.agent, h.address(to), opts...)
			return err
		})
		return
	}
	m := h.message(ctx, l, id, to, kind, do)
	if m == nil {
		cancel()
		return
	}
	record := letter{id: id, from: h.name, to: to, asks: m.Type == questionType && (do.Content != deedFail || *twoReplies)}
	switch {
	case kind < 6: // in a lane
		m.ThreadID = thread
		record.lane = h.name + " " + m.To[0] + " " + thread
		if m.Type == basicmessage.TypeMessage { // the protocol is ordered
			record.lane = m.From + " " + m.To[0] + " " + basicmessage.PIURI
		}
		h.w.book.write(record)
		h.sent(id, l.agent.Send(ctx, m, opts...))
		cancel()
	case kind < 8:
		h.w.book.write(record)
		cancel()
		h.await(func() {}, func() error {
			err := l.agent.Send(context.Background(), m, append(opts, agent.AwaitDelivery())...)
			if err == nil {
				h.sent(id, nil)
			}
			if errors.Is(err, agent.ErrUndelivered) {
				h.w.book.note(id, func(l *letter) { l.taken, l.buried = true, err.Error() })
			}
			return err
		})
	default:
		h.await(cancel, func() error {
			_, err := l.agent.Request(ctx, m, opts...)
			return err
		})
	}
}

// message makes a message; nil if the sender's own registry fails it.
func (h *honest) message(ctx context.Context, l *life, id, to string, kind int, do deed) *message.Message {
	typ := noteType
	switch {
	case kind%3 == 0:
		typ = basicmessage.TypeMessage
	case kind%3 == 1 || kind == 8:
		typ = questionType
	}
	m, err := message.New(typ, do)
	h.w.must(err)
	m.ID, m.From, m.To = id, h.did(), []string{h.address(to)}
	h.mu.Lock()
	known := h.rotated[to]
	h.mu.Unlock()
	if prior := h.priorTo(m.From); prior != "" && !known {
		if m.FromPrior, err = l.packer.FromPrior(ctx, prior, m.From, time.Now()); err != nil {
			return nil
		}
	}
	return m
}

func (h *honest) options() []agent.SendOption {
	switch h.chance.IntN(6) {
	case 0:
		return []agent.SendOption{agent.ReturnRoute("all")}
	case 1:
		return []agent.SendOption{agent.ProtectSender()}
	case 2:
		return []agent.SendOption{agent.SignBy(h.did())}
	}
	return nil
}

// sent notes what Send said of a letter.
func (h *honest) sent(id string, err error) {
	h.w.log.Info("sent", "agent", h.id, "id", id, "error", err)
	if err == nil {
		h.w.book.note(id, func(l *letter) { l.taken = true })
	}
}

// await does what waits for an answer.
func (h *honest) await(end func(), do func() error) {
	h.count(1)
	h.waits.Go(func() {
		defer h.count(-1)
		defer end()
		if err := do(); err != nil {
			h.w.log.Info("waited in vain", "agent", h.id, "error", err)
		}
	})
}

func (h *honest) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting += n
}

func (h *honest) onSent(_ context.Context, o agent.Outcome) {
	h.w.book.note(o.MessageID, func(l *letter) { l.direct = l.direct || o.Way == delivery.ReturnRoute })
}

func (h *honest) onBuried(_ context.Context, o agent.Outcome) {
	h.w.log.Info("buried", "agent", h.id, "id", o.MessageID, "error", o.Err)
	h.w.book.note(o.MessageID, func(l *letter) { l.buried = o.Err.Error() })
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buriedBy[o.MessageID]++
}

func (h *honest) onDropped(_ context.Context, e agent.Event) {
	genuine := h.w.registry.party(e.From) == h.w.book.sender(e.ID)
	h.w.log.Info("dropped", "agent", h.id, "id", e.ID, "error", e.Err)
	h.w.book.note(e.ID, func(l *letter) {
		l.left = l.left || genuine && l.to == h.name && errors.Is(e.Err, contact.ErrLeft)
	})
}

// told is how often the agent was told that a letter was given up.
func (h *honest) told(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.buriedBy[id]
}
