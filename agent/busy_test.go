package agent_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
)

// blocking is a Handler that keeps its first message until it is released.
type blocking struct {
	inbox
	release chan struct{}
	once    sync.Once
	begun   chan struct{}
}

func newBlocking() *blocking {
	return &blocking{inbox: make(inbox, 100), release: make(chan struct{}), begun: make(chan struct{})}
}

func (b *blocking) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	b.once.Do(func() {
		close(b.begun)
		<-b.release
	})
	return b.inbox.HandleMessage(ctx, w, in)
}

// smallInbox has room for one waiting message.
func smallInbox() agenttest.Option {
	return withInbox(store.NewInbox(store.InboxConfig{MaxItems: 1}))
}

// Over HTTP, a peer is asked to try again later if there is no room for its message.
func TestBusyHTTP(t *testing.T) {
	n, h := agenttest.NewNet(), newBlocking()
	a, s := n.Agent(t, h, smallInbox()), newStranger(t, n)
	srv := httptest.NewServer(httptransport.NewHandler(a, httptransport.HandlerConfig{}))
	t.Cleanup(srv.Close)
	post := func(p transport.Packet) *http.Response {
		resp, err := http.Post(srv.URL, transport.MediaTypeEncrypted, bytes.NewReader(p.Data))
		if err != nil {
			t.Error(err)
			return nil
		}
		resp.Body.Close()
		return resp
	}
	first := make(chan *http.Response)
	packet := s.pack(t, s.message(t, a, chatType, nil))
	go func() { first <- post(packet) }()
	<-h.begun
	second := s.pack(t, s.message(t, a, chatType, nil))
	resp := post(second)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "10" {
		t.Errorf("status %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	close(h.release)
	if resp := <-first; resp.StatusCode != http.StatusAccepted {
		t.Errorf("the first: %s", resp.Status)
	}
	if resp := post(second); resp.StatusCode != http.StatusAccepted {
		t.Errorf("the second, later: %s", resp.Status)
	}
	if len(h.inbox) != 2 {
		t.Errorf("%d handled", len(h.inbox))
	}
}

// On a connection without receipts, a peer is asked to try again later by a problem
// report, or by the end of the connection.
func TestBusySession(t *testing.T) {
	anonymous := []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
	for name, test := range map[string]struct {
		typ  string
		edit func(*message.Message)
		opts []envelope.PackOption
		told bool
	}{
		"asks for its answer here": {edit: func(m *message.Message) { m.ReturnRoute = "all" }, told: true},
		"does not ask":             {},
		"anonymous":                {opts: anonymous},
		"a report":                 {typ: reportType, edit: func(m *message.Message) { m.ReturnRoute = "all" }},
	} {
		t.Run(name, func(t *testing.T) {
			n, h := agenttest.NewNet(), newBlocking()
			a, s := n.Agent(t, h, smallInbox()), newStranger(t, n, "mem://stranger")
			s.give(t, a, newSession(), s.message(t, a, chatType, nil))
			<-h.begun
			defer close(h.release)
			typ := test.typ
			if typ == "" {
				typ = chatType
			}
			w := newSession()
			m := s.message(t, a, typ, test.edit)
			err := serve(t.Context(), a, w, s.pack(t, m, test.opts...))
			var busy *transport.BusyError
			if err == nil || errors.As(err, &busy) != test.told || len(w.packets) == 1 != test.told {
				t.Fatalf("error %v, %d packets", err, len(w.packets))
			}
			if !test.told {
				return
			}
			report := s.open(t, w.next(t)).Message
			p, err := agent.ParseProblemReport(report)
			if err != nil || p.Code != busyCode || report.ParentThreadID != m.ID || len(report.Ack) != 0 {
				t.Errorf("told %+v in %+v, %v", p, report, err)
			}
		})
	}
}

// Over real sockets, a message is sent again until the peer has room for it, and is
// handled once.
func TestBusyPeer(t *testing.T) {
	for name, scheme := range map[string]agenttest.Option{"HTTP": agenttest.HTTP(), "WebSocket": agenttest.WebSocket()} {
		t.Run(name, func(t *testing.T) {
			h := newBlocking()
			n := agenttest.NewNet()
			bob := n.Agent(t, h, scheme, smallInbox())
			refused := make(chan struct{}, 1)
			alice := n.Agent(t, nil, scheme, agenttest.Configure(func(cfg *agent.Config) {
				cfg.MinBackoff, cfg.MaxBackoff = 10*time.Millisecond, 50*time.Millisecond
				cfg.Store = storeOf(unhurried{store.NewOutbox(store.OutboxConfig{}), refused}, nil)
			}))
			const all = 5
			sent := make(map[string]bool)
			for range all {
				m := newMessage(t, bob.DID())
				m.ID = message.NewID()
				sent[m.ID] = true
				if err := alice.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			<-h.begun
			<-refused
			close(h.release)
			for range all {
				id := h.next(t).Message.ID
				if !sent[id] {
					t.Errorf("%s was handled twice, or never sent", id)
				}
				delete(sent, id)
			}
		})
	}
}

// unhurried is an Outbox that shortens the delays that a peer asks for, and reports them
// to the test.
type unhurried struct {
	store.Outbox
	nacked chan struct{}
}

func (u unhurried) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	select {
	case u.nacked <- struct{}{}:
	default:
	}
	return u.Outbox.Nak(ctx, l, min(delay, 50*time.Millisecond), reason)
}
