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

// Two runs at once make one folder, which a third uses again; other files get
// another one, and what cannot be installed leaves nothing.
func TestNode(t *testing.T) {
	source := t.TempDir()
	write := func(path, text string) string {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(source, "dependency", "package.json"), `{"name":"dependency","version":"1.0.0"}`)
	manifest := func(dependency string) string {
		return write(filepath.Join(source, "package.json"),
			`{"private":true,"dependencies":{"dependency":"file:`+filepath.ToSlash(filepath.Join(source, dependency))+`"}}`)
	}
	cfg := peer.NodeConfig{
		Name:   "test",
		Files:  []string{manifest("dependency"), write(filepath.Join(source, "sub", "peer.mjs"), "// empty\n")},
		Cache:  filepath.Join(t.TempDir(), "cache"),
		Oldest: 1,
	}
	var wg sync.WaitGroup
	dirs, errs := make([]string, 2), make([]error, 2)
	for i := range dirs {
		wg.Go(func() { _, dirs[i], errs[i] = peer.Node(t.Context(), cfg) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if errors.Is(err, peer.ErrToolchain) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || dirs[0] != dirs[1] {
		t.Fatalf("%q, %v", dirs, err)
	}
	for _, name := range []string{"peer.mjs", "package.json", filepath.Join("node_modules", "dependency", "package.json")} {
		if _, err := os.Stat(filepath.Join(dirs[0], name)); err != nil {
			t.Error(err)
		}
	}
	write(filepath.Join(dirs[0], "mark"), "")
	if _, again, err := peer.Node(t.Context(), cfg); err != nil || again != dirs[0] {
		t.Errorf("again: %q, %v", again, err)
	}
	if _, err := os.Stat(filepath.Join(dirs[0], "mark")); err != nil {
		t.Errorf("the folder was made again: %v", err)
	}
	manifest("missing.tgz")
	if _, other, err := peer.Node(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a package that is nowhere: %q, %v", other, err)
	}
	entries, err := os.ReadDir(cfg.Cache)
	if err != nil || len(entries) != 1 {
		t.Errorf("cache holds %v, %v", entries, err)
	}
	cfg.Oldest = 1 << 20
	if _, _, err := peer.Node(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a node that is too old: %v", err)
	}
}
