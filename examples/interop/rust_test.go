//go:build interop

package interop_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// newRustSuite begins the row of a peer in Rust, of that minor version of Rust 1
// or newer.
func newRustSuite(t *testing.T, name string, oldest int) *suite {
	t.Helper()
	return newSuite(t, name, rustPeer(name, oldest))
}

// rustPeer installs it.
func rustPeer(name string, oldest int) func(context.Context) (peer.Config, error) {
	return func(ctx context.Context) (peer.Config, error) {
		dir, err := cache()
		if err != nil {
			return peer.Config{}, err
		}
		program, err := peer.Cargo(ctx, peer.CargoConfig{
			Folder: filepath.Join("peers", name),
			Cache:  dir,
			Oldest: oldest,
		})
		return peer.Config{Path: program}, err
	}
}
