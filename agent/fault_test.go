package agent_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
	"github.com/didcomm-go/didcomm/transport"
)

// node is an agent that crashes when its stores do, and is started again with the same
// stores.
type node struct {
	party    *agenttest.Party
	net      *agenttest.Net
	wires    *wires
	endpoint string
	faults   *storetest.Faults
	store    store.Store
	handler  agent.Handler // the node itself, unless a test says otherwise

	mu      sync.Mutex
	agent   *agent.Agent
	handled map[string]int
	lives   int
}

func newNode(t *testing.T, n *agenttest.Net, w *wires, endpoint string, cfg storetest.FaultConfig) *node {
	t.Helper()
	f := storetest.NewFaults(cfg)
	made := &node{
		party: agenttest.NewParty(t, endpoint), net: n, wires: w, endpoint: endpoint, faults: f, handled: make(map[string]int),
		store: storeOf(f.Outbox(store.NewOutbox(store.OutboxConfig{})), f.Inbox(store.NewInbox(store.InboxConfig{}))),
	}
	made.handler = made
	return made
}

// live starts one agent after the other until ctx ends.
func (n *node) live(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		n.faults.Restart()
		mem, wire := n.net.Mem.Sender(), n.wires.sender(n.endpoint)
		a, err := agent.New(agent.Config{
			DID: n.party.DID, Packer: n.party.Packer, Handler: n.handler, Store: n.store,
			Senders:  map[string]transport.Sender{"mem": mem, "wire": wire},
			MaxTries: 20, // it crashes more often than any process
			// The ends are no contacts of each other, and count on their answers all the same.
			StrangerAge: 72 * time.Hour, StrangerTries: 1000,
		})
		if err != nil {
			t.Error(err)
			return
		}
		n.mu.Lock()
		n.agent = a
		n.lives++
		n.mu.Unlock()
		n.listen(t, a)
		life, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- a.Run(life) }()
		select {
		case <-n.faults.Crashed():
		case <-ctx.Done():
		}
		n.listen(t, nil)
		wire.close()
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := mem.Close(); err != nil {
			t.Error(err)
		}
	}
}

// listen sets the agent that receives packets at the endpoint, or nil.
func (n *node) listen(t *testing.T, h transport.Handler) {
	if strings.HasPrefix(n.endpoint, "wire:") {
		n.wires.listen(n.endpoint, h)
		return
	}
	if h != nil {
		h = process{h, n.faults.Crashed()}
	}
	if err := n.net.Mem.Handle(n.endpoint, h); err != nil {
		t.Error(err)
	}
}

// HandleMessage answers every third message, by the connection of the message.
func (n *node) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	n.mu.Lock()
	n.handled[in.Message.ID]++
	n.mu.Unlock()
	if in.Message.ReturnRoute != "all" {
		return nil
	}
	m, err := message.New(chatType, nil)
	if err != nil {
		return err
	}
	m.ID = "answer to " + in.Message.ID
	return w.Reply(ctx, m)
}

// send sends a message, and returns the ids of the messages that must be handled if Send
// succeeds.
func (n *node) send(ctx context.Context, to string, id string, answered bool) error {
	m, err := message.New(chatType, nil)
	if err != nil {
		return err
	}
	m.ID, m.To = id, []string{to}
	var opts []agent.SendOption
	if answered {
		opts = append(opts, agent.ReturnRoute("all"))
	}
	n.mu.Lock()
	a := n.agent
	n.mu.Unlock()
	return a.Send(ctx, m, opts...)
}

func (n *node) times(id string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.handled[id]
}

// Two agents whose stores fail, are slow and crash lose no message that Send has
// accepted, and none of its answers. Without a fault, no message is handled twice.
func TestFaults(t *testing.T) {
	t.Run("mem", func(t *testing.T) { manyFaults(t, "mem") })
	t.Run("wire", func(t *testing.T) { manyFaults(t, "wire") })
}

func manyFaults(t *testing.T, scheme string) {
	seeds := 200
	if testing.Short() {
		seeds = 20
	}
	var mu sync.Mutex
	lives, faults, accepted, twice := 0, 0, 0, 0
	t.Run("seeds", func(t *testing.T) {
		for seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, f, a, d := runFaults(t, scheme, uint64(seed))
					mu.Lock()
					defer mu.Unlock()
					lives, faults, accepted, twice = lives+l, faults+f, accepted+a, twice+d
				})
			})
		}
	})
	t.Logf("%d lives, %d faults, %d accepted, %d handled more than once", lives, faults, accepted, twice)
	if faults < seeds || lives < 3*seeds {
		t.Errorf("only %d faults and %d lives in %d runs", faults, lives, seeds)
	}
}

func runFaults(t *testing.T, scheme string, seed uint64) (lives, faults, accepted, twice int) {
	cfg := storetest.FaultConfig{Seed: seed, MaxDelay: 2 * time.Second}
	if seed%10 != 0 { // every tenth run has delays only
		rates := []float64{0, 0.02, 0.1}
		cfg.Before, cfg.After = rates[seed%3], rates[seed/3%3]
		cfg.Crash = []float64{0.005, 0.02}[seed%2]
	}
	cfg.Delay = []float64{0, 0.2}[seed/2%2]
	n, w := agenttest.NewNet(), newWires(seed, 10*cfg.Crash)
	ends := []*node{newNode(t, n, w, scheme+"://one", cfg), nil}
	cfg.Seed += 1 << 32
	ends[1] = newNode(t, n, w, scheme+"://two", cfg)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, e := range ends {
		running.Go(func() { e.live(ctx, t) })
	}
	synctest.Wait()

	want := []map[string]bool{{}, {}} // the messages that each node must handle
	for i := range 40 {
		from := i % 2
		id, answered := fmt.Sprint("message ", i), i%3 == 0
		if err := ends[from].send(ctx, ends[1-from].party.DID, id, answered); err == nil {
			accepted++
			want[1-from][id] = true
			if answered {
				want[from]["answer to "+id] = true
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	missing := func() (ids []string) {
		for i, e := range ends {
			for id := range want[i] {
				if e.times(id) == 0 {
					ids = append(ids, id)
				}
			}
		}
		return ids
	}
	for hours := 0; hours < 48 && len(missing()) > 0; hours++ {
		time.Sleep(time.Hour)
	}
	stop()
	running.Wait()
	if ids := missing(); len(ids) > 0 {
		t.Errorf("lost: %q", ids)
	}
	for _, e := range ends {
		lives, faults = lives+e.lives, faults+e.faults.Count()+w.cuts
		for _, times := range e.handled {
			if times > 1 {
				twice++
			}
		}
	}
	if twice > 0 && faults == 0 {
		t.Errorf("%d handled more than once without a fault", twice)
	}
	return lives, faults, accepted, twice
}
