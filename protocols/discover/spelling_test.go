package discover_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/report"
)

// credoReport reports a message as Credo reports one whose type it does not know.
func credoReport(id, typ string) *message.Message {
	return &message.Message{
		Type: "https://didcomm.org/notification/1.0/problem-report", ParentThreadID: id,
		Body: []byte(`{"description":{"code":"message-parse-failure","en":"Error handling message ` + id + ` with type ` + typ + `. The message type is not supported"}}`),
	}
}

// A contact that does not know disclose gets the other answer once, and at once from then on.
// A stranger gets both answers each time.
func TestReportedAnswer(t *testing.T) {
	for name, contact := range map[string]bool{"contact": true, "stranger": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan *message.Message, 10)
				reports := make(chan string, 10)
				credo, us := agenttest.Pair(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
					got <- in.Message
					if in.Message.Type == discover.TypeDisclosures {
						return nil
					}
					return w.Reply(ctx, credoReport(in.Message.ID, in.Message.Type))
				}), agent.NewMux(discover.Handle(), report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, _ *message.Problem) error {
					reports <- in.Message.ParentThreadID
					return nil
				})))
				if contact {
					if err := us.Contacts().Keep(t.Context(), us.DID(), credo.DID()); err != nil {
						t.Fatal(err)
					}
				}
				ask := func() (types []string) {
					t.Helper()
					m, err := message.New(discover.TypeQueries, discover.QueriesBody{Queries: protocol("*")})
					if err != nil {
						t.Fatal(err)
					}
					m.ID, m.To = message.NewID(), []string{us.DID()}
					if err := credo.Send(t.Context(), m); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					for len(got) > 0 {
						answer := <-got
						var body discover.DiscloseBody
						if err := answer.DecodeBody(&body); err != nil || len(body.Disclosures) != 2 || answer.ThreadID != m.ID {
							t.Errorf("answer %+v, %v", answer, err)
						}
						types = append(types, answer.Type)
					}
					return types
				}
				if types := ask(); len(types) != 2 || types[0] != discover.TypeDisclose || types[1] != discover.TypeDisclosures {
					t.Errorf("first answers %q", types)
				}
				want := 1
				if !contact {
					want = 2
				}
				if types := ask(); len(types) != want || types[want-1] != discover.TypeDisclosures {
					t.Errorf("second answers %q", types)
				}
				if len(reports) > 0 {
					t.Errorf("report about %s was not taken", <-reports)
				}
			})
		})
	}
}

// Reports that do not say that an answer of ours to their sender is not supported.
func TestReportedOtherwise(t *testing.T) {
	for name, edit := range map[string]func(m *message.Message){
		"of another message": func(m *message.Message) { m.ParentThreadID = "another" },
		"of a body that is not valid": func(m *message.Message) {
			m.Body = []byte(`{"description":{"code":"message-parse-failure","en":"Error validating message"}}`)
		},
		"of a fault":       func(m *message.Message) { m.Body = []byte(`{"code":"e.p.me"}`) },
		"of a third party": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan *message.Message, 10)
				reports := make(chan string, 10)
				take := agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
					got <- in.Message
					return nil
				})
				n := agenttest.NewNet()
				credo, third := n.Agent(t, take), n.Agent(t, take)
				us := n.Agent(t, agent.NewMux(discover.Handle(), report.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, _ *message.Problem) error {
					reports <- in.From
					return nil
				})))
				for _, a := range []*agent.Agent{credo, third} {
					if err := us.Contacts().Keep(t.Context(), us.DID(), a.DID()); err != nil {
						t.Fatal(err)
					}
				}
				m, err := message.New(discover.TypeQueries, discover.QueriesBody{Queries: protocol("*")})
				if err != nil {
					t.Fatal(err)
				}
				m.To = []string{us.DID()}
				if err := credo.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				answer := <-got
				complaint, by := credoReport(answer.ID, answer.Type), third
				if edit != nil {
					by = credo
					edit(complaint)
				}
				complaint.To = []string{us.DID()}
				if err := by.Send(t.Context(), complaint); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if len(got) > 0 {
					t.Errorf("answered by %s", (<-got).Type)
				}
				if len(reports) != 1 || <-reports != by.DID() {
					t.Error("the report was taken")
				}
				for _, a := range []*agent.Agent{credo, third} {
					if d, err := us.Contacts().Dialect(t.Context(), us.DID(), a.DID()); err != nil || len(d.Lacks) > 0 {
						t.Errorf("dialect %+v, %v", d, err)
					}
				}
			})
		})
	}
}

// Ask records how it was answered, and forgets all that was known of a party whose features
// have changed. The order of features does not matter.
func TestAskLearns(t *testing.T) {
	bodies := make(chan string, 1)
	us, credo := agenttest.Pair(t, nil, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		return w.Reply(ctx, &message.Message{Type: discover.TypeDisclosures, Body: []byte(<-bodies)})
	}))
	const (
		a = `{"feature-type":"protocol","id":"https://didcomm.org/a/1.0","roles":["x","y"]}`
		b = `{"feature-type":"protocol","id":"https://didcomm.org/b/1.0"}`
	)
	dialect := func() contact.Dialect {
		t.Helper()
		d, err := us.Contacts().Dialect(t.Context(), us.DID(), credo.DID())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, test := range []struct {
		body    string
		queries []discover.Query
		kept    bool
	}{
		{`{"disclosures":[` + a + `,` + b + `]}`, protocol("*"), true},
		{`{"disclosures":[` + b + `,` + a + `]}`, protocol("*"), true},
		{`{"disclosures":[` + a + `,` + b + `,` + a + `]}`, protocol("*"), false},
		{`{"disclosures":[` + a + `]}`, protocol("https://didcomm.org/a/*"), true}, // another query
		{`{"disclosures":[]}`, protocol("https://didcomm.org/a/*"), false},
	} {
		if err := us.Contacts().Learn(t.Context(), us.DID(), credo.DID(), func(d *contact.Dialect) { d.Lacked("https://didcomm.org/old/1.0") }); err != nil {
			t.Fatal(err)
		}
		before := dialect()
		bodies <- test.body
		if _, err := discover.Ask(t.Context(), us, credo.DID(), test.queries...); err != nil {
			t.Fatal(err)
		}
		d := dialect()
		if !slices.Contains(d.Speaks, discover.TypeDisclosures) || !d.NoAcks {
			t.Errorf("%s: dialect %+v", test.body, d)
		}
		if len(before.Lacks) > 0 && slices.Contains(d.Lacks, "https://didcomm.org/old/1.0") != test.kept {
			t.Errorf("%s: kept %v, want %v", test.body, d.Lacks, test.kept)
		}
	}
}
