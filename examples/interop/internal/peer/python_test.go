//go:build interop

package peer_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// Two runs at once make one environment, which a third uses again; other
// requirements get another one, and what cannot be installed leaves nothing.
func TestPython(t *testing.T) {
	requirements := filepath.Join(t.TempDir(), "requirements.txt")
	write := func(text string) {
		if err := os.WriteFile(requirements, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := peer.PythonConfig{Requirements: requirements, Cache: filepath.Join(t.TempDir(), "cache"), Oldest: 6, Newest: 99}
	write("# nothing\n")
	var wg sync.WaitGroup
	paths, errs := make([]string, 2), make([]error, 2)
	for i := range paths {
		wg.Go(func() { paths[i], errs[i] = peer.Python(t.Context(), cfg) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if errors.Is(err, peer.ErrToolchain) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || paths[0] != paths[1] {
		t.Fatalf("%q, %v", paths, err)
	}
	mark := filepath.Join(filepath.Dir(paths[0]), "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := peer.Python(t.Context(), cfg); err != nil || again != paths[0] {
		t.Errorf("again: %q, %v", again, err)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the environment was made again: %v", err)
	}
	write("./no-such-package\n")
	if other, err := peer.Python(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a package that is nowhere: %q, %v", other, err)
	}
	entries, err := os.ReadDir(cfg.Cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("cache holds %v, %v", entries, err)
	}
}
