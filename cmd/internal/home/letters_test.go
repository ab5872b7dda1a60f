package home_test

import (
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// A forward to one DID of a home, with a message to another, looks in the inbox as it does to the
// agent: the two DIDs have nothing to do with each other.
func TestLettersKeepPartiesApart(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	h := opens(t, cfg)
	one, other := kept(t, h).DID(), kept(t, h).DID()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := identity.Peer2(pair, "https://sender.example")
	if err != nil {
		t.Fatal(err)
	}
	p, err := envelope.New(envelope.Config{Keys: sender, Resolver: didpeer.NewResolver()})
	if err != nil {
		t.Fatal(err)
	}
	m := &message.Message{ID: message.NewID(), Type: "https://didcomm.org/basicmessage/2.0/message", From: sender.DID(), To: []string{other}}
	sealed, err := p.Pack(ctx, m, envelope.From(sender.DID()))
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := p.Forward(ctx, sealed[0], []string{one})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, _, err := h.Store.Inbox().Add(ctx, store.Received{
		Sender: "anybody", ID: "1", To: one, Time: now, Until: now.Add(time.Hour),
		Packet: store.Packet{MediaType: wrapped.MediaType, Data: wrapped.Data},
	}, 0); err != nil {
		t.Fatal(err)
	}
	box, err := home.OpenInbox(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	letters, err := box.Letters(ctx, network.Reach{})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := letters.Each(ctx, func(l home.Letter) error {
		if seen++; l.Err != nil || l.Message.Type != "https://didcomm.org/routing/2.0/forward" {
			t.Errorf("message %+v, %v", l.Message, l.Err)
		}
		return nil
	}); err != nil || seen != 1 {
		t.Errorf("%d letters, %v", seen, err)
	}
}
