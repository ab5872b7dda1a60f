package agent_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// A party that has ended the relationship returns with its next message. The end that it has
// announced to another party at any time before does not count.
func TestPartyReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMover(t, nil)
		ends := func(at time.Time) {
			t.Helper()
			e := m.old.message(t, m.Agent, chatType, func(e *message.Message) { e.From, e.FromPrior = "", m.prove(m.old, "", at) })
			m.old.give(t, m.Agent, new(call), e, anonymously)
			m.handled.next(t)
		}
		m.sends(m.old, m.old)
		before := m.says(m.old, new(call), nil)
		m.takes(m.old)
		time.Sleep(time.Minute)
		m.says(m.old, new(call), func(e *message.Message) { e.Type = emptyType }) // is not heard
		m.takes(m.old)
		ends(time.Now().Add(-time.Second))
		wantError(t, "Send", m.Send(t.Context(), newMessage(t, m.old.DID)), contact.ErrEnded)
		m.says(m.old, new(call), nil)
		m.takes(m.old)
		for range 2 {
			time.Sleep(time.Hour)
			ended := time.Now()
			ends(ended)
			wantError(t, "Send", m.Send(t.Context(), newMessage(t, m.old.DID)), contact.ErrEnded)
			// Neither a message of before nor one that nobody has authenticated is a return.
			m.old.give(t, m.Agent, new(call), before)
			m.ignores(m.old, func(e *message.Message) { e.CreatedTime = ended.Add(-time.Second) })
			m.ignores(m.old, func(e *message.Message) { e.Type = emptyType })
			m.ignores(m.old, func(e *message.Message) { e.Type, e.Body = reportType, []byte(`{"code":"e.m.odd"}`) })
			m.old.give(t, m.Agent, new(call), m.old.message(t, m.Agent, chatType, nil), anonymously)
			m.handled.next(t)
			signed := m.old.message(t, m.Agent, chatType, func(e *message.Message) { e.To = []string{m.new.DID} })
			m.old.give(t, m.Agent, newSession(), signed, envelope.SignBy(m.old.DID), envelope.Signed())
			wantError(t, "Send", m.Send(t.Context(), newMessage(t, m.old.DID)), contact.ErrEnded)
			time.Sleep(time.Minute)
			m.says(m.old, new(call), nil)
			m.takes(m.old)
			m.sends(m.old, m.old)
			ends(ended)                       // the same again
			ends(ended.Add(30 * time.Second)) // of before its return
			m.restart()
			ends(ended)
			m.sends(m.old, m.old)
		}
	})
}

// The clock of a party may be ahead, its messages may have no created_time, and a mediator may
// have kept both its last message and the end.
func TestPartyReturnsByItsClock(t *testing.T) {
	timed := func(at time.Duration) func(*message.Message) {
		return func(e *message.Message) { e.CreatedTime = time.Now().Add(at) }
	}
	for name, c := range map[string]struct {
		ahead         time.Duration // of the iat
		before, after func(*message.Message)
		mail          bool
	}{
		"ahead":                {ahead: 4 * time.Minute, before: timed(4 * time.Minute), after: timed(4*time.Minute + time.Second)},
		"ahead, and no time":   {ahead: 4 * time.Minute},
		"no time":              {},
		"no time, in the mail": {ahead: -time.Hour, mail: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMover(t, func(cfg *agent.Config) { cfg.MailWindow = 24 * time.Hour })
				gives := func(e *message.Message, opts ...envelope.PackOption) {
					t.Helper()
					if p := m.old.pack(t, e, opts...); !c.mail {
						m.serve(new(call), p)
					} else if _, err := m.ServeMail(t.Context(), p); err != nil {
						t.Fatal(err)
					}
					m.handled.next(t)
				}
				says := func(edit func(*message.Message)) { t.Helper(); gives(m.old.message(t, m.Agent, chatType, edit)) }
				m.sends(m.old, m.old)
				says(c.before)
				end := m.prove(m.old, "", time.Now().Add(c.ahead))
				ends := func() {
					t.Helper()
					gives(m.old.message(t, m.Agent, chatType, func(e *message.Message) { e.From, e.FromPrior = "", end }), anonymously)
				}
				ends()
				wantError(t, "Send", m.Send(t.Context(), newMessage(t, m.old.DID)), contact.ErrEnded)
				time.Sleep(time.Second)
				says(c.after)
				m.sends(m.old, m.old)
				ends()
				m.sends(m.old, m.old)
			})
		})
	}
}

// A message that was in the outbox when the relationship ended is still tried.
func TestQueuedBeforeEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMover(t, nil)
		away := &stranger{Party: agenttest.NewParty(t, "mem://away")}
		queued := newMessage(t, away.DID)
		if err := m.Send(t.Context(), queued); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		m.end(away)
		wantError(t, "Send", m.Send(t.Context(), newMessage(t, away.DID)), contact.ErrEnded)
		got := make(chan transport.Packet, 10)
		err := m.n.Mem.Handle("mem://away", transport.HandlerFunc(func(_ context.Context, _ transport.Replier, p transport.Packet) error {
			got <- p
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(got) != 1 || away.open(t, <-got).Message.ID != queued.ID {
			t.Error("what was queued did not arrive")
		}
	})
}
