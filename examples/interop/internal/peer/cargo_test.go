//go:build interop

package peer_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// Two runs at once make one program, which a third uses again; another source
// gets another one; what cannot be fetched or built leaves nothing, and the
// folder is left as it was.
func TestCargo(t *testing.T) {
	cfg := peer.CargoConfig{Folder: t.TempDir(), Cache: filepath.Join(t.TempDir(), "cache"), Oldest: 56}
	write := func(name, text string) {
		path := filepath.Join(cfg.Folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const manifest = "[package]\nname = \"peer\"\nversion = \"0.0.0\"\nedition = \"2021\"\n"
	write("Cargo.toml", manifest)
	write("src/main.rs", "mod part;\nfn main() { part::part() }\n")
	write("src/part.rs", "pub fn part() { println!(\"one\") }\n")
	var wg sync.WaitGroup
	paths, errs := make([]string, 2), make([]error, 2)
	for i := range paths {
		wg.Go(func() { paths[i], errs[i] = peer.Cargo(t.Context(), cfg) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	if errors.Is(err, peer.ErrToolchain) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil || paths[0] != paths[1] {
		t.Fatalf("%q, %v", paths, err)
	}
	says := func(path, want string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), path).Output(); err != nil || string(out) != want {
			t.Errorf("%s says %q, %v", path, out, err)
		}
	}
	says(paths[0], "one\n")
	before, err := os.Stat(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	again, err := peer.Cargo(t.Context(), cfg)
	if err != nil || again != paths[0] {
		t.Errorf("again: %q, %v", again, err)
	}
	if after, err := os.Stat(paths[0]); err != nil || !os.SameFile(before, after) || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("the program was made again: %v", err)
	}
	write("src/part.rs", "pub fn part() { println!(\"two\") }\n")
	other, err := peer.Cargo(t.Context(), cfg)
	if err != nil || other == paths[0] {
		t.Fatalf("another source: %q, %v", other, err)
	}
	says(other, "two\n")
	says(paths[0], "one\n")
	write("src/part.rs", "no program")
	if broken, err := peer.Cargo(t.Context(), cfg); err == nil || errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a program that does not compile: %q, %v", broken, err)
	}
	write("Cargo.toml", manifest+"[dependencies]\nnowhere = { path = \"no-such-package\" }\n")
	if missing, err := peer.Cargo(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("a package that is nowhere: %q, %v", missing, err)
	}
	for dir, want := range map[string]int{cfg.Cache: 2, cfg.Folder: 2} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
	}
	cfg.Oldest = 1000
	if old, err := peer.Cargo(t.Context(), cfg); !errors.Is(err, peer.ErrToolchain) {
		t.Errorf("too old a compiler: %q, %v", old, err)
	}
}
