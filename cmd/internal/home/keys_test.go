package home_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// opened opens a home and closes it again.
func opened(t testing.TB, cfg home.Config) *home.Home {
	t.Helper()
	h, err := home.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func didOf(t testing.TB, keys identity.Pair) string {
	t.Helper()
	id, err := identity.Peer2(keys)
	if err != nil {
		t.Fatal(err)
	}
	return id.DID()
}

// secret gives a passphrase, or none.
func secret(s string) func(context.Context, bool) ([]byte, error) {
	return func(context.Context, bool) ([]byte, error) {
		if s == "" {
			return nil, nil
		}
		return []byte(s), nil
	}
}

// Processes that start at once in one home are one agent.
func TestOpenAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "home")
	dids := make([]string, 8)
	var all sync.WaitGroup
	for i := range dids {
		all.Go(func() {
			h, err := home.Open(t.Context(), home.Config{Dir: dir})
			if err != nil {
				t.Error(err)
				return
			}
			defer h.Close()
			dids[i] = didOf(t, h.Pair)
		})
	}
	all.Wait()
	if slices.Sort(dids); dids[0] != dids[len(dids)-1] {
		t.Errorf("several identities: %v", dids)
	}
	if h := opened(t, home.Config{Dir: dir}); didOf(t, h.Pair) != dids[0] || len(h.Ring.KIDs()) != 2 {
		t.Errorf("left behind: %q", h.Ring.KIDs())
	}
	if info, err := os.Stat(filepath.Join(dir, "agent.db")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A passphrase that is missing, wrong, or given where none protects the keys, is an
// error of one line, and makes nothing anew.
func TestPassphrase(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	first := opened(t, home.Config{Dir: dir, Passphrase: secret("right")})
	for given, want := range map[string]string{"": "the agent's keys need their passphrase: ", "wrong": "wrong passphrase"} {
		_, err := home.Open(ctx, home.Config{Dir: dir, Passphrase: secret(given)})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("passphrase %q: %v", given, err)
		}
		if given != "" && !errors.Is(err, keyring.ErrPassphrase) {
			t.Errorf("no class: %v", err)
		}
	}
	if again := opened(t, home.Config{Dir: dir, Passphrase: secret("right")}); didOf(t, again.Pair) != didOf(t, first.Pair) {
		t.Error("another identity")
	}
	open := t.TempDir()
	was := opened(t, home.Config{Dir: open})
	if _, err := home.Open(ctx, home.Config{Dir: open, Passphrase: secret("x")}); err == nil || !strings.Contains(err.Error(), "not protected by one yet") {
		t.Errorf("a passphrase for open keys: %v", err)
	}
	failed := errors.New("no terminal")
	fresh := func(context.Context) ([]byte, error) { return nil, failed }
	if err := home.SetPassphrase(ctx, home.Config{Dir: open}, fresh); !errors.Is(err, failed) {
		t.Error(err)
	}
	opened(t, home.Config{Dir: open}) // none was set
	fresh = func(ctx context.Context) ([]byte, error) { return secret("new")(ctx, true) }
	if err := home.SetPassphrase(ctx, home.Config{Dir: open}, fresh); err != nil {
		t.Fatal(err)
	}
	if now := opened(t, home.Config{Dir: open, Passphrase: secret("new")}); didOf(t, now.Pair) != didOf(t, was.Pair) {
		t.Error("another identity with the new passphrase")
	}
}
