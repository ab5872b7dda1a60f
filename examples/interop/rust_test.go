//go:build interop

package interop_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// newRustSuite builds and starts a peer in Rust, of that minor version of Rust 1
// or newer, which ends with the test.
func newRustSuite(t *testing.T, name string, oldest int) *suite {
	t.Helper()
	// The first build compiles about a hundred packages.
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	program, err := peer.Cargo(ctx, peer.CargoConfig{
		Folder: filepath.Join("peers", name),
		Cache:  cache(t),
		Oldest: oldest,
	})
	if err != nil {
		notRun(t, err)
	}
	s := &suite{
		Process:   peer.New(peer.Config{Path: program}),
		seen:      map[string]bool{},
		tolerated: map[message.DeviationCode]int{},
	}
	t.Cleanup(s.Close)
	hello, err := s.Hello(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.hello = hello
	t.Logf("%s, %v", hello.Language, hello.Versions)
	return s
}
