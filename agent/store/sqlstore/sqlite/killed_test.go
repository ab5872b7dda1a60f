package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/internal/sqlsuite"
)

// killed names the file for a run of TestKilled as the process that is killed.
const killed = "SQLITE_TEST_KILLED"

// TestKilled: the share of each party is exact after a process was killed in the middle of
// its work.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killed); path != "" {
		s := open(t, path, sqlstore.Config{Reclaim: true})
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for round := 0; ; round++ {
					if err := sqlsuite.Churn(t.Context(), s, fmt.Sprint(os.Getpid(), round, i), 5); err != nil {
						t.Error(err)
						return
					}
					fmt.Println("round")
				}
			})
		}
		wg.Wait()
		return
	}
	path := file(filepath.Join(t.TempDir(), "store.db"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 3 {
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), killed+"="+string(path))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, rounds := bufio.NewScanner(out), 0
		for rounds < 10 && lines.Scan() && lines.Text() == "round" {
			rounds++
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); rounds < 10 || err == nil {
			t.Fatalf("%d rounds before the kill: %v, %q", rounds, err, lines.Text())
		}
		sqlsuite.CheckShares(t, path.SQL(t))
	}
	open(t, string(path), sqlstore.Config{Reclaim: true})
	sqlsuite.CheckShares(t, path.SQL(t))
}
