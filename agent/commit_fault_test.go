package agent_test

import (
	"context"
	"errors"
	"fmt"
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

// answers is a Handler that notes what each message was answered with.
type answers struct {
	t *testing.T

	mu       sync.Mutex
	byThread map[string][]int
}

func (a *answers) HandleMessage(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
	if in.Message.Type != countType { // an ack, or a report
		return nil
	}
	n := countOf(a.t, in.Message)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byThread[in.Message.ThreadID] = append(a.byThread[in.Message.ThreadID], n)
	return nil
}

func (a *answers) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byThread)
}

// process is a Handler of packets that ends with its store: what it has in hand then is
// not accepted, and not answered.
type process struct {
	transport.Handler
	crashed <-chan struct{}
}

var errCrashed = errors.New("the process has ended")

func (p process) ServePacket(ctx context.Context, w transport.Replier, packet transport.Packet) (handled <-chan struct{}, err error) {
	handled, err = p.Handler.ServePacket(ctx, w, packet)
	if handled != nil {
		<-handled
	}
	select {
	case <-p.crashed:
		return nil, errCrashed
	default:
		return nil, err
	}
}

// The state and the answers of an agent whose store fails, is slow and crashes do not
// part: each message is counted once, and has one answer, with its count.
func TestCommitFaults(t *testing.T) {
	for _, scheme := range []string{"mem", "wire"} {
		t.Run(scheme, func(t *testing.T) {
			seeds := 50
			if testing.Short() {
				seeds = 10
			}
			lives, faults := 0, 0
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) {
					l, f := runCommitFaults(t, scheme, uint64(seed))
					lives, faults = lives+l, faults+f
				})
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
			t.Logf("%d lives, %d faults", lives, faults)
			if faults < 10*seeds || lives < 3*seeds {
				t.Errorf("only %d faults and %d lives in %d runs", faults, lives, seeds)
			}
		})
	}
}

func runCommitFaults(t *testing.T, scheme string, seed uint64) (lives, faults int) {
	const messages = 30
	cfg := storetest.FaultConfig{Seed: seed, MaxDelay: 2 * time.Second, Before: 0.05, After: 0.05, Crash: 0.02}
	cfg.Delay = []float64{0, 0.2}[seed%2]
	n, w, got := agenttest.NewNet(), newWires(seed, 0.05), &answers{t: t, byThread: make(map[string][]int)}
	server := newNode(t, n, w, scheme+"://server", cfg)
	st := store.New(store.Config{})
	server.store, server.handler = server.faults.Store(st), new(counts)
	client := newNode(t, n, w, scheme+"://client", storetest.FaultConfig{})
	client.handler = got
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, e := range []*node{server, client} {
		running.Go(func() { e.live(ctx, t) })
	}
	synctest.Wait()
	for i := range messages {
		m := &message.Message{ID: fmt.Sprint("message ", i), Type: addType, To: []string{server.party.DID}}
		if i%3 == 0 {
			m.ReturnRoute = "all"
		}
		if err := client.agent.Send(ctx, m); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	for hours := 0; hours < 48 && got.len() < messages; hours++ {
		time.Sleep(time.Hour)
	}
	time.Sleep(time.Hour) // for what comes twice
	stop()
	running.Wait()
	_, counted, err := readCount(context.Background(), st)
	if err != nil || counted != messages || len(got.byThread) != messages {
		t.Errorf("counted %d, answered %d of %d, %v", counted, len(got.byThread), messages, err)
	}
	for i := range messages {
		if id := fmt.Sprint("message ", i); got.byThread[id] == nil {
			t.Errorf("%s was not answered", id)
		}
	}
	told := make(map[int]bool)
	for thread, counts := range got.byThread {
		if len(counts) != 1 || told[counts[0]] || counts[0] < 1 || counts[0] > messages {
			t.Errorf("%s was answered with %v", thread, counts)
		}
		told[counts[0]] = true
	}
	return server.lives, server.faults.Count()
}
