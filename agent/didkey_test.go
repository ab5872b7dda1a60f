package agent_test

import (
	"context"
	"crypto"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// didKeys returns the did:keys of the keys of a DID: those for encryption, then those for
// signatures.
func didKeys(t testing.TB, r did.Resolver, id string) (keys []string) {
	t.Helper()
	doc, err := r.Resolve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range slices.Concat(doc.KeyAgreementKeys(), doc.AuthenticationKeys()) {
		var public crypto.PublicKey
		if public, err = m.PublicKey(); err != nil {
			t.Fatal(err)
		}
		key, err := didkey.New(public)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

// A message for the did:key of a key of ours is for the DID that has the key. The answer comes
// from that DID, not from the did:key. A signed message may name the did:key, too.
func TestToDIDKey(t *testing.T) {
	got := make(chan *agent.Inbound, 1)
	n, ours := agenttest.NewNet(), agenttest.NewParty(t)
	a := n.Agent(t, agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		got <- in
		return w.Reply(ctx, &message.Message{Type: chatType})
	}), agenttest.Configure(func(cfg *agent.Config) {
		cfg.Packer, cfg.Keys, cfg.Resolver = nil, ours.Keys, ours.Resolver
		cfg.DID = addKeys(t, ours.Keys)
	}))
	s := &stranger{Party: agenttest.NewParty(t)}
	for _, own := range []string{a.DID(), ours.DID} {
		keys := didKeys(t, ours.Resolver, own)
		for name, test := range map[string]struct {
			to   string
			opts []envelope.PackOption
		}{
			"authcrypt":        {keys[0], []envelope.PackOption{envelope.From(s.DID), envelope.To(keys[0])}},
			"authcrypt to DID": {own, []envelope.PackOption{envelope.From(s.DID), envelope.To(own + "#key-2")}},
			"signed":           {keys[0], signedOnly(s)},
			"signed, Ed25519":  {keys[1], signedOnly(s)},
			"signed within":    {keys[0], []envelope.PackOption{envelope.SignBy(s.DID), envelope.To(keys[0])}},
		} {
			t.Run(name, func(t *testing.T) {
				c := new(call)
				m := s.message(t, a, chatType, func(m *message.Message) { m.To, m.ReturnRoute = []string{test.to}, "all" })
				s.give(t, a, c, m, test.opts...)
				in := <-got
				if in.To != own || !in.Addressed || in.From != s.DID {
					t.Errorf("came from %s to %s, addressed %t", in.From, in.To, in.Addressed)
				}
				if len(c.packets) != 1 {
					t.Fatalf("%d packets came back", len(c.packets))
				}
				if answer := s.open(t, c.packets[0]).Message; answer.From != own {
					t.Errorf("answered by %s, want %s", answer.From, own)
				}
			})
		}
	}
	theirs := didKeys(t, s.Resolver, s.DID)[0]
	s.give(t, a, new(call), s.message(t, a, chatType, func(m *message.Message) { m.To = []string{theirs} }), signedOnly(s)...)
	if in := <-got; in.Addressed || in.To != a.DID() {
		t.Errorf("a message to another did:key came to %s, addressed %t", in.To, in.Addressed)
	}
}
