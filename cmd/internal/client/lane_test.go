package client_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

// What is left to the outbox keeps its order with the other texts to its recipient, as
// those of basicmessage.Send do.
func TestPostKeepsLane(t *testing.T) {
	id := newPeer(t, "http://127.0.0.1:1/didcomm") // nobody listens there
	db := home.Config{Dir: t.TempDir(), MaxItems: 100, MaxBytes: 1 << 20}
	for range 2 {
		m, err := basicmessage.New("hello", "")
		if err != nil {
			t.Fatal(err)
		}
		m.ID, m.To = message.NewID(), []string{id.DID()}
		cfg := client.PostConfig{
			Config:  client.Config{Home: db, Logger: slog.New(slog.DiscardHandler)},
			Timeout: 10 * time.Second, Lane: basicmessage.PIURI,
		}
		if posted, err := client.Post(t.Context(), cfg, m); err != nil || posted.Outcome.State != delivery.Queued {
			t.Fatalf("%+v, %v", posted, err)
		}
	}
	h, err := home.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	list, err := h.Store.Outbox().(store.OutboxAdmin).List(t.Context(), 0, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d items, %v", len(list), err)
	}
	for _, e := range list {
		if want := e.Item.From + " " + basicmessage.PIURI; e.Item.Lane != want {
			t.Errorf("lane %q, want %q", e.Item.Lane, want)
		}
	}
}
