package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

const (
	addType   = "https://example.org/count/1.0/add"
	countType = "https://example.org/count/1.0/count"
)

// counts is a Handler that counts the messages of addType in a record, and answers each
// with the count. A test changes a commit by edit.
type counts struct {
	edit func(ctx context.Context, w agent.Responder, in *agent.Inbound, c *agent.Changes) error

	mu    sync.Mutex
	calls int
}

const counters = "counter" // the collection

// read is the counter, which may not be there yet.
func readCount(ctx context.Context, st store.Store) (store.Record, int, error) {
	r, err := st.Records().Get(ctx, counters, "a")
	if errors.Is(err, store.ErrNotFound) {
		return store.Record{Collection: counters, Key: "a"}, 0, nil
	}
	if err != nil {
		return r, 0, err
	}
	n, err := strconv.Atoi(string(r.Value))
	return r, n, err
}

// countMessage makes a message that tells a count.
func countMessage(n int, to ...string) *message.Message {
	return &message.Message{Type: countType, To: to, Body: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// countOf is what a message tells.
func countOf(t testing.TB, m *message.Message) int {
	t.Helper()
	var body struct {
		N int `json:"n"`
	}
	if err := m.DecodeBody(&body); err != nil || m.Type != countType {
		t.Fatalf("answered with %s, %v", m.Type, err)
	}
	return body.N
}

func (h *counts) HandleMessage(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
	if in.Message.Type != addType { // an ack, or a report
		return nil
	}
	h.mu.Lock()
	h.calls++
	h.mu.Unlock()
	r, n, err := readCount(ctx, w.Agent().Store())
	if err != nil {
		return agent.Retry(0, err)
	}
	r.Value = strconv.AppendInt(nil, int64(n+1), 10)
	c := agent.Changes{Put: []store.Record{r}, Send: []*message.Message{countMessage(n + 1)}}
	if h.edit != nil {
		if err := h.edit(ctx, w, in, &c); err != nil {
			return err
		}
	}
	return w.Commit(ctx, c)
}

// called is how often the Handler was.
func (h *counts) called() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

// spied is a Store that calls hooks for each Commit: before and after for one that changes
// a counter, other for one of contacts. The error of a hook is the error of the Commit.
type spied struct {
	store.Store
	before, other func(c *store.Changes) error
	after         func(c *store.Changes, err error) error
}

func (s *spied) Commit(ctx context.Context, c *store.Changes) error {
	before, after := s.before, s.after
	if !slices.ContainsFunc(c.Put, func(r store.Record) bool { return r.Collection == counters }) {
		before, after = s.other, nil
	}
	if before != nil {
		if err := before(c); err != nil {
			return err
		}
	}
	err := s.Store.Commit(ctx, c)
	if after != nil {
		return after(c, err)
	}
	return err
}

// commitWorld is an agent that counts.
type commitWorld struct {
	*counts
	*spied
	net   *agenttest.Net
	agent *agent.Agent
}

func newCommitWorld(t *testing.T, cfg store.Config, configure ...func(*agent.Config)) *commitWorld {
	t.Helper()
	w := &commitWorld{counts: new(counts), spied: &spied{Store: store.New(cfg)}, net: agenttest.NewNet()}
	w.agent = w.net.Agent(t, w.counts, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Store = w.spied
		for _, f := range configure {
			f(cfg)
		}
	}))
	return w
}

// has asserts what the record counts, and how many items are in the outbox.
func (w *commitWorld) has(t *testing.T, what string, count, items int) {
	t.Helper()
	_, n, err := readCount(t.Context(), w.Store)
	list, failed := w.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 1000)
	if err != nil || failed != nil {
		t.Fatalf("%v, %v", err, failed)
	}
	if n != count || len(list) != items {
		t.Errorf("%s: counted %d, want %d; %d items in the outbox, want %d", what, n, count, len(list), items)
	}
}

// add is a message that the agent counts.
func (w *commitWorld) add(t *testing.T, s *stranger, edit func(*message.Message)) *message.Message {
	t.Helper()
	return s.message(t, w.agent, addType, edit)
}

// What a Handler has committed and its answer go together, whatever way the answer goes,
// and also when the message comes again.
func TestCommit(t *testing.T) {
	asks := func(how string) func(*message.Message) {
		return func(m *message.Message) { m.ReturnRoute, m.PleaseAck = how, []string{""} }
	}
	for name, tt := range map[string]struct {
		endpoint string
		edit     func(*message.Message)
		session  bool
		back     bool // the answer goes by the connection
	}{
		"POST":               {endpoint: "mem://stranger", edit: asks("all"), back: true},
		"POST of the hidden": {edit: asks(""), back: true},
		"POST of a thread":   {endpoint: "mem://stranger", edit: asks("thread"), back: true},
		"session":            {endpoint: "mem://stranger", edit: asks("all"), session: true, back: true},
		"endpoint":           {endpoint: "mem://stranger", edit: asks("")},
		"endpoint, asked":    {endpoint: "mem://stranger", edit: asks("none")},
		"endpoint, session":  {endpoint: "mem://stranger", edit: asks(""), session: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, store.Config{})
				var endpoints []string
				if tt.endpoint != "" {
					endpoints = append(endpoints, tt.endpoint)
				}
				s := newStranger(t, w.net, endpoints...)
				m := w.add(t, s, tt.edit)
				p := s.pack(t, m)
				// say gives the message to the agent, and returns what goes back.
				say := func() (packets []transport.Packet) {
					var r transport.Replier = new(call)
					if tt.session {
						r = newSession()
					}
					if err := serve(t.Context(), w.agent, r, p); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					if c, ok := r.(*call); ok {
						return c.packets
					}
					for s := r.(*session); len(s.packets) > 0; {
						packets = append(packets, <-s.packets)
					}
					return packets
				}
				first, answers := say(), []*message.Message(nil)
				for _, p := range first {
					answers = append(answers, s.open(t, p).Message)
				}
				if tt.back != (len(first) == 1) {
					t.Fatalf("%d answers by the connection", len(first))
				}
				if !tt.back {
					answers = append(answers, s.next(t).Message)
				}
				s.none(t)
				a := answers[0]
				if countOf(t, a) != 1 || a.ThreadID != m.ID || a.From != w.agent.DID() || !slices.Equal(a.Ack, []string{m.ID}) {
					t.Errorf("answered with %+v", a)
				}
				w.has(t, "at first", 1, 0)
				again := say()
				if tt.back && (len(again) != 1 || !bytes.Equal(again[0].Data, first[0].Data)) {
					t.Errorf("%d other answers when it came again", len(again))
				}
				if !tt.back {
					if ack := s.next(t).Message; ack.Type != emptyType || len(again) > 0 {
						t.Errorf("came again: %+v", ack)
					}
				}
				s.none(t)
				w.has(t, "again", 1, 0)
				if w.called() != 1 {
					t.Errorf("handled %d times", w.called())
				}
				if got := states(t, w.Inbox()); !slices.Equal(got, []store.State{store.Done}) {
					t.Errorf("the message is %v", got)
				}
			})
		})
	}
}

// watched is a Replier that looks at the moment of a reply.
type watched struct {
	call
	look func(ctx context.Context)
}

func (w *watched) Reply(ctx context.Context, p transport.Packet) error {
	w.look(ctx)
	return w.call.Reply(ctx, p)
}

// When a reply is written to the connection, what it tells is durable. It is written
// though the Handler has no time left by then.
func TestCommitBeforeReply(t *testing.T) {
	w := newCommitWorld(t, store.Config{})
	w.edit = func(ctx context.Context, r agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
		ctx, cancel := context.WithCancel(ctx)
		w.after = func(_ *store.Changes, err error) error {
			cancel()
			return err
		}
		err := r.Commit(ctx, *c)
		if err == nil {
			err = errDone
		}
		return err
	}
	s, looked := newStranger(t, w.net), 0
	r := &watched{look: func(ctx context.Context) {
		looked++
		w.has(t, "at the reply", 1, 0)
		if got := states(t, w.Inbox()); !slices.Equal(got, []store.State{store.Done}) || ctx.Err() != nil {
			t.Errorf("the message is %v, %v", got, ctx.Err())
		}
	}}
	s.give(t, w.agent, r, w.add(t, s, nil))
	if looked != 1 || len(r.packets) != 1 {
		t.Errorf("replied %d times", looked)
	}
}

// errDone is what a Handler returns that has committed by itself.
var errDone = errors.New("committed already")

// A message that comes again while its Handler runs gets the reply by both connections.
func TestCommitCameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCommitWorld(t, store.Config{})
		w.edit = func(ctx context.Context, r agent.Responder, in *agent.Inbound, c *agent.Changes) error {
			time.Sleep(time.Second)
			return r.Reply(ctx, countMessage(0)) // before the Commit
		}
		s, first, again := newStranger(t, w.net), newSession(), newSession()
		m := w.add(t, s, func(m *message.Message) { m.ReturnRoute = "all" })
		s.give(t, w.agent, first, m)
		s.give(t, w.agent, again, m)
		time.Sleep(time.Minute)
		synctest.Wait()
		last := newSession()
		s.give(t, w.agent, last, m)
		for _, c := range []*session{first, again, last} {
			for i := range 2 {
				if n := countOf(t, s.open(t, c.next(t)).Message); n != i {
					t.Errorf("reply %d tells %d", i, n)
				}
			}
		}
		w.has(t, "at last", 1, 0)
	})
}

// What goes to others is committed with the rest.
func TestCommitToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCommitWorld(t, store.Config{})
		s, one, two := newStranger(t, w.net, "mem://stranger"), newStranger(t, w.net, "mem://one"), newStranger(t, w.net, "mem://two")
		var commits []store.Changes
		w.before = func(c *store.Changes) error {
			commits = append(commits, *c)
			return nil
		}
		w.edit = func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
			c.Send = append(c.Send, countMessage(7, one.DID, two.DID), countMessage(8, one.DID))
			return nil
		}
		s.give(t, w.agent, newSession(), w.add(t, s, nil))
		synctest.Wait()
		if n := countOf(t, s.next(t).Message); n != 1 {
			t.Errorf("answered with %d", n)
		}
		if m, n := one.next(t).Message, one.next(t).Message; countOf(t, m)+countOf(t, n) != 7+8 {
			t.Errorf("sent %s and %s", m.Body, n.Body)
		}
		if m := two.next(t).Message; countOf(t, m) != 7 || m.ThreadID != "" || m.From != w.agent.DID() {
			t.Errorf("sent %+v", m)
		}
		for _, s := range []*stranger{s, one, two} {
			s.none(t)
		}
		if len(commits) != 1 || len(commits[0].Enqueue) != 4 || commits[0].Ack == nil {
			t.Errorf("%d commits, %+v", len(commits), commits)
		}
	})
}

// Where a part of a commit fails, nothing of it takes effect, and the message is handled
// again if that may help.
func TestCommitFails(t *testing.T) {
	full := store.Config{Outbox: store.OutboxConfig{MaxItems: 1}, Records: store.RecordsConfig{MaxItems: 1}}
	for name, tt := range map[string]struct {
		cfg       store.Config
		fail      func(t *testing.T, w *commitWorld, in *agent.Inbound, c *agent.Changes) // in the first call
		mend      func(t *testing.T, w *commitWorld)                                      // a minute later
		anonymous bool
		want      error
		lasts     bool // the error is none to try again for
		state     store.State
		count     int // before, for which the others are to blame
	}{
		"changed meanwhile": {
			fail: func(t *testing.T, w *commitWorld, _ *agent.Inbound, _ *agent.Changes) {
				r, _, err := readCount(t.Context(), w.Store)
				if err == nil {
					r.Value = []byte("10")
					_, err = w.Records().Put(t.Context(), r)
				}
				if err != nil {
					t.Error(err)
				}
			}, want: store.ErrVersion, state: store.Done, count: 10,
		},
		"deleted meanwhile": {
			fail: func(_ *testing.T, _ *commitWorld, _ *agent.Inbound, c *agent.Changes) {
				c.Delete = []store.Record{{Collection: counters, Key: "gone"}}
			}, want: store.ErrNotFound, state: store.Done,
		},
		"a full outbox": {
			cfg: full,
			fail: func(t *testing.T, w *commitWorld, _ *agent.Inbound, _ *agent.Changes) {
				if err := w.Outbox().Enqueue(t.Context(), store.Item{ID: "other", To: "did:other", Thread: "other", Deadline: time.Now().Add(time.Hour)}); err != nil {
					t.Error(err)
				}
			},
			mend: func(t *testing.T, w *commitWorld) {
				if err := w.Outbox().(store.OutboxAdmin).Drop(t.Context(), "other"); err != nil && !errors.Is(err, store.ErrNotFound) {
					t.Error(err)
				}
			},
			want: store.ErrFull, state: store.Done,
		},
		"full records": {
			cfg: full,
			fail: func(_ *testing.T, _ *commitWorld, _ *agent.Inbound, c *agent.Changes) {
				c.Put = append(c.Put, store.Record{Collection: counters, Key: "b"})
			}, want: store.ErrFull, state: store.Done,
		},
		"a lost lease": {
			fail: func(t *testing.T, w *commitWorld, _ *agent.Inbound, _ *agent.Changes) {
				admin := w.Inbox().(store.InboxAdmin)
				list, err := admin.List(t.Context(), 0, 1)
				if err == nil {
					err = admin.Drop(t.Context(), list[0].Seq)
				}
				if err != nil {
					t.Error(err)
				}
			}, want: store.ErrLease, state: "",
		},
		"a recipient without an endpoint": {
			fail: func(t *testing.T, w *commitWorld, _ *agent.Inbound, c *agent.Changes) {
				c.Send = append(c.Send, countMessage(1, newStranger(t, w.net).DID))
			}, want: agent.ErrNoRoute, lasts: true, state: store.Buried,
		},
		"a recipient that does not exist": {
			fail: func(_ *testing.T, _ *commitWorld, _ *agent.Inbound, c *agent.Changes) {
				c.Send = append(c.Send, countMessage(1, "did:example:nobody"))
			}, want: envelope.ErrRefused, lasts: true, state: store.Buried,
		},
		"a recipient that has left": {
			fail: func(t *testing.T, w *commitWorld, in *agent.Inbound, c *agent.Changes) {
				gone := newStranger(t, w.net, "mem://gone")
				if _, err := w.agent.Contacts().Rotate(t.Context(), in.To, contact.Rotation{Prior: gone.DID, IssuedAt: time.Now()}); err != nil {
					t.Error(err)
				}
				c.Send = append(c.Send, countMessage(1, gone.DID))
			}, want: contact.ErrEnded, lasts: true, state: store.Buried,
		},
		"too many names": {
			fail: func(_ *testing.T, _ *commitWorld, _ *agent.Inbound, c *agent.Changes) {
				c.Put[0].Index = strings.Split("123456789", "")
			}, want: store.ErrIndex, lasts: true, state: store.Buried,
		},
		"nobody to answer": {
			fail: func(*testing.T, *commitWorld, *agent.Inbound, *agent.Changes) {}, anonymous: true,
			want: agent.ErrUnauthenticated, lasts: true, state: store.Buried,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, tt.cfg)
				s := newStranger(t, w.net, "mem://stranger")
				var errs []error
				w.edit = func(ctx context.Context, r agent.Responder, in *agent.Inbound, c *agent.Changes) error {
					if len(errs) > 0 {
						return nil
					}
					_, before, err := readCount(ctx, w.Store)
					if err != nil {
						t.Error(err)
					}
					tt.fail(t, w, in, c)
					err = r.Commit(ctx, *c)
					errs = append(errs, err)
					if _, n, _ := readCount(ctx, w.Store); n != max(before, tt.count) {
						t.Errorf("counted %d after the error", n)
					}
					if got := states(t, w.Inbox()); name != "a lost lease" && !slices.Equal(got, []store.State{store.Leased}) {
						t.Errorf("after the error the message is %v", got)
					}
					s.none(t)
					return err
				}
				var opts []envelope.PackOption
				if tt.anonymous {
					opts = []envelope.PackOption{envelope.ContentEncryption(envelope.A256GCM)}
				}
				s.give(t, w.agent, newSession(), w.add(t, s, func(m *message.Message) { m.PleaseAck = []string{""} }), opts...)
				synctest.Wait()
				if len(errs) != 1 {
					t.Fatalf("%d commits failed", len(errs))
				}
				wantError(t, "Commit", errs[0], tt.want)
				if tt.mend != nil {
					tt.mend(t, w)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				want := tt.count + 1
				if tt.state != store.Done {
					want = 0
				}
				w.has(t, "at last", want, 0)
				if got := states(t, w.Inbox()); tt.state != "" && !slices.Equal(got, []store.State{tt.state}) {
					t.Errorf("at last the message is %v", got)
				}
				if calls := w.called(); (calls == 1) != (tt.state != store.Done) {
					t.Errorf("called %d times", calls)
				}
				counted, acked := 0, 0
				for len(s.got) > 0 {
					m := s.next(t).Message
					acked += len(m.Ack)
					if m.Type == countType {
						counted++
						if n := countOf(t, m); n != want {
							t.Errorf("answered with %d, want %d", n, want)
						}
					}
				}
				if (counted == 1) != (want > 0) || counted > 1 {
					t.Errorf("%d answers", counted)
				}
				if acked == 0 && !tt.anonymous {
					t.Error("not acked")
				}
			})
		})
	}
}

// A Handler whose records others change is called again while the connection is open.
func TestCommitContended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 8
		w := newCommitWorld(t, store.Config{})
		w.edit = func(context.Context, agent.Responder, *agent.Inbound, *agent.Changes) error {
			time.Sleep(time.Second) // in which all of them read
			return nil
		}
		var wg sync.WaitGroup
		told := make([]bool, peers+1)
		for range peers {
			s, c := newStranger(t, w.net), new(call)
			p := s.pack(t, w.add(t, s, nil))
			wg.Go(func() {
				if err := serve(t.Context(), w.agent, c, p); err != nil || len(c.packets) != 1 {
					t.Errorf("%d replies, %v", len(c.packets), err)
					return
				}
				told[countOf(t, s.open(t, c.packets[0]).Message)] = true
			})
		}
		wg.Wait()
		w.has(t, "at last", peers, 0)
		if slices.Contains(told[1:], false) || w.called() != peers*(peers+1)/2 {
			t.Errorf("told %v, %d calls", told, w.called())
		}
	})
}

// A Handler that asks in vain for records as they were is not called for ever.
func TestCommitInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCommitWorld(t, store.Config{})
		attempts := 0
		w.edit = func(_ context.Context, r agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
			c.Put[0].Version = 1 << 40
			attempts = r.Attempt()
			return nil
		}
		s := newStranger(t, w.net, "mem://stranger")
		s.give(t, w.agent, newSession(), w.add(t, s, nil))
		time.Sleep(time.Hour)
		synctest.Wait()
		w.has(t, "at last", 0, 0)
		if got := states(t, w.Inbox()); !slices.Equal(got, []store.State{store.Buried}) || w.called() > 100 || attempts < 5 {
			t.Errorf("the message is %v after %d calls, attempt %d", got, w.called(), attempts)
		}
		if m := s.next(t).Message; m.Type != reportType {
			t.Errorf("told %s", m.Type)
		}
	})
}

// What a Handler does after its Commit changes nothing of that.
func TestCommitThen(t *testing.T) {
	for name, tt := range map[string]struct {
		then func() error
		told bool // a problem
	}{
		"an error":   {then: func() error { return errors.New("too late") }},
		"a problem":  {then: func() error { return message.NewProblem("e.m.msg", nil) }, told: true},
		"a retry":    {then: func() error { return agent.Retry(0, errors.New("again")) }, told: true},
		"a conflict": {then: func() error { return agent.Retry(0, store.ErrVersion) }, told: true},
		"a panic":    {then: func() error { panic("x") }, told: true},
	} {
		for way, how := range map[string]string{"connection": "all", "endpoint": "none"} {
			t.Run(name+" "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newCommitWorld(t, store.Config{})
					w.edit = func(ctx context.Context, r agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
						if err := r.Commit(ctx, *c); err != nil {
							t.Error(err)
						}
						return cmp.Or(tt.then(), errors.New("none"))
					}
					s, c := newStranger(t, w.net, "mem://stranger"), newSession()
					s.give(t, w.agent, c, w.add(t, s, func(m *message.Message) { m.ReturnRoute = how }))
					time.Sleep(time.Hour)
					synctest.Wait()
					w.has(t, "at last", 1, 0)
					if got := states(t, w.Inbox()); !slices.Equal(got, []store.State{store.Done}) || w.called() != 1 {
						t.Errorf("the message is %v after %d calls", got, w.called())
					}
					counted, told := 0, 0
					for len(c.packets)+len(s.got) > 0 {
						var m *message.Message
						if len(c.packets) > 0 {
							m = s.open(t, c.next(t)).Message
						} else {
							m = s.next(t).Message
						}
						switch m.Type {
						case countType:
							counted++
						case reportType:
							told++
						}
					}
					if counted != 1 || (told == 1) != tt.told || told > 1 {
						t.Errorf("%d answers, %d reports", counted, told)
					}
				})
			})
		}
	}
}

// A reply that no connection can take is in the outbox when the rest is committed: a crash
// behind the commit would lose it else, and the peer, who has a receipt, asks no more.
func TestCommitWithoutConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		hidden bool                                                                // the peer has no endpoint
		give   func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) // to the agent
		items  int                                                                 // in the outbox with the commit
		kept   int                                                                 // replies with the message
	}{
		"handled later": {give: func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) {
			w.edit = later
			s.give(t, w.agent, new(call), m)
		}, items: 1},
		"handled later, hidden": {hidden: true, give: func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) {
			w.edit = later
			s.give(t, w.agent, new(call), m)
		}, kept: 1},
		"a session that has ended": {give: func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) {
			c := newSession()
			close(c.done)
			s.give(t, w.agent, c, m)
		}, items: 1},
		"a second reply to a POST": {give: func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) {
			w.edit = func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
				c.Send = append(c.Send, countMessage(9))
				return nil
			}
			s.give(t, w.agent, new(call), m)
		}, items: 1, kept: 1},
		"a second reply on a session": {give: func(t *testing.T, w *commitWorld, s *stranger, m *message.Message) {
			w.edit = func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
				c.Send = append(c.Send, countMessage(9))
				return nil
			}
			s.give(t, w.agent, newSession(), m)
		}, kept: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, store.Config{})
				var endpoints []string
				if !tt.hidden {
					endpoints = append(endpoints, "mem://stranger")
				}
				s := newStranger(t, w.net, endpoints...)
				items, kept := -1, -1
				w.after = func(c *store.Changes, err error) error {
					if err == nil && c.Ack != nil {
						items, kept = len(c.Enqueue), len(c.Replies)
					}
					return err
				}
				m := w.add(t, s, func(m *message.Message) { m.ReturnRoute = "all" })
				tt.give(t, w, s, m)
				time.Sleep(time.Minute)
				synctest.Wait()
				w.has(t, "at last", 1, 0)
				if items != tt.items || kept != tt.kept {
					t.Errorf("committed with %d items and %d replies, want %d and %d", items, kept, tt.items, tt.kept)
				}
				for range tt.items {
					countOf(t, s.next(t).Message)
				}
				s.none(t)
				// When it comes again, it gets what is kept.
				c := newSession()
				s.give(t, w.agent, c, m)
				synctest.Wait()
				if len(c.packets) != tt.kept {
					t.Errorf("%d replies when it comes again", len(c.packets))
				}
			})
		})
	}
}

// later has a message handled again when its connection is gone.
func later(_ context.Context, r agent.Responder, _ *agent.Inbound, _ *agent.Changes) error {
	if r.Attempt() == 1 {
		return agent.Retry(0, errors.New("later"))
	}
	return nil
}

// A commit that took effect although the store said otherwise is one: the answer that was
// stored is written, and nothing is done twice.
func TestCommitUnclear(t *testing.T) {
	for name, after := range map[string]bool{"took effect": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, store.Config{})
				lost := false
				lose := func() error {
					if lost {
						return nil
					}
					lost = true
					return errors.New("connection lost at the commit")
				}
				if after {
					w.after = func(_ *store.Changes, err error) error { return cmp.Or(err, lose()) }
				} else {
					w.before = func(*store.Changes) error { return lose() }
				}
				s, c := newStranger(t, w.net, "mem://stranger"), new(call)
				s.give(t, w.agent, c, w.add(t, s, func(m *message.Message) { m.ReturnRoute = "all" }))
				time.Sleep(time.Minute)
				synctest.Wait()
				w.has(t, "at last", 1, 0)
				switch {
				case after && (len(c.packets) != 1 || w.called() != 1):
					t.Errorf("%d replies to the POST, %d calls", len(c.packets), w.called())
				case !after && (countOf(t, s.next(t).Message) != 1 || w.called() != 2):
					t.Errorf("%d calls", w.called())
				}
				s.none(t)
			})
		})
	}
}

// unanswering is a Store whose inbox does not tell what became of a message.
type unanswering struct{ store.Store }

func (s unanswering) Inbox() store.Inbox { return unansweringInbox{s.Store.Inbox()} }

type unansweringInbox struct{ store.Inbox }

func (b unansweringInbox) Add(ctx context.Context, m store.Received, d time.Duration) (*store.Lease[store.Received], *store.Known, error) {
	if d == 0 {
		return nil, nil, errDown
	}
	return b.Inbox.Add(ctx, m, d)
}

// A Commit whose outcome is not known waits for it as long as its Handler may run, and
// acks nothing. A Commit that the store has refused does not wait.
func TestCommitWaits(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want time.Duration
	}{"unclear": {errDown, time.Minute}, "full": {store.ErrFull, 0}, "lost lease": {store.ErrLease, 0}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &commitWorld{counts: new(counts), spied: &spied{Store: unanswering{store.New(store.Config{})}}, net: agenttest.NewNet()}
				w.agent = w.net.Agent(t, w.counts, agenttest.Configure(func(cfg *agent.Config) { cfg.Store, cfg.MinBackoff = w.spied, time.Millisecond }))
				s := newStranger(t, w.net, "mem://stranger")
				w.before = func(*store.Changes) error {
					w.before = nil
					return tt.err
				}
				w.edit = func(ctx context.Context, r agent.Responder, in *agent.Inbound, c *agent.Changes) error {
					if r.Attempt() > 1 {
						return nil
					}
					begin := time.Now()
					err := r.Commit(ctx, *c)
					wantError(t, "Commit", err, tt.err)
					if took := time.Since(begin); took < tt.want*9/10 || took > tt.want {
						t.Errorf("it took %v", took)
					}
					s.none(t)
					return err
				}
				s.give(t, w.agent, newSession(), w.add(t, s, func(m *message.Message) { m.PleaseAck = []string{""} }))
				time.Sleep(time.Hour)
				synctest.Wait()
				w.has(t, "at last", 1, 0)
			})
		})
	}
}

// The limits on what one peer is sent hold for a Commit.
func TestCommitLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		typ   string
		gone  bool // the connection cannot take it
		deaf  bool // nor the session
		sent  int  // of three, by the outbox
		acked int  // besides, in messages of their own
	}{
		"reports":                    {typ: reportType, sent: 1, acked: 2},
		"pongs":                      {typ: "https://didcomm.org/trust-ping/2.0/ping-response", sent: 1},
		"pongs for a lost POST":      {typ: "https://didcomm.org/trust-ping/2.0/ping-response", gone: true, sent: 1},
		"reports for a lost POST":    {typ: reportType, gone: true, sent: 1},
		"reports on a deaf session":  {typ: reportType, deaf: true, sent: 1},
		"what is asked for, and not": {typ: countType, sent: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, store.Config{}, func(cfg *agent.Config) {
					cfg.ReportBurst, cfg.ReportsPerHour, cfg.AnswerBurst, cfg.AnswersPerHour = 1, 1, 1, 1
					if tt.acked > 0 {
						cfg.AnswerBurst = 10
					}
				})
				w.edit = func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
					c.Send[0].Type, c.Send[0].Body = tt.typ, []byte(`{"code":"e.m.x"}`)
					return nil
				}
				s := newStranger(t, w.net, "mem://stranger")
				for range 3 {
					c := new(call)
					m := w.add(t, s, nil)
					if tt.acked > 0 {
						m.PleaseAck = []string{""}
					}
					if tt.gone {
						c.packets, m.ReturnRoute = make([]transport.Packet, 1), "all"
					}
					if tt.deaf {
						m.ReturnRoute = "all"
						s.give(t, w.agent, deaf{make(chan struct{})}, m)
						continue
					}
					s.give(t, w.agent, c, m)
				}
				synctest.Wait()
				w.has(t, "at last", 3, 0)
				sent, acked := 0, 0
				for len(s.got) > 0 {
					switch m := s.next(t).Message; m.Type {
					case tt.typ:
						sent++
					case emptyType:
						acked += len(m.Ack)
					}
				}
				if sent != tt.sent || acked != tt.acked {
					t.Errorf("%d sent, %d acked", sent, acked)
				}
			})
		})
	}
}

// An ack that a reply had taken is owed again when the reply is not committed, and given
// where there is no reply.
func TestCommitAcks(t *testing.T) {
	for name, edit := range map[string]func(ctx context.Context, w agent.Responder, in *agent.Inbound, c *agent.Changes) error{
		"reply": nil,
		"no reply": func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
			c.Send = nil
			return nil
		},
		"second reply": func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
			c.Send = append(c.Send, countMessage(2))
			return nil
		},
		"after an error": func(ctx context.Context, w agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
			bad := *c
			bad.Put = slices.Clone(c.Put)
			bad.Put[0].Version = 1 << 40
			if err := w.Commit(ctx, bad); !errors.Is(err, store.ErrVersion) {
				return fmt.Errorf("committed: %w", err)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCommitWorld(t, store.Config{})
				w.edit = edit
				s := newStranger(t, w.net, "mem://stranger")
				m := w.add(t, s, func(m *message.Message) { m.PleaseAck = []string{""} })
				s.give(t, w.agent, newSession(), m)
				synctest.Wait()
				w.has(t, "at last", 1, 0)
				acks := 0
				for i := 0; len(s.got) > 0; i++ {
					got := s.next(t).Message
					if acks += len(got.Ack); i == 0 && len(got.Ack) != 1 {
						t.Errorf("the first message acks %q", got.Ack)
					}
				}
				if acks != 1 {
					t.Errorf("acked %d times", acks)
				}
			})
		})
	}
}

// A reply goes to the DID that its party goes by when it is committed.
func TestCommitToRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCommitWorld(t, store.Config{})
		w.edit = later
		s, next := newStranger(t, w.net, "mem://former"), newStranger(t, w.net, "mem://next")
		s.give(t, w.agent, newSession(), w.add(t, s, nil))
		if _, err := w.agent.Contacts().Rotate(t.Context(), w.agent.DID(), contact.Rotation{Prior: s.DID, DID: next.DID, IssuedAt: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if m := next.next(t).Message; countOf(t, m) != 1 || !slices.Equal(m.To, []string{next.DID}) {
			t.Errorf("answered %q", m.To)
		}
		s.none(t)
	})
}

// Agent.Commit does outside of a Handler what a Responder does in it.
func TestAgentCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCommitWorld(t, store.Config{Outbox: store.OutboxConfig{MaxItems: 3, MaxPeerItems: 2}})
		s, other := newStranger(t, w.net, "mem://stranger"), newStranger(t, w.net, "mem://other")
		commit := func(what string, want error, c agent.Changes) {
			t.Helper()
			wantError(t, what, w.agent.Commit(t.Context(), c), want)
		}
		put := []store.Record{{Collection: counters, Key: "a", Value: []byte("1")}}
		m, n := countMessage(1, s.DID), countMessage(2, s.DID, other.DID)
		commit("all", nil, agent.Changes{Put: put, Send: []*message.Message{m, n}})
		if put[0].Version == 0 || m.ID != "" || m.From != "" {
			t.Errorf("version %d, message %+v", put[0].Version, m)
		}
		synctest.Wait()
		w.has(t, "after", 1, 0)
		for _, s := range []*stranger{s, s, other} {
			countOf(t, s.next(t).Message)
		}
		put[0].Value = []byte("2")
		commit("a reply to nobody", nil, agent.Changes{Put: put})
		if err := w.agent.Commit(t.Context(), agent.Changes{Put: put, Send: []*message.Message{countMessage(1)}}); err == nil {
			t.Error("a message to nobody was committed")
		}
		former := slices.Clone(put)
		commit("the next", nil, agent.Changes{Put: put})
		commit("a former record", store.ErrVersion, agent.Changes{Put: former, Send: []*message.Message{countMessage(3, s.DID)}})
		commit("no route", agent.ErrNoRoute, agent.Changes{Put: put, Send: []*message.Message{countMessage(3, s.DID), countMessage(3, newStranger(t, w.net).DID)}})
		commit("a full outbox", store.ErrFull, agent.Changes{Put: put, Send: []*message.Message{
			countMessage(3, s.DID, other.DID), countMessage(4, s.DID, other.DID),
		}})
		synctest.Wait()
		w.has(t, "at last", 2, 0)
		s.none(t)
		commit("no record", nil, agent.Changes{Delete: put})
		w.has(t, "deleted", 0, 0)
		early, err := agent.New(agent.Config{DID: w.agent.DID(), Packer: w.agent.Packer()})
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, "before Run", early.Commit(t.Context(), agent.Changes{}), agent.ErrNotRunning)
	})
}

// The recipients of what is committed become contacts. What keeps them from that keeps
// nothing from being committed.
func TestCommitBesideContacts(t *testing.T) {
	for name, tt := range map[string]struct {
		full bool
		err  error
	}{"room": {}, "no room": {full: true}, "another is faster": {err: store.ErrVersion}, "the store fails": {err: errDown}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &commitWorld{counts: new(counts), spied: &spied{Store: store.New(store.Config{})}, net: agenttest.NewNet()}
				book := contact.New(w.spied, contact.Config{MaxContacts: 1})
				if tt.full {
					if err := book.Keep(t.Context(), "did:example:own", "did:example:first"); err != nil {
						t.Fatal(err)
					}
				}
				w.agent = w.net.Agent(t, w.counts, agenttest.Configure(func(cfg *agent.Config) { cfg.Store, cfg.Contacts = w.spied, book }))
				s, other := newStranger(t, w.net, "mem://stranger"), newStranger(t, w.net, "mem://other")
				kept := 0
				w.other = func(c *store.Changes) error {
					if kept++; c.Ack != nil || len(c.Enqueue) > 0 {
						t.Error("contacts are committed with the rest")
					}
					return tt.err
				}
				w.edit = func(_ context.Context, _ agent.Responder, _ *agent.Inbound, c *agent.Changes) error {
					c.Send = append(c.Send, countMessage(7, other.DID))
					return nil
				}
				s.give(t, w.agent, newSession(), w.add(t, s, nil))
				synctest.Wait()
				w.has(t, "at last", 1, 0)
				if countOf(t, s.next(t).Message) != 1 || countOf(t, other.next(t).Message) != 7 || w.called() != 1 || kept == 0 {
					t.Errorf("%d calls, %d commits of contacts", w.called(), kept)
				}
			})
		})
	}
}
