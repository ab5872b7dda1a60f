package agent_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
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
			err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: &message.Message{ID: "1", Type: typ}})
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
		"two fallbacks":     {agent.Fallback(make(inbox)), agent.Fallback(make(inbox))},
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

// steps makes handlers and wrappers that record their names.
type steps []string

func (s *steps) handler(name string, err error) agent.Handler {
	return agent.HandlerFunc(func(context.Context, agent.Responder, *agent.Inbound) error {
		*s = append(*s, name)
		return err
	})
}

func (s *steps) wrap(name string) agent.MuxOption {
	return agent.Wrap(func(h agent.Handler) agent.Handler {
		return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			*s = append(*s, name)
			return h.HandleMessage(ctx, w, in)
		})
	})
}

func chat(h agent.Handler, ordered bool) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: "https://example.org/chat/1.0", Messages: map[string]agent.Handler{chatType: h}, Ordered: ordered,
	})
}

func TestMuxWrapAndFallback(t *testing.T) {
	var s steps
	registered, other := s.handler("registered", nil), s.handler("fallback", nil)
	for name, test := range map[string]struct {
		opts       []agent.MuxOption
		typ        string
		want       []string
		registered string
		code       string
	}{
		"wrapped":                 {opts: []agent.MuxOption{s.wrap("a"), chat(registered, false), s.wrap("b")}, want: []string{"a", "b", "registered"}, registered: chatType},
		"another minor version":   {opts: []agent.MuxOption{chat(registered, false)}, typ: "https://example.org/chat/1.7/line", want: []string{"registered"}, registered: chatType},
		"fallback":                {opts: []agent.MuxOption{agent.Fallback(other), chat(registered, false)}, typ: emptyType, want: []string{"fallback"}},
		"not needed":              {opts: []agent.MuxOption{agent.Fallback(other), chat(registered, false)}, want: []string{"registered"}, registered: chatType},
		"fallback wrapped":        {opts: []agent.MuxOption{agent.Fallback(other), s.wrap("a"), s.wrap("b")}, want: []string{"a", "b", "fallback"}},
		"no fallback, wrapped":    {opts: []agent.MuxOption{s.wrap("a")}, want: []string{"a"}, code: message.CodeUnsupported},
		"no type":                 {opts: []agent.MuxOption{agent.Fallback(other)}, typ: "hello", want: []string{"fallback"}},
		"other version, fallback": {opts: []agent.MuxOption{chat(registered, false), agent.Fallback(other)}, typ: "https://example.org/chat/2.0/line", want: []string{"fallback"}},
	} {
		t.Run(name, func(t *testing.T) {
			s = nil
			mux, m := agent.NewMux(test.opts...), &message.Message{ID: "1", Type: chatType}
			if test.typ != "" {
				m.Type = test.typ
			}
			err := mux.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m})
			var p *message.Problem
			if errors.As(err, &p) != (test.code != "") || p != nil && p.Code != test.code {
				t.Errorf("error %v, want code %q", err, test.code)
			}
			direct := s
			s = nil
			h, typ := mux.Lookup(m.Type)
			if again := h.HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m}); !reflect.DeepEqual(again, err) {
				t.Errorf("Lookup: error %v, want %v", again, err)
			}
			if !slices.Equal(direct, test.want) || !slices.Equal(s, test.want) || typ != test.registered {
				t.Errorf("called %q, Lookup %q of %q, want %q of %q", direct, s, typ, test.want, test.registered)
			}
		})
	}
}

// Wrappers and a fallback do not change the features.
func TestMuxFeaturesOfWrapped(t *testing.T) {
	var s steps
	plain := agent.NewMux(chat(s.handler("", nil), true))
	mux := agent.NewMux(s.wrap("a"), agent.Fallback(s.handler("", nil)), chat(s.handler("", nil), true))
	if !reflect.DeepEqual(plain.Features(), mux.Features()) {
		t.Errorf("features %+v, want %+v", mux.Features(), plain.Features())
	}
}

// orderly is a Handler with an Orderer that calls another Handler.
type orderly struct {
	agent.Handler
	line func(in *agent.Inbound) string
}

func (o orderly) Lane(in *agent.Inbound) string { return o.line(in) }

// Messages of one party in an ordered protocol are handled one at a time. Messages of
// other parties and protocols do not wait for them.
func TestOrdered(t *testing.T) {
	const otherType = "https://example.org/other/1.0/line"
	for name, test := range map[string]struct {
		handler func(agent.Handler) agent.Handler
		want    []int // the messages that begin in each round
	}{
		"not ordered": {func(h agent.Handler) agent.Handler { return agent.NewMux(chat(h, false), agent.Fallback(h)) }, []int{5}},
		"ordered":     {func(h agent.Handler) agent.Handler { return agent.NewMux(chat(h, true), agent.Fallback(h)) }, []int{3, 1, 1}},
		"wrapped mux": {func(h agent.Handler) agent.Handler {
			mux := agent.NewMux(chat(h, true), agent.Fallback(h))
			return orderly{mux, mux.Lane}
		}, []int{3, 1, 1}},
		"of one's own": {func(h agent.Handler) agent.Handler {
			return orderly{h, func(*agent.Inbound) string { return "all" }}
		}, []int{2, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := agenttest.NewNet()
				begun, release := make(inbox, 10), make(chan struct{})
				a := n.Agent(t, test.handler(agent.HandlerFunc(func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
					begun <- in
					<-release
					return nil
				})), agenttest.Configure(func(cfg *agent.Config) { cfg.HandlerTimeout = time.Hour }))
				s, other, w := newStranger(t, n), newStranger(t, n), newSession()
				var sent []string
				for range 3 {
					m := s.message(t, a, chatType, nil)
					sent = append(sent, m.ID)
					s.give(t, a, w, m)
				}
				other.give(t, a, w, other.message(t, a, chatType, nil))
				s.give(t, a, w, s.message(t, a, otherType, nil))
				var lines []string
				for i, want := range test.want {
					synctest.Wait()
					if len(begun) != want {
						t.Errorf("round %d: %d began, want %d", i, len(begun), want)
					}
					for range len(begun) {
						if in := <-begun; in.From == s.DID && in.Message.Type == chatType {
							lines = append(lines, in.Message.ID)
						}
						release <- struct{}{}
					}
				}
				synctest.Wait()
				if len(test.want) > 1 && !slices.Equal(lines, sent) || len(lines) != len(sent) || len(begun) != 0 {
					t.Errorf("handled %q, want %q; %d more", lines, sent, len(begun))
				}
			})
		})
	}
}

// Messages without an authenticated sender have no lane: a slow handler of one does not
// delay the others.
func TestOrderedAnonymous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		begun := make(chan struct{}, 10)
		a := n.Agent(t, agent.NewMux(chat(agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
			begun <- struct{}{}
			<-ctx.Done()
			return nil
		}), true)))
		s, w := newStranger(t, n), newSession()
		for range 3 {
			m := s.message(t, a, chatType, func(m *message.Message) { m.From = "" })
			s.give(t, a, w, m, envelope.ContentEncryption(envelope.A256GCM))
		}
		synctest.Wait()
		if len(begun) != 3 {
			t.Errorf("%d began", len(begun))
		}
	})
}

// An empty message needs no handler: the agent has processed its headers.
func TestMuxEmpty(t *testing.T) {
	m, err := message.New(emptyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.NewMux().HandleMessage(t.Context(), nil, &agent.Inbound{Addressed: true, Message: m}); err != nil {
		t.Error(err)
	}
}
