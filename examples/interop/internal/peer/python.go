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
	"strings"
)

// ErrToolchain means that this machine lacks a compiler, an interpreter or a package that the
// program of a peer needs.
var ErrToolchain = errors.New("toolchain not available")

// ErrArtifact means that a package that a peer needs is not in the registry that
// its package client asks.
var ErrArtifact = errors.New("artifact not found")

// PythonConfig says how to install a peer in Python.
type PythonConfig struct {
	Requirements string // path of the requirements.txt with exact pins
	Cache        string // folder that holds an environment for each requirements.txt
	// Oldest and Newest are the minor versions of Python 3 that the pins work
	// with.
	Oldest, Newest int
}

// Python returns the path of a Python interpreter that has the pinned packages.
// The packages are in a virtual environment in the cache folder, whose name has the hash of the
// requirements and of the interpreter. Python makes the environment if it is not there yet.
// Several processes may call Python at the same time. The error matches ErrToolchain if there
// is no suitable python3 with venv, or if packages cannot be installed.
func Python(ctx context.Context, cfg PythonConfig) (string, error) {
	requirements, err := os.ReadFile(cfg.Requirements)
	if err != nil {
		return "", err
	}
	base, release, err := findPython(ctx, cfg)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintf(hash, "%s\n%s\n%s/%s\n", base, release, runtime.GOOS, runtime.GOARCH)
	hash.Write(requirements)
	name := fmt.Sprintf("%s-%x", filepath.Base(filepath.Dir(cfg.Requirements)), hash.Sum(nil)[:8])
	there := func(dir string) bool { return usable(ctx, interpreter(dir)) }
	// An environment's interpreter finds the packages by its own path, so that it
	// can be moved.
	dir, err := cached(cfg.Cache, name, there, func(fresh string) error {
		if out, err := command(ctx, base, "-m", "venv", fresh); err != nil {
			return fmt.Errorf("%w: %s -m venv: %w: %s", ErrToolchain, base, err, out)
		}
		if out, err := command(ctx, interpreter(fresh), "-m", "pip", "install", "--quiet", "--no-input",
			"--disable-pip-version-check", "--requirement", cfg.Requirements); err != nil {
			return fmt.Errorf("%w: pip install: %w: %s", ErrToolchain, err, out)
		}
		return nil
	})
	return interpreter(dir), err
}

// findPython returns a Python 3 of a fitting version that can make virtual
// environments: its path and version.
func findPython(ctx context.Context, cfg PythonConfig) (path, release string, err error) {
	names := []string{"python3", "python"}
	for minor := cfg.Newest; minor >= cfg.Oldest; minor-- {
		names = append(names, fmt.Sprintf("python3.%d", minor))
	}
	names = append(names, kept(ctx, cfg)...)
	probe := fmt.Sprintf("import ensurepip, venv, sys; v = sys.version_info; "+
		"(3, %d) <= v[:2] <= (3, %d) or sys.exit('it is version %%d.%%d' %% v[:2]); print(sys.executable); print(sys.version)",
		cfg.Oldest, cfg.Newest)
	var failed []string
	for _, name := range names {
		found, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := command(ctx, found, "-c", probe)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %s", name, lastLine(out)))
			continue
		}
		path, release, _ = strings.Cut(out, "\n")
		return path, release, nil
	}
	return "", "", fmt.Errorf("%w: no Python 3.%d to 3.%d with venv and ensurepip (%s)",
		ErrToolchain, cfg.Oldest, cfg.Newest, strings.Join(append(failed, "none else in PATH or of pyenv"), "; "))
}

// kept returns the paths of the suitable interpreters of pyenv, if pyenv is installed. Only
// one of them is in PATH.
func kept(ctx context.Context, cfg PythonConfig) []string {
	root, err := command(ctx, "pyenv", "root")
	if err != nil {
		return nil
	}
	var paths []string
	for minor := cfg.Newest; minor >= cfg.Oldest; minor-- {
		found, err := filepath.Glob(filepath.Join(root, "versions", fmt.Sprintf("3.%d.*", minor), "bin", "python3"))
		if err == nil {
			paths = append(paths, found...)
		}
	}
	return paths
}

// interpreter is the path of the interpreter in a virtual environment.
func interpreter(dir string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(dir, "Scripts", "python.exe")
	}
	return filepath.Join(dir, "bin", "python")
}

func usable(ctx context.Context, python string) bool {
	_, err := command(ctx, python, "-c", "pass")
	return err == nil
}

// command returns the end of the output of a command. It stops the command when ctx ends.
func command(ctx context.Context, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	return strings.TrimSpace(out.String()), err
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }
