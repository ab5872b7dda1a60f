package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// reportTypes are types of problem reports.
var reportTypes = []string{
	reportType,
	"https://didcomm.org/report-problem/1.0/problem-report",
	"https://didcomm.org/notification/1.0/problem-report",
	"https://didcomm.org/issue-credential/2.0/problem-report",
	"https://example.org/unknown/9.9/Problem_Report",
	"no protocol/problemReport",
}

// No problem report is answered, whatever its type and body, even if its handler fails or
// the report asks for an ack.
func TestReportIsNotAnswered(t *testing.T) {
	bodies := []string{`{"code":"e.p.me"}`, `{"description":{"code":"x","en":"Bad."}}`, `{}`, `{"code":[]}`}
	handlers := map[string]agent.Handler{
		"taken":   agent.NewMux(),
		"none":    nil,
		"refused": fails(message.NewProblem("e.p.me", nil)),
		"again":   fails(agent.Retry(0, errors.New("later"))),
	}
	for name, handler := range handlers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				a, s := n.Agent(t, handler), newStranger(t, n, "mem://stranger")
				c, w := new(call), newSession()
				for _, typ := range reportTypes {
					for _, body := range bodies {
						for _, route := range []string{"", "all"} {
							for _, from := range []transport.Replier{c, w} {
								m := s.message(t, a, reportType, func(m *message.Message) {
									m.Type = typ
									m.Body, m.ReturnRoute, m.ParentThreadID, m.PleaseAck = []byte(body), route, message.NewID(), []string{""}
								})
								s.give(t, a, from, m)
								s.give(t, a, from, m) // and when it arrives again
							}
						}
					}
				}
				time.Sleep(time.Hour)
				if len(c.packets) != 0 || len(w.packets) != 0 {
					t.Errorf("%d answers by exchange, %d by session", len(c.packets), len(w.packets))
				}
				s.none(t)
			})
		})
	}
}

// The Mux gives problem reports without a handler of their own to the handler of Report
// Problem 2.0.
func TestMuxReports(t *testing.T) {
	const own = "https://didcomm.org/issue-credential/2.0/problem-report"
	var got string
	take := func(name string) agent.Handler {
		return agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error { got = name; return nil })
	}
	mux := agent.NewMux(
		agent.Handle(agent.Protocol{PIURI: "https://didcomm.org/report-problem/2.0", Messages: map[string]agent.Handler{reportType: take("general")}}),
		agent.Handle(agent.Protocol{PIURI: "https://didcomm.org/issue-credential/2.0", Messages: map[string]agent.Handler{own: take("own")}}),
	)
	for _, typ := range reportTypes {
		want := "general"
		if typ == own {
			want = "own"
		}
		if err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: &message.Message{Type: typ}}); err != nil || got != want {
			t.Errorf("%s: handled by %q, %v", typ, got, err)
		}
	}
	var p *message.Problem
	if err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: &message.Message{Type: "https://didcomm.org/issue-credential/2.0/offer"}}); !errors.As(err, &p) {
		t.Errorf("another message: %v", err)
	}
}

// A problem report that names the thread of a Request ends the Request at once.
func TestRequestReported(t *testing.T) {
	for _, typ := range reportTypes {
		for name, test := range map[string]struct {
			body       string
			code, text string
			place      func(m, asked *message.Message)
		}{
			"by pthid": {`{"description":{"code":"message-parse-failure","en":"Not supported."}}`, "message-parse-failure", "Not supported.",
				func(m, asked *message.Message) { m.ParentThreadID = asked.Thread() }},
			"by thid": {`{"code":"e.p.msg","comment":"{1}?","args":[7]}`, "e.p.msg", "7?",
				func(m, asked *message.Message) { m.ThreadID = asked.Thread() }},
			"by the id of the message": {`{"code":"e.p.msg"}`, "e.p.msg", "", func(m, asked *message.Message) { m.ParentThreadID = asked.ID }},
			"unreadable":               {`{"code":{}}`, "", "", func(m, asked *message.Message) { m.ParentThreadID = asked.Thread() }},
		} {
			t.Run(name, func(t *testing.T) {
				n, got := agenttest.NewNet(), make(inbox, 1)
				a, s := n.Agent(t, got), newStranger(t, n, "mem://stranger")
				q := newMessage(t, s.DID)
				q.ThreadID = "a running thread"
				asked, done := request(t, a, s, q)
				s.give(t, a, new(call), s.message(t, a, reportType, func(m *message.Message) {
					m.Type, m.Body = typ, []byte(test.body)
					test.place(m, asked)
				}))
				r := <-done
				var p *message.Problem
				if !errors.As(r.err, &p) || p.Code != test.code || p.Text() != test.text || len(got) != 0 {
					t.Errorf("%s: error %v, %d handled", typ, r.err, len(got))
				}
			})
		}
	}
}

// Messages that begin new threads share one budget, if each names as its parent the
// message that we reported on, or our report.
func TestBudgetFollowsParents(t *testing.T) {
	for name, parent := range map[string]func(said, report *message.Message) string{
		"our report":             func(_, report *message.Message) string { return report.ID },
		"the message before":     func(said, _ *message.Message) string { return said.ID },
		"the thread before":      func(said, _ *message.Message) string { return said.Thread() },
		"the parent of a report": func(_, report *message.Message) string { return report.ParentThreadID },
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, nil), newStranger(t, n)
			pthid := ""
			var codes []string
			for range 20 {
				c := new(call)
				said := s.message(t, a, chatType, func(m *message.Message) {
					m.ReturnRoute, m.ThreadID, m.ParentThreadID = "all", message.NewID(), pthid
				})
				s.give(t, a, c, said)
				if len(c.packets) == 0 {
					continue // the peer continues without the report
				}
				report := s.open(t, c.packets[0]).Message
				p, err := agent.ParseProblemReport(report)
				if err != nil {
					t.Fatal(err)
				}
				codes, pthid = append(codes, p.Code), parent(said, report)
			}
			if len(codes) != 11 || codes[9] != message.CodeUnsupported || codes[10] != message.CodeMaxErrorsExceeded {
				t.Errorf("reports %q", codes)
			}
		})
	}
}

// A peer is sent a limited number of reports, however many threads it begins. Reports in
// the response to its POST have no limit.
func TestReportRate(t *testing.T) {
	for name, test := range map[string]struct {
		opts  []agenttest.Option
		burst int
		hour  int
	}{
		"by default": {burst: 20, hour: 10},
		"as set":     {[]agenttest.Option{agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst, cfg.ReportsPerHour = 3, 30 })}, 3, 30},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				a := n.Agent(t, nil, test.opts...)
				s, other := newStranger(t, n, "mem://stranger"), newStranger(t, n, "mem://other")
				w := newSession()
				say := func(who *stranger, w transport.Replier, route string) {
					who.give(t, a, w, who.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = route }))
					synctest.Wait()
				}
				// told returns how many reports have arrived since the last call.
				told := func() (n int) {
					for ; len(s.got) > 0; n++ {
						<-s.got
					}
					for ; len(w.packets) > 0; n++ {
						<-w.packets
					}
					return n
				}
				for range 50 { // alternately for answers to its endpoint and on its session
					say(s, new(call), "")
					say(s, w, "all")
				}
				if got := told(); got != test.burst {
					t.Errorf("%d reports at once, want %d", got, test.burst)
				}
				if say(other, new(call), ""); len(other.got) != 1 {
					t.Error("another peer heard nothing")
				}
				c := new(call)
				if say(s, c, "all"); len(c.packets) != 1 {
					t.Error("no report in the answer to a POST")
				}
				got := 0
				for range 4 * 60 {
					time.Sleep(time.Minute)
					say(s, w, "all")
					got += told()
				}
				time.Sleep(time.Second)
				say(s, w, "all")
				if got += told(); got != 4*test.hour {
					t.Errorf("%d reports in four hours, want %d", got, 4*test.hour)
				}
			})
		})
	}
}

// Acks and ping-responses have no limit by the connection of the message, and a limit by
// other ways.
func TestAnswerRate(t *testing.T) {
	const ping, pong = "https://didcomm.org/trust-ping/2.0/ping", "https://didcomm.org/trust-ping/2.0/ping-response"
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			if in.Message.Type != ping {
				return nil
			}
			m, err := message.New(pong, nil)
			if err != nil {
				return err
			}
			return w.Reply(ctx, m)
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.AnswerBurst, cfg.AnswersPerHour = 5, 3600 }))
		s := newStranger(t, n, "mem://stranger")
		// answers returns how many of twenty messages are answered.
		answers := func(typ, route string, w func() transport.Replier) (n int) {
			for range 20 {
				w := w()
				s.give(t, a, w, s.message(t, a, typ, func(m *message.Message) {
					m.ReturnRoute = route
					if typ == chatType {
						m.PleaseAck = []string{""}
					}
				}))
				synctest.Wait()
				switch w := w.(type) {
				case *call:
					n += len(w.packets)
				case *session:
					for ; len(w.packets) > 0; n++ {
						<-w.packets
					}
				}
			}
			for ; len(s.got) > 0; n++ {
				<-s.got
			}
			return n
		}
		post := func() transport.Replier { return new(call) }
		for _, typ := range []string{chatType, ping} {
			if got := answers(typ, "all", post); got != 20 {
				t.Errorf("%s: %d answers in those to the POSTs", typ, got)
			}
			if got := answers(typ, "", post); got != 5 {
				t.Errorf("%s: %d answers to its endpoint", typ, got)
			}
			w := newSession()
			if got := answers(typ, "all", func() transport.Replier { return w }); got != 20 {
				t.Errorf("%s: %d answers on the session", typ, got)
			}
			close(w.done)
			time.Sleep(3 * time.Second)
			if got := answers(typ, "", post); got != 3 {
				t.Errorf("%s: %d answers to its endpoint, three seconds later", typ, got)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A report that is not sent does not use up the ack of its message.
func TestAckWithoutReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst = 1 }))
		s := newStranger(t, n, "mem://stranger")
		for _, want := range []string{reportType, emptyType} {
			m := s.message(t, a, chatType, func(m *message.Message) { m.PleaseAck = []string{""} })
			s.give(t, a, new(call), m)
			if got := s.next(t).Message; got.Type != want || !slices.Equal(got.Ack, []string{m.ID}) {
				t.Errorf("%s with ack %q, want %s", got.Type, got.Ack, want)
			}
		}
	})
}

// Problem reports as a Credo agent sends them are understood.
func TestRecordedReports(t *testing.T) {
	files, err := filepath.Glob("testdata/credo/*.json")
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var rec struct {
				Packed  json.RawMessage `json:"packed"`
				Secrets json.RawMessage `json:"recipient_secrets"`
				Docs    []*did.Document `json:"did_docs"`
				Want    struct{ DID, Type, Thread, Code, Text string }
			}
			if err := json.Unmarshal(data, &rec); err != nil {
				t.Fatal(err)
			}
			keys, err := keyring.ParseSecrets(rec.Secrets)
			if err != nil {
				t.Fatal(err)
			}
			packer, err := envelope.New(envelope.Config{Keys: keys, Resolver: did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
				i := slices.IndexFunc(rec.Docs, func(doc *did.Document) bool { return doc.ID == id })
				if i < 0 {
					return nil, did.ErrNotFound
				}
				return rec.Docs[i], nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan *message.Problem, 1)
			handler := agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
				if m := in.Message; m.Type != rec.Want.Type || m.ThreadID+m.ParentThreadID != rec.Want.Thread {
					t.Errorf("type %s, thid %q, pthid %q", m.Type, m.ThreadID, m.ParentThreadID)
				}
				p, err := agent.ParseProblemReport(in.Message)
				got <- p
				return err
			})
			mux := agent.NewMux(agent.Handle(agent.Protocol{PIURI: "https://didcomm.org/report-problem/2.0", Messages: map[string]agent.Handler{reportType: handler}}))
			a := agenttest.NewNet().Agent(t, mux, agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = rec.Want.DID, packer }))
			if err := serve(t.Context(), a, new(call), transport.Packet{Data: rec.Packed}); err != nil {
				t.Fatal(err)
			}
			if p := <-got; p.Code != rec.Want.Code || p.Text() != rec.Want.Text {
				t.Errorf("code %q, text %q", p.Code, p.Text())
			}
		})
	}
}

// Reports that we are busy, and replies that are sent again, have the limit of answers on
// a session. Beyond that limit, the session ends instead of a busy report.
func TestAnswerRateOnSession(t *testing.T) {
	rate := agenttest.Configure(func(cfg *agent.Config) { cfg.ReportBurst, cfg.AnswerBurst = 1, 3 })
	t.Run("busy", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := agenttest.NewNet()
			a := n.Agent(t, nil, rate, agenttest.Configure(func(cfg *agent.Config) { cfg.Store = storeOf(nil, brokenInbox{store.NewInbox(store.InboxConfig{})}) }))
			s, w, told := newStranger(t, n), newSession(), 0
			for range 6 {
				m := s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" })
				err := serve(t.Context(), a, w, s.pack(t, m))
				if errors.As(err, new(*transport.BusyError)) {
					told++
				} else if err == nil {
					t.Error("a message was taken for stored")
				}
			}
			if told != 3 || len(w.packets) != 3 {
				t.Errorf("told %d times by %d packets", told, len(w.packets))
			}
		})
	})
	t.Run("again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s, w := n.Agent(t, replier, rate), newStranger(t, n), newSession()
			p := s.pack(t, s.message(t, a, chatType, func(m *message.Message) { m.ReturnRoute = "all" }))
			for range 6 {
				if err := serve(t.Context(), a, w, p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			if len(w.packets) != 4 {
				t.Errorf("replied %d times", len(w.packets))
			}
		})
	})
}
