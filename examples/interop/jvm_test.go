//go:build interop

package interop_test

import (
	"context"
	"path/filepath"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// jvmPeer installs a peer in Java, whose library is that artifact.
func jvmPeer(name, artifact string) func(context.Context) (peer.Config, error) {
	return func(ctx context.Context) (peer.Config, error) {
		dir, err := cache()
		if err != nil {
			return peer.Config{}, err
		}
		folder := filepath.Join("peers", name)
		java, classpath, err := peer.Maven(ctx, peer.MavenConfig{
			Folder:   folder,
			Artifact: artifact,
			Cache:    dir,
			Oldest:   17,
		})
		return peer.Config{Path: java, Args: []string{"-cp", classpath, filepath.Join(folder, "Peer.java")}}, err
	}
}
