package agent_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// apartFrom are keys of DIDs of one party, and of one DID of another party.
type apartFrom struct {
	*keyring.Keyring
	other string
}

func (k apartFrom) Related(_ context.Context, a, b string) (bool, error) {
	return a == b || a != k.other && b != k.other, nil
}

// A message that is encrypted for one DID of ours, and names another DID of the same party, is
// answered from the DID that the message names. No answer is from a DID of another party.
func TestAnswerFromNamedDID(t *testing.T) {
	first := agenttest.NewParty(t)
	next, other := addKeys(t, first.Keys), addKeys(t, first.Keys)
	packer, err := envelope.New(envelope.Config{Keys: apartFrom{first.Keys, other}, Resolver: first.Resolver})
	if err != nil {
		t.Fatal(err)
	}
	var came []string
	answer := agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		came = append(came, in.To)
		m, err := message.New(chatType, nil)
		if err != nil {
			return err
		}
		return w.Reply(ctx, m)
	})
	a := agenttest.NewNet().Agent(t, answer, agenttest.Configure(func(cfg *agent.Config) { cfg.DID, cfg.Packer = first.DID, packer }))
	s := &stranger{Party: agenttest.NewParty(t)}
	for _, test := range []struct {
		to   []string
		from string // of the answer; "" if the message is refused
	}{
		{[]string{first.DID}, first.DID},
		{[]string{next}, next},
		{[]string{"did:example:x", next}, next},
		{[]string{other, next}, next},
		{[]string{next, first.DID}, first.DID},
		{[]string{other, first.DID}, first.DID},
		{[]string{other}, ""},
		{[]string{"did:example:x"}, ""},
	} {
		came = nil
		c := new(call)
		m := s.message(t, a, chatType, func(m *message.Message) { m.ID, m.To, m.ReturnRoute = message.NewID(), test.to, "all" })
		err := serve(t.Context(), a, c, s.packFor(t, first.DID, m))
		if test.from == "" {
			if !errors.Is(err, envelope.ErrRecipientMismatch) || len(came) > 0 || len(c.packets) > 0 {
				t.Errorf("to %q: %v", test.to, err)
			}
			continue
		}
		if err != nil || !slices.Equal(came, []string{first.DID}) || len(c.packets) != 1 {
			t.Fatalf("to %q: %v, came to %q, %d answers", test.to, err, came, len(c.packets))
		}
		if u := s.open(t, c.packets[0]); u.Sender() != test.from || u.Message.ThreadID != m.ID {
			t.Errorf("to %q: the answer is from %s", test.to, u.Sender())
		}
	}
}

// packFor packs a message with a key of id, whatever to names.
func (s *stranger) packFor(t *testing.T, id string, m *message.Message) transport.Packet {
	t.Helper()
	named := m.To[0]
	packer, err := envelope.New(envelope.Config{Keys: s.Keys, Resolver: did.ResolverFunc(func(ctx context.Context, asked string) (*did.Document, error) {
		if asked != named {
			return s.Resolver.Resolve(ctx, asked)
		}
		doc, err := s.Resolver.Resolve(ctx, id)
		if err != nil {
			return nil, err
		}
		copied := *doc
		copied.ID = named
		return &copied, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	list, err := packer.Pack(t.Context(), m, envelope.From(s.DID), envelope.To(named))
	if err != nil {
		t.Fatal(err)
	}
	return transport.Packet{MediaType: list[0].MediaType, Data: list[0].Data}
}
