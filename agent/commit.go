package agent

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// Changes are what Agent.Commit and Responder.Commit make durable together, in
// Config.Store.
type Changes struct {
	Put    []store.Record // as store.Changes has them; Commit sets their Version
	Delete []store.Record // named by Collection, Key and Version
	// Send are messages to be sent as by Agent.Send. In a Responder a message whose To is
	// empty is a reply.
	Send []*message.Message
}

// Commit changes records and sends messages, all or nothing: a crash leaves neither a
// record without its message nor a message without its record. A Store made by store.Join
// keeps that promise only as far as its own Commit does.
//
// Errors: store.ErrVersion where another changed a record meanwhile; others of the Store;
// those of Send.
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

// batch are changes that are to be committed together.
type batch struct {
	a   *Agent
	all store.Changes
}

func (a *Agent) batch(c *Changes) *batch {
	return &batch{a: a, all: store.Changes{Put: c.Put, Delete: c.Delete}}
}

// send adds the items of a message that is no reply.
func (b *batch) send(ctx context.Context, m *message.Message) error {
	o, out := optionsOf(), *m
	b.a.complete(&out, o)
	if err := b.a.address(ctx, &out); err != nil {
		return err
	}
	if err := b.items(ctx, &out, o); err != nil {
		return err
	}
	b.a.keep(ctx, &out, m.To)
	return nil
}

// items adds the items of a message that is complete.
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

// written is a reply that goes by the connection of its message once it is stored.
type written struct {
	m *message.Message
	o *sendOptions
	p store.Packet
}

// Commit implements Responder.
func (r *responder) Commit(ctx context.Context, c Changes) error {
	return retried(r.commit(ctx, &c))
}

func (r *responder) commit(ctx context.Context, c *Changes) (err error) {
	b := r.a.batch(c)
	var back []written
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
		m, o, how, acks, err := r.prepare(ctx, m)
		defer func() {
			if err != nil && acks {
				r.oweAcks()
			}
		}()
		if err != nil {
			return err
		}
		if l := r.limit(m, how == returnYes); l != nil && !l.take(r.in) {
			_ = r.overLimit(ctx, m) // logged; the rest takes effect
			continue
		}
		if how != returnYes {
			if err := b.items(ctx, m, o); err != nil {
				return err
			}
			continue
		}
		p, err := r.packed(ctx, m, o)
		if err != nil {
			return err
		}
		back = append(back, written{m, o, p})
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

// write writes a reply that is stored. If the connection has ended, the reply goes by any
// other way; without one it waits for the message to come again.
func (r *responder) write(ctx context.Context, w written) {
	r.keep(w.p)
	err := r.w.Reply(ctx, transport.Packet(w.p))
	if err == nil {
		r.a.wrote(ctx, w.m, w.m.To[0])
		return
	}
	if _, err := r.a.send(ctx, w.m, w.o); err != nil {
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "reply not sent, it waits for the message to come again", "reply", w.m.Type, "error", err)
	}
}
