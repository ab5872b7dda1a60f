package peer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// NodeConfig says how to install a peer in JavaScript.
type NodeConfig struct {
	Name   string   // of the peer, and of its folder in Cache
	Files  []string // paths of the program's files and its package.json with exact pins
	Cache  string   // folder that holds a folder for each state of Files
	Oldest int      // the major version of Node.js that the pins need at least
}

// Node returns the path of Node.js and that of a folder with the program's
// files, side by side under their base names, and the pinned packages. The folder
// is in the cache, and its name has the hash of the files and of Node's version. Node makes
// the folder if it is not there yet. Several processes may call Node at the same time. The
// install scripts of packages do not run. The error matches ErrToolchain if there is no
// suitable node or npm, or if packages cannot be installed.
func Node(ctx context.Context, cfg NodeConfig) (node, dir string, err error) {
	node, release, npm, err := findNode(ctx, cfg.Oldest)
	if err != nil {
		return "", "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s/%s\n", release, runtime.GOOS, runtime.GOARCH)
	files := map[string][]byte{}
	for _, path := range cfg.Files {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", "", err
		}
		files[filepath.Base(path)] = data
		fmt.Fprintf(hash, "%s %d\n", filepath.Base(path), len(data))
		hash.Write(data)
	}
	name := fmt.Sprintf("%s-%x", cfg.Name, hash.Sum(nil)[:8])
	dir, err = cached(cfg.Cache, name, installed, func(fresh string) error {
		for base, data := range files {
			if err := os.WriteFile(filepath.Join(fresh, base), data, 0o644); err != nil {
				return err
			}
		}
		if out, err := command(ctx, npm, "--prefix", fresh, "install", "--no-package-lock", "--ignore-scripts",
			"--no-audit", "--no-fund", "--no-update-notifier"); err != nil {
			return fmt.Errorf("%w: npm install: %w: %s", ErrToolchain, err, out)
		}
		return nil
	})
	return node, dir, err
}

// findNode returns the path and version of Node.js and the path of its package
// client.
func findNode(ctx context.Context, oldest int) (node, release, npm string, err error) {
	node, nodeErr := exec.LookPath("node")
	npm, npmErr := exec.LookPath("npm")
	if err := errors.Join(nodeErr, npmErr); err != nil {
		return "", "", "", fmt.Errorf("%w: %w", ErrToolchain, err)
	}
	release, err = command(ctx, node, "--version")
	if err != nil {
		return "", "", "", fmt.Errorf("%w: node --version: %w: %s", ErrToolchain, err, release)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(release, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldest {
		return "", "", "", fmt.Errorf("%w: node is %s, older than %d", ErrToolchain, release, oldest)
	}
	return node, release, npm, nil
}

// installed reports whether a folder has its packages.
func installed(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "node_modules"))
	return err == nil && info.IsDir()
}
