//go:build interop

package interop_test

import (
	"context"
	"path/filepath"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// goPeer builds a program in Go, of this module, into a temporary folder.
func goPeer(name, tmp string) func(context.Context) (peer.Config, error) {
	return func(ctx context.Context) (peer.Config, error) {
		program, err := peer.GoProgram(ctx, filepath.Join("peers", name), tmp)
		return peer.Config{Path: program}, err
	}
}
