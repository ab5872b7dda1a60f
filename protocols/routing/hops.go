package routing

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did/lru"
)

const (
	// maxHops is how many forwards to ourselves are unwrapped. Each may have another one inside,
	// and so may the one that the agent has opened: the Packer unwraps those by itself.
	maxHops = 1
	// handedFor is how long a packet that was handed on is remembered, and maxHanded is how many
	// packets are.
	handedFor = time.Hour
	maxHanded = 1 << 14
)

// codeLoop is the code of the report for a forward that would come back to us.
const codeLoop = "e.p.req.routing-loop"

// ours returns the DID of ours that id, a DID, a DID URL or a did:key, names, or "".
func (s *server) ours(ctx context.Context, p *envelope.Packer, id string) (string, error) {
	if mediator.Name(id) == mediator.Name(s.mediator.DID()) {
		return s.mediator.DID(), nil
	}
	own, err := p.Own(ctx, id)
	if errors.Is(err, envelope.ErrNoKey) {
		return "", nil
	}
	return own, err
}

// toItself reports whether the next of a forward is the DID that the forward came to, or the
// routing DID. A sender must not find out which other DIDs are ours.
func (s *server) toItself(ctx context.Context, w agent.Responder, in *agent.Inbound, next string) (bool, error) {
	own, err := s.ours(ctx, w.Agent().Packer(), next)
	if own == "" || err != nil {
		return false, err
	}
	name := mediator.Name(own)
	return name == mediator.Name(in.To) || name == mediator.Name(s.mediator.DID()), nil
}

// unwrap takes the forward in a forward to ourselves.
func (s *server) unwrap(ctx context.Context, w agent.Responder, in *agent.Inbound, f *forward, hops int) error {
	if hops == maxHops || len(f.packets) != 1 {
		return &message.Problem{Code: codeLoop, Comment: "Too many forwards to this mediator inside of each other."}
	}
	u, err := w.Agent().Packer().Unpack(ctx, f.packets[0].Data)
	switch {
	case errors.Is(err, envelope.ErrTryLater), errors.Is(err, envelope.ErrInternal):
		return err
	case err != nil:
		return malformed(".attachments", "The message in the forward to this mediator cannot be opened.", err)
	case !message.Is(u.Message, TypeForward):
		return malformed(".attachments", "The forward to this mediator has to have a forward in it.", nil)
	case !u.Message.ExpiresTime.IsZero() && time.Now().After(u.Message.ExpiresTime):
		return nil // dropped, as the agent drops an expired message
	}
	return s.take(ctx, w, in, u, hops+1)
}

// handOn hands the packets of a forward on to a next hop, as the operator spells its DID.
func (s *server) handOn(ctx context.Context, w agent.Responder, in *agent.Inbound, f *forward, hop string, expires time.Time) error {
	a := w.Agent()
	noRoute := func(err error) error {
		return &message.Problem{Code: "e.p.xfer.no-route", Comment: "The next hop {1} cannot be reached.", Args: []string{clip(f.next)}, Err: err}
	}
	routes, err := a.Packer().Routes(ctx, hop)
	switch {
	case errors.Is(err, envelope.ErrTryLater), errors.Is(err, envelope.ErrInternal):
		return err
	case err != nil:
		return noRoute(err)
	}
	for _, r := range routes {
		loop := s.own.has(ctx, r.URI)
		for _, key := range r.RoutingKeys {
			own, err := s.ours(ctx, a.Packer(), key)
			if err != nil {
				return err
			}
			loop = loop || own != ""
		}
		if loop {
			return &message.Problem{Code: codeLoop, Comment: "The next hop {1} leads back to this mediator.", Args: []string{clip(f.next)}}
		}
	}
	for _, p := range f.packets {
		id := mediator.MailID(mediator.Name(hop), p.Data)
		if s.handed.has(id) {
			continue
		}
		packet := in.Packet // for its type
		packet.MediaType, packet.Data = p.MediaType, p.Data
		switch err := a.Relay(ctx, packet, hop, expires); {
		case errors.Is(err, agent.ErrNoRoute):
			return noRoute(err)
		case errors.Is(err, store.ErrFull):
			return agent.RetryLimit(fullDelay, "outbox", false, err)
		case err != nil:
			return err
		}
		s.handed.add(id)
	}
	return nil
}

// handed remembers the packets that were handed on, by mediator.MailID.
type handed struct {
	mu   sync.Mutex
	sent lru.Map[string, time.Time] // until when; guarded by mu
}

func (h *handed) has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.sent.Get(id)
	return ok && time.Now().Before(until)
}

func (h *handed) add(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent.Put(id, time.Now().Add(handedFor))
	if h.sent.Len() > maxHanded {
		h.sent.RemoveOldest()
	}
}
