package store_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// A handler counts the messages of a sender in a record and answers with the count. Commit
// stores the record, queues the answer and acks the message together.
func ExampleNew() {
	ctx := context.Background()
	s := store.New(store.Config{})

	// A message arrives, and is leased to its handler for a minute.
	lease, _, err := s.Inbox().Add(ctx, store.Received{
		Sender: "did:example:alice", ID: "1", Peer: "did:example:alice",
		Packet: store.Packet{Data: []byte("...")},
		Until:  time.Now().Add(24 * time.Hour),
	}, time.Minute)
	if err != nil {
		fmt.Println(err)
		return
	}

	changes := &store.Changes{
		Put:     []store.Record{{Collection: "counts", Key: "did:example:alice", Value: []byte("1")}},
		Enqueue: []store.Item{{ID: "answer to 1", To: "did:example:alice", Direct: store.Packet{Data: []byte("...")}}},
		Ack:     lease,
	}
	if err := s.Commit(ctx, changes); err != nil {
		fmt.Println(err) // nothing was changed
		return
	}

	record, err := s.Records().Get(ctx, "counts", "did:example:alice")
	fmt.Printf("count: %s %v\n", record.Value, err)
	item, err := s.Outbox().Lease(ctx, time.Minute)
	fmt.Println("to send:", item.Item.ID, err)

	// The message arrives once more. It is known, so there is no lease.
	again, known, err := s.Inbox().Add(ctx, lease.Item, time.Minute)
	fmt.Println("again:", again == nil, known.State, err)

	// Output:
	// count: 1 <nil>
	// to send: answer to 1 <nil>
	// again: true done <nil>
}

// Two callers read a record and change it. The second Put fails, since the first one has
// given the record another version. The second caller reads the record again and retries.
func ExampleRecords() {
	ctx := context.Background()
	records := store.NewRecords(store.RecordsConfig{})
	if _, err := records.Put(ctx, store.Record{Collection: "contacts", Key: "alice", Value: []byte("new")}); err != nil {
		fmt.Println(err)
		return
	}

	first, err := records.Get(ctx, "contacts", "alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	second := first

	first.Value = []byte("invited")
	_, err = records.Put(ctx, first)
	fmt.Println("first:", err)

	second.Value = []byte("blocked")
	_, err = records.Put(ctx, second)
	fmt.Println("second:", err)

	for errors.Is(err, store.ErrVersion) {
		if second, err = records.Get(ctx, "contacts", "alice"); err != nil {
			break
		}
		second.Value = append(second.Value, ", then blocked"...)
		_, err = records.Put(ctx, second)
	}
	last, err := records.Get(ctx, "contacts", "alice")
	fmt.Printf("%s %v\n", last.Value, err)

	// Output:
	// first: <nil>
	// second: store: record changed
	// invited, then blocked <nil>
}
