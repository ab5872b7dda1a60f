package mediation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/protocols/mediation"
)

// told is a mediator that gives the answers of f: type and body. Without a type it answers by a
// problem report with the code body.
func told(t *testing.T, f func(in *agent.Inbound) (typ, body string)) (ours *agent.Agent, theirs string) {
	t.Helper()
	h := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		typ, body := f(in)
		if typ == "" {
			return &message.Problem{Code: body}
		}
		return w.Reply(ctx, &message.Message{Type: typ, Body: []byte(body)})
	})
	n := agenttest.NewNet()
	return n.Agent(t, nil, agenttest.Hidden()), n.Agent(t, agent.NewMux(agent.Fallback(h))).DID()
}

func TestAnswers(t *testing.T) {
	const d = "did:example:routing"
	grant := piuri3 + "mediate-grant"
	many := `["` + strings.Repeat(d+`","`, 8) + d + `"]`
	for _, tt := range []struct {
		typ, body string
		want      error
	}{
		{grant, `{"routing_did":["` + d + `"]}`, nil},
		{grant, `{"routing_did":"` + d + `"}`, nil},
		{grant, `{}`, mediation.ErrAnswer},
		{grant, `{"routing_did":null}`, mediation.ErrAnswer},
		{grant, `{"routing_did":[]}`, mediation.ErrAnswer},
		{grant, `{"routing_did":""}`, mediation.ErrAnswer},
		{grant, `{"routing_did":7}`, mediation.ErrAnswer},
		{grant, `{"routing_did":["` + d + `",7]}`, mediation.ErrAnswer},
		{grant, `{"routing_did":"https://mediator.example"}`, mediation.ErrAnswer},
		{grant, `{"routing_did":` + many + `}`, mediation.ErrAnswer},
		{piuri3 + "mediate-deny", `{}`, mediation.ErrDenied},
		{piuri3 + "recipient", `{}`, mediation.ErrAnswer},
		{piuri2 + "mediate-grant", `{"routing_did":"` + d + `"}`, mediation.ErrAnswer},
		{"", mediator.CodeNotEnrolled, mediation.ErrNotEnrolled},
	} {
		a, m := told(t, func(*agent.Inbound) (string, string) { return tt.typ, tt.body })
		g, err := mediation.Enroll(t.Context(), a, m)
		if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || g.RoutingDID() != d) {
			t.Errorf("%s %.100s: %+v, %v, want %v", tt.typ, tt.body, g, err, tt.want)
		}
	}
}

// Lists of mediators that page in other ways, or never end.
func TestLists(t *testing.T) {
	entries := func(from, n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`{"recipient_did":"did:example:%d"}`, from+i))
		}
		return strings.Join(list, ",")
	}
	offset := func(in *agent.Inbound) int {
		var body struct {
			Paginate struct {
				Offset int `json:"offset"`
			} `json:"paginate"`
		}
		if err := in.Message.DecodeBody(&body); err != nil {
			t.Error(err)
		}
		return body.Paginate.Offset
	}
	for _, tt := range []struct {
		name   string
		answer func(at int) string
		want   int // -1 for ErrAnswer
	}{
		{"no list", func(int) string { return `{}` }, 0},
		{"null", func(int) string { return `{"dids":null,"keys":null}` }, 0},
		{"keys instead of dids", func(int) string { return `{"keys":[` + entries(0, 3) + `]}` }, 3},
		{"all at once", func(int) string { return `{"dids":[` + entries(0, 450) + `]}` }, 450},
		{"no pagination", func(at int) string { return `{"dids":[` + entries(at, min(200, 450-at)) + `]}` }, 450},
		{"small pages", func(at int) string {
			n := min(7, 20-at)
			return fmt.Sprintf(`{"dids":[%s],"pagination":{"count":%d,"offset":%d,"remaining":%d}}`, entries(at, n), n, at, 20-at-n)
		}, 20},
		{"the same page for ever", func(int) string {
			return `{"dids":[` + entries(0, 3) + `],"pagination":{"count":3,"offset":0,"remaining":1}}`
		}, 3},
		{"empty pages for ever", func(int) string { return `{"dids":[],"pagination":{"count":0,"offset":0,"remaining":1}}` }, 0},
		{"no end", func(at int) string {
			return `{"dids":[` + entries(at, 1) + `],"pagination":{"count":1,"offset":0,"remaining":1}}`
		}, -1},
		{"other types", func(int) string { return `{"dids":["did:example:a"]}` }, -1},
	} {
		a, m := told(t, func(in *agent.Inbound) (string, string) { return piuri3 + "recipient", tt.answer(offset(in)) })
		got, err := mediation.Recipients(t.Context(), a, m)
		switch {
		case tt.want < 0 && !errors.Is(err, mediation.ErrAnswer):
			t.Errorf("%s: %d DIDs, %v", tt.name, len(got), err)
		case tt.want >= 0 && (err != nil || len(got) != tt.want):
			t.Errorf("%s: %d DIDs, %v, want %d", tt.name, len(got), err, tt.want)
		}
	}
}

// Results are found by the entry, whatever their order and number.
func TestResults(t *testing.T) {
	changes := []mediation.Change{{RecipientDID: "did:example:a", Action: mediation.Add}, {RecipientDID: "did:example:a", Action: mediation.Remove}}
	result := func(action, result string) string {
		return fmt.Sprintf(`{"recipient_did":"did:example:a","action":%q,"result":%q}`, action, result)
	}
	for _, tt := range []struct {
		updated string
		want    []mediation.Outcome
	}{
		{result("remove", "no_change") + "," + result("add", "success"), []mediation.Outcome{mediation.Success, mediation.NoChange}},
		{result("add", "client_error"), []mediation.Outcome{mediation.ClientError, mediation.ServerError}},
		{"", []mediation.Outcome{mediation.ServerError, mediation.ServerError}},
		{`{"recipient_did":"did:example:a","action":"add"}`, []mediation.Outcome{mediation.ServerError, mediation.ServerError}},
	} {
		a, m := told(t, func(*agent.Inbound) (string, string) {
			return piuri3 + "recipient-update-response", `{"updated":[` + tt.updated + `]}`
		})
		results, err := mediation.Update(t.Context(), a, m, changes)
		var got []mediation.Outcome
		for _, r := range results {
			got = append(got, r.Result)
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, %v, want %q", tt.updated, got, err, tt.want)
		}
	}
}

// Who may enroll: those in a list, and those with a token, which is the pthid of the request.
func TestAdmission(t *testing.T) {
	var tokens []string
	w := newWorld(t, func(cfg *mediator.Config) {
		cfg.Admission.Token = func(_ context.Context, _, token string) error {
			if i := slices.Index(tokens, token); i >= 0 {
				tokens = slices.Delete(tokens, i, i+1)
				return nil
			}
			return errors.New("no such invitation")
		}
	})
	tokens = []string{"invitation"}
	ctx, m := t.Context(), w.mediator.DID()
	first, second := w.phone(t), w.phone(t)
	if _, err := mediation.Enroll(ctx, first, m); !errors.Is(err, mediation.ErrDenied) {
		t.Errorf("without a token: %v", err)
	}
	if _, err := mediation.Enroll(ctx, first, m, mediation.Token("another")); !errors.Is(err, mediation.ErrDenied) {
		t.Errorf("with another token: %v", err)
	}
	if _, err := mediation.Enroll(ctx, first, m, mediation.Token("invitation")); err != nil {
		t.Error(err)
	}
	if _, err := mediation.Enroll(ctx, first, m); err != nil {
		t.Errorf("once more: %v", err)
	}
	if _, err := mediation.Enroll(ctx, second, m, mediation.Token("invitation")); !errors.Is(err, mediation.ErrDenied) {
		t.Errorf("with a token that is used up: %v", err)
	}
}
