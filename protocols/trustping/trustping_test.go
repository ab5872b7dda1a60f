package trustping_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

var ways = map[string][]agenttest.Option{
	"mem":              nil,
	"mem hidden":       {agenttest.Hidden()},
	"http":             {agenttest.HTTP()},
	"http hidden":      {agenttest.HTTP(), agenttest.Hidden()},
	"websocket":        {agenttest.WebSocket()},
	"websocket hidden": {agenttest.WebSocket(), agenttest.Hidden()},
}

// The response comes back over every transport, also to an agent without an endpoint.
func TestPing(t *testing.T) {
	for name, opts := range ways {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()), opts...)
			for range 3 {
				pong, err := trustping.Ping(t.Context(), alice, bob.DID())
				if err != nil {
					t.Fatal(err)
				}
				if pong.Took <= 0 || pong.PIURI != trustping.PIURI {
					t.Errorf("answer %+v", pong)
				}
			}
		})
	}
}

// An agent does not answer a ping that needs no response, or a response.
func TestNotAnswered(t *testing.T) {
	for name, edit := range map[string]func(*message.Message){
		"no response requested": func(m *message.Message) { m.Body = []byte(`{"response_requested":false}`) },
		"no response requested, 1.0": func(m *message.Message) {
			m.Type, m.Body = trustping.TypePing1, []byte(`{"response_requested":false}`)
		},
		"a 1.0 ping in another thread":  func(m *message.Message) { m.Type, m.ThreadID = trustping.TypePing1, "another" },
		"a ping_response, 1.0":          func(m *message.Message) { m.Type, m.ThreadID = trustping.TypePingResponse1, "another" },
		"a ping that answers a ping":    func(m *message.Message) { m.ThreadID = "another" },
		"a ping-response nobody awaits": func(m *message.Message) { m.Type, m.ThreadID = trustping.TypePingResponse, "another" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := make(chan string, 10)
				alice, bob := agenttest.Pair(t, agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
					got <- in.Message.Type
					return nil
				}), agent.NewMux(trustping.Handle()))
				m := ping(t, bob.DID())
				edit(m)
				if err := alice.Send(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if len(got) != 0 {
					t.Errorf("answered by %s", <-got)
				}
			})
		})
	}
}

func TestAnswered(t *testing.T) {
	for name, edit := range map[string]func(*message.Message){
		"an empty body":        func(m *message.Message) { m.Body = []byte(`{}`) },
		"a thread of its own":  func(m *message.Message) { m.ThreadID = m.ID },
		"a newer minor":        func(m *message.Message) { m.Type = "https://didcomm.org/trust-ping/2.7/ping" },
		"an older spelling":    func(m *message.Message) { m.Type = "https://didcomm.org/trust_ping/2.0/Ping" },
		"a child of something": func(m *message.Message) { m.ParentThreadID = "parent" },
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()))
			m := ping(t, bob.DID())
			edit(m)
			in, err := alice.Request(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if in.Message.Type != trustping.TypePingResponse || in.Message.ThreadID != m.ID || in.From != bob.DID() {
				t.Errorf("answer %+v", in.Message)
			}
		})
	}
}

// A ping of version 1.0 is answered in that version, as recorded from Credo, and ends the
// Request for it.
func TestAnsweredOld(t *testing.T) {
	for name, body := range map[string]string{
		"recorded":                    `{"response_requested":true}`,
		"an empty body":               `{}`,
		"a comment and unknown parts": `{"comment":"hello","colour":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()))
			in, err := alice.Request(t.Context(), &message.Message{Type: "https://didcomm.org/trust_ping/1.0/ping", To: []string{bob.DID()}, Body: []byte(body)})
			if err != nil {
				t.Fatal(err)
			}
			if m := in.Message; m.Type != "https://didcomm.org/trust_ping/1.0/ping_response" || m.ThreadID == "" || string(m.Body) != "{}" {
				t.Errorf("answer %+v", m)
			}
		})
	}
}

func TestBadBody(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(trustping.Handle()))
	m := ping(t, bob.DID())
	m.Body = []byte(`{"response_requested":"please"}`)
	_, err := alice.Request(t.Context(), m)
	var p *message.Problem
	if !errors.As(err, &p) || p.Code != "e.m.msg" {
		t.Errorf("error %v", err)
	}
}

// The message types with which peers answer a ping.
func TestPingAnswers(t *testing.T) {
	for typ, ok := range map[string]bool{
		trustping.TypePingResponse:                     true,
		trustping.TypePingResponse1:                    true,
		trustping.TypePing:                             true, // Affinidi's mediator
		"https://didcomm.org/basicmessage/2.0/message": false,
	} {
		t.Run(typ, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, agent.NewMux(trustping.Handle()), agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				m, err := message.New(typ, nil)
				if err != nil {
					return err
				}
				return w.Reply(ctx, m)
			}))
			if _, err := trustping.Ping(t.Context(), alice, bob.DID()); (err == nil) != ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestPingUnsupported(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, nil)
	_, err := trustping.Ping(t.Context(), alice, bob.DID())
	var p *message.Problem
	if !errors.As(err, &p) || p.Code != message.CodeUnsupported {
		t.Errorf("error %v", err)
	}
}

func ping(t *testing.T, to string) *message.Message {
	t.Helper()
	m, err := message.New(trustping.TypePing, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{to}
	return m
}

// One ping and its response, through two outboxes or a return route.
func BenchmarkPing(b *testing.B) {
	for _, name := range []string{"mem", "http", "websocket", "websocket hidden"} {
		b.Run(name, func(b *testing.B) {
			alice, bob := agenttest.Pair(b, nil, agent.NewMux(trustping.Handle()), ways[name]...)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := trustping.Ping(b.Context(), alice, bob.DID()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
