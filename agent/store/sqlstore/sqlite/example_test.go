package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// A store keeps what was written to it. The second Open finds the record of the first one.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "agent.db")

	// This process is the only one that leases messages, so it may reclaim the leases of
	// an earlier process that died.
	s, err := sqlite.Open(ctx, path, sqlstore.Config{Reclaim: true})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Records().Put(ctx, store.Record{Collection: "contacts", Key: "alice", Value: []byte("invited")}); err != nil {
		log.Fatal(err)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}

	s, err = sqlite.Open(ctx, path, sqlstore.Config{Reclaim: true})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	contact, err := s.Records().Get(ctx, "contacts", "alice")
	fmt.Printf("alice: %s %v\n", contact.Value, err)

	// Output:
	// alice: invited <nil>
}
