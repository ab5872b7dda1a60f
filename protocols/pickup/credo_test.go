package pickup_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
)

// recording is a message of a live Credo agent: see examples/interop/testdata/README.md.
type recording struct {
	MediaType string           `json:"media_type"`
	Packed    jsontext.Value   `json:"packed"`
	Text      jsontext.Value   `json:"plaintext"`
	Secrets   []jsontext.Value `json:"recipient_secrets"`
	Documents []jsontext.Value `json:"did_docs"`

	m *message.Message
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
	if r.m, _, err = message.Parse(r.Text); err != nil {
		t.Fatal(err)
	}
	return r
}

// mediator runs the mediator to which a client was recorded.
func (r *recording) mediator(t *testing.T) *office {
	t.Helper()
	secrets, err := json.Marshal(r.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.ParseSecrets(secrets)
	if err != nil {
		t.Fatal(err)
	}
	o := newOffice(t, pickup.ServeLimits{}, agenttest.Configure(func(cfg *agent.Config) {
		cfg.DID, cfg.Packer, cfg.Keys = r.m.To[0], nil, keys
		cfg.Resolver = did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
			for _, data := range r.Documents {
				if doc, err := did.ParseDocument(data); err == nil && doc.ID == id {
					return doc, nil
				}
			}
			return nil, did.ErrNotFound
		})
	}))
	o.enroll(t, r.m.From)
	return o
}

// The requests of a Credo client, as they were on the wire: the test cannot open the answers,
// and counts them.
func TestCredoClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := record(t, "client-http-message-pickup-4.0-delivery-request").mediator(t)
		for name, answers := range map[string]int{"delivery-request": 1, "messages-received": 0} {
			r := record(t, "client-http-message-pickup-4.0-"+name)
			var w post
			if _, err := o.agent.ServePacket(t.Context(), &w, transport.Packet{MediaType: r.MediaType, Data: r.Packed}); err != nil || len(w.packets) != answers {
				t.Errorf("%s: %d answers, %v", name, len(w.packets), err)
			}
		}
		first := record(t, "client-ws-message-pickup-4.0-status-request")
		o = first.mediator(t)
		s := (&phone{o: o}).dial(t)
		frames := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if n := len(s.frames); n != want {
				t.Errorf("%s: %d frames, want %d", what, n, want)
			}
			for len(s.frames) > 0 {
				<-s.frames
			}
		}
		o.accept(t, first.m.From, mail(1)...)
		s.serve(t, transport.Packet{Data: first.Packed})
		frames("status-request", 1)
		s.serve(t, transport.Packet{Data: record(t, "client-ws-message-pickup-4.0-live-delivery-change").Packed})
		frames("live-delivery-change", 2) // the status and what waits
		o.accept(t, did.Canonical(first.m.From), `{"new":1}`)
		frames("mail", 1)
		s.serve(t, transport.Packet{Data: record(t, "client-ws-message-pickup-4.0-messages-received").Packed})
		frames("messages-received", 0)
	})
}

// Credo as a mediator, by the messages that it has sent: mail that is delivered is acked by
// the id of the attachment, also mail that cannot be opened. It lacks version 3.0.
func TestCredoMediator(t *testing.T) {
	for name, want := range map[string]int{"message-pickup-4.0-delivery-one": 1, "ws-message-pickup-4.0-live-delivery": 1, "message-pickup-4.0-delivery-empty": 0} {
		t.Run(name, func(t *testing.T) {
			full, empty, status := record(t, name), record(t, "message-pickup-4.0-delivery-empty"), record(t, "message-pickup-4.0-status-one")
			var mu sync.Mutex
			var acked []string
			answer := func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
				mu.Lock()
				r := full
				if len(acked) > 0 {
					r = empty
				}
				mu.Unlock()
				return w.Reply(ctx, &message.Message{Type: r.m.Type, Body: r.m.Body, Attachments: r.m.Attachments})
			}
			received := func(_ context.Context, _ agent.Responder, in *agent.Inbound) error {
				var b struct {
					List []string `json:"message_id_list"`
				}
				mu.Lock()
				defer mu.Unlock()
				defer func() { acked = append(acked, b.List...) }()
				return in.Message.DecodeBody(&b)
			}
			net := agenttest.NewNet()
			credo := net.Agent(t, agent.NewMux(agent.Handle(agent.Protocol{PIURI: pickup.PIURI4, Custody: map[string]agent.Handler{
				mp4 + "delivery-request":  agent.HandlerFunc(answer),
				mp4 + "messages-received": agent.HandlerFunc(received),
				mp4 + "status-request": agent.HandlerFunc(func(ctx context.Context, w agent.Responder, _ *agent.Inbound) error {
					return w.Reply(ctx, &message.Message{Type: status.m.Type, Body: status.m.Body})
				}),
			}})))
			c := pickup.NewCollector(pickup.Config{})
			ours := net.Agent(t, agent.NewMux(c.Handle()), agenttest.Hidden(), agenttest.Configure(func(cfg *agent.Config) { cfg.MailWindow = time.Hour }))
			source := pickup.Source{Mediator: credo.DID()}
			if st, err := pickup.RequestStatus(t.Context(), ours, source, ""); err != nil || st.Count != 1 {
				t.Errorf("status %+v, %v", st, err)
			}
			p, err := c.Collect(t.Context(), ours, source)
			if err != nil || p.Parked != want {
				t.Errorf("collected %+v, %v", p, err)
			}
			var ids []string
			for _, a := range full.m.Attachments {
				ids = append(ids, a.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(acked, ids) {
				t.Errorf("acked %q, want %q", acked, ids)
			}
		})
	}
}
