//go:build interop

package interop_test

import (
	"context"
	"flag"
	"path/filepath"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// newNodeSuite installs and starts a peer in JavaScript, which ends with the
// test.
func newNodeSuite(t *testing.T, name string) *suite {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	node, dir, err := peer.Node(ctx, peer.NodeConfig{
		Name: name,
		Files: []string{
			filepath.Join("peers", name, "package.json"),
			filepath.Join("peers", name, "peer.mjs"),
			filepath.Join("peers", "lines.mjs"),
		},
		Cache:  cache(t),
		Oldest: 20,
	})
	if err != nil {
		notRun(t, err)
	}
	s := &suite{
		Process:   peer.New(peer.Config{Path: node, Args: []string{filepath.Join(dir, "peer.mjs")}}),
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

// endpointService is a document's service in the shape of DIDComm v2.1.
func endpointService(id string, routingKeys []string) any {
	return []any{map[string]any{
		"id":   id + "#service",
		"type": "DIDCommMessaging",
		"serviceEndpoint": map[string]any{
			"uri":         "https://example.org/didcomm",
			"accept":      []string{"didcomm/v2"},
			"routingKeys": routingKeys,
		},
	}}
}

// everything says whether no filter of go test leaves cells out.
func everything() bool { return flag.Lookup("test.run").Value.String() == "" }
