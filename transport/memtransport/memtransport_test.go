package memtransport_test

import (
	"context"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/memtransport"
	"github.com/didcomm-go/didcomm/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, server, client transport.Handler) transporttest.Link {
		n := memtransport.NewNetwork()
		if err := n.Handle("mem://bob", server); err != nil {
			t.Fatal(err)
		}
		s := n.Sender()
		t.Cleanup(func() { s.Close() })
		s.Bind(client)
		return transporttest.Link{Sender: s, Endpoint: "mem://bob", Dead: "mem://nobody", MaxBytes: transport.DefaultMaxBytes}
	})
}

func TestHandle(t *testing.T) {
	n := memtransport.NewNetwork()
	var se *transport.SendError
	if err := n.Handle("http://bob", transport.HandlerFunc(nil)); !errors.As(err, &se) {
		t.Errorf("foreign scheme: got %v", err)
	}
	var err error
	h := transport.HandlerFunc(func(ctx context.Context, w transport.Replier, p transport.Packet) error {
		err = w.Reply(ctx, p)
		return nil
	})
	if err := n.Handle("mem://bob", h); err != nil {
		t.Fatal(err)
	}
	s := n.Sender()
	defer s.Close()
	p := transport.Packet{Data: []byte("{}")}
	if err := s.Send(t.Context(), "mem://bob", p); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, transport.ErrNoReturnRoute) {
		t.Errorf("reply to a sender that is not bound: got %v", err)
	}
	if err := n.Handle("mem://bob", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), "mem://bob", p); !errors.As(err, &se) || !se.Retryable {
		t.Errorf("removed endpoint: got %v", err)
	}
}

// accepting is a Handler that accepts every packet and handles none.
type accepting struct{ accepted func() }

func (a accepting) ServePacket(context.Context, transport.Replier, transport.Packet) (handled <-chan struct{}, err error) {
	a.accepted()
	return make(chan struct{}), nil
}

// If ctx ends before the packet is handled, Send fails, although the packet is accepted.
func TestUnhandled(t *testing.T) {
	n := memtransport.NewNetwork()
	s := n.Sender()
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if err := n.Handle("mem://bob", accepting{cancel}); err != nil {
		t.Fatal(err)
	}
	var se *transport.SendError
	err := s.Send(ctx, "mem://bob", transport.Packet{Data: []byte("{}")})
	if !errors.As(err, &se) || !se.Retryable || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a retryable error of the context", err)
	}
}
