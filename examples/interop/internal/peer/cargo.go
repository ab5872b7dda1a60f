package peer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// CargoConfig says how to install a peer in Rust.
type CargoConfig struct {
	Folder string // of Cargo.toml, with exact pins, and src; its one program is called "peer"
	Cache  string // folder that holds a program for each state of Folder
	Oldest int    // minor version of Rust 1 that the pins need
}

// Cargo returns the path of a peer's program, in its release build. The program is in the
// cache folder, under a name with the hash of its sources and compiler. Cargo builds the
// program if it is not there yet. Several processes may call Cargo at the same time. The
// folder of the sources gets no lock file. The error matches ErrToolchain if there is no
// suitable cargo, or if packages cannot be fetched. It does not match ErrToolchain if the
// program does not compile.
func Cargo(ctx context.Context, cfg CargoConfig) (string, error) {
	cargo, release, err := findCargo(ctx, cfg.Oldest)
	if err != nil {
		return "", err
	}
	folder := os.DirFS(cfg.Folder)
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n", release)
	for _, root := range []string{"Cargo.toml", "src"} {
		if err := fs.WalkDir(folder, root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(folder, path)
			fmt.Fprintf(hash, "%s %d\n%s\n", path, len(data), data)
			return err
		}); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(cfg.Cache, fmt.Sprintf("%s-%x", filepath.Base(cfg.Folder), hash.Sum(nil)[:8]))
	program := filepath.Join(dir, "bin", "peer")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	if isFile(program) {
		return program, nil
	}
	if err := os.MkdirAll(cfg.Cache, 0o755); err != nil {
		return "", err
	}
	work, err := os.MkdirTemp(cfg.Cache, filepath.Base(dir)+".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	source, fresh := filepath.Join(work, "source"), filepath.Join(work, "installed")
	if err := os.CopyFS(filepath.Join(source, "src"), os.DirFS(filepath.Join(cfg.Folder, "src"))); err != nil {
		return "", err
	}
	manifest, err := os.ReadFile(filepath.Join(cfg.Folder, "Cargo.toml"))
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(source, "Cargo.toml"), manifest, 0o644); err != nil {
		return "", err
	}
	if out, err := command(ctx, cargo, "fetch", "--quiet", "--manifest-path", filepath.Join(source, "Cargo.toml")); err != nil {
		return "", fmt.Errorf("%w: cargo fetch: %w: %s", ErrToolchain, err, out)
	}
	if out, err := command(ctx, cargo, "install", "--quiet", "--offline", "--locked", "--no-track", "--path", source,
		"--root", fresh, "--target-dir", filepath.Join(work, "target")); err != nil {
		return "", fmt.Errorf("cargo install: %w: %s", err, out)
	}
	// The program is complete before it gets its name. If another process was
	// faster, its program is used.
	if err := os.Rename(fresh, dir); err != nil && !isFile(program) {
		return "", err
	}
	return program, nil
}

// findCargo returns the path of cargo, and the version text of its compiler.
func findCargo(ctx context.Context, oldest int) (path, release string, err error) {
	path, err = exec.LookPath("cargo")
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	release, err = command(ctx, "rustc", "--version", "--verbose")
	if err != nil {
		return "", "", fmt.Errorf("%w: rustc: %w: %s", ErrToolchain, err, release)
	}
	// rustc 1.95.0 (f2d3ce0bd 2026-03-21)
	version, _, _ := strings.Cut(strings.TrimPrefix(release, "rustc 1."), ".")
	if minor, err := strconv.Atoi(version); err != nil || minor < oldest {
		first, _, _ := strings.Cut(release, "\n")
		return "", "", fmt.Errorf("%w: no Rust 1.%d or newer but %s", ErrToolchain, oldest, first)
	}
	return path, release, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
