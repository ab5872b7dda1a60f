package store

import "context"

// Store is one back end with all that an agent keeps.
type Store interface {
	Outbox() Outbox
	Inbox() Inbox
	Records() Records
	// Commit makes all of c durable, or nothing of it, and sets the Version of each
	// record in c.Put. The changes count as made one after the other, in the order of the
	// fields of Changes: what is deleted makes room for what is put. Errors: those of the
	// methods that Changes names, of the first change that fails. A Store made by Join
	// makes the changes one by one.
	Commit(ctx context.Context, c *Changes) error
}

// Changes are what Store.Commit makes durable together. The zero value changes nothing.
type Changes struct {
	// Delete are records as of Records.Delete, named by Collection, Key and Version.
	Delete []Record
	// Put are records as of Records.Put.
	Put []Record
	// Enqueue are items as of Outbox.Enqueue.
	Enqueue []Item
	// Ack, if not nil, is the lease of a message of the inbox that is acked, with
	// Replies as of Inbox.Ack.
	Ack     *Lease[Received]
	Replies []Packet
}

// Join makes a Store of parts that have nothing in common, such as records in a database
// and an outbox in memory. Its Commit is not atomic: it makes the changes one by one, in
// the order of the fields of Changes, and stops at the first that fails; those before it
// stay. As the message is acked last, its handler runs again after a crash in between,
// and finds the records changed.
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
