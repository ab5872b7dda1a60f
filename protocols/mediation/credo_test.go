package mediation_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/transport"
)

// recording is a message of a live Credo agent: see examples/interop/testdata/README.md.
type recording struct {
	MediaType string           `json:"media_type"`
	Packed    jsontext.Value   `json:"packed"`
	Plaintext message.Message  `json:"-"`
	Text      jsontext.Value   `json:"plaintext"`
	Secrets   []jsontext.Value `json:"recipient_secrets"`
	Documents []jsontext.Value `json:"did_docs"`
}

func record(t *testing.T, name string) *recording {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../examples/interop/testdata/credo", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	r := new(recording)
	if err := json.Unmarshal(data, r); err != nil {
		t.Fatal(err)
	}
	m, _, err := message.Parse(r.Text)
	if err != nil {
		t.Fatal(err)
	}
	r.Plaintext = *m
	return r
}

// reply counts the replies on a connection.
type reply struct{ n int }

func (r *reply) Reply(context.Context, transport.Packet) error { r.n++; return nil }

// A Credo client enrolls by its recorded packets, and registers both forms of its DID.
func TestCredoClient(t *testing.T) {
	for _, over := range []string{"http", "ws"} {
		t.Run(over, func(t *testing.T) {
			request := record(t, "client-"+over+"-coordinate-mediation-2.0-mediate-request")
			update := record(t, "client-"+over+"-coordinate-mediation-2.0-keylist-update")
			secrets, err := json.Marshal(request.Secrets)
			if err != nil {
				t.Fatal(err)
			}
			keys, err := keyring.ParseSecrets(secrets)
			if err != nil {
				t.Fatal(err)
			}
			w := newWorld(t, nil, agenttest.Configure(func(cfg *agent.Config) {
				cfg.DID, cfg.Packer, cfg.Keys = request.Plaintext.To[0], nil, keys
				cfg.Resolver = did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
					for _, data := range request.Documents {
						if doc, err := did.ParseDocument(data); err == nil && doc.ID == id {
							return doc, nil
						}
					}
					return nil, did.ErrNotFound
				})
			}))
			answers := new(reply)
			for _, r := range []*recording{request, update} {
				handled, err := w.mediator.ServePacket(t.Context(), answers, transport.Packet{MediaType: r.MediaType, Data: r.Packed})
				if err != nil {
					t.Fatal(err)
				}
				<-handled
			}
			if answers.n != 2 {
				t.Errorf("%d answers", answers.n)
			}
			long := request.Plaintext.From
			for _, id := range []string{long, did.Canonical(long)} {
				if a, err := w.state.Owner(t.Context(), id); err != nil || a.ID != mediator.Name(long) {
					t.Errorf("owner of %.60s: %+v, %v", id, a, err)
				}
			}
		})
	}
}

// Credo as a mediator, by the messages that it has sent: it lacks version 3.0.
func TestCredoMediator(t *testing.T) {
	grant, updated, list := record(t, "coordinate-mediation-2.0-grant"), record(t, "coordinate-mediation-2.0-keylist-update-response"), record(t, "coordinate-mediation-2.0-keylist")
	lacks := record(t, "problem-report-coordinate-mediation-3.0")
	var asked []string
	answer := func(r *recording) agent.HandlerFunc {
		return func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
			asked = append(asked, in.Message.Type)
			m := &message.Message{Type: r.Plaintext.Type, Body: r.Plaintext.Body}
			if r == lacks {
				m.ParentThreadID = in.Message.ID
			}
			return w.Reply(ctx, m)
		}
	}
	w := agenttest.NewNet()
	theirs := w.Agent(t, agent.NewMux(agent.Fallback(answer(lacks)), agent.Handle(agent.Protocol{PIURI: mediation.PIURI2, Messages: map[string]agent.Handler{
		piuri2 + "mediate-request": answer(grant), piuri2 + "keylist-update": answer(updated), piuri2 + "keylist-query": answer(list),
	}})))
	ours := w.Agent(t, nil, agenttest.Hidden())
	g, err := mediation.Enroll(t.Context(), ours, theirs.DID())
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		RoutingDID string `json:"routing_did"`
	}
	if err := grant.Plaintext.DecodeBody(&body); err != nil || g.RoutingDID() != body.RoutingDID || g.PIURI != mediation.PIURI2 {
		t.Errorf("grant %+v, %v", g, err)
	}
	ids, err := mediation.Recipients(t.Context(), ours, theirs.DID())
	if err != nil || len(ids) != 2 {
		t.Error(ids, err)
	}
	results, err := mediation.Update(t.Context(), ours, theirs.DID(), []mediation.Change{{RecipientDID: ids[1], Action: mediation.Add}, {RecipientDID: "did:example:other", Action: mediation.Add}})
	if err != nil || results[0].Result != mediation.Success || results[1].Result != mediation.ServerError {
		t.Error(results, err)
	}
	want := []string{piuri3 + "mediate-request", piuri2 + "mediate-request", piuri2 + "keylist-query", piuri2 + "keylist-update"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}
