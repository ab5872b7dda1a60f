package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Changes are records and messages that [Agent.Commit] or [Responder].Commit makes
// durable in Config.Store, all of them or none.
type Changes struct {
	// Put has records to create or to replace, as in store.Records. Commit sets their
	// Version.
	Put []store.Record
	// Delete has records to delete. Only their Collection, Key and Version are used.
	Delete []store.Record
	// Send has messages to send, as with [Agent.Send]. In Responder.Commit, a message
	// without a recipient is a reply.
	Send []*message.Message
}

// Commit changes records and stores messages in the outbox, all of them or none. After a
// crash there is neither a changed record without its message nor a message without its
// record. If Config.Store was made by store.Join, see there how far this holds.
//
// Errors are store.ErrVersion if a record has changed since it was read, other errors of
// the Store, and errors of [Agent.Send].
func (a *Agent) Commit(ctx context.Context, c Changes) error {
	if err := a.runs(); err != nil {
		return err
	}
	b := a.batch(&c)
	for _, m := range c.Send {
		if err := b.send(ctx, m); err != nil {
			return err
		}
	}
	return b.commit(ctx)
}

// batch collects changes to commit together.
type batch struct {
	a   *Agent
	all store.Changes
}

func (a *Agent) batch(c *Changes) *batch {
	return &batch{a: a, all: store.Changes{Put: c.Put, Delete: c.Delete}}
}

// send adds the items of a message that is not a reply.
func (b *batch) send(ctx context.Context, m *message.Message) error {
	o, out := optionsOf(), *m
	b.a.complete(&out, o)
	if err := b.a.address(ctx, &out); err != nil {
		return err
	}
	if err := b.items(ctx, &out, o); err != nil {
		return err
	}
	b.a.keepContacts(ctx, &out, m.To)
	return nil
}

// items adds the items of a complete message.
func (b *batch) items(ctx context.Context, m *message.Message, o *sendOptions) error {
	items, err := b.a.items(ctx, m, o)
	b.all.Enqueue = append(b.all.Enqueue, items...)
	return err
}

func (b *batch) commit(ctx context.Context) error {
	if err := b.a.cfg.Store.Commit(ctx, &b.all); err != nil {
		return fmt.Errorf("agent: commit: %w", err)
	}
	return nil
}

// storedReply is a reply that leaves by the connection of its message after it is stored.
type storedReply struct {
	m *message.Message
	o *sendOptions
	p store.Packet
}

// Commit implements [Responder].
func (r *responder) Commit(ctx context.Context, c Changes) error {
	return retried(r.commit(ctx, &c))
}

func (r *responder) commit(ctx context.Context, c *Changes) (err error) {
	b := r.a.batch(c)
	var back []storedReply
	for _, m := range c.Send {
		if len(m.To) > 0 {
			if err := b.send(ctx, m); err != nil {
				return err
			}
			continue
		}
		if !r.in.Authenticated() {
			return ErrUnauthenticated
		}
		m, o, route, acks, err := r.prepare(ctx, m)
		defer func() {
			if err != nil && acks {
				r.restoreAcks()
			}
		}()
		if err != nil {
			return err
		}
		if l := r.limit(m, route == returnYes); l != nil && !l.take(r.in) {
			_ = r.overLimit(ctx, m) // logged; everything else is committed
			continue
		}
		if route != returnYes {
			if err := b.items(ctx, m, o); err != nil {
				return err
			}
			continue
		}
		p, err := r.packed(ctx, m, o)
		if err != nil {
			return err
		}
		back = append(back, storedReply{m, o, p})
	}
	b.all.Ack, b.all.Replies = r.pending.held(), r.kept()
	for _, w := range back {
		b.all.Replies = append(b.all.Replies[:len(b.all.Replies):len(b.all.Replies)], w.p)
	}
	if err := b.commit(ctx); err != nil {
		return err
	}
	r.pending.settled()
	for _, w := range back {
		r.write(ctx, w)
	}
	return nil
}

// write writes a stored reply to the connection. If the connection has ended, the reply
// leaves by another way. Without another way, it is sent when the message arrives again.
func (r *responder) write(ctx context.Context, w storedReply) {
	r.keep(w.p)
	err := r.w.Reply(ctx, transport.Packet(w.p))
	if err == nil {
		r.a.traceWritten(ctx, w.m, w.m.To[0])
		return
	}
	if _, err := r.a.send(ctx, w.m, w.o); err != nil {
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "reply not sent, it is sent when the message arrives again", "reply", w.m.Type, "error", err)
	}
}
