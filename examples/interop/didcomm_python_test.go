//go:build interop

package interop_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// TestDIDCommPython exchanges envelopes with didcomm 0.3.2 for Python, by SICPA.
func TestDIDCommPython(t *testing.T) {
	folder := filepath.Join("peers", "didcomm-python")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	python, err := peer.Python(ctx, peer.PythonConfig{
		Requirements: filepath.Join(folder, "requirements.txt"),
		Cache:        cache(t),
		Oldest:       9,
		Newest:       11,
	})
	if err != nil {
		notRun(t, err)
	}
	s := &suite{
		Process: peer.New(peer.Config{Path: python, Args: []string{filepath.Join(folder, "peer.py")}}),
		defects: didcommPythonDefects,
		seen:    map[string]bool{},
		quirks:  []message.DeviationCode{envelope.DeviationShortCoordinate, envelope.DeviationHighS},
	}
	defer s.Close()
	hello, err := s.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s, %v", hello.Language, hello.Versions)
	s.table(t)
	s.report(t, flag.Lookup("test.run").Value.String() == "")
}

// didcommPythonDefects are the cells that fail because of didcomm for Python.
var didcommPythonDefects = map[string]defect{}

// cache is the folder of installed peers.
func cache(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "didcomm-go-interop")
}

// notRun ends a test whose peer cannot be had: visibly skipped, but a failure
// where CI must have it.
func notRun(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" || !errors.Is(err, peer.ErrToolchain) {
		t.Fatalf("not run: %v", err)
	}
	t.Skipf("not run: %v", err)
}
