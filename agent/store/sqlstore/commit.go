package sqlstore

import (
	"context"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Commit implements [store.Store]. A Commit may share its transaction with other calls that
// wait at the same time.
func (s *Store) Commit(ctx context.Context, c *store.Changes) error {
	var parts []*request
	changes := newChanges(c.Delete, c.Put)
	if len(c.Delete) > 0 || len(c.Put) > 0 {
		parts = append(parts, &request{table: s.records.table, body: changes})
	}
	if len(c.Enqueue) > 0 {
		parts = append(parts, &request{table: s.outbox.table, body: newEnqueue(c.Enqueue)})
	}
	if l := c.Ack; l != nil {
		parts = append(parts, &request{table: s.inbox.table, body: &settleMessage{
			id: messageKey(l.Item.Sender, l.Item.ID), token: int64(l.Token), how: store.Done, replies: encodePackets(c.Replies),
		}})
	}
	if len(parts) == 0 {
		return ctx.Err()
	}
	if err := s.w.together(ctx, parts); err != nil {
		return err
	}
	for i := range c.Put {
		c.Put[i].Version = uint64(changes.put[i].seq)
	}
	return nil
}
