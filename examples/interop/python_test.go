//go:build interop

package interop_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// newPythonSuite begins the row of a peer in Python, of those minor versions of
// Python 3.
func newPythonSuite(t *testing.T, name string, oldest, newest int) *suite {
	t.Helper()
	return newSuite(t, name, pythonPeer(name, oldest, newest))
}

// pythonPeer installs it.
func pythonPeer(name string, oldest, newest int) func(context.Context) (peer.Config, error) {
	return func(ctx context.Context) (peer.Config, error) {
		dir, err := cache()
		if err != nil {
			return peer.Config{}, err
		}
		folder := filepath.Join("peers", name)
		python, err := peer.Python(ctx, peer.PythonConfig{
			Requirements: filepath.Join(folder, "requirements.txt"),
			Cache:        dir,
			Oldest:       oldest,
			Newest:       newest,
		})
		return peer.Config{Path: python, Args: []string{filepath.Join(folder, "peer.py")}}, err
	}
}
