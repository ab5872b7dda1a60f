package agent_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// twins is an agent with two DIDs, and a peer that must not find out that they are of one
// agent. The messages of the agent to the peer leave by connections without receipts.
type twins struct {
	*ackTest
	t             *testing.T
	first, second string
}

func newTwins(t *testing.T, h agent.Handler, configure ...func(*agent.Config)) *twins {
	t.Helper()
	n, first := agenttest.NewNet(), agenttest.NewParty(t)
	second := addKeys(t, first.Keys)
	w := &ackTest{sessionSender: new(sessionSender), outbox: store.NewOutbox(store.OutboxConfig{}), handled: make(inbox, 100)}
	if h == nil {
		h = w.handled
	}
	w.agent = n.Agent(t, h, agenttest.Configure(func(cfg *agent.Config) {
		cfg.DID, cfg.Packer, cfg.Senders["line"], cfg.Store = first.DID, first.Packer, w.sessionSender, storeOf(w.outbox, nil)
		for _, f := range configure {
			f(cfg)
		}
	}))
	w.stranger = &stranger{Party: agenttest.NewParty(t, "line://stranger")}
	return &twins{ackTest: w, t: t, first: first.DID, second: second}
}

// says hands the agent a message to one of its DIDs.
func (w *twins) says(to, typ string, edit func(*message.Message)) (*message.Message, *call) {
	w.t.Helper()
	m := w.stranger.message(w.t, w.agent, typ, func(m *message.Message) {
		m.To = []string{to}
		if edit != nil {
			edit(m)
		}
	})
	c := new(call)
	w.stranger.give(w.t, w.agent, c, m)
	return m, c
}

// takes asserts that as many messages are handled, the last of which came to a DID.
func (w *twins) takes(what string, n int, to string) {
	w.t.Helper()
	if len(w.handled) != n {
		w.t.Fatalf("%s: %d messages handled, want %d", what, len(w.handled), n)
	}
	var last *agent.Inbound
	for range n {
		last = w.handled.next(w.t)
	}
	if n > 0 && last.To != to {
		w.t.Errorf("%s: came to %s", what, last.To)
	}
}

// A message with the same id to another DID of ours is another message.
func TestSameIDToTwoDIDs(t *testing.T) {
	w := newTwins(t, nil)
	id := message.NewID()
	for _, to := range []string{w.first, w.second} {
		w.says(to, chatType, func(m *message.Message) { m.ID = id })
		w.takes("the first time", 1, to)
		w.says(to, chatType, func(m *message.Message) { m.ID = id })
		w.takes("the second time", 0, "")
	}
}

// So is one that comes while the handler runs.
func TestSameIDToTwoDIDsMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled, release := make(inbox, 10), make(chan struct{})
		w := newTwins(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			handled <- in
			<-release
			return nil
		}))
		id := message.NewID()
		for _, to := range []string{w.first, w.second} {
			go w.says(to, chatType, func(m *message.Message) { m.ID = id })
			synctest.Wait()
			if len(handled) != 1 || (<-handled).To != to {
				t.Error("not handled")
			}
		}
		close(release)
	})
}

// A message to one DID of ours says nothing of the messages that another DID has sent.
func TestHearForAnotherDID(t *testing.T) {
	for name, edit := range map[string]func(said, sent *message.Message){
		"ack":    func(said, sent *message.Message) { said.Type, said.Ack = emptyType, []string{sent.ID} },
		"answer": func(said, sent *message.Message) { said.ThreadID = sent.ID },
		"report": func(said, sent *message.Message) {
			said.Type, said.Body, said.ParentThreadID = reportType, []byte(`{"code":"e.m.odd"}`), sent.ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, nil)
				sent := w.send(t)
				w.says(w.second, chatType, func(said *message.Message) { edit(said, sent) })
				w.outboxHas(t, "after what the other DID was told", 1)
				w.says(w.first, chatType, func(said *message.Message) { edit(said, sent) })
				w.outboxHas(t, "after that", 0)
			})
		})
	}
}

// The answer to a Request comes to the DID that has asked.
func TestAnswerToAnotherDID(t *testing.T) {
	for name, edit := range map[string]func(said, asked *message.Message){
		"answer": func(said, asked *message.Message) { said.ThreadID = asked.ID },
		"report": func(said, asked *message.Message) {
			said.Type, said.Body, said.ParentThreadID = reportType, []byte(`{"code":"e.m.odd"}`), asked.ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, nil)
				done := make(chan error, 1)
				go func() {
					_, err := w.agent.Request(t.Context(), newMessage(t, w.stranger.DID), agent.From(w.second))
					done <- err
				}()
				asked := w.arrived(t)
				w.says(w.first, chatType, func(said *message.Message) { edit(said, asked) })
				synctest.Wait()
				w.takes("what came to the other DID", 1, w.first)
				if len(done) != 0 {
					t.Fatalf("ended: %v", <-done)
				}
				w.says(w.second, chatType, func(said *message.Message) { edit(said, asked) })
				var problem *message.Problem
				if err := <-done; err != nil && (name != "report" || !errors.As(err, &problem)) {
					t.Error(err)
				}
				w.takes("the answer", 0, "")
			})
		})
	}
}

// An id of a message to another DID is not acked.
func TestAckOfAnotherDID(t *testing.T) {
	w := newTwins(t, nil)
	before, _ := w.says(w.first, chatType, nil)
	for _, to := range []string{w.first, w.second} {
		m, c := w.says(to, chatType, func(m *message.Message) { m.PleaseAck, m.ReturnRoute = []string{before.ID, ""}, "all" })
		want := []string{before.ID, m.ID}
		if to == w.second {
			want = want[1:]
		}
		if ack := w.stranger.open(t, c.packets[0]).Message; !slices.Equal(ack.Ack, want) || ack.From != to {
			t.Errorf("acked %q from %s, want %q", ack.Ack, ack.From, want)
		}
	}
}

// The problems in a thread of one DID make no thread of another one unwelcome.
func TestBudgetsOfTwoDIDs(t *testing.T) {
	w := newTwins(t, nil, func(cfg *agent.Config) { cfg.MaxThreadProblems = 2 })
	const thread = "a thread"
	for range 3 {
		w.says(w.first, reportType, func(m *message.Message) { m.ThreadID, m.Body = thread, []byte(`{"code":"w.m.msg"}`) })
	}
	w.takes("reports", 3, w.first)
	w.says(w.first, chatType, func(m *message.Message) { m.ThreadID = thread })
	w.takes("in the thread with too many problems", 0, "")
	w.says(w.second, chatType, func(m *message.Message) { m.ThreadID = thread })
	w.takes("in a thread of that name", 1, w.second)
}

// The limit of messages to a peer is counted for each DID of ours apart.
func TestRatesOfTwoDIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		handler agent.Handler
		ask     []string
		want    string
	}{
		"reports": {handler: fails(message.NewProblem("e.p.me", nil)), want: reportType},
		"acks":    {handler: fails(nil), ask: []string{""}, want: emptyType},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTwins(t, tt.handler, func(cfg *agent.Config) {
					cfg.ReportBurst, cfg.ReportsPerHour, cfg.AnswerBurst, cfg.AnswersPerHour = 1, 1, 1, 1
				})
				for _, to := range []string{w.first, w.second} {
					for range 3 {
						w.says(to, chatType, func(m *message.Message) { m.PleaseAck = tt.ask })
					}
					time.Sleep(time.Second)
					sent := w.session().packets
					if len(sent) != 1 {
						t.Fatalf("%d sent for %s", len(sent), to)
					}
					if m := w.arrived(t); m.Type != tt.want || m.From != to {
						t.Errorf("%s from %s", m.Type, m.From)
					}
				}
			})
		})
	}
}

// A message of one DID does not wait for the ack of a message of another DID, even if the
// peer has chosen the same thread for both. Otherwise the peer could hold an ack back, and
// see that both DIDs are of one agent.
func TestThreadOfTwoDIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
			if in.Message.Type != chatType {
				return nil
			}
			return r.Reply(ctx, &message.Message{Type: chatType})
		}))
		for _, to := range []string{w.first, w.second} {
			w.says(to, chatType, func(m *message.Message) { m.ThreadID = "a thread" })
			synctest.Wait()
			if n := len(w.session().packets); n != 1 {
				t.Fatalf("%d replies from %s", n, to)
			}
			if m := w.arrived(t); m.From != to {
				t.Errorf("%s from %s", m.Type, m.From)
			}
		}
	})
}

// A message that a Handler commits for others is from the DID that its message came to.
func TestCommitFromTwoDIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwins(t, agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
			return r.Commit(ctx, agent.Changes{Send: []*message.Message{{Type: chatType, To: []string{in.From}}}})
		}))
		for _, to := range []string{w.first, w.second} {
			w.says(to, chatType, nil)
			if m := w.arrived(t); m.From != to {
				t.Errorf("from %s, want %s", m.From, to)
			}
		}
	})
}

// oneForm resolves DIDs to documents that do not name the other form of a did:peer:4.
type oneForm struct{ did.Resolver }

func (r oneForm) Resolve(ctx context.Context, id string) (*did.Document, error) {
	doc, err := r.Resolver.Resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	bare := *doc
	bare.AlsoKnownAs = nil
	return &bare, nil
}

// A short form that one DID knows is refused for another one, as if nobody knew it.
func TestLongFormOfTwoDIDs(t *testing.T) {
	w := newTwins(t, nil)
	peer, short := peer4(t, agenttest.NewNet(), "mem://peer")
	old := &stranger{Party: agenttest.NewParty(t)}
	nobody, unknown := peer4(t, agenttest.NewNet(), "mem://nobody")
	says := func(s *stranger, from, to string, edit func(*message.Message)) string {
		t.Helper()
		m := s.message(t, w.agent, chatType, func(m *message.Message) { m.From, m.To = from, []string{to} })
		if edit != nil {
			edit(m)
		}
		_, err := w.agent.ServePacket(t.Context(), transport.NoReply{}, s.pack(t, m, envelope.From(from)))
		var refused *transport.RejectError
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if err != nil {
			return refused.Reason
		}
		w.handled.next(t)
		return ""
	}
	keys := struct{ envelope.Keys }{peer.Keys} // that do not tell the long form either
	byShort, err := envelope.New(envelope.Config{Keys: keys, Resolver: oneForm{peer.Resolver}})
	if err != nil {
		t.Fatal(err)
	}
	prior := func(m *message.Message) {
		if m.FromPrior, err = byShort.FromPrior(t.Context(), short, old.DID, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	refusal := says(nobody, unknown, w.first, nil)
	for _, tt := range []struct {
		what     string
		s        *stranger
		from, to string
		edit     func(*message.Message)
		want     string
	}{
		{"unknown", peer, short, w.first, nil, refusal},
		{"shown", peer, peer.DID, w.first, nil, ""},
		{"to the DID that knows", peer, short, w.first, nil, ""},
		{"to another", peer, short, w.second, nil, refusal},
		{"rotation at another", old, old.DID, w.second, prior, refusal},
		{"shown to another", peer, peer.DID, w.second, nil, ""},
		{"to another then", peer, short, w.second, nil, ""},
		{"rotation then", old, old.DID, w.second, prior, ""},
	} {
		if got := says(tt.s, tt.from, tt.to, tt.edit); got != tt.want || refusal == "" {
			t.Errorf("%s: refused with %q, want %q", tt.what, got, tt.want)
		}
	}
}

// A rotation that one DID is told of changes nothing for another one.
func TestRotationOfTwoDIDs(t *testing.T) {
	w := newTwins(t, nil)
	other := &stranger{Party: agenttest.NewParty(t, "line://other")}
	jwt, err := w.stranger.Packer.FromPrior(t.Context(), w.stranger.DID, other.DID, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other.give(t, w.agent, new(call), other.message(t, w.agent, chatType, func(m *message.Message) { m.FromPrior = jwt }))
	w.takes("the rotation", 1, w.first)
	w.says(w.first, chatType, nil)
	w.takes("what is to be ignored", 0, "")
	w.says(w.second, chatType, nil)
	w.takes("what is not", 1, w.second)
	for from, by := range map[string]*stranger{w.first: other, w.second: w.stranger} {
		if err := w.agent.Send(context.Background(), newMessage(t, w.stranger.DID), agent.From(from)); err != nil {
			t.Fatal(err)
		}
		if got := by.open(t, w.session().next(t)).Message; !slices.Equal(got.To, []string{by.DID}) {
			t.Errorf("from %s to %q", from, got.To)
		}
	}
}
