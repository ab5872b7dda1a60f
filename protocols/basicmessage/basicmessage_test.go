package basicmessage_test

import (
	"context"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

type received struct {
	in   *agent.Inbound
	body basicmessage.Body
}

func inbox() (chan received, agent.Handler) {
	got := make(chan received, 10)
	return got, agent.NewMux(basicmessage.Handle(func(_ context.Context, _ agent.Responder, in *agent.Inbound, body basicmessage.Body) error {
		got <- received{in, body}
		return nil
	}))
}

func TestSend(t *testing.T) {
	for name, opts := range map[string][]agenttest.Option{
		"mem": nil, "http": {agenttest.HTTP()}, "websocket": {agenttest.WebSocket()},
	} {
		t.Run(name, func(t *testing.T) {
			got, mux := inbox()
			alice, bob := agenttest.Pair(t, nil, mux, opts...)
			if err := basicmessage.Send(t.Context(), alice, bob.DID(), "Your hovercraft is full of eels."); err != nil {
				t.Fatal(err)
			}
			r := <-got
			if r.body.Content != "Your hovercraft is full of eels." || r.in.From != alice.DID() || r.in.Message.CreatedTime.IsZero() {
				t.Errorf("%q from %s at %v", r.body.Content, r.in.From, r.in.Message.CreatedTime)
			}
		})
	}
}

// The example of https://didcomm.org/basicmessage/2.0.
func TestExample(t *testing.T) {
	m, _, err := message.Parse([]byte(`{
		"id": "123456780",
		"type": "https://didcomm.org/basicmessage/2.0/message",
		"lang": "en",
		"created_time": 1547577721,
		"body": {"content": "Your hovercraft is full of eels."}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	got, mux := inbox()
	if err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m}); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.body.Content != "Your hovercraft is full of eels." || r.in.Message.Lang != "en" {
		t.Errorf("%+v", r.body)
	}
}

func TestNew(t *testing.T) {
	m, err := basicmessage.New("Hallo", "de")
	if err != nil || m.Lang != "de" || m.Type != basicmessage.TypeMessage || string(m.Body) != `{"content":"Hallo"}` {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestBadBody(t *testing.T) {
	for _, body := range []string{`{}`, `{"content":1}`, `{"Content":"x"}`, `{"content":null}`} {
		t.Run(body, func(t *testing.T) {
			got, mux := inbox()
			alice, bob := agenttest.Pair(t, nil, mux)
			m, err := basicmessage.New("", "")
			if err != nil {
				t.Fatal(err)
			}
			m.To, m.Body = []string{bob.DID()}, []byte(body)
			_, err = alice.Request(t.Context(), m)
			var p *message.Problem
			if !errors.As(err, &p) || p.Code != "e.m.msg" {
				t.Errorf("error %v", err)
			}
			if len(got) != 0 {
				t.Error("it was handled")
			}
		})
	}
}

// Messages are handled in order, although each of them begins a thread.
func TestOrdered(t *testing.T) {
	_, mux := inbox()
	m, err := basicmessage.New("hi", "")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := mux.(agent.Orderer)
	if !ok || o.Lane(&agent.Inbound{Message: m}) != basicmessage.PIURI {
		t.Errorf("%T has no line for %s", mux, m.Type)
	}
}

// A handler replies in the thread of the message.
func TestAnswer(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(basicmessage.Handle(
		func(ctx context.Context, w agent.Responder, _ *agent.Inbound, body basicmessage.Body) error {
			m, err := basicmessage.New(body.Content+"!", "")
			if err != nil {
				return err
			}
			return w.Reply(ctx, m)
		})))
	m, err := basicmessage.New("hi", "")
	if err != nil {
		t.Fatal(err)
	}
	m.To = []string{bob.DID()}
	in, err := alice.Request(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if body := string(in.Message.Body); body != `{"content":"hi!"}` {
		t.Errorf("answered %s", body)
	}
}
