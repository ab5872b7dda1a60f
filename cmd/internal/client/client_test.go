package client_test

import (
	"log/slog"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// A client has a service, though it does not listen: there are peers that answer
// none without.
func TestClientService(t *testing.T) {
	c, err := client.Start(t.Context(), client.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	doc, err := didpeer.NewResolver().Resolve(t.Context(), c.Agent().DID())
	if err != nil {
		t.Fatal(err)
	}
	if s := doc.DIDCommServices(); len(s) != 1 || s[0].URI != did.QueueURI {
		t.Errorf("services %+v", s)
	}
}
