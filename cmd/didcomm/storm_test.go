package main

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

var stormTime = flag.Duration("storm", 3*time.Second, "how long TestStorm listens for more than the agent may send")

const (
	stormStart = "https://example.org/storm/1.0/start" // which the agent does not know
	chatType   = "https://didcomm.org/basicmessage/2.0/message"
	pingType   = "https://didcomm.org/trust-ping/2.0/ping"
	emptyType  = "https://didcomm.org/empty/1.0/empty"
)

// said is a message of type typ.
func said(typ string, edit ...func(*message.Message)) *message.Message {
	m := &message.Message{Type: typ, Body: []byte(`{}`)}
	if typ == chatType {
		m.Body = []byte(`{"content":"hello"}`)
	}
	for _, f := range edit {
		f(m)
	}
	return m
}

func askForAck(m *message.Message) { m.PleaseAck = []string{""} }

// storm is a peer that always has an answer.
type storm struct {
	begin  []*message.Message
	answer func(got *message.Message) *message.Message // nil: none
	want   int                                         // messages that the agent sends to it
}

// storms are peers that would go on for ever with an agent that does.
func storms() map[string]storm {
	all := make(map[string]storm)
	for _, typ := range []string{
		"https://didcomm.org/notification/1.0/problem-report",
		"https://didcomm.org/report-problem/2.0/problem-report",
		"https://didcomm.org/issue-credential/2.0/problem-report",
		"https://example.org/unknown/7.3/Problem_Report",
	} {
		for where, place := range map[string]func(m, got *message.Message){
			"thid":  func(m, got *message.Message) { m.ThreadID = got.Thread() },
			"pthid": func(m, got *message.Message) { m.ParentThreadID = got.ID },
			"both":  func(m, got *message.Message) { m.ThreadID, m.ParentThreadID = got.Thread(), got.ParentThreadID },
			"none":  func(m, got *message.Message) {},
		} {
			all["report "+typ+" by "+where] = storm{[]*message.Message{said(stormStart)}, func(got *message.Message) *message.Message {
				m := said(typ, askForAck)
				m.Body = []byte(`{"description":{"code":"message-parse-failure","en":"The message type is not supported."}}`)
				place(m, got)
				return m
			}, 1}
		}
	}
	all["the same again"] = storm{[]*message.Message{said(stormStart, func(m *message.Message) { m.ID = "same" })}, func(*message.Message) *message.Message {
		return said(stormStart, func(m *message.Message) { m.ID = "same" })
	}, 1}
	all["child threads"] = storm{[]*message.Message{said(stormStart)}, func(got *message.Message) *message.Message {
		return said(stormStart, func(m *message.Message) { m.ParentThreadID = got.ID })
	}, 11} // Config.MaxThreadProblems, and one that says so
	all["new threads"] = storm{[]*message.Message{said(stormStart)}, func(*message.Message) *message.Message {
		return said(stormStart)
	}, 20} // Config.ReportBurst
	all["echo"] = storm{[]*message.Message{said(stormStart), said(pingType), said(chatType, askForAck)}, func(got *message.Message) *message.Message {
		m := *got
		return &m
	}, 3}
	all["acks"] = storm{[]*message.Message{said(chatType, askForAck)}, func(got *message.Message) *message.Message {
		return said(emptyType, func(m *message.Message) { m.ThreadID, m.Ack = got.ID, []string{got.ID} })
	}, 1}
	all["acks that ask for one"] = storm{[]*message.Message{said(chatType, askForAck)}, func(got *message.Message) *message.Message {
		return said(emptyType, askForAck, func(m *message.Message) { m.ThreadID, m.Ack = got.ID, []string{got.ID} })
	}, 1}
	return all
}

// stormPeer is a storm at work.
type stormPeer struct {
	storm
	*agenttest.Party
	to     string // the agent's DID
	send   func(ctx context.Context, p transport.Packet) error
	route  string // return_route of what it sends
	queue  chan *message.Message
	enough chan struct{} // closed when the agent has sent as much as it may

	mu  sync.Mutex
	got []string // the types of what the agent sent; guarded by mu
}

// ServePacket takes what the agent sends.
func (p *stormPeer) ServePacket(ctx context.Context, _ transport.Replier, packet transport.Packet) error {
	u, err := p.Packer.Unpack(ctx, packet.Data)
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.got = append(p.got, u.Message.Type); len(p.got) == p.want {
		close(p.enough)
	}
	many := len(p.got) > 1000
	p.mu.Unlock()
	if !many {
		p.queue <- p.answer(u.Message)
	}
	return nil
}

// run sends until ctx ends.
func (p *stormPeer) run(ctx context.Context) error {
	for _, m := range p.begin {
		p.queue <- m
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-p.queue:
			out := *m
			out.From, out.To, out.ReturnRoute = p.DID, []string{p.to}, p.route
			if out.ID == "" {
				out.ID = message.NewID()
			}
			e, err := p.Packer.Pack(ctx, &out, envelope.From(p.DID))
			if err == nil {
				err = p.send(ctx, transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data})
			}
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("send %s: %w", out.Type, err)
			}
		}
	}
}

// newStormPeer makes a peer with an endpoint of its own, or one that hears by its
// WebSocket.
func newStormPeer(t *testing.T, s storm, a *agentProcess, socket bool) *stormPeer {
	t.Helper()
	p := &stormPeer{storm: s, to: a.did, queue: make(chan *message.Message, 2000), enough: make(chan struct{})}
	dial := (&netguard.Guard{AllowLoopback: true}).DialContext
	if socket {
		p.Party, p.route = agenttest.NewParty(t), "all"
		c, err := wstransport.NewClient(wstransport.ClientConfig{Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		c.Bind(p)
		t.Cleanup(func() { c.Close() })
		p.send = func(ctx context.Context, packet transport.Packet) error {
			return c.Send(ctx, "ws"+strings.TrimPrefix(a.url, "http"), packet)
		}
		return p
	}
	srv := httptest.NewUnstartedServer(httptransport.NewHandler(p, httptransport.HandlerConfig{}))
	t.Cleanup(srv.Close)
	p.Party = agenttest.NewParty(t, "http://"+srv.Listener.Addr().String())
	srv.Start()
	c, err := httptransport.NewClient(httptransport.ClientConfig{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	c.Bind(p)
	t.Cleanup(func() { c.Close() })
	p.send = func(ctx context.Context, packet transport.Packet) error { return c.Send(ctx, a.url, packet) }
	return p
}

// Whatever peers answer to what they are sent, the agent falls silent towards each
// after a few messages, and meanwhile serves others.
func TestStorm(t *testing.T) {
	a, who := run(t)
	var peers []*stormPeer
	names := make(map[*stormPeer]string)
	for name, s := range storms() {
		for _, socket := range []bool{false, true} {
			p := newStormPeer(t, s, a, socket)
			peers, names[p] = append(peers, p), fmt.Sprintf("%s, WebSocket %v", name, socket)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, p := range peers {
		running.Go(func() {
			if err := p.run(ctx); err != nil {
				t.Errorf("%s: %v", names[p], err)
			}
		})
	}
	late := time.After(time.Minute)
	for _, p := range peers {
		select {
		case <-p.enough:
		case <-late:
			t.Errorf("%s: not all came", names[p])
		}
	}
	for begun := time.Now(); time.Since(begun) < *stormTime; {
		who.run("", "ping", a.did)
		time.Sleep(min(time.Second, *stormTime/3))
	}
	stop()
	running.Wait()
	for _, p := range peers {
		p.mu.Lock()
		if len(p.got) != p.want {
			t.Errorf("%s: the agent sent %d messages, want %d: %q", names[p], len(p.got), p.want, p.got[:min(len(p.got), 30)])
		}
		p.mu.Unlock()
	}
}
