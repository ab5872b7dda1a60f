package agent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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
	// without a recipient is a reply. Another message without from is sent from the DID of
	// ours that the received message came to. Commit makes contacts of its recipients, as
	// Send does, unless the sender of the received message is among them.
	Send []*message.Message
}

// Commit changes records and stores messages in the outbox, all of them or none. After a
// crash there is neither a changed record without its message nor a message without its
// record. This does not hold for a Store of store.Join, which describes its weaker guarantee.
//
// Errors are store.ErrVersion if a record has changed since it was read, other errors of
// the Store, and errors of [Agent.Send].
func (a *Agent) Commit(ctx context.Context, c Changes) error {
	if err := a.runs(); err != nil {
		return err
	}
	b := a.batch(&c)
	for _, m := range c.Send {
		if err := b.send(ctx, m, optionsOf()); err != nil {
			return err
		}
	}
	return b.commit(ctx)
}

// batch collects changes to commit together.
type batch struct {
	a   *Agent
	all store.Changes
	// Only for a Responder.
	back []storedReply // replies that leave by the connection of the message
	acks bool          // a reply has the acks that the message asks for
	paid []*rates      // the limits that replies were counted for
	// allowance of the received message, and the bytes that were taken from it.
	allowance *allowance
	taken     int64
}

func (a *Agent) batch(c *Changes) *batch {
	return &batch{a: a, all: store.Changes{Put: c.Put, Delete: c.Delete}}
}

// send adds the items of a message that is not a reply.
func (b *batch) send(ctx context.Context, m *message.Message, o *sendOptions) error {
	out := *m
	b.a.complete(&out, o)
	if err := b.a.address(ctx, &out); err != nil {
		return err
	}
	b.a.nameLong(ctx, &out, o)
	if err := b.items(ctx, &out, o); err != nil {
		return err
	}
	if !o.toSender {
		b.a.keepContacts(ctx, &out, m.To)
	}
	return nil
}

// items adds the items of a complete message.
func (b *batch) items(ctx context.Context, m *message.Message, o *sendOptions) error {
	items, err := b.a.items(ctx, m, o)
	b.all.Enqueue = append(b.all.Enqueue, items...)
	if o.allowance != nil {
		b.allowance, b.taken = o.allowance, b.taken+sizeOf(items)
	}
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
	m    *message.Message
	o    *sendOptions
	p    store.Packet
	paid *rates // the limit that the reply was counted for, or nil
}

// Commit implements [Responder].
func (r *responder) Commit(ctx context.Context, c Changes) error {
	return retried(r.commit(ctx, &c))
}

func (r *responder) commit(ctx context.Context, c *Changes) (err error) {
	b := r.a.batch(c)
	defer func() {
		if err != nil {
			r.restore(b)
		}
	}()
	for _, m := range c.Send {
		if len(m.To) > 0 {
			err = r.addOther(ctx, b, m)
		} else {
			err = r.add(ctx, b, m)
		}
		if err != nil {
			return err
		}
	}
	b.all.Ack, b.all.Replies = r.pending.held(), slices.Clone(r.kept())
	for _, w := range b.back {
		b.all.Replies = append(b.all.Replies, w.p)
	}
	if err := b.commit(ctx); err != nil && !r.committed(ctx, &b.all, err) {
		return err
	}
	r.pending.settled()
	r.setDone()
	for _, w := range b.back {
		r.write(ctx, w)
	}
	return nil
}

// addOther adds a message with recipients to b. A message to the sender of the received
// message is of the class of that sender, and makes no contact of it. Otherwise a stranger
// could become a contact by itself.
func (r *responder) addOther(ctx context.Context, b *batch, m *message.Message) (err error) {
	o, out := optionsOf(), *m
	out.From, o.class = cmp.Or(m.From, r.in.To), store.ClassKnown
	o.toSender = r.in.Authenticated() && slices.ContainsFunc(m.To, func(to string) bool {
		return party(to) == party(r.in.From) || party(to) == party(r.in.replyDID())
	})
	if o.toSender {
		if err := r.classify(ctx, out.From, r.in.From, o); err != nil {
			return err
		}
	}
	return b.send(ctx, &out, o)
}

// add adds a reply to b: its packet if the reply leaves by the connection of the message,
// and otherwise its items.
func (r *responder) add(ctx context.Context, b *batch, reply *message.Message) error {
	if !r.in.Authenticated() {
		return ErrUnauthenticated
	}
	m, o, route, acks, err := r.prepare(ctx, reply)
	b.acks = b.acks || acks
	if err != nil {
		return err
	}
	first := len(r.kept())+len(b.back) == 0
	back := route == returnYes && r.mayCarry(first)
	l := r.limit(m, back)
	if l != nil && !r.pay(b, l) {
		_ = r.overLimit(ctx, m) // logged; everything else is committed
		if acks {
			r.restoreAcks()
		}
		return nil
	}
	if !back {
		err := b.items(ctx, m, o)
		if route != returnYes || !first || !errors.Is(err, ErrNoRoute) {
			return err
		}
		// There is no other way. The reply is sent when the message arrives again.
	}
	p, err := r.packed(ctx, m, o)
	if err != nil {
		return err
	}
	if !o.allowance.take(int64(len(p.Data))) {
		return fmt.Errorf("%w to %s", ErrAnswerLimit, m.To[0])
	}
	b.allowance, b.taken = o.allowance, b.taken+int64(len(p.Data))
	b.back = append(b.back, storedReply{m, o, p, l})
	return nil
}

// mayCarry reports whether the connection of the message may carry a reply: the first
// reply to the message, or another. If the connection cannot carry the reply, the outbox
// must get the reply in the same commit as all other changes. Otherwise a crash after the
// commit would lose the reply.
func (r *responder) mayCarry(first bool) bool {
	switch w := r.w.(type) {
	case transport.NoReply:
		return false
	case transport.Session:
		return !transport.Ended(w)
	}
	return first
}

// pay counts a reply for a limit, and reports whether the limit allows the reply.
func (r *responder) pay(b *batch, l *rates) bool {
	r.mu.Lock()
	i := slices.Index(r.paid, l)
	if i >= 0 {
		r.paid = slices.Delete(r.paid, i, i+1)
	}
	r.mu.Unlock()
	if i < 0 && !l.take(r.in) {
		return false
	}
	b.paid = append(b.paid, l)
	return true
}

// restore gives the acks and the counts of a batch that was not committed to the next one.
func (r *responder) restore(b *batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paid = append(r.paid, b.paid...)
	b.allowance.giveBack(b.taken)
	if b.acks {
		r.acked = false
	}
}

// committed reports whether changes took effect although the commit has failed, for example
// because the connection to the database was lost before the answer. Then the message is
// done and has our replies. While the outcome is unknown, the message must not be acked,
// because the sender would not ask for the replies again.
func (r *responder) committed(ctx context.Context, c *store.Changes, failed error) bool {
	if c.Ack == nil {
		return false
	}
	for _, unchanged := range [...]error{
		store.ErrVersion, store.ErrNotFound, store.ErrFull, store.ErrLease, store.ErrIndex, store.ErrExists,
	} {
		if errors.Is(failed, unchanged) {
			return false
		}
	}
	var known *store.Known
	until, _ := r.handling.Deadline()
	err := store.Settle(ctx, until, r.a.cfg.MinBackoff, r.a.life.Done(), func(ctx context.Context) (err error) {
		_, known, err = r.a.inbox.Add(ctx, c.Ack.Item, 0)
		return err
	})
	return err == nil && known != nil && known.State == store.Done &&
		slices.EqualFunc(known.Replies, c.Replies, func(x, y store.Packet) bool { return bytes.Equal(x.Data, y.Data) })
}

// write writes a stored reply to the connection. If the connection has ended, the reply
// leaves by another way. Without another way, it is sent when the message arrives again.
func (r *responder) write(ctx context.Context, w storedReply) {
	r.keep(w.p)
	// The reply is due even if the Handler has no time left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.a.cfg.SendTimeout)
	defer cancel()
	err := r.w.Reply(ctx, transport.Packet(w.p))
	if err == nil {
		r.a.traceWritten(ctx, w.m, w.m.To[0])
		return
	}
	if l := r.limit(w.m, false); l != nil && l != w.paid && !l.take(r.in) {
		_ = r.overLimit(ctx, w.m) // logged
		return
	}
	w.o.allowance.giveBack(int64(len(w.p.Data))) // the item takes its place
	if _, err := r.a.send(ctx, w.m, w.o); err != nil {
		r.in.log(r.a.cfg.Logger).InfoContext(ctx, "reply not sent, it is sent when the message arrives again", "reply", w.m.Type, "error", err)
	}
}
