package agent_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

const day = 24 * time.Hour

// windows sets the windows of an agent.
func windows(direct, mail time.Duration) agenttest.Option {
	return agenttest.Configure(func(cfg *agent.Config) { cfg.ReplayWindow, cfg.MailWindow = direct, mail })
}

// mustServe gives a packet to the agent, directly or as mail, and waits until the message is
// handled. It returns the reason if the message is refused.
func mustServe(t *testing.T, a *agent.Agent, p transport.Packet, mail bool) (refused string) {
	t.Helper()
	serve := func() (<-chan struct{}, error) { return a.ServePacket(t.Context(), new(call), p) }
	if mail {
		serve = func() (<-chan struct{}, error) { return a.ServeMail(t.Context(), p) }
	}
	handled, err := serve()
	var reject *transport.RejectError
	switch {
	case errors.As(err, &reject):
		return reject.Reason
	case err != nil:
		t.Fatal(err)
	}
	if handled != nil {
		<-handled
	}
	return ""
}

// A message is handled once, however often and late others send it again.
func TestReplayedLater(t *testing.T) {
	const direct, mail = false, true
	for name, test := range map[string]struct {
		created  func(now time.Time) time.Time
		first    bool // the way of the first packet
		again    bool // the way of the others
		opts     func(s *stranger) []envelope.PackOption
		handled  int
		accepted time.Duration // about how long the replays look accepted
		reason   string
	}{
		"now":                   {created: func(now time.Time) time.Time { return now }, handled: 1, accepted: 4 * day, reason: "message too old: its created_time is more than 96h0m0s ago"},
		"an hour ahead":         {created: func(now time.Time) time.Time { return now.Add(time.Hour) }, handled: 1, accepted: 4 * day, reason: "message too old"},
		"hours ahead":           {created: func(now time.Time) time.Time { return now.Add(23 * time.Hour) }, handled: 1, accepted: 5 * day, reason: "message too old"},
		"days ago":              {created: func(now time.Time) time.Time { return now.Add(-3 * day) }, handled: 1, accepted: day, reason: "message too old"},
		"too old":               {created: func(now time.Time) time.Time { return now.Add(-4 * day) }, reason: "message too old"},
		"anonymous":             {created: func(now time.Time) time.Time { return now }, opts: func(*stranger) []envelope.PackOption { return []envelope.PackOption{anonymously} }, handled: 1, accepted: 4 * day, reason: "message too old"},
		"signed":                {created: func(now time.Time) time.Time { return now }, opts: signedOnly, handled: 1, accepted: 4 * day, reason: "message too old"},
		"mail":                  {created: func(now time.Time) time.Time { return now }, first: mail, again: mail, handled: 1, accepted: 30 * day, reason: "message too old: its created_time is more than 720h0m0s ago"},
		"old mail":              {created: func(now time.Time) time.Time { return now.Add(-20 * day) }, first: mail, again: mail, handled: 1, accepted: 10 * day, reason: "message too old"},
		"mail, then directly":   {created: func(now time.Time) time.Time { return now.Add(-20 * day) }, first: mail, again: direct, handled: 1, reason: "message too old"},
		"directly, then mail":   {created: func(now time.Time) time.Time { return now }, first: direct, again: mail, handled: 1, accepted: 30 * day, reason: "message too old"},
		"mail that is too old":  {created: func(now time.Time) time.Time { return now.Add(-30 * day) }, first: mail, again: mail, reason: "message too old"},
		"no created_time":       {created: func(time.Time) time.Time { return time.Time{} }, handled: 3, accepted: 65 * day},
		"created_time 0":        {created: func(time.Time) time.Time { return time.Unix(0, 0) }, handled: 3, accepted: 65 * day},
		"mail, no created_time": {created: func(time.Time) time.Time { return time.Time{} }, first: mail, again: mail, handled: 3, accepted: 65 * day},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, got := agenttest.NewNet(), make(inbox, 1000)
				a, s := n.Agent(t, got, windows(4*day, 30*day)), newStranger(t, n)
				var opts []envelope.PackOption
				if test.opts != nil {
					opts = test.opts(s)
				}
				p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.CreatedTime = test.created(time.Now()) }), opts...)
				start, last, reason := time.Now(), time.Duration(-1), mustServe(t, a, p, test.first)
				for refused := 0; refused < 3 && time.Since(start) < 65*day; {
					time.Sleep(day) // virtual time
					if reason = mustServe(t, a, p, test.again); reason == "" {
						last = time.Since(start)
					} else {
						refused++
					}
				}
				if len(got) != test.handled {
					t.Errorf("handled %d times, want %d", len(got), test.handled)
				}
				if last >= 0 && (last > test.accepted || last < test.accepted-day) {
					t.Errorf("a replay looks accepted after %v, want about %v", last, test.accepted)
				}
				if !strings.HasPrefix(reason, test.reason) || (reason == "") != (test.reason == "") {
					t.Errorf("refused with %q, want %q", reason, test.reason)
				}
			})
		})
	}
}

// A message that is too far in the future is refused, since it would be forgotten before it
// is too old.
func TestCreatedInFuture(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s := n.Agent(t, got), newStranger(t, n)
	p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.CreatedTime = time.Now().Add(25 * time.Hour) }))
	if got := mustServe(t, a, p, false); got != "the created_time of the message is more than 24h0m0s in the future" {
		t.Errorf("refused with %q", got)
	}
}

// An agent without a MailWindow takes no mail.
func TestNoMail(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n)
	if _, err := a.ServeMail(t.Context(), s.pack(t, s.message(t, a, chatType, nil))); err == nil || errors.As(err, new(*transport.RejectError)) {
		t.Errorf("error %v", err)
	}
}

// The replies to mail do not leave by the connection to the mediator.
func TestReplyToMail(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, replier, windows(0, 30*day)), newStranger(t, n, "mem://stranger")
	m := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute, m.CreatedTime = "all", time.Now().Add(-10*day) })
	if reason := mustServe(t, a, s.pack(t, m), true); reason != "" {
		t.Fatalf("refused: %s", reason)
	}
	if u := s.next(t); u.Message.ThreadID != m.ID {
		t.Errorf("reply in thread %q", u.Message.ThreadID)
	}
}

// On a session, which gives no receipts, the sender of a message that is too old gets a
// report. The reports do not count as reports of the thread, since anybody could make the
// agent send them.
func TestTooOldOnSession(t *testing.T) {
	n, got := agenttest.NewNet(), make(inbox, 1)
	a, s := n.Agent(t, got, agenttest.Configure(func(cfg *agent.Config) { cfg.MaxThreadProblems = 1 })), newStranger(t, n)
	for range 5 {
		w := newSession()
		m := s.message(t, a, chatType, func(m *message.Message) {
			m.ReturnRoute, m.ThreadID, m.CreatedTime = "all", "thread", time.Now().Add(-10*day)
		})
		if err := serve(t.Context(), a, w, s.pack(t, m)); !errors.As(err, new(*transport.RejectError)) {
			t.Fatalf("error %v, want a refusal", err)
		}
		r := s.open(t, w.next(t)).Message
		if p := message.ReadProblem(r.Body); r.Type != reportType || r.ParentThreadID != "thread" || len(r.Ack) > 0 || p.Code != "e.p.msg.created-time" {
			t.Errorf("got %s in thread %q with ack %q: %v", r.Type, r.ParentThreadID, r.Ack, p)
		}
	}
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.ThreadID = "thread" }))
	got.next(t)
}

// The answer to a Request may have any created_time: it cannot be handled twice, and its
// sender may have a wrong clock.
func TestOldAnswer(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
	answered := make(chan error, 1)
	go func() {
		_, err := a.Request(context.WithoutCancel(t.Context()), newMessage(t, s.DID))
		answered <- err
	}()
	asked := s.next(t).Message
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) {
		m.ThreadID, m.CreatedTime = asked.ID, time.Unix(1516269022, 0)
	}))
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// A replay that is parked until the inbox has forgotten the message is not handled.
func TestReplayParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) { cfg.ReplayWindow = 4 * day })
		s := newStranger(t, w.net)
		p := s.pack(t, s.message(t, w.agent, chatType, func(m *message.Message) { m.CreatedTime = time.Now() }))
		mustServe(t, w.agent, p, false)
		time.Sleep(4*day - time.Hour) // virtual time
		w.set(errDown, s.DID)
		if err := serve(t.Context(), w.agent, newSession(), p); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		w.set(nil, s.DID)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		list, err := w.store.Inbox().(store.InboxAdmin).List(t.Context(), 0, 10)
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].LastError, "not opened: message too old") {
			t.Errorf("in the inbox: %+v, %v", list, err)
		}
		if len(w.got) != 1 {
			t.Errorf("handled %d times", len(w.got))
		}
	})
}
