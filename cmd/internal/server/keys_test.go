package server_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
)

// openRing opens an agent's keyring and closes its store again.
func openRing(t testing.TB, cfg server.StoreConfig) *server.Ring {
	t.Helper()
	ring, err := server.OpenRing(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	return ring
}

func didOf(t testing.TB, keys server.Keys) string {
	t.Helper()
	id, err := keys.Peer()
	if err != nil {
		t.Fatal(err)
	}
	return id.Document.ID
}

// secret gives a passphrase, or none.
func secret(s string) server.Passphrase {
	return func(context.Context, bool) ([]byte, error) {
		if s == "" {
			return nil, nil
		}
		return []byte(s), nil
	}
}

// Processes that start at once in one home are one agent.
func TestOpenRingAtOnce(t *testing.T) {
	home := filepath.Join(t.TempDir(), "new", "home")
	dids := make([]string, 8)
	var all sync.WaitGroup
	for i := range dids {
		all.Go(func() {
			ring, err := server.OpenRing(t.Context(), server.StoreConfig{Home: home})
			if err != nil {
				t.Error(err)
				return
			}
			defer ring.Close()
			dids[i] = didOf(t, ring.Own)
		})
	}
	all.Wait()
	if slices.Sort(dids); dids[0] != dids[len(dids)-1] {
		t.Errorf("several identities: %v", dids)
	}
	if ring := openRing(t, server.StoreConfig{Home: home}); didOf(t, ring.Own) != dids[0] || len(ring.KIDs()) != 2 {
		t.Errorf("left behind: %q", ring.KIDs())
	}
	if info, err := os.Stat(filepath.Join(home, "agent.db")); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// Who has no passphrase, the wrong one, or one where none protects the keys, is
// told in a line; and what cannot be opened is not made anew.
func TestPassphrase(t *testing.T) {
	ctx := t.Context()
	home := t.TempDir()
	first := openRing(t, server.StoreConfig{Home: home, Passphrase: secret("right")})
	for given, want := range map[string]string{"": "the agent's keys need their passphrase: ", "wrong": "wrong passphrase"} {
		_, err := server.OpenRing(ctx, server.StoreConfig{Home: home, Passphrase: secret(given)})
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("passphrase %q: %v", given, err)
		}
		if given != "" && !errors.Is(err, keyring.ErrPassphrase) {
			t.Errorf("no class: %v", err)
		}
	}
	if again := openRing(t, server.StoreConfig{Home: home, Passphrase: secret("right")}); didOf(t, again.Own) != didOf(t, first.Own) {
		t.Error("another identity")
	}
	open := t.TempDir()
	openRing(t, server.StoreConfig{Home: open})
	if _, err := server.OpenRing(ctx, server.StoreConfig{Home: open, Passphrase: secret("x")}); err == nil || !strings.Contains(err.Error(), "not protected by one yet") {
		t.Errorf("a passphrase for open keys: %v", err)
	}
	failed := errors.New("no terminal")
	fresh := func(context.Context) ([]byte, error) { return nil, failed }
	if err := server.SetPassphrase(ctx, server.StoreConfig{Home: open}, fresh); !errors.Is(err, failed) {
		t.Error(err)
	}
	if ring := openRing(t, server.StoreConfig{Home: open}); !ring.Clear {
		t.Error("a passphrase was set")
	}
}
