package pickup_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

// cable carries frames between one wallet and the office, as a WebSocket does, and can be cut.
// It is the Sender of the wallet for the scheme sock.
type cable struct {
	office *office

	mu     sync.Mutex // guards all below
	wallet transport.Handler
	ends   *[2]*end // of the connection, or nil
	dials  int
	frames int  // that the wallet has sent
	down   bool // no connection can be opened
	hole   bool // all frames are lost, and nobody notices
	deaf   bool // the frames of the wallet are lost
}

// end is the end of the wallet, or that of the office.
type end struct {
	w      *cable
	office bool
	done   chan struct{}
}

var (
	_ transport.SessionSender = (*cable)(nil)
	_ transport.Binder        = (*cable)(nil)
	_ transport.Session       = (*end)(nil)
)

func (w *cable) Bind(h transport.Handler) { w.wallet = h }

func (w *cable) Receipts() bool { return false }

func (w *cable) Send(ctx context.Context, to string, p transport.Packet) error {
	_, err := w.SendOn(ctx, to, p)
	return err
}

func (w *cable) SendOn(_ context.Context, to string, p transport.Packet) (transport.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, &transport.SendError{Endpoint: to, Retryable: true, Err: errors.New("down")}
	}
	if w.ends == nil {
		w.dials++
		done := make(chan struct{})
		w.ends = &[2]*end{{w: w, done: done}, {w: w, office: true, done: done}}
	}
	w.carry(w.ends[0], p)
	return w.ends[0], nil
}

// carry brings a frame to the other side. The caller holds mu.
func (w *cable) carry(from *end, p transport.Packet) {
	to, at := w.ends[1], transport.Handler(w.office.agent)
	if from.office {
		to, at = w.ends[0], w.wallet
	} else {
		w.frames++
	}
	if !w.hole && (from.office || !w.deaf) {
		go func() { _, _ = at.ServePacket(context.Background(), to, p) }()
	}
}

func (e *end) Reply(_ context.Context, p transport.Packet) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	if e.w.ends == nil || transport.Ended(e) {
		return transport.ErrNoReturnRoute
	}
	e.w.carry(e, p)
	return nil
}

func (e *end) Done() <-chan struct{} { return e.done }

// set changes the cable.
func (w *cable) set(f func(*cable)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

// cut ends the connection.
func (w *cable) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ends != nil {
		close(w.ends[0].done)
		w.ends = nil
	}
}

// newWired returns a mediator, and a wallet that has a cable to it.
func newWired(t *testing.T, cfg pickup.Config, opts ...agenttest.Option) (*wallet, *cable) {
	t.Helper()
	o := newOffice(t, pickup.ServeLimits{}, agenttest.Configure(func(cfg *agent.Config) {
		p := agenttest.NewParty(t, "mem://agent-1", "sock://office")
		cfg.DID, cfg.Packer = p.DID, p.Packer
	}))
	w := &cable{office: o}
	t.Cleanup(w.cut)
	plug := agenttest.Configure(func(cfg *agent.Config) { cfg.Senders["sock"] = w })
	return o.newWallet(t, cfg, append(opts, plug)...), w
}

// After the end of the connection, the wallet is live again soon, and gets what came meanwhile.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, wire := newWired(t, pickup.Config{})
		s := sender{agenttest.NewParty(t)}
		w.run(t)
		for range 5 {
			w.live(t)
			w.wantNotes(t, w.send(t, s, 3)...)
			time.Sleep(20 * time.Minute)
			wire.cut()
			ids, start := w.send(t, s, 3), time.Now()
			w.wantNotes(t, ids...)
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("got after %v", took)
			}
		}
		synctest.Wait()
		if len(w.notes) != 0 || w.o.waiting(t, w.DID()) != 0 {
			t.Errorf("%d came twice, %d are left", len(w.notes), w.o.waiting(t, w.DID()))
		}
	})
}

// A wallet that is not live polls.
func TestPollsWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, wire := newWired(t, pickup.Config{})
		s := sender{agenttest.NewParty(t)}
		wire.set(func(line *cable) { line.down = true })
		w.run(t)
		for range 5 {
			start := time.Now()
			w.wantNotes(t, w.send(t, s, 2)...)
			if took := time.Since(start); took > 76*time.Second {
				t.Errorf("got after %v", took)
			}
			time.Sleep(time.Hour)
		}
		wire.set(func(line *cable) { line.down = false })
		start := time.Now()
		w.live(t)
		if took := time.Since(start); took > 8*time.Minute {
			t.Errorf("live after %v", took)
		}
	})
}

// A connection that loses everything, and does not end, is found out by the poll beneath.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, wire := newWired(t, pickup.Config{})
		s := sender{agenttest.NewParty(t)}
		w.run(t)
		w.live(t)
		w.wantNotes(t, w.send(t, s, 1)...)
		time.Sleep(time.Minute)
		wire.set(func(line *cable) { line.hole = true })
		start := time.Now()
		w.wantNotes(t, w.send(t, s, 2)...)
		if took := time.Since(start); took > 11*time.Minute {
			t.Errorf("got after %v", took)
		}
	})
}

// If acks are lost, the mail comes again, and is handled once.
func TestLostAcksLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, wire := newWired(t, pickup.Config{})
		s := sender{agenttest.NewParty(t)}
		w.run(t)
		w.live(t)
		time.Sleep(time.Second)
		wire.set(func(line *cable) { line.deaf = true })
		w.wantNotes(t, w.send(t, s, 2)...)
		time.Sleep(59 * time.Second)
		if n := w.o.waiting(t, w.DID()); n != 2 {
			t.Errorf("%d are queued", n)
		}
		wire.set(func(line *cable) { line.deaf = false })
		time.Sleep(2 * time.Second)
		if n := w.o.waiting(t, w.DID()); n != 0 || len(w.notes) != 0 {
			t.Errorf("%d are queued, %d came twice", n, len(w.notes))
		}
	})
}

// Mail that cannot be taken now comes again by the same connection.
func TestBusyLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &fullInbox{Inbox: store.NewInbox(store.InboxConfig{})}
		w, _ := newWired(t, pickup.Config{}, agenttest.Configure(func(cfg *agent.Config) {
			cfg.Store = store.Join(store.NewOutbox(store.OutboxConfig{}), full, store.NewRecords(store.RecordsConfig{}))
		}))
		s := sender{agenttest.NewParty(t)}
		w.run(t)
		w.live(t)
		time.Sleep(time.Second)
		full.set(true)
		ids := w.send(t, s, 2)
		time.Sleep(30 * time.Second)
		full.set(false)
		w.wantNotes(t, ids...)
		synctest.Wait()
		if n := w.o.waiting(t, w.DID()); n != 0 {
			t.Errorf("%d are queued", n)
		}
	})
}

// A wallet whose process ends resumes with what it has not acked, whether it has taken that
// or not.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := store.New(store.Config{})
		self := agenttest.NewParty(t)
		same := agenttest.Configure(func(cfg *agent.Config) { cfg.Store, cfg.DID, cfg.Packer = kept, self.DID, self.Packer })
		w, wire := newWired(t, pickup.Config{}, same)
		s := sender{agenttest.NewParty(t)}
		w.run(t)
		w.live(t)
		time.Sleep(time.Second)
		wire.set(func(line *cable) { line.deaf = true }) // the acks do not arrive
		taken := w.send(t, s, 3)
		w.wantNotes(t, taken...)
		w.Stop()
		<-w.Done()
		wire.cut()
		wire.set(func(line *cable) { line.deaf = false })
		ids := w.send(t, s, 3) // while no process runs
		again := w.o.newWallet(t, pickup.Config{}, same, agenttest.Configure(func(cfg *agent.Config) { cfg.Senders["sock"] = wire }))
		again.run(t)
		again.wantNotes(t, ids...)
		time.Sleep(2 * time.Minute)
		if n := w.o.waiting(t, w.DID()); n != 0 || len(again.notes) != 0 {
			t.Errorf("%d are queued, %d came twice", n, len(again.notes))
		}
	})
}

// A wallet that is live for a day without mail sends little.
func TestIdleDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, wire := newWired(t, pickup.Config{})
		w.run(t)
		w.live(t)
		time.Sleep(24 * time.Hour)
		wire.mu.Lock()
		defer wire.mu.Unlock()
		if wire.dials != 1 || wire.frames > 400 {
			t.Errorf("%d connections, %d frames", wire.dials, wire.frames)
		}
	})
}

// A mediator that pushes nothing that came before live mode, as 4.0 has it, is asked for that.
func TestStrictMediator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 7
		var mu sync.Mutex
		left := mail(n)
		asked := 0
		mux := agent.NewMux(agent.Handle(agent.Protocol{PIURI: pickup.PIURI4, Custody: map[string]agent.Handler{
			mp4 + "live-delivery-change": agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
				return w.Reply(ctx, &message.Message{Type: mp4 + "status", Body: []byte(`{"message_count":7,"live_delivery":true}`)})
			}),
			mp4 + "delivery-request": agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				mu.Lock()
				defer mu.Unlock()
				asked++
				m := &message.Message{Type: mp4 + "delivery", Attachments: []message.Attachment{}}
				for _, p := range left[:min(len(left), 2)] {
					m.Attachments = append(m.Attachments, message.Base64Attachment(p, "", []byte(p)))
				}
				return w.Reply(ctx, m)
			}),
			mp4 + "messages-received": agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
				var b struct {
					List []string `json:"message_id_list"`
				}
				err := in.Message.DecodeBody(&b)
				mu.Lock()
				defer mu.Unlock()
				left = slices.DeleteFunc(left, func(p string) bool { return slices.Contains(b.List, p) })
				return err
			}),
		}}))
		w, line := newWired(t, pickup.Config{})
		line.office.agent = line.office.net.Agent(t, mux, agenttest.Configure(func(cfg *agent.Config) {
			p := agenttest.NewParty(t, "sock://office")
			cfg.DID, cfg.Packer = p.DID, p.Packer
		}))
		w.source.Mediator = line.office.agent.DID()
		w.run(t)
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(left) != 0 || asked > 2*n { // a request can overtake an ack, and gets the same mail
			t.Errorf("%d messages are left after %d requests", len(left), asked)
		}
	})
}
