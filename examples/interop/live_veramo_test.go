//go:build interop

package interop_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
	"github.com/didcomm-go/didcomm/protocols/trustping"
)

// veramoAgent is peers/live/veramo.
type veramoAgent struct{ *peer.Process }

func (l *liveAgents) veramo(t *testing.T) {
	var node, dir string
	a := l.agent(t, "veramo", func(ctx context.Context) error {
		where, err := cache()
		if err != nil {
			return err
		}
		node, dir, err = peer.Node(ctx, peer.NodeConfig{
			Name: "live-veramo",
			Files: []string{
				filepath.Join("peers", "veramo", "package.json"),
				filepath.Join(liveFolder("veramo"), "agent.mjs"),
				filepath.Join("peers", "lines.mjs"),
			},
			Cache:  where,
			Oldest: 20,
		})
		return err
	})
	them := veramoAgent{peer.New(peer.Config{Path: node, Args: []string{filepath.Join(dir, "agent.mjs")}})}
	t.Cleanup(them.Close)
	var err error
	if a.hello, err = them.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.talk(t, "our anoncrypt ping over HTTP", works(them.opensAnoncrypt))
}

// adopted gives the agent a DID whose endpoint is its own.
func (v veramoAgent) adopted(ctx context.Context, t *testing.T) (string, error) {
	var at struct {
		URL string `json:"url"`
	}
	if err := v.Call(ctx, "endpoint", nil, &at); err != nil {
		return "", err
	}
	them := newPeerDID(t, keyring.X25519, at.URL)
	params := map[string]any{"document": them.document(t), "secrets": secrets(t, them.ring)}
	return them.DID(), v.Call(ctx, "adopt", params, new(struct{}))
}

// opensAnoncrypt: nobody can answer such a ping; the agent has to have opened it.
func (v veramoAgent) opensAnoncrypt(ctx context.Context, t *testing.T) error {
	us, _ := ourAgent(t, "http")
	them, err := v.adopted(ctx, t)
	if err != nil {
		return err
	}
	wanted := false
	ping, err := message.New(trustping.TypePing, trustping.PingBody{ResponseRequested: &wanted})
	if err != nil {
		return err
	}
	ping.ID, ping.To = message.NewID(), []string{them}
	if err := us.Send(ctx, ping, agent.Anonymous(), agent.AwaitDelivery()); err != nil {
		return err
	}
	var r struct {
		Received []struct {
			Message json.RawMessage `json:"message"`
			Packing string          `json:"packing"`
		} `json:"received"`
	}
	if err := v.Call(ctx, "received", nil, &r); err != nil {
		return err
	}
	if len(r.Received) != 1 || r.Received[0].Packing != "anoncrypt" {
		return fmt.Errorf("the agent has received %+v", r.Received)
	}
	got, _, err := message.Parse(r.Received[0].Message)
	if err != nil {
		return err
	}
	ping.CreatedTime = got.CreatedTime // Send has set it
	return sameMessage(plaintext(t, ping), r.Received[0].Message)
}
