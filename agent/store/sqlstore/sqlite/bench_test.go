package sqlite_test

import (
	"database/sql"
	"flag"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/storebench"
)

var (
	queued = flag.Int("queued", 10_000, "items in the larger queue of BenchmarkQueue, BenchmarkInbox and BenchmarkBox")
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

// BenchmarkGroupCommit should report a ratio of at least 0.60.
func BenchmarkGroupCommit(b *testing.B) { storebench.GroupCommit(b, database(b)) }

// BenchmarkLoneWriter should report at most 1 ms-added.
func BenchmarkLoneWriter(b *testing.B) { storebench.LoneWriter(b, database(b)) }

// BenchmarkQueue should cost about the same at both sizes. Run it with -queued=1000000.
func BenchmarkQueue(b *testing.B) {
	storebench.Ends(b, 1000, *queued, database, storebench.FillOutbox, storebench.Send)
}

// BenchmarkInbox should cost about the same at both sizes. Run it with -queued=1000000.
func BenchmarkInbox(b *testing.B) {
	storebench.Ends(b, 1000, *queued, database, storebench.FillInbox, storebench.Receive)
}

// BenchmarkRecords should cost about the same at both sizes. Run it with -stored=1000000.
func BenchmarkRecords(b *testing.B) { storebench.Records(b, 1000, *stored, database) }

// BenchmarkCommit should report a ratio of at most 1.
func BenchmarkCommit(b *testing.B) { storebench.Commit(b, database(b)) }

// BenchmarkMailbox should cost about the same at both sizes. Run it with -boxes=100000.
func BenchmarkMailbox(b *testing.B) {
	storebench.Ends(b, 100, *boxes, database, storebench.FillMailboxes, storebench.PickUp)
}

// BenchmarkBox should report ratios of about 1. Run it with -queued=1000000.
func BenchmarkBox(b *testing.B) { storebench.Box(b, 1000, *queued, database) }
