package interop_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
)

// startMediator starts a mediator, which runs until the test ends, and keeps its port.
func startMediator(t *testing.T, path string) *served {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return serveWith(t, path, "--mediator", "--listen", free.Addr().String())
}

// forwardJunk hands the mediator an envelope for a client that the client cannot open.
func (s *served) forwardJunk(ctx context.Context, t *testing.T, client string) error {
	other := agenttest.NewParty(t)
	plain, err := message.New("https://didcomm.org/empty/1.0/empty", nil)
	if err != nil {
		return err
	}
	plain.ID, plain.To = message.NewID(), []string{other.DID}
	inner, err := other.Packer.Pack(ctx, plain)
	if err != nil {
		return err
	}
	forward, err := message.New("https://didcomm.org/routing/2.0/forward", map[string]string{"next": client})
	if err != nil {
		return err
	}
	forward.ID, forward.To = message.NewID(), []string{s.did}
	forward.Attachments = []message.Attachment{{ID: "1", Data: message.AttachmentData{JSON: inner[0].Data}}}
	outer, err := other.Packer.Pack(ctx, forward)
	if err != nil {
		return err
	}
	resp, err := http.Post(s.url, envelope.MediaTypeEncrypted, bytes.NewReader(outer[0].Data))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the mediator answers %s", resp.Status)
	}
	return nil
}
