package discover

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/lru"
)

// spelling returns the type of the answer to a query. Of a stranger nothing is known.
func (h *Handler) spelling(ctx context.Context, w agent.Responder, in *agent.Inbound) string {
	d, err := w.Agent().Contacts().Dialect(ctx, in.To, in.From)
	if err == nil && (slices.Contains(d.Lacks, TypeDisclose) || slices.Contains(d.Speaks, TypeDisclosures)) {
		return TypeDisclosures
	}
	return TypeDisclose
}

// Reported returns a Handler that calls next, except for one kind of message: a report that
// the peer does not support the type of an answer of h. That answer is sent once more, with
// type [TypeDisclosures]. If the peer is a contact, its next query is answered by that type.
//
// Only the last 256 answers are known. A report about an earlier one goes to next.
func (h *Handler) Reported(next agent.Handler) agent.Handler {
	return agent.HandlerFunc(func(ctx context.Context, w agent.Responder, in *agent.Inbound) error {
		if !message.IsProblemReport(in.Message.Type) || !in.Authenticated() || !in.Addressed || !agent.IsUnsupported(message.ReadProblem(in.Message.Body)) {
			return next.HandleMessage(ctx, w, in)
		}
		old, ok := h.answered.take(in)
		if !ok {
			return next.HandleMessage(ctx, w, in)
		}
		w.Agent().Learn(ctx, in, func(d *contact.Dialect) { d.Lacked(TypeDisclose) })
		m, err := message.New(TypeDisclosures, old.body)
		if err != nil {
			return err
		}
		m.ThreadID = old.thread
		return w.Reply(ctx, m)
	})
}

const (
	// maxAnswered is how many answers are kept for a report about them.
	maxAnswered = 256
	// maxThread is the longest thread id of an answer that is kept.
	maxThread = 128
)

// answered has the last answers of type TypeDisclose. The zero value is ready for use.
type answered struct {
	mu   sync.Mutex // guards all below
	list lru.Map[[sha256.Size]byte, answer]
}

type answer struct {
	thread string
	body   DiscloseBody
}

// keyOf is a digest, so that an entry keeps nothing of a peer that is long.
func keyOf(in *agent.Inbound, id string) [sha256.Size]byte {
	return sha256.Sum256([]byte(did.Canonical(in.To) + " " + did.Canonical(in.From) + " " + strings.ToLower(id)))
}

// add keeps the answer to in, which is a message with an id.
func (a *answered) add(in *agent.Inbound, id string, body DiscloseBody) {
	thread := in.Message.Thread()
	if len(thread) > maxThread {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list.Put(keyOf(in, id), answer{strings.Clone(thread), body})
	if a.list.Len() > maxAnswered {
		a.list.RemoveOldest()
	}
}

// take removes and returns the answer that a report is about. The report names the id of the
// answer as its parent thread, as Credo does, or in its ack, as the specification asks for.
func (a *answered) take(in *agent.Inbound) (old answer, ok bool) {
	ids := []string{in.Message.ParentThreadID, in.Message.ThreadID}
	if acks := in.Message.Ack; len(acks) > 0 {
		ids = append(ids, acks[0])
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if old, ok = a.list.Remove(keyOf(in, id)); ok {
			return old, true
		}
	}
	return answer{}, false
}
