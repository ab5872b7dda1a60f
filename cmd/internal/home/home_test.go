package home_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// Keys that other users can read are told.
func TestExposedKeys(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		mode os.FileMode
		warn bool
	}{{0o600, false}, {0o640, true}, {0o604, true}} {
		opened(t, home.Config{Dir: dir})
		if err := os.Chmod(filepath.Join(dir, "agent.db"), tt.mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		h, err := home.OpenToServe(t.Context(), home.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "private keys"); got != tt.warn {
			t.Errorf("mode %v: warned %v, want %v\n%s", tt.mode, got, tt.warn, log.String())
		}
	}
}

// A home directory that other users can write to is told.
func TestWritableHome(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := t.TempDir()
	for _, tt := range []struct {
		mode os.FileMode
		warn bool
	}{{0o700, false}, {0o755, false}, {0o770, true}, {0o777, true}} {
		if err := os.Chmod(dir, tt.mode); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		h, err := home.OpenToServe(t.Context(), home.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if got := strings.Contains(log.String(), "chmod 700"); got != tt.warn {
			t.Errorf("mode %v: warned %v, want %v\n%s", tt.mode, got, tt.warn, log.String())
		}
	}
}

// One process serves a home at a time, and others can tell.
func TestServed(t *testing.T) {
	cfg := home.Config{Dir: t.TempDir()}
	served := func(want bool) {
		t.Helper()
		if got, err := home.Served(cfg.Dir); got != want || err != nil {
			t.Errorf("served: %v, %v, want %v", got, err, want)
		}
		if err := home.Unserved(cfg.Dir); (err != nil) != want {
			t.Errorf("unserved: %v", err)
		}
	}
	served(false)
	for range 2 {
		h, err := home.OpenToServe(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		served(true)
		if _, err := home.OpenToServe(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "an agent runs on the home directory") {
			t.Errorf("served twice: %v", err)
		}
		opened(t, cfg) // commands work beside it
		served(true)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		served(false)
	}
}
