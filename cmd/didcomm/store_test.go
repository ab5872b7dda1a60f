package main

import (
	"database/sql"
	"os"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite" // for change
)

// until runs a program again until what it prints matches:
//
//	until PATTERN didcomm outbox list
//	until -stderr PATTERN didcomm outbox list
func until(ts *testscript.TestScript, neg bool, args []string) {
	stream := "stdout"
	if len(args) > 0 && args[0] == "-stderr" {
		stream, args = "stderr", args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until [-stderr] PATTERN program [args...]")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	for end := time.Now().Add(30 * time.Second); ; {
		ts.Check(ts.Exec(args[1], args[2:]...))
		switch said := ts.ReadFile(stream); {
		case re.MatchString(said):
			return
		case time.Now().After(end):
			ts.Fatalf("no match for %q in time: %s", args[0], said)
		}
	}
}

// cutOff takes the second half of a file away:
//
//	cutoff home/agent.db
func cutOff(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cutoff FILE")
	}
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()/2))
}

// newerSchema makes a database look as if a program of the future had written it:
//
//	newerschema home/agent.db
func newerSchema(ts *testscript.TestScript, neg bool, args []string) {
	change(ts, neg, args, "INSERT INTO didcomm_schema (version_id, is_applied) VALUES (1000, true)")
}

// forgetDIDs takes all records out of a database, with the DIDs of the home:
//
//	forgetdids home/agent.db
func forgetDIDs(ts *testscript.TestScript, neg bool, args []string) {
	change(ts, neg, args, "DELETE FROM record")
}

// change executes SQL on the database that args name.
func change(ts *testscript.TestScript, neg bool, args []string, statement string) {
	if neg || len(args) != 1 {
		ts.Fatalf("want a database")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	result, err := db.Exec(statement)
	ts.Check(err)
	if n, err := result.RowsAffected(); n == 0 || err != nil {
		ts.Fatalf("%d rows, %v", n, err)
	}
	ts.Check(db.Close())
}
