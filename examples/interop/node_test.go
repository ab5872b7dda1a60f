//go:build interop

package interop_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// newNodeSuite begins the row of a peer in JavaScript.
func newNodeSuite(t *testing.T, name string) *suite {
	t.Helper()
	return newSuite(t, name, nodePeer(name))
}

// nodePeer installs it.
func nodePeer(name string) func(context.Context) (peer.Config, error) {
	return func(ctx context.Context) (peer.Config, error) {
		dir, err := cache()
		if err != nil {
			return peer.Config{}, err
		}
		node, dir, err := peer.Node(ctx, peer.NodeConfig{
			Name: name,
			Files: []string{
				filepath.Join("peers", name, "package.json"),
				filepath.Join("peers", name, "peer.mjs"),
				filepath.Join("peers", "lines.mjs"),
			},
			Cache:  dir,
			Oldest: 20,
		})
		return peer.Config{Path: node, Args: []string{filepath.Join(dir, "peer.mjs")}}, err
	}
}
