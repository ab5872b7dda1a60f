package agent_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
)

// Threads with the same parent, an invitation, do not count towards each other's limit,
// whether the reports are sent or received. A new thread is handled, and can answer a
// Request.
func TestBudgetOfInvitation(t *testing.T) {
	const invitation = "invitation"
	for name, typ := range map[string]string{"reports of the peer": reportType, "reports to the peer": chatType} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, got := agenttest.NewNet(), make(inbox, 30)
				a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
				say := func(typ, thread string) {
					s.give(t, a, new(call), s.message(t, a, typ, func(m *message.Message) {
						m.ThreadID, m.ParentThreadID, m.Body = thread, invitation, []byte(`{"code":"w.m.msg"}`)
					}))
				}
				say(reportType, message.NewID()) // from now on the invitation has a tally
				got.next(t)
				var last string
				for range 20 {
					last = message.NewID()
					say(typ, last)
					if typ == chatType {
						if err := a.Report(t.Context(), got.next(t), message.NewProblem("w.m.me", nil)); err != nil && !errors.Is(err, agent.ErrNotReported) {
							t.Fatal(err)
						}
					} else if len(got) > 0 {
						got.next(t)
					}
				}
				for range 2 {
					say(chatType, last)
					say(chatType, message.NewID())
					if len(got) != 2 {
						t.Fatalf("%d messages handled", len(got))
					}
					got.next(t)
					got.next(t)
				}
			})
		})
	}
}

// The messages of a thread are dropped until an hour after its last report, and then
// handled again.
func TestBudgetRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, got := agenttest.NewNet(), make(inbox, 100)
		a, s := n.Agent(t, got), newStranger(t, n)
		// handled returns how many of n messages are handled.
		handled := func(typ string, count int) int {
			before := len(got)
			for range count {
				s.give(t, a, new(call), s.message(t, a, typ, func(m *message.Message) {
					m.ThreadID, m.Body = "T", []byte(`{"code":"w.m.msg"}`)
				}))
			}
			return len(got) - before
		}
		for range 2 {
			if n := handled(reportType, 20); n != 11 {
				t.Errorf("%d of 20 reports handled", n)
			}
			for range 59 {
				time.Sleep(time.Minute)
				if n := handled(chatType, 1); n != 0 {
					t.Fatal("a message of a thread with too many problems was handled")
				}
			}
			time.Sleep(time.Minute)
			if n := handled(chatType, 20); n != 20 {
				t.Errorf("%d of 20 messages handled, an hour later", n)
			}
		}
	})
}

// A thread with too many problems still answers Requests.
func TestRequestOverBudget(t *testing.T) {
	for name, place := range map[string]func(m *message.Message, thread string){
		"thid":  func(m *message.Message, thread string) { m.ThreadID = thread },
		"pthid": func(m *message.Message, thread string) { m.ParentThreadID = thread },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
				ask := func(typ string) error {
					q := newMessage(t, s.DID)
					q.ThreadID = "T"
					_, done := request(t, a, s, q)
					s.give(t, a, new(call), s.message(t, a, typ, func(m *message.Message) {
						m.Body = []byte(`{"code":"e.p.msg"}`)
						place(m, "T")
						if typ == chatType {
							m.ThreadID = "T"
						}
					}))
					return (<-done).err
				}
				for i := range 15 {
					if err := ask(reportType); !errors.As(err, new(*message.Problem)) {
						t.Errorf("request %d: %v", i+1, err)
					}
				}
				if err := ask(chatType); err != nil {
					t.Errorf("the last request: %v", err)
				}
			})
		})
	}
}
