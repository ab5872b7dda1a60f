package sqlite_test

import (
	"database/sql"
	"flag"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/storebench"
)

var (
	queued = flag.Int("queued", 10_000, "items in the larger queue of BenchmarkQueue and BenchmarkInbox")
	stored = flag.Int("stored", 10_000, "records in the larger collection of BenchmarkRecords")
	boxes  = flag.Int("boxes", 1_000, "boxes, of ten packets each, in the larger BenchmarkMailbox")
)

func database(b *testing.B) storebench.Database {
	path := filepath.Join(b.TempDir(), "store.db")
	s := open(b, path, storebench.Config())
	bare, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-65536)")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bare.Close() })
	return storebench.Database{
		Store: s, Bare: bare, Begin: "BEGIN IMMEDIATE",
		Param: func(int) string { return "?" },
	}
}

// BenchmarkGroupCommit's ratio is to be 0.60 at least.
func BenchmarkGroupCommit(b *testing.B) { storebench.GroupCommit(b, database(b)) }

// BenchmarkLoneWriter's ms-added are to be 1 at most.
func BenchmarkLoneWriter(b *testing.B) { storebench.LoneWriter(b, database(b)) }

// BenchmarkQueue costs the same at both ends: run it with -queued=1000000.
func BenchmarkQueue(b *testing.B) {
	storebench.Ends(b, 1000, *queued, database, storebench.FillOutbox, storebench.Send)
}

// BenchmarkInbox costs the same at both ends: run it with -queued=1000000.
func BenchmarkInbox(b *testing.B) {
	storebench.Ends(b, 1000, *queued, database, storebench.FillInbox, storebench.Receive)
}

// BenchmarkRecords costs the same at both ends: run it with -stored=1000000.
func BenchmarkRecords(b *testing.B) { storebench.Records(b, 1000, *stored, database) }

// BenchmarkCommit's ratio is to be 1 at most.
func BenchmarkCommit(b *testing.B) { storebench.Commit(b, database(b)) }

// BenchmarkMailbox costs the same at both ends: run it with -boxes=100000.
func BenchmarkMailbox(b *testing.B) {
	storebench.Ends(b, 100, *boxes, database, storebench.FillMailboxes, storebench.PickUp)
}
