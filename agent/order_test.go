package agent_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// chatMux returns a Mux with h for chatType, in an ordered protocol if ordered is true.
func chatMux(ordered bool, h agent.Handler) *agent.Mux {
	return agent.NewMux(agent.Handle(agent.Protocol{
		PIURI: chatType[:strings.LastIndex(chatType, "/")], Messages: map[string]agent.Handler{chatType: h}, Ordered: ordered,
	}))
}

// Messages that a peer writes to a WebSocket without waiting are handled in that order.
func TestFrameOrder(t *testing.T) {
	const frames = 30
	for name, test := range map[string]struct {
		ordered bool
		thread  string
	}{"thread": {false, "one"}, "ordered protocol": {true, ""}} {
		t.Run(name, func(t *testing.T) {
			n, got := agenttest.NewNet(), make(inbox, frames)
			a, s := n.Agent(t, chatMux(test.ordered, got), agenttest.WebSocket()), newStranger(t, n)
			guard := &netguard.Guard{AllowLoopback: true}
			peer, err := wstransport.NewClient(wstransport.ClientConfig{Dial: guard.DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			routes, err := s.Packer.Routes(t.Context(), a.DID())
			if err != nil {
				t.Fatal(err)
			}
			var packets []transport.Packet
			for i := range frames {
				packets = append(packets, s.pack(t, s.message(t, a, chatType, func(m *message.Message) {
					m.ID, m.ThreadID = fmt.Sprint(i), test.thread
				})))
			}
			for _, p := range packets {
				if err := peer.Send(t.Context(), routes[0].URI, p); err != nil {
					t.Fatal(err)
				}
			}
			for i := range frames {
				if in := got.next(t); in.Message.ID != fmt.Sprint(i) {
					t.Fatalf("frame %s was handled in place of %d", in.Message.ID, i)
				}
			}
		})
	}
}

// turns serves packets of one connection, each in a goroutine of its own, which begin in
// reverse order. The turns are in the order of packets.
func turns(t *testing.T, a *agent.Agent, packets []transport.Packet) {
	var turn *transport.Turn
	var all []*transport.Turn
	for range packets {
		turn = turn.Next()
		all = append(all, turn)
	}
	w := newSession()
	for i, p := range slices.Backward(packets) {
		go func() {
			ctx := transport.WithTurn(context.Background(), all[i])
			defer all[i].End(ctx)
			if err := serve(ctx, a, w, p); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
	}
}

// Messages are in their lanes in the order of arrival, whichever packet is opened first,
// even if the queue of their session is full.
func TestTurns(t *testing.T) {
	for _, queue := range []int{64, 1} {
		t.Run(fmt.Sprint(queue), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, got := agenttest.NewNet(), make(inbox, 10)
				slow := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					time.Sleep(3 * transport.TurnTimeout) // virtual time
					return got.HandleMessage(ctx, w, in)
				})
				a := n.Agent(t, chatMux(true, slow), agenttest.Configure(func(cfg *agent.Config) { cfg.SessionQueue = queue }))
				s := newStranger(t, n)
				var packets []transport.Packet
				for i := range cap(got) {
					packets = append(packets, s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ID = fmt.Sprint(i) })))
				}
				turns(t, a, packets)
				for i := range packets {
					if in := <-got; in.Message.ID != fmt.Sprint(i) {
						t.Fatalf("%s was handled in place of %d", in.Message.ID, i)
					}
				}
			})
		})
	}
}

// A packet that takes long to be opened delays all packets behind it for one second in all.
func TestSlowTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 10)
		a, s, w := n.Agent(t, chatMux(true, got)), newStranger(t, n), newSession()
		turn := (*transport.Turn)(nil).Next() // the turn of a packet that is never opened
		begin := time.Now()
		for i := range 3 {
			turn = turn.Next()
			p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ID = fmt.Sprint(i) }))
			go func(turn *transport.Turn) {
				ctx := transport.WithTurn(context.Background(), turn)
				defer turn.End(ctx)
				if err := serve(ctx, a, w, p); err != nil {
					t.Error(err)
				}
			}(turn)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Error("nothing waited")
		}
		for i := range 3 {
			if in := <-got; in.Message.ID != fmt.Sprint(i) {
				t.Errorf("%s was handled in place of %d", in.Message.ID, i)
			}
		}
		if took := time.Since(begin); took != transport.TurnTimeout {
			t.Errorf("held up for %v", took)
		}
	})
}

// A message in custody delays later messages only until it is opened, even if its handler
// takes long.
func TestCustodyTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 1)
		forwards := agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			time.Sleep(10 * transport.TurnTimeout) // virtual time
			return nil
		})
		a := n.Agent(t, agent.NewMux(
			agent.Handle(agent.Protocol{PIURI: "https://didcomm.org/routing/2.0", Custody: map[string]agent.Handler{forwardType: forwards}}),
			agent.Handle(agent.Protocol{PIURI: "https://example.org/chat/1.0", Messages: map[string]agent.Handler{chatType: got}}),
		))
		s := newStranger(t, n)
		begin := time.Now()
		turns(t, a, []transport.Packet{
			s.pack(t, s.message(t, a, forwardType, nil)), s.pack(t, s.message(t, a, chatType, nil)),
		})
		<-got
		if took := time.Since(begin); took != 0 {
			t.Errorf("held up for %v", took)
		}
		time.Sleep(time.Minute) // the forward is handled
	})
}

// The messages of an ordered protocol are handled one at a time, even if they arrive by
// different ways.
func TestOrderAcrossWays(t *testing.T) {
	for name, ways := range map[string]func() (transport.Replier, transport.Replier){
		"two exchanges":   func() (transport.Replier, transport.Replier) { return new(call), new(call) },
		"two connections": func() (transport.Replier, transport.Replier) { return newSession(), newSession() },
		"both":            func() (transport.Replier, transport.Replier) { return newSession(), new(call) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, release, got := agenttest.NewNet(), make(chan struct{}), make(inbox, 2)
				a := n.Agent(t, chatMux(true, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					if in.Message.ID == "first" {
						<-release
					}
					return got.HandleMessage(ctx, w, in)
				})))
				s, other := newStranger(t, n), newStranger(t, n)
				one, two := ways()
				handled := make(map[string]<-chan struct{})
				for _, of := range []struct {
					id string
					w  transport.Replier
				}{{"first", one}, {"second", two}} {
					done, err := a.ServePacket(t.Context(), of.w, s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ID = of.id })))
					if err != nil {
						t.Fatal(err)
					}
					handled[of.id] = done
				}
				synctest.Wait()
				if len(got) != 0 {
					t.Fatalf("%s did not wait", (<-got).Message.ID)
				}
				// Messages of other parties do not wait.
				other.give(t, a, new(call), other.message(t, a, chatType, func(m *message.Message) { m.ID = "other" }))
				if in := got.next(t); in.Message.ID != "other" {
					t.Fatalf("%s was handled", in.Message.ID)
				}
				close(release)
				for _, id := range []string{"first", "second"} {
					if in := got.next(t); in.Message.ID != id {
						t.Fatalf("%s was handled in place of %s", in.Message.ID, id)
					}
					<-handled[id]
				}
			})
		})
	}
}

// After a restart, the messages of an ordered protocol in the inbox are handled in the
// order of receipt.
func TestOrderOfLeftOvers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 40
		n, got, box, p := agenttest.NewNet(), make(inbox, messages), store.NewInbox(store.InboxConfig{}), agenttest.NewParty(t)
		configure := func(guest bool) agenttest.Option {
			return agenttest.Configure(func(cfg *agent.Config) {
				cfg.DID, cfg.Packer, cfg.Store, cfg.Guest = p.DID, p.Packer, storeOf(nil, box), guest
			})
		}
		s, guest := newStranger(t, n), n.Agent(t, nil, configure(true))
		for i := range messages {
			s.give(t, guest, new(call), s.message(t, guest, chatType, func(m *message.Message) { m.ID = fmt.Sprint(i) }))
			time.Sleep(time.Second)
		}
		n.Agent(t, chatMux(true, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			time.Sleep(time.Duration(messages-len(got)) * time.Second)
			return got.HandleMessage(ctx, w, in)
		})), configure(false))
		for i := range messages {
			select {
			case in := <-got:
				if in.Message.ID != fmt.Sprint(i) {
					t.Fatalf("%s was handled in place of %d", in.Message.ID, i)
				}
			case <-time.After(time.Hour): // virtual time
				t.Fatalf("%d was not handled", i)
			}
		}
	})
}
