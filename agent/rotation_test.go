package agent_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
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

// journal keeps what is logged.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// count counts the lines of a level, and forgets all.
func (j *journal) count(level slog.Level) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer j.buf.Reset()
	return strings.Count(j.buf.String(), "level="+level.String())
}

// life is an agent that the test ends.
type life struct {
	*agent.Agent
	stop func()
}

// newLife runs an agent at mem://agent until stop is called, or the test ends.
func newLife(t *testing.T, n *agenttest.Net, cfg agent.Config) life {
	t.Helper()
	mem := n.Mem.Sender()
	cfg.Senders = map[string]transport.Sender{"mem": mem}
	a, err := agent.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	<-a.Ready()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, mem.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return life{a, stop}
}

// mover is an agent, and a party that goes by DID after DID.
type mover struct {
	life
	t        *testing.T
	n        *agenttest.Net
	cfg      agent.Config
	handled  inbox
	log      *journal
	old, new *stranger
	told     time.Time // iat of the last rotation
}

func newMover(t *testing.T, configure func(*agent.Config)) *mover {
	t.Helper()
	n := agenttest.NewNet()
	p := agenttest.NewParty(t, "mem://agent")
	m := &mover{
		t: t, n: n, handled: make(inbox, 100), log: new(journal),
		old: newStranger(t, n, "mem://old"), new: newStranger(t, n, "mem://new"), told: time.Now().Add(-time.Hour),
	}
	m.cfg = agent.Config{
		DID: p.DID, Packer: p.Packer, Handler: m.handled, Store: store.New(store.Config{}),
		Logger: slog.New(slog.NewTextHandler(m.log, nil)),
	}
	if configure != nil {
		configure(&m.cfg)
	}
	m.life = newLife(t, n, m.cfg)
	return m
}

// restart ends the agent, and begins another on the same store.
func (m *mover) restart() {
	m.t.Helper()
	m.stop()
	m.life = newLife(m.t, m.n, m.cfg)
}

// prove makes a from_prior.
func (m *mover) prove(prior *stranger, id string, at time.Time) string {
	m.t.Helper()
	jwt, err := prior.Packer.FromPrior(m.t.Context(), prior.DID, id, at)
	if err != nil {
		m.t.Fatal(err)
	}
	return jwt
}

// rotate tells the agent that prior goes by another DID, a minute after the last time.
func (m *mover) rotate(prior, to *stranger) {
	m.t.Helper()
	m.told = m.told.Add(time.Minute)
	m.says(to, new(call), func(e *message.Message) { e.FromPrior = m.prove(prior, to.DID, m.told) })
	m.takes(to)
}

// end tells the agent that prior has ended the relationship now.
func (m *mover) end(prior *stranger) {
	m.t.Helper()
	m.told = time.Now()
	e := prior.message(m.t, m.Agent, chatType, func(e *message.Message) { e.From, e.FromPrior = "", m.prove(prior, "", m.told) })
	prior.give(m.t, m.Agent, new(call), e, anonymously)
	if in := m.handled.next(m.t); in.From != "" || in.Message.ID != e.ID {
		m.t.Errorf("handled a message from %q", in.From)
	}
}

// says hands the agent a message.
func (m *mover) says(by *stranger, w transport.Replier, edit func(*message.Message)) *message.Message {
	m.t.Helper()
	e := by.message(m.t, m.Agent, chatType, edit)
	by.give(m.t, m.Agent, w, e)
	return e
}

// takes asserts that a message is handled.
func (m *mover) takes(by *stranger) {
	m.t.Helper()
	if in := m.handled.next(m.t); in.From != by.DID {
		m.t.Errorf("handled a message from %s", in.From)
	}
}

// ignores asserts that a message is neither answered nor handled, and logged once.
func (m *mover) ignores(by *stranger, edit func(*message.Message)) {
	m.t.Helper()
	m.log.count(slog.LevelWarn)
	for _, w := range []transport.Replier{new(call), newSession()} {
		e := m.says(by, w, func(e *message.Message) {
			e.PleaseAck, e.ReturnRoute = []string{""}, "all"
			if edit != nil {
				edit(e)
			}
		})
		if n := m.log.count(slog.LevelWarn); n != 1 {
			m.t.Errorf("%d warnings", n)
		}
		switch w := w.(type) {
		case *call:
			if len(w.packets) != 0 {
				m.t.Errorf("%s is answered", e.ID)
			}
		case *session:
			if len(w.packets) != 0 {
				m.t.Errorf("%s is answered on a session", e.ID)
			}
			if err := m.Push(m.t.Context(), newMessage(m.t, by.DID)); err == nil {
				m.t.Error("the session is a return route")
			}
		}
	}
	if len(m.handled) != 0 {
		m.t.Errorf("handled a message from %s", by.DID)
	}
}

// sends asserts that a message to one DID arrives at another.
func (m *mover) sends(to, at *stranger) {
	m.t.Helper()
	e := newMessage(m.t, to.DID)
	if err := m.Send(m.t.Context(), e, agent.AwaitDelivery()); err != nil {
		m.t.Fatal(err)
	}
	if got := at.next(m.t).Message; got.ID != e.ID && e.ID != "" || !slices.Equal(got.To, []string{at.DID}) {
		m.t.Errorf("to is %q", got.To)
	}
	if !slices.Equal(e.To, []string{to.DID}) {
		m.t.Errorf("the message of the caller goes to %q", e.To)
	}
}

// All that goes to a DID that its party has left goes to the DID that the party goes by.
func TestSendRotated(t *testing.T) {
	answered := func(t *testing.T, m *mover, q *message.Message) {
		asked, done := request(t, m.Agent, m.new, q)
		if !slices.Equal(asked.To, []string{m.new.DID}) || asked.ReturnRoute != "all" {
			t.Errorf("asked %q, return_route %q", asked.To, asked.ReturnRoute)
		}
		m.says(m.new, new(call), func(e *message.Message) { e.ThreadID = asked.ID })
		if r := <-done; r.err != nil || r.in.From != m.new.DID {
			t.Errorf("answered %+v, %v", r.in, r.err)
		}
	}
	for name, do := range map[string]func(t *testing.T, m *mover){
		"Send": func(t *testing.T, m *mover) { m.sends(m.old, m.new) },
		"Send to a DID URL": func(t *testing.T, m *mover) {
			e := newMessage(t, m.old.DID+"#key-2")
			if err := m.Send(t.Context(), e, agent.ToKeys(m.old.DID+"#key-1")); err != nil {
				t.Fatal(err)
			}
			if got := m.new.next(t).Message.To; !slices.Equal(got, []string{m.new.DID}) {
				t.Errorf("to is %q", got)
			}
		},
		"Send to both": func(t *testing.T, m *mover) {
			other := newStranger(t, m.n, "mem://other")
			if err := m.Send(t.Context(), newMessage(t, m.new.DID, other.DID, m.old.DID), agent.AwaitDelivery()); err != nil {
				t.Fatal(err)
			}
			for _, s := range []*stranger{m.new, other} {
				if got := s.next(t).Message.To; !slices.Equal(got, []string{m.new.DID, other.DID}) {
					t.Errorf("to is %q", got)
				}
			}
			m.new.none(t)
		},
		"Send once": func(t *testing.T, m *mover) {
			if err := m.Send(t.Context(), newMessage(t, m.old.DID), agent.Once()); err != nil {
				t.Fatal(err)
			}
			m.new.next(t)
		},
		"Send signed": func(t *testing.T, m *mover) {
			if err := m.Send(t.Context(), newMessage(t, m.old.DID), agent.SignBy(m.DID())); err != nil {
				t.Fatal(err)
			}
			m.new.next(t)
		},
		"Commit": func(t *testing.T, m *mover) {
			if err := m.Commit(t.Context(), agent.Changes{Send: []*message.Message{newMessage(t, m.old.DID)}}); err != nil {
				t.Fatal(err)
			}
			m.new.next(t)
		},
		"Request":          func(t *testing.T, m *mover) { answered(t, m, newMessage(t, m.old.DID)) },
		"Request of a key": func(t *testing.T, m *mover) { answered(t, m, newMessage(t, m.old.DID+"#key-2")) },
		"Push": func(t *testing.T, m *mover) {
			w := newSession()
			m.says(m.new, w, func(e *message.Message) { e.ReturnRoute = "all" })
			if err := m.Push(t.Context(), newMessage(t, m.old.DID)); err != nil {
				t.Fatal(err)
			}
			if got := m.new.open(t, w.next(t)).Message.To; !slices.Equal(got, []string{m.new.DID}) {
				t.Errorf("to is %q", got)
			}
		},
		"Push without a connection of the new DID": func(t *testing.T, m *mover) {
			wantError(t, "Push", m.Push(t.Context(), newMessage(t, m.old.DID)), agent.ErrNoRoute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMover(t, nil)
			m.says(m.old, newSession(), func(e *message.Message) { e.ReturnRoute = "all" })
			m.takes(m.old)
			m.sends(m.new, m.new)
			m.rotate(m.old, m.new)
			do(t, m)
			m.old.none(t)
			m.restart()
			do(t, m)
			m.old.none(t)
		})
	}
}

// An anonymous message goes where it was to go, since our recipient could tell by another
// DID who has sent it. No contact is made.
func TestAnonymousIsNotRotated(t *testing.T) {
	m := newMover(t, nil)
	m.rotate(m.old, m.new)
	m.end(m.new)
	if err := m.Send(t.Context(), newMessage(t, m.old.DID), agent.Anonymous(), agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	if got := m.old.next(t).Message; !slices.Equal(got.To, []string{m.old.DID}) {
		t.Errorf("to is %q", got.To)
	}
	list, err := m.Store().Records().List(t.Context(), store.Query{Collection: "contact", N: 10})
	if err != nil || len(list) != 2 { // of the rotation
		t.Errorf("%d records, %v", len(list), err)
	}
}

// What comes from a DID that its party has left is ignored, but for what was taken in
// before.
func TestRotatedIsIgnored(t *testing.T) {
	m := newMover(t, nil)
	answered := m.says(m.old, new(call), func(e *message.Message) { e.PleaseAck = []string{""} })
	m.takes(m.old)
	if ack := m.old.next(t).Message.Ack; !slices.Equal(ack, []string{answered.ID}) {
		t.Errorf("acked %q", ack)
	}
	m.rotate(m.old, m.new)
	m.ignores(m.old, nil)
	m.ignores(m.old, func(e *message.Message) { e.Type, e.Body = reportType, []byte(`{"code":"e.m.odd"}`) })
	m.ignores(m.old, func(e *message.Message) { e.ThreadID = answered.ID })
	m.restart()
	m.ignores(m.old, nil)
	m.old.give(t, m.Agent, new(call), answered)
	if got := m.new.next(t).Message; !slices.Equal(got.Ack, []string{answered.ID}) || len(m.handled) != 0 {
		t.Errorf("acked %q, %d handled, of what was taken in before", got.Ack, len(m.handled))
	}
	m.old.none(t)
	// Whoever claims to be the DID does not become so.
	e := m.old.message(t, m.Agent, chatType, nil)
	m.old.give(t, m.Agent, new(call), e, anonymously)
	if in := m.handled.next(t); in.From != "" {
		t.Errorf("from %s", in.From)
	}
	m.says(m.new, new(call), nil)
	m.takes(m.new)
}

// The reply that was kept is sent again, as it is.
func TestReplyFromBeforeRotation(t *testing.T) {
	m := newMover(t, func(cfg *agent.Config) { cfg.Handler = replier })
	first, again := new(call), new(call)
	e := m.says(m.old, first, func(e *message.Message) { e.ReturnRoute = "all" })
	m.says(m.new, new(call), func(e *message.Message) { e.FromPrior, e.ReturnRoute = m.prove(m.old, m.new.DID, m.told), "all" })
	m.old.give(t, m.Agent, again, e)
	if len(first.packets) != 1 || len(again.packets) != 1 || !bytes.Equal(first.packets[0].Data, again.packets[0].Data) {
		t.Errorf("%d replies, then %d", len(first.packets), len(again.packets))
	}
}

// A handler in custody is not called for what is to be ignored.
func TestRotatedInCustody(t *testing.T) {
	m := newMover(t, func(cfg *agent.Config) { cfg.Handler = custodian(cfg.Handler) })
	m.says(m.old, new(call), nil)
	m.takes(m.old)
	m.rotate(m.old, m.new)
	m.ignores(m.old, nil)
}

// An ack of the old DID does not settle a message, as one of the new DID does that proves
// to be that party.
func TestRotatedAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAckTest(t)
		sent := w.send(t)
		other := newStranger(t, agenttest.NewNet())
		jwt, err := w.stranger.Packer.FromPrior(t.Context(), w.stranger.DID, other.DID, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w.answer(t, other, chatType, func(m *message.Message) { m.FromPrior = jwt })
		w.ack(t, w.stranger, sent.ID)
		w.outboxHas(t, "after an ack of the old DID", 1)
		w.answer(t, other, emptyType, func(m *message.Message) { m.FromPrior, m.Ack = jwt, []string{sent.ID} })
		w.outboxHas(t, "after an ack of the new DID", 0)
	})
}

// Only a rotation that is newer acts, and none of a DID that was left for good.
func TestRotateAgain(t *testing.T) {
	m := newMover(t, nil)
	third := newStranger(t, m.n, "mem://third")
	claims := func(prior, to *stranger, at time.Time) {
		t.Helper()
		m.says(to, new(call), func(e *message.Message) { e.FromPrior = m.prove(prior, to.DID, at) })
		m.takes(to)
	}
	m.rotate(m.old, m.new)
	claims(m.old, third, m.told)                   // as old
	claims(m.old, third, m.told.Add(-time.Minute)) // older
	m.sends(m.old, m.new)
	claims(m.old, third, m.told.Add(time.Second)) // newer, before the party knows that we know
	m.sends(m.old, third)
	m.rotate(third, m.new)
	m.sends(m.old, m.new)
	m.ignores(third, nil)
	m.rotate(m.new, m.old) // and back
	m.sends(m.new, m.old)
	m.sends(third, m.old)
	m.sends(m.old, m.old)
	m.says(m.old, new(call), nil) // so the party knows
	m.takes(m.old)
	claims(m.new, newStranger(t, m.n), m.told.Add(time.Minute))
	m.sends(m.new, m.old)
	m.ignores(m.new, nil)
}

// A thief who has found the key of the DID that was left does not get what goes to the
// party, and cannot answer for it.
func TestRotationOfThief(t *testing.T) {
	m := newMover(t, nil)
	thief := newStranger(t, m.n, "mem://thief")
	sent, done := request(t, m.Agent, m.old, newMessage(t, m.old.DID))
	m.rotate(m.old, m.new)
	m.says(m.new, new(call), nil)
	m.takes(m.new)
	claim := m.prove(m.old, thief.DID, m.told.Add(time.Minute))
	m.log.count(slog.LevelWarn)
	m.says(thief, new(call), func(e *message.Message) { e.FromPrior, e.ThreadID = claim, sent.ID })
	m.takes(thief) // as that of any stranger
	if n := m.log.count(slog.LevelWarn); n != 1 {
		t.Errorf("%d warnings", n)
	}
	m.sends(m.old, m.new)
	thief.none(t)
	select {
	case r := <-done:
		t.Fatalf("answered: %+v", r)
	default:
	}
	m.says(m.new, new(call), func(e *message.Message) { e.FromPrior, e.ThreadID = m.prove(m.old, m.new.DID, m.told), sent.ID })
	if r := <-done; r.err != nil || r.in.From != m.new.DID {
		t.Errorf("answer %+v, %v", r.in, r.err)
	}
}

// A from_prior counts only for the sender who has proven its DID.
func TestRotationIsNotProven(t *testing.T) {
	m := newMover(t, nil)
	jwt := m.prove(m.old, m.new.DID, m.told)
	e := m.new.message(t, m.Agent, chatType, func(e *message.Message) { e.FromPrior = jwt })
	m.new.give(t, m.Agent, new(call), e, anonymously)
	if in := m.handled.next(t); in.From != "" {
		t.Errorf("from %s", in.From)
	}
	m.sends(m.old, m.old)
	m.says(m.old, new(call), nil)
	m.takes(m.old)
}

// A relationship that the party has ended is over.
func TestRelationshipEnds(t *testing.T) {
	m := newMover(t, nil)
	m.sends(m.old, m.old)
	m.rotate(m.old, m.new)
	m.end(m.new)
	for range 2 {
		for _, s := range []*stranger{m.old, m.new} {
			_, err := m.Request(t.Context(), newMessage(t, s.DID))
			wantError(t, "Request", err, contact.ErrEnded)
			wantError(t, "Send", m.Send(t.Context(), newMessage(t, s.DID)), contact.ErrEnded)
			wantError(t, "Send once", m.Send(t.Context(), newMessage(t, s.DID), agent.Once()), contact.ErrEnded)
			wantError(t, "Push", m.Push(t.Context(), newMessage(t, s.DID)), contact.ErrEnded)
			wantError(t, "Commit", m.Commit(t.Context(), agent.Changes{Send: []*message.Message{newMessage(t, s.DID)}}), contact.ErrEnded)
			m.ignores(s, func(e *message.Message) { e.CreatedTime = m.told.Add(-time.Second) })
			s.none(t)
		}
		m.restart()
	}
	// The party has begun anew by another DID.
	third := newStranger(t, m.n, "mem://third")
	m.rotate(m.new, third)
	m.sends(m.old, third)
	// Nobody else ends what is between us.
	e := m.old.message(t, m.Agent, chatType, func(e *message.Message) { e.From, e.FromPrior = "", m.prove(m.old, "", time.Now()) })
	m.old.give(t, m.Agent, new(call), e, anonymously)
	m.handled.next(t)
	m.sends(third, third)
}

// A reply to a party that has ended the relationship meanwhile fails for good.
func TestReplyToEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replied := make(chan error, 10)
		var m *mover
		m = newMover(t, func(cfg *agent.Config) {
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				if in.From == "" {
					m.handled <- in
					return nil
				}
				m.end(m.old)
				err := w.Reply(ctx, newMessage(t))
				replied <- err
				return err
			})
		})
		c := new(call)
		m.says(m.old, c, func(e *message.Message) { e.ReturnRoute, e.PleaseAck = "all", []string{""} })
		time.Sleep(time.Hour)
		if len(replied) != 1 || len(c.packets) != 0 {
			t.Fatalf("tried %d times, %d packets", len(replied), len(c.packets))
		}
		wantError(t, "Reply", <-replied, contact.ErrEnded)
		m.old.none(t)
	})
}

// What was taken in before a rotation is handled after it, by the agent and by the next
// one; what is replied goes to the new DID.
func TestHandledAfterRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		var m *mover
		m = newMover(t, func(cfg *agent.Config) {
			taken := cfg.Handler
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				if in.From != m.old.DID {
					return taken.HandleMessage(ctx, w, in)
				}
				if tries++; tries < 3 {
					return agent.Retry(time.Minute, errors.New("not yet"))
				}
				if err := taken.HandleMessage(ctx, w, in); err != nil {
					return err
				}
				return replier(ctx, w, in)
			})
		})
		e := m.says(m.old, new(call), nil)
		m.rotate(m.old, m.new)
		time.Sleep(2 * time.Minute)
		m.restart()
		time.Sleep(10 * time.Minute)
		m.takes(m.old)
		if got := m.new.next(t).Message; got.ThreadID != e.ID || !slices.Equal(got.To, []string{m.new.DID}) || tries != 3 {
			t.Errorf("thread %s, to %q, after %d tries", got.ThreadID, got.To, tries)
		}
		m.old.none(t)
	})
}

// A reply by the connection of its message goes to the new DID, if the party has rotated
// while the handler ran.
func TestReplyAfterRotation(t *testing.T) {
	for name, reply := range map[string]func(ctx context.Context, w agent.Responder) error{
		"Reply": func(ctx context.Context, w agent.Responder) error { return w.Reply(ctx, newMessage(t)) },
		"Commit": func(ctx context.Context, w agent.Responder) error {
			return w.Commit(ctx, agent.Changes{Send: []*message.Message{newMessage(t)}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m *mover
			m = newMover(t, func(cfg *agent.Config) {
				taken := cfg.Handler
				cfg.Handler = agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					if in.From != m.old.DID {
						return taken.HandleMessage(ctx, w, in)
					}
					m.rotate(m.old, m.new)
					return reply(ctx, w)
				})
			})
			c := new(call)
			m.says(m.old, c, func(e *message.Message) { e.ReturnRoute = "all" })
			if len(c.packets) != 1 {
				t.Fatalf("%d replies", len(c.packets))
			}
			if got := m.new.open(t, c.packets[0]).Message.To; !slices.Equal(got, []string{m.new.DID}) {
				t.Errorf("to is %q", got)
			}
		})
	}
}

// unreadable is a store whose records fail while it is down.
type unreadable struct {
	store.Store
	down *bool
}

var errUnreadable = errors.New("the database is down")

func (u unreadable) Commit(ctx context.Context, c *store.Changes) error {
	if *u.down {
		return errUnreadable
	}
	return u.Store.Commit(ctx, c)
}

func (u unreadable) Records() store.Records { return unreadableRecords{u.Store.Records(), u.down} }

type unreadableRecords struct {
	store.Records
	down *bool
}

func (u unreadableRecords) Get(ctx context.Context, collection, key string) (store.Record, error) {
	if *u.down {
		return store.Record{}, errUnreadable
	}
	return u.Records.Get(ctx, collection, key)
}

// When what is known of a party cannot be read or changed, the party is told to come
// again, and nothing is half done.
func TestContactsFail(t *testing.T) {
	down := false
	m := newMover(t, func(cfg *agent.Config) {
		cfg.Store = unreadable{cfg.Store, &down}
		cfg.Contacts = contact.New(cfg.Store, contact.Config{Fresh: 1})
	})
	first, second, hidden := newStranger(t, m.n, "mem://first"), newStranger(t, m.n), newStranger(t, m.n)
	for name, tt := range map[string]struct {
		by   *stranger
		edit func(*message.Message)
		opts []envelope.PackOption
		told bool // on a session
	}{
		"a message":           {by: first, edit: func(e *message.Message) { e.ReturnRoute = "all" }, told: true},
		"with an endpoint":    {by: first},
		"without an endpoint": {by: hidden, told: true},
		"a rotation": {by: second, told: true, edit: func(e *message.Message) {
			e.FromPrior = m.prove(m.old, second.DID, m.told)
		}},
		"an end": {by: first, opts: []envelope.PackOption{anonymously}, edit: func(e *message.Message) {
			e.From, e.FromPrior = "", m.prove(m.new, "", m.told)
		}},
		"an ack": {by: first, edit: func(e *message.Message) { e.Type, e.Ack = emptyType, []string{"1"} }},
	} {
		t.Run(name, func(t *testing.T) {
			e := tt.by.message(t, m.Agent, chatType, tt.edit)
			p := tt.by.pack(t, e, tt.opts...)
			down = true
			var busy *transport.BusyError
			if err := serve(t.Context(), m.Agent, new(call), p); !errors.As(err, &busy) || busy.RetryAfter <= 0 || !errors.Is(err, errUnreadable) {
				t.Errorf("by POST: %v", err)
			}
			w := newSession()
			err := serve(t.Context(), m.Agent, w, p)
			if errors.As(err, &busy) != tt.told || err == nil || len(w.packets) != 0 != tt.told {
				t.Errorf("by a session: %v, %d reports", err, len(w.packets))
			}
			if tt.told {
				if problem, err := agent.ParseProblemReport(tt.by.open(t, w.next(t)).Message); err != nil || problem.Code != busyCode {
					t.Errorf("told %+v, %v", problem, err)
				}
			}
			if len(m.handled) != 0 {
				t.Error("handled")
			}
			down = false
			if err := serve(t.Context(), m.Agent, new(call), p); err != nil {
				t.Errorf("again: %v", err)
			}
			m.handled.next(t)
		})
	}
	if now, err := m.Contacts().Current(t.Context(), m.DID(), m.old.DID); now != second.DID || err != nil {
		t.Errorf("goes by %s, %v", now, err)
	}
	_, err := m.Contacts().Current(t.Context(), m.DID(), m.new.DID)
	wantError(t, "after the end", err, contact.ErrEnded)
	down = true
	for _, opts := range [][]agent.SendOption{nil, {agent.Once()}} {
		if err := m.Send(t.Context(), newMessage(t, newStranger(t, m.n, "mem://any").DID), opts...); !errors.Is(err, errUnreadable) {
			t.Errorf("Send: %v", err)
		}
	}
}

// An answer that a Request waits for is taken even if nothing can be read or stored of
// its sender: nobody would send it again.
func TestAnswerWhileContactsFail(t *testing.T) {
	for name, by := range map[string]func(m *mover) (*stranger, string){
		"of the DID":          func(m *mover) (*stranger, string) { return m.old, "" },
		"of the one after it": func(m *mover) (*stranger, string) { return m.new, m.prove(m.old, m.new.DID, m.told) },
	} {
		t.Run(name, func(t *testing.T) {
			down := false
			m := newMover(t, func(cfg *agent.Config) {
				cfg.Store = unreadable{cfg.Store, &down}
				cfg.Contacts = contact.New(cfg.Store, contact.Config{Fresh: 1})
			})
			asked, done := request(t, m.Agent, m.old, newMessage(t, m.old.DID))
			s, jwt := by(m)
			down = true
			m.says(s, new(call), func(e *message.Message) { e.ThreadID, e.FromPrior = asked.ID, jwt })
			if r := <-done; r.err != nil || r.in.From != s.DID {
				t.Errorf("answer %+v, %v", r.in, r.err)
			}
			err := serve(t.Context(), m.Agent, new(call), s.pack(t, s.message(t, m.Agent, chatType, func(e *message.Message) { e.ThreadID = asked.ID })))
			wantError(t, "another message", err, errUnreadable)
		})
	}
}

// A message leaves even if its recipient cannot be made a contact.
func TestTooManyContacts(t *testing.T) {
	m := newMover(t, func(cfg *agent.Config) {
		cfg.Contacts = contact.New(cfg.Store, contact.Config{MaxContacts: 1, MaxStrangers: 1})
	})
	m.sends(m.old, m.old)
	m.sends(m.new, m.new)
	if n := m.log.count(slog.LevelWarn); n != 0 {
		t.Errorf("%d warnings while there is room", n)
	}
	another := newStranger(t, m.n, "mem://another")
	m.sends(another, another)
	if n := m.log.count(slog.LevelWarn); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
