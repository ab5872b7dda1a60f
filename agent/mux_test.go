package agent_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
)

func TestMux(t *testing.T) {
	var called string
	h := func(name string) agent.Handler {
		return agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
			called = name
			return nil
		})
	}
	mux := agent.NewMux(
		agent.Handle(agent.Protocol{PIURI: "https://example.org/lets-do-lunch/1.1", Roles: []string{"guest"}, Messages: map[string]agent.Handler{
			"https://example.org/lets-do-lunch/1.1/propose": h("propose"),
			"https://example.org/lets-do-lunch/1.1/eat":     h("eat"),
		}}),
		agent.Handle(agent.Protocol{PIURI: "https://example.org/lets-do-lunch/3.0", Messages: map[string]agent.Handler{
			"https://example.org/lets-do-lunch/3.0/propose": h("propose 3"),
		}}),
		agent.Handle(agent.Protocol{PIURI: "did:example:1;spec/chat/2.0", Messages: map[string]agent.Handler{
			"did:example:1;spec/chat/2.0/line": h("line"),
		}}),
		agent.Supports(agent.Feature{Type: "goal-code", ID: "org.example.lunch"}),
	)
	for typ, want := range map[string]struct{ called, code string }{
		"https://example.org/lets-do-lunch/1.1/propose": {called: "propose"},
		"https://example.org/lets-do-lunch/1.0/propose": {called: "propose"},
		"https://example.org/lets-do-lunch/1.9/eat":     {called: "eat"},
		"https://example.org/LetsDo_Lunch/1.1/E-A-T":    {called: "eat"},
		"https://example.org/lets-do-lunch/3.1/propose": {called: "propose 3"},
		"did:example:1;spec/chat/2.0/line":              {called: "line"},
		"https://example.org/lets-do-lunch/2.0/propose": {code: "e.p.msg.unsupported.version"},
		"https://example.org/lets-do-lunch/1.1/pay":     {code: "e.p.msg.unsupported"},
		"https://example.com/lets-do-lunch/1.1/eat":     {code: "e.p.msg.unsupported"},
		"https://example.org/chat/2.0/line":             {code: "e.p.msg.unsupported"},
		"hello":                                         {code: "e.p.msg.unsupported"},
		"":                                              {code: "e.p.msg.unsupported"},
	} {
		t.Run(typ, func(t *testing.T) {
			called = ""
			err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Message: &message.Message{ID: "1", Type: typ}})
			var p *message.Problem
			if errors.As(err, &p) {
				if p.Code != want.code {
					t.Errorf("code %s, want %q", p.Code, want.code)
				}
				if len(p.Args) == 0 || p.Args[0] != typ {
					t.Errorf("args %q", p.Args)
				}
				if want.code == "e.p.msg.unsupported.version" && p.Args[1] != "https://example.org/lets-do-lunch/1.1, https://example.org/lets-do-lunch/3.0" {
					t.Errorf("versions %q", p.Args[1])
				}
			} else if err != nil {
				t.Errorf("error %v", err)
			}
			if called != want.called || (err != nil) != (want.code != "") {
				t.Errorf("called %q, want %q; error %v", called, want.called, err)
			}
		})
	}
	features := mux.Features()
	for _, want := range []agent.Feature{
		{Type: "protocol", ID: "https://example.org/lets-do-lunch/1.1", Roles: []string{"guest"}},
		{Type: "protocol", ID: "did:example:1;spec/chat/2.0"},
		{Type: "goal-code", ID: "org.example.lunch"},
		{Type: "header", ID: "return_route"},
	} {
		if !slices.ContainsFunc(features, func(f agent.Feature) bool {
			return f.Type == want.Type && f.ID == want.ID && slices.Equal(f.Roles, want.Roles)
		}) {
			t.Errorf("no feature %+v in %+v", want, features)
		}
	}
}

func TestMuxPanicsOnMistakes(t *testing.T) {
	p := func(types ...string) agent.MuxOption {
		m := make(map[string]agent.Handler)
		for _, typ := range types {
			m[typ] = make(inbox)
		}
		return agent.Handle(agent.Protocol{PIURI: "https://example.org/chat/1.0", Messages: m})
	}
	for name, opts := range map[string][]agent.MuxOption{
		"no type":           {p("hello")},
		"twice":             {p(chatType), p(chatType)},
		"twice, other form": {p(chatType), p("https://example.org/CHAT/1.2/line")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			agent.NewMux(opts...)
		})
	}
}
