package main

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"strconv"
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

// way is how a peer talks with the agent.
type way string

const (
	byEndpoint way = "by its endpoint"
	bySocket   way = "by a WebSocket"
	byPOST     way = "in the responses to its POSTs"
)

// The limits that the agent has.
const (
	threadReports = 11  // Config.MaxThreadProblems, and one that says so
	reportBurst   = 20  // by default
	answerBurst   = 100 // as TestStorm says
	noLimit       = -1  // one for each that the peer sends
)

// plenty is how many messages a peer without a limit waits for at least.
const plenty = answerBurst + 50

// storm is a peer that always has an answer.
type storm struct {
	begin  []*message.Message
	answer func(got *message.Message) *message.Message
	want   int // messages that the agent sends to it
	// differ is want by ways on which that is another.
	differ map[way]int
	pack   func(did string) []envelope.PackOption // nil: authcrypt
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
			all["report "+typ+" by "+where] = storm{begin: []*message.Message{said(stormStart)}, answer: func(got *message.Message) *message.Message {
				m := said(typ, askForAck)
				m.Body = []byte(`{"description":{"code":"message-parse-failure","en":"The message type is not supported."}}`)
				place(m, got)
				return m
			}, want: 1}
		}
	}
	start := []*message.Message{said(stormStart)}
	again := func(*message.Message) *message.Message { return said(stormStart) }
	all["the same again"] = storm{
		begin: []*message.Message{said(stormStart, func(m *message.Message) { m.ID = "same" })},
		answer: func(*message.Message) *message.Message {
			return said(stormStart, func(m *message.Message) { m.ID = "same" })
		},
		want: 1, differ: map[way]int{bySocket: 1 + answerBurst, byPOST: noLimit},
	}
	all["child threads"] = storm{begin: start, answer: func(got *message.Message) *message.Message {
		return said(stormStart, func(m *message.Message) { m.ParentThreadID = got.ID })
	}, want: threadReports}
	all["new threads"] = storm{begin: start, answer: again, want: reportBurst, differ: map[way]int{byPOST: noLimit}}
	all["new threads, signed only"] = storm{
		begin: start, answer: again, want: reportBurst, differ: map[way]int{byPOST: noLimit},
		pack: func(did string) []envelope.PackOption {
			return []envelope.PackOption{envelope.SignBy(did), envelope.Signed()}
		},
	}
	all["anonymous"] = storm{
		begin: []*message.Message{said(stormStart, askForAck), said(pingType), said(chatType, askForAck), said(emptyType, askForAck)},
		pack: func(string) []envelope.PackOption {
			return []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
		},
	}
	all["pings by thid"] = storm{begin: start, answer: func(got *message.Message) *message.Message {
		return said(pingType, func(m *message.Message) { m.ThreadID = got.ID })
	}, want: 1}
	all["pings by pthid"] = storm{begin: start, answer: func(got *message.Message) *message.Message {
		return said(pingType, func(m *message.Message) { m.ParentThreadID = got.ID })
	}, want: 1 + answerBurst, differ: map[way]int{bySocket: noLimit, byPOST: noLimit}}
	all["echo"] = storm{
		begin: []*message.Message{said(stormStart), said(pingType), said(chatType, askForAck)},
		answer: func(got *message.Message) *message.Message {
			m := *got
			return &m
		},
		want: 3,
	}
	chat := []*message.Message{said(chatType, askForAck)}
	all["acks"] = storm{begin: chat, answer: func(got *message.Message) *message.Message {
		return said(emptyType, func(m *message.Message) { m.ThreadID, m.Ack = got.ID, []string{got.ID} })
	}, want: 1}
	all["acks that ask for one"] = storm{begin: chat, answer: func(got *message.Message) *message.Message {
		return said(emptyType, askForAck, func(m *message.Message) { m.ThreadID, m.Ack = got.ID, []string{got.ID} })
	}, want: 1}
	all["no acks, but asking for one"] = storm{begin: chat, answer: func(*message.Message) *message.Message {
		return said(emptyType, askForAck)
	}, want: answerBurst, differ: map[way]int{bySocket: noLimit, byPOST: noLimit}}
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
	served <-chan struct{} // closed when the agent has served another
	enough chan struct{}   // closed when the agent has sent as much as it may

	mu   sync.Mutex // guards all below
	got  []string   // the types of what the agent sent
	sent int        // messages to it
	done bool       // enough is closed
}

// serve takes what the agent sends.
func (p *stormPeer) serve(ctx context.Context, _ transport.Replier, packet transport.Packet) error {
	u, err := p.Packer.Unpack(ctx, packet.Data)
	if err != nil {
		return err
	}
	if p.count(u.Message.Type) {
		p.queue <- p.answer(u.Message)
	}
	return nil
}

// count counts a message of the agent, and tells whether it is to be answered.
func (p *stormPeer) count(typ string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, typ)
	full := len(p.got) == p.want
	if p.want == noLimit && len(p.got) >= plenty {
		select {
		case <-p.served:
			full = true
		default:
		}
	}
	if full && !p.done {
		close(p.enough)
		p.done = true
	}
	if p.want == noLimit {
		return !p.done
	}
	return len(p.got) < 10*plenty // or the agent would never fall silent
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
			p.mu.Lock()
			p.sent++
			p.mu.Unlock()
			e, err := p.Packer.Pack(ctx, &out, p.pack(p.DID)...)
			if err == nil {
				err = p.send(ctx, transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data})
			}
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("send %s: %w", out.Type, err)
			}
		}
	}
}

func newStormPeer(t *testing.T, s storm, a *agentProcess, by way, served <-chan struct{}) *stormPeer {
	t.Helper()
	if want, ok := s.differ[by]; ok {
		s.want = want
	}
	if s.pack == nil {
		s.pack = func(did string) []envelope.PackOption { return []envelope.PackOption{envelope.From(did)} }
	}
	p := &stormPeer{storm: s, to: a.did, queue: make(chan *message.Message, 2000), served: served, enough: make(chan struct{})}
	if p.want == 0 {
		close(p.enough)
		p.done = true
	}
	dial := (&netguard.Guard{AllowLoopback: true}).DialContext
	if by == byEndpoint {
		srv := httptest.NewUnstartedServer(httptransport.NewHandler(transport.HandlerFunc(p.serve), httptransport.HandlerConfig{}))
		t.Cleanup(srv.Close)
		p.Party = agenttest.NewParty(t, "http://"+srv.Listener.Addr().String())
		srv.Start()
	} else {
		p.Party, p.route = agenttest.NewParty(t), "all"
	}
	if by == bySocket {
		c, err := wstransport.NewClient(wstransport.ClientConfig{Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		c.Bind(transport.HandlerFunc(p.serve))
		t.Cleanup(func() { c.Close() })
		p.send = func(ctx context.Context, packet transport.Packet) error {
			return c.Send(ctx, "ws"+strings.TrimPrefix(a.url, "http"), packet)
		}
		return p
	}
	c, err := httptransport.NewClient(httptransport.ClientConfig{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	c.Bind(transport.HandlerFunc(p.serve))
	t.Cleanup(func() { c.Close() })
	p.send = func(ctx context.Context, packet transport.Packet) error { return c.Send(ctx, a.url, packet) }
	return p
}

// Whatever peers answer to what they are sent, the agent falls silent towards each
// after a few messages, but for one in the response to each POST and the acks and
// ping-responses that are asked for on a connection. It serves others meanwhile:
// the peers without a limit go on at least until a ping is answered.
func TestStorm(t *testing.T) {
	a, who := run(t, "--answer-burst", strconv.Itoa(answerBurst), "--answers-per-hour", "1")
	ping := func() { who.run("", "ping", "--timeout", "1m", a.did) }
	served := make(chan struct{})
	var peers []*stormPeer
	names := make(map[*stormPeer]string)
	for name, s := range storms() {
		for _, by := range []way{byEndpoint, bySocket, byPOST} {
			p := newStormPeer(t, s, a, by, served)
			peers, names[p] = append(peers, p), name+" "+string(by)
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
	ping()
	close(served)
	late, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, p := range peers {
		select {
		case <-p.enough:
		case <-late.Done():
			t.Errorf("%s: not all came", names[p])
		}
	}
	for begun := time.Now(); time.Since(begun) < *stormTime; {
		ping()
		time.Sleep(min(time.Second, *stormTime/3))
	}
	stop()
	running.Wait()
	for _, p := range peers {
		p.mu.Lock()
		if p.want != noLimit && len(p.got) != p.want {
			t.Errorf("%s: the agent sent %d messages, want %d: %q", names[p], len(p.got), p.want, p.got[:min(len(p.got), 30)])
		}
		if len(p.got) > p.sent {
			t.Errorf("%s: the agent sent %d messages for %d", names[p], len(p.got), p.sent)
		}
		p.mu.Unlock()
	}
}
