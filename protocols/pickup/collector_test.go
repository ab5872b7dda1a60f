package pickup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

const noteType = "https://example.org/notes/1.0/note"

// wallet is an agent without an address that collects its mail.
type wallet struct {
	*agent.Agent
	*pickup.Collector
	o      *office
	source pickup.Source
	notes  chan string // the ids of the messages that were handled
	steps  chan pickup.Progress
}

// newWallet runs an agent that is enrolled. The options are those of the agent.
func (o *office) newWallet(t testing.TB, cfg pickup.Config, opts ...agenttest.Option) *wallet {
	t.Helper()
	w := &wallet{o: o, notes: make(chan string, 10_000), steps: make(chan pickup.Progress, 10_000), source: pickup.Source{Mediator: o.agent.DID()}}
	cfg.Progress = func(p pickup.Progress) { w.steps <- p }
	w.Collector = pickup.NewCollector(cfg)
	note := agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
		w.notes <- in.Message.ID
		return nil
	})
	mux := agent.NewMux(w.Handle(), agent.Handle(agent.Protocol{
		PIURI: "https://example.org/notes/1.0", Messages: map[string]agent.Handler{noteType: note},
	}))
	window := agenttest.Configure(func(cfg *agent.Config) { cfg.MailWindow = 30 * 24 * time.Hour })
	w.Agent = o.net.Agent(t, mux, append([]agenttest.Option{agenttest.Hidden(), window}, opts...)...)
	o.enroll(t, w.DID())
	return w
}

// run starts to collect. stop ends it, and waits.
func (w *wallet) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Collector.Run(ctx, w.Agent, w.source) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, agent.ErrStopped) {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// live waits until the wallet has a live connection.
func (w *wallet) live(t testing.TB) {
	t.Helper()
	for p := range w.steps {
		if p.Live {
			return
		}
	}
}

// sender is a party that writes to wallets.
type sender struct{ *agenttest.Party }

// note returns a message for a wallet, and its id.
func (s sender) note(t testing.TB, to string, edit ...func(*message.Message)) (packet, id string) {
	t.Helper()
	m, err := message.New(noteType, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.From, m.To, m.CreatedTime = s.DID, []string{to}, time.Now()
	for _, f := range edit {
		f(m)
	}
	list, err := s.Packer.Pack(t.Context(), m, envelope.From(s.DID))
	if err != nil {
		t.Fatal(err)
	}
	return string(list[0].Data), m.ID
}

// send puts n messages into the box of a wallet and returns their ids.
func (w *wallet) send(t testing.TB, s sender, n int) (ids []string) {
	t.Helper()
	for range n {
		packet, id := s.note(t, w.DID())
		w.o.accept(t, w.DID(), packet)
		ids = append(ids, id)
	}
	return ids
}

// wantNotes waits for the messages with these ids, in any order, and for no others.
func (w *wallet) wantNotes(t testing.TB, ids ...string) {
	t.Helper()
	var got []string
	for range ids {
		got = append(got, <-w.notes)
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(ids)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// empty waits until the mediator holds nothing for the wallet.
func (w *wallet) empty(t testing.TB) {
	t.Helper()
	for range 1000 {
		if w.o.waiting(t, w.DID()) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d messages are left", w.o.waiting(t, w.DID()))
}

var ways = map[string][]agenttest.Option{
	"mem": nil, "http": {agenttest.HTTP()}, "websocket": {agenttest.WebSocket()},
}

// Everything is collected once, in each version, over each transport.
func TestCollect(t *testing.T) {
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, pickup.ServeLimits{MaxMessages: 4}, opts...)
			w, s := o.newWallet(t, pickup.Config{}, opts...), sender{agenttest.NewParty(t)}
			ids := w.send(t, s, 10)
			p, err := w.Collect(t.Context(), w.Agent, w.source)
			if err != nil || p.Taken != 10 || p.Parked != 0 || p.Left != 0 {
				t.Errorf("collected %+v, %v", p, err)
			}
			w.wantNotes(t, ids...)
			w.empty(t)
			if p, err := w.Collect(t.Context(), w.Agent, w.source); err != nil || p.Taken != 0 {
				t.Errorf("collected %+v, %v the second time", p, err)
			}
		})
	}
}

// Run gets what waits and what comes later, by live mode where there is a WebSocket.
func TestRun(t *testing.T) {
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, pickup.ServeLimits{}, opts...)
			w, s := o.newWallet(t, pickup.Config{Poll: 10 * time.Millisecond}, opts...), sender{agenttest.NewParty(t)}
			ids := w.send(t, s, 40) // more than the window
			w.run(t)
			w.wantNotes(t, ids...)
			if name == "websocket" {
				w.live(t)
			}
			w.wantNotes(t, w.send(t, s, 3)...)
			w.empty(t)
		})
	}
}

// A wallet that only polls needs no WebSocket.
func TestNoLive(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{}, agenttest.WebSocket())
	w, s := o.newWallet(t, pickup.Config{NoLive: true, Poll: time.Millisecond}, agenttest.WebSocket()), sender{agenttest.NewParty(t)}
	w.run(t)
	w.wantNotes(t, w.send(t, s, 3)...)
	w.empty(t)
	for len(w.steps) > 0 {
		if p := <-w.steps; p.Live {
			t.Error("live")
		}
	}
}

// What cannot be opened is set aside and acked, so that it does not block the rest.
func TestParked(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	w, s := o.newWallet(t, pickup.Config{MaxParked: 3}), sender{agenttest.NewParty(t)}
	stranger, _ := s.note(t, agenttest.NewParty(t).DID)
	old, _ := s.note(t, w.DID(), func(m *message.Message) { m.CreatedTime = time.Now().Add(-60 * 24 * time.Hour) })
	o.accept(t, w.DID(), `{}`, "not json", stranger, old)
	ids := w.send(t, s, 2)
	p, err := w.Collect(t.Context(), w.Agent, w.source)
	if err != nil || p.Taken != 2 || p.Parked != 4 {
		t.Errorf("collected %+v, %v", p, err)
	}
	w.wantNotes(t, ids...)
	w.empty(t)
	records := w.Store().Records()
	list, err := pickup.ListParked(t.Context(), records)
	if err != nil || len(list) != 3 || string(list[0].Data) != "not json" || list[0].Reason == "" || list[0].Mediator != o.agent.DID() || list[0].Mail == "" {
		t.Fatalf("parked %+v, %v", list, err)
	}
	if err := pickup.RetryParked(t.Context(), w.Agent, list[1].Key); err == nil {
		t.Error("the mail of another was taken")
	}
	if err := pickup.DropParked(t.Context(), records, list[1].Key); err != nil {
		t.Error(err)
	}
	if err := pickup.DropParked(t.Context(), records, list[1].Key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("dropped twice: %v", err)
	}
	if list, _ = pickup.ListParked(t.Context(), records); len(list) != 2 {
		t.Errorf("%d are parked", len(list))
	}
}

// The limit of parked bytes holds. The newest stay.
func TestParkedBytes(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	w := o.newWallet(t, pickup.Config{MaxParkedBytes: 10_000})
	long := func(i, n int) string { return fmt.Sprintf("%d%0*d", i, n, 0) }
	for i := range 20 {
		o.accept(t, w.DID(), long(i, 1000))
	}
	o.accept(t, w.DID(), long(99, 20_000))
	if _, err := w.Collect(t.Context(), w.Agent, w.source); err != nil {
		t.Fatal(err)
	}
	list, err := pickup.ListParked(t.Context(), w.Store().Records())
	if err != nil || len(list) < 3 || len(list) > 9 || string(list[len(list)-1].Data) != long(19, 1000) {
		t.Errorf("%d are parked, %v", len(list), err)
	}
	w.empty(t)
}

// Mail for which the agent has no room stays at the mediator, and comes again.
func TestBusy(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	inbox := store.NewInbox(store.InboxConfig{})
	full := &fullInbox{Inbox: inbox}
	opt := agenttest.Configure(func(cfg *agent.Config) {
		cfg.Store = store.Join(store.NewOutbox(store.OutboxConfig{}), full, store.NewRecords(store.RecordsConfig{}))
	})
	w, s := o.newWallet(t, pickup.Config{}, opt), sender{agenttest.NewParty(t)}
	ids := w.send(t, s, 2)
	full.set(true)
	p, err := w.Collect(t.Context(), w.Agent, w.source)
	if !errors.Is(err, pickup.ErrLeft) || p.Taken != 0 || p.Left != 2 || w.o.waiting(t, w.DID()) != 2 {
		t.Errorf("collected %+v, %v", p, err)
	}
	full.set(false)
	if p, err := w.Collect(t.Context(), w.Agent, w.source); err != nil || p.Taken != 2 {
		t.Errorf("collected %+v, %v", p, err)
	}
	w.wantNotes(t, ids...)
}

// fullInbox is an inbox without room for notes.
type fullInbox struct {
	store.Inbox
	mu   sync.Mutex
	full bool
}

func (i *fullInbox) set(full bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.full = full
}

func (i *fullInbox) Add(ctx context.Context, m store.Received, hold time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	i.mu.Lock()
	full := i.full && m.Type == noteType
	i.mu.Unlock()
	if full {
		return nil, nil, store.ErrFull
	}
	return i.Inbox.Add(ctx, m, hold)
}

// A wallet that ends between taking mail and acking it gets the mail again, and handles it
// once.
func TestLostAck(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	w, s := o.newWallet(t, pickup.Config{}), sender{agenttest.NewParty(t)}
	ids := w.send(t, s, 3)
	mail, err := pickup.Request(t.Context(), w.Agent, w.source, 10, "")
	if err != nil || len(mail) != 3 {
		t.Fatalf("%d messages, %v", len(mail), err)
	}
	for _, m := range mail { // taken, and not acked
		if _, err := w.ServeMail(t.Context(), m.Packet); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := w.Collect(t.Context(), w.Agent, w.source); err != nil || p.Taken != 3 {
		t.Errorf("collected %+v, %v", p, err)
	}
	w.wantNotes(t, ids...)
	w.empty(t)
	if len(w.notes) > 0 {
		t.Error("handled twice")
	}
}

// The verbs for a client of its own.
func TestVerbs(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{})
	w, s := o.newWallet(t, pickup.Config{}), sender{agenttest.NewParty(t)}
	w.send(t, s, 3)
	st, err := pickup.RequestStatus(t.Context(), w.Agent, w.source, "")
	if err != nil || st.Count != 3 || st.Bytes == 0 || time.Since(st.Oldest) > time.Minute || st.Newest.Before(st.Oldest) || st.Live {
		t.Errorf("status %+v, %v", st, err)
	}
	if st, err := pickup.RequestStatus(t.Context(), w.Agent, w.source, s.DID); err != nil || st.Count != 0 {
		t.Errorf("status %+v, %v", st, err)
	}
	mail, err := pickup.Request(t.Context(), w.Agent, w.source, 2, w.DID())
	if err != nil || len(mail) != 2 {
		t.Fatalf("%d messages, %v", len(mail), err)
	}
	if err := pickup.Received(t.Context(), w.Agent, w.source, mail[0].ID, mail[1].ID); err != nil {
		t.Fatal(err)
	}
	if n := o.waiting(t, w.DID()); n != 1 {
		t.Errorf("%d are left", n)
	}
	var p *message.Problem
	if _, err := pickup.Request(t.Context(), w.Agent, pickup.Source{Mediator: s.DID}, 1, ""); !errors.Is(err, agent.ErrNoRoute) {
		t.Errorf("a mediator without an address: %v", err)
	}
	other := o.net.Agent(t, nil)
	if _, err := pickup.Request(t.Context(), other, w.source, 1, ""); !errors.As(err, &p) {
		t.Errorf("not enrolled: %v", err)
	}
}

// Run goes on after failures, with growing pauses.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		w := o.newWallet(t, pickup.Config{NoLive: true})
		w.source.Mediator = o.net.Agent(t, nil).DID() // supports nothing
		start := time.Now()
		stop := w.run(t)
		for range 12 {
			if p := <-w.steps; p.Err == nil {
				t.Errorf("progress %+v", p)
			}
		}
		// 1+2+4+...+256 s, and then 5 minutes each, with up to a quarter more.
		if took := time.Since(start); took < 18*time.Minute || took > 24*time.Minute {
			t.Errorf("12 tries in %v", took)
		}
		stop()
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, pickup.ServeLimits{})
		w := o.newWallet(t, pickup.Config{NoLive: true})
		stop := w.run(t)
		synctest.Wait()
		if err := w.Collector.Run(t.Context(), w.Agent, w.source); !errors.Is(err, pickup.ErrRunning) {
			t.Errorf("Run: %v", err)
		}
		stop()
	})
}

// One Collector collects from several mediators, live from one and by polling from another.
func TestSeveralMediators(t *testing.T) {
	o := newOffice(t, pickup.ServeLimits{}, agenttest.WebSocket())
	w, s := o.newWallet(t, pickup.Config{Poll: 10 * time.Millisecond}, agenttest.WebSocket()), sender{agenttest.NewParty(t)}
	other := &office{box: store.NewMailbox(store.MailboxConfig{}), net: o.net}
	var err error
	other.Mediator, err = mediator.New(mediator.Config{DID: "did:example:other", Store: store.New(store.Config{}), Mailbox: other.box})
	if err != nil {
		t.Fatal(err)
	}
	other.agent = o.net.Agent(t, agent.NewMux(pickup.Serve(other.Mediator)))
	other.enroll(t, w.DID())
	w.run(t)
	second := &wallet{Agent: w.Agent, Collector: w.Collector, o: other, source: pickup.Source{Mediator: other.agent.DID()}, notes: w.notes}
	second.run(t)
	for range 3 {
		w.wantNotes(t, append(w.send(t, s, 2), second.send(t, s, 2)...)...)
	}
	w.empty(t)
	second.empty(t)
}
