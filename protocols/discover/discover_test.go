package discover_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/discover"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

func protocol(ids ...string) []discover.Query {
	var qs []discover.Query
	for _, id := range ids {
		qs = append(qs, discover.Query{FeatureType: discover.Protocol, Match: id})
	}
	return qs
}

func TestAsk(t *testing.T) {
	// Protocols that are registered after Handle are disclosed too.
	mux := agent.NewMux(trustping.Handle(), discover.Handle(), empty.Handle(),
		agent.Supports(agent.Feature{Type: discover.GoalCode, ID: "org.example.sell.consumer"}))
	alice, bob := agenttest.Pair(t, nil, mux)
	all := []string{discover.PIURI, empty.PIURI, trustping.PIURI, trustping.PIURI1}
	for name, test := range map[string]struct {
		queries []discover.Query
		want    []string
	}{
		"exact":             {protocol(trustping.PIURI), []string{trustping.PIURI}},
		"any minor":         {protocol("https://didcomm.org/trust-ping/2.*"), []string{trustping.PIURI}},
		"another major":     {protocol("https://didcomm.org/trust-ping/1.*"), nil},
		"everything":        {protocol("*"), all},
		"two stars":         {protocol("*didcomm.org/*/2.0"), []string{discover.PIURI, trustping.PIURI}},
		"asked twice":       {protocol(trustping.PIURI, "*"), all},
		"part of a name":    {protocol("https://didcomm.org/trust"), nil},
		"goal code":         {[]discover.Query{{FeatureType: discover.GoalCode, Match: "org.example.*"}}, []string{"org.example.sell.consumer"}},
		"header":            {[]discover.Query{{FeatureType: discover.Header, Match: "return_*"}}, []string{"return_route"}},
		"unknown type":      {[]discover.Query{{FeatureType: "colour", Match: "*"}}, nil},
		"unknown and known": {append([]discover.Query{{FeatureType: "colour", Match: "*"}}, protocol(empty.PIURI)...), []string{empty.PIURI}},
		"nothing":           {nil, nil},
		"too long":          {protocol(strings.Repeat("*", 2000)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := discover.Ask(t.Context(), alice, bob.DID(), test.queries...)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, d := range got {
				ids = append(ids, d.ID)
				if d.ID == trustping.PIURI && !slices.Equal(d.Roles, []string{"sender", "receiver"}) {
					t.Errorf("roles %q", d.Roles)
				}
			}
			slices.Sort(ids)
			if !slices.Equal(ids, test.want) {
				t.Errorf("disclosed %q, want %q", ids, test.want)
			}
		})
	}
}

func TestFilter(t *testing.T) {
	friend := ""
	mux := agent.NewMux(trustping.Handle(), discover.Handle(func(in *agent.Inbound, f agent.Feature) bool {
		return in.From == friend && f.ID == trustping.PIURI
	}))
	alice, bob := agenttest.Pair(t, nil, mux)
	if got, err := discover.Ask(t.Context(), alice, bob.DID(), protocol("*")...); err != nil || len(got) != 0 {
		t.Errorf("disclosed %v to a stranger, %v", got, err)
	}
	friend = alice.DID()
	if got, err := discover.Ask(t.Context(), alice, bob.DID(), protocol("*")...); err != nil || len(got) != 1 || got[0].ID != trustping.PIURI {
		t.Errorf("disclosed %v to a friend, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	alice, bob := agenttest.Pair(t, nil, agent.NewMux(discover.Handle()))
	many, err := message.New(discover.TypeQueries, discover.QueriesBody{Queries: make([]discover.Query, 101)})
	if err != nil {
		t.Fatal(err)
	}
	odd, err := message.New(discover.TypeQueries, map[string]int{"queries": 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*message.Message{many, odd} {
		m.To = []string{bob.DID()}
		_, err := alice.Request(t.Context(), m)
		var p *message.Problem
		if !errors.As(err, &p) || p.Code != "e.m.msg" {
			t.Errorf("error %v", err)
		}
	}
}

func TestAskAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		typ, body string
		ok        bool
	}{
		"disclose":           {discover.TypeDisclose, `{"disclosures":[{"feature-type":"protocol","id":"https://didcomm.org/tictactoe/1.0","colour":1}]}`, true},
		"disclosures":        {discover.TypeDisclosures, `{"disclosures":[{"feature-type":"protocol","id":"https://didcomm.org/tictactoe/1.0"}]}`, true},
		"a similar type":     {discover.TypeDisclosures + "s", `{"disclosures":[]}`, false},
		"another type":       {trustping.TypePing, `{}`, false},
		"not a list":         {discover.TypeDisclose, `{"disclosures":1}`, false},
		"no disclosures":     {discover.TypeDisclose, `{}`, true},
		"a newer minor form": {"https://didcomm.org/discover-features/2.1/disclose", `{"disclosures":[]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			alice, bob := agenttest.Pair(t, nil, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				m, err := message.New(test.typ, nil)
				if err != nil {
					return err
				}
				m.Body = []byte(test.body)
				return w.Reply(ctx, m)
			}))
			_, err := discover.Ask(t.Context(), alice, bob.DID(), protocol("*")...)
			if test.ok != (err == nil) || !test.ok && !errors.Is(err, message.ErrInvalid) {
				t.Errorf("error %v", err)
			}
		})
	}
}
