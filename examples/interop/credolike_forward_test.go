package interop_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// forwardsToUs: the mediator's X25519 key is the image of its Ed25519 key, so that the agent
// wraps once.
func (c *credo) forwardsToUs(ctx context.Context, t *testing.T, scheme string) error {
	them := c.by(t, scheme)
	m := newRelay(t, scheme, c.us.url, true)
	behind, err := c.us.at(ctx, m.DID())
	if err != nil {
		return err
	}
	said := "by forward by " + scheme
	if _, err := them.Say(ctx, behind, said); err != nil {
		return err
	}
	if err := c.us.says(ctx, said); err != nil {
		return err
	}
	if found := (<-m.opened).Metadata.Deviations; len(found) != 1 || found[0].Code != envelope.DeviationKID {
		return fmt.Errorf("the forward deviates by %v, not by its kid alone", found)
	}
	return nil
}

// relay is a mediator of one client.
type relay struct {
	*identity.Identity
	packer *envelope.Packer
	client string // the URL of the client
	opened chan *envelope.Unpacked
}

// newRelay starts a mediator. Its keys for signing and encryption are one key, or apart.
func newRelay(t *testing.T, scheme, client string, oneKey bool) *relay {
	t.Helper()
	r := &relay{client: client, opened: make(chan *envelope.Unpacked, 1)}
	ws := wstransport.NewServer(transport.HandlerFunc(r.serve), wstransport.ServerConfig{})
	srv := httptest.NewUnstartedServer(httptransport.NewHandler(transport.HandlerFunc(r.serve), httptransport.HandlerConfig{WebSocket: ws}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ws.Close(ctx); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	if oneKey {
		if pair, err = pair.Image(); err != nil {
			t.Fatal(err)
		}
	}
	if r.Identity, err = identity.Peer2(pair, scheme+"://"+srv.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	ring, err := r.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	if r.packer, err = envelope.New(envelope.Config{Keys: ring, Resolver: did.Methods{"peer": didpeer.NewResolver()}}); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	return r
}

// serve hands the envelope in a forward to the client, unless there is another layer.
func (r *relay) serve(ctx context.Context, _ transport.Replier, p transport.Packet) error {
	u, err := r.packer.Unpack(ctx, p.Data)
	if err != nil {
		return err
	}
	if u.Message.Type != credolike.TypeForward || len(u.Message.Attachments) != 1 {
		return fmt.Errorf("no forward: %s", u.Message.Type)
	}
	data, err := u.Message.Attachments[0].Data.Bytes()
	if err != nil {
		return err
	}
	r.opened <- u
	if strings.Contains(string(u.Message.Body), `"did:key:`) {
		return nil
	}
	resp, err := http.Post(r.client, transport.MediaTypeEncrypted, bytes.NewReader(data))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// forwardsTwice: the second layer is for the image of the mediator's Ed25519 key, which is no
// key of its document.
func (c *credo) forwardsTwice(ctx context.Context, t *testing.T) (string, error) {
	const outcome = "no: it wraps twice, and the second layer is for a key that the mediator does not have"
	them := c.by(t, "http")
	m := newRelay(t, "http", c.us.url, false)
	behind, err := c.us.at(ctx, m.DID())
	if err != nil {
		return outcome, err
	}
	if _, err := them.Say(ctx, behind, "by two forwards"); err != nil {
		return outcome, err
	}
	select {
	case u := <-m.opened:
		data, err := u.Message.Attachments[0].Data.Bytes()
		if err != nil {
			return outcome, err
		}
		if _, err := m.packer.Unpack(ctx, data); !errors.Is(err, envelope.ErrNoKey) {
			return outcome, fmt.Errorf("what the forward %s has inside: %v", u.Message.Body, err)
		}
		return outcome, nil
	case <-ctx.Done():
		return outcome, ctx.Err()
	}
}

func (c *credo) sentByMediator(ctx context.Context, t *testing.T, scheme string) error {
	mediator := c.by(t, scheme)
	for i, from := range []program{c.us.program, c.stranger(t)} {
		for _, numalgo := range []int{4, 2} {
			them := c.them(t, credolike.Config{Mediator: mediator.Invitation(), Numalgo: numalgo})
			said := fmt.Sprint("by its mediator ", i)
			_, told, err := from.run(ctx, "send", "--no-queue", them.Invitation(), said)
			if err != nil {
				return err
			}
			if !strings.Contains(told, "unconfirmed") {
				return fmt.Errorf("didcomm send does not say that nothing confirms the message: %q", told)
			}
			if _, err := them.Wait(ctx, saying(said)); err != nil {
				return err
			}
		}
	}
	return errors.Join(mediator.Failures()...)
}
