package store

import "context"

// Store has the parts of one back end that an agent needs.
type Store interface {
	Outbox() Outbox
	Inbox() Inbox
	Records() Records
	// Commit makes all changes of c durable, or none of them, and sets the Version of each
	// record in c.Put. Commit judges the changes one after the other, in the order of the
	// fields of Changes: a record that is deleted makes room for one that is put.
	//
	// Errors: those of the methods that Changes names, for the first change that fails.
	// After an error, nothing has changed and no Version is set. The exception is a Store
	// that [Join] makes.
	Commit(ctx context.Context, c *Changes) error
}

// Changes are the changes that [Store.Commit] makes together. The zero value changes
// nothing.
type Changes struct {
	// Delete has the records to delete, named by Collection, Key and Version: see
	// [Records.Delete].
	Delete []Record
	// Put has the records to store: see [Records.Put].
	Put []Record
	// Enqueue has the items to put in the outbox: see [Outbox.Enqueue].
	Enqueue []Item
	// Ack, if not nil, is the lease of a message in the inbox. Commit acks this message
	// with Replies: see [Inbox.Ack].
	Ack     *Lease[Received]
	Replies []Packet
}

// Join makes a Store of parts from different back ends, such as records in a database and
// an outbox in memory. The Commit of this Store is not atomic: Commit makes the changes one
// by one, in the order of the fields of Changes, and stops at the first change that fails.
// Earlier changes stay. The message is acked last: after a crash in between, the handler
// runs again and finds the records changed.
func Join(o Outbox, i Inbox, r Records) Store { return &joined{o, i, r} }

type joined struct {
	outbox  Outbox
	inbox   Inbox
	records Records
}

func (s *joined) Outbox() Outbox   { return s.outbox }
func (s *joined) Inbox() Inbox     { return s.inbox }
func (s *joined) Records() Records { return s.records }

func (s *joined) Commit(ctx context.Context, c *Changes) error {
	for _, r := range c.Delete {
		if err := s.records.Delete(ctx, r.Collection, r.Key, r.Version); err != nil {
			return err
		}
	}
	for i := range c.Put {
		version, err := s.records.Put(ctx, c.Put[i])
		if err != nil {
			return err
		}
		c.Put[i].Version = version
	}
	if len(c.Enqueue) > 0 {
		if err := s.outbox.Enqueue(ctx, c.Enqueue...); err != nil {
			return err
		}
	}
	if c.Ack == nil {
		return nil
	}
	return s.inbox.Ack(ctx, c.Ack, c.Replies...)
}
