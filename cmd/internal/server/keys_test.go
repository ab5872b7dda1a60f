package server_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
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

// writeIdentity makes an identity file, as homes had them, and returns its DID.
func writeIdentity(t testing.TB, home string) (did string, data []byte) {
	t.Helper()
	keys, err := server.NewKeys(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := keys.Peer()
	if err != nil {
		t.Fatal(err)
	}
	if data, err = id.Keys.MarshalSecrets(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "identity.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return id.Document.ID, data
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

// A file of the agent's keys that was cut off anywhere is refused, and stays.
func TestDamagedIdentity(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, "identity.json")
	_, whole := writeIdentity(t, home)
	for n := 0; n < len(whole); n += 7 {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.OpenRing(t.Context(), server.StoreConfig{Home: home}); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("cut at %d: %v", n, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, whole[:n]) {
			t.Errorf("cut at %d: the file was changed (%v)", n, err)
		}
	}
}

// The identity file of a home from before is taken over: the agent stays who it
// is. The file goes when, and only when, a passphrase protects the keys.
func TestIdentityTakenOver(t *testing.T) {
	ctx := t.Context()
	gone := func(home string) bool {
		_, err := os.Stat(filepath.Join(home, "identity.json"))
		return errors.Is(err, fs.ErrNotExist)
	}
	var told strings.Builder
	config := func(home, pass string) server.StoreConfig {
		return server.StoreConfig{Home: home, Passphrase: secret(pass), Notice: func(s string) { told.WriteString(s + "\n") }}
	}

	home := t.TempDir()
	was, _ := writeIdentity(t, home)
	for range 2 {
		if ring := openRing(t, config(home, "")); didOf(t, ring.Own) != was || !ring.Clear || gone(home) {
			t.Errorf("without a passphrase: %s, clear %v, file gone %v", didOf(t, ring.Own), ring.Clear, gone(home))
		}
	}
	if err := server.SetPassphrase(ctx, config(home, ""), func(ctx context.Context) ([]byte, error) { return secret("a")(ctx, true) }); err != nil {
		t.Fatal(err)
	}
	if !gone(home) || !strings.Contains(told.String(), "Removed ") {
		t.Errorf("after passwd: gone %v, told %q", gone(home), told.String())
	}
	if ring := openRing(t, config(home, "a")); didOf(t, ring.Own) != was || ring.Clear {
		t.Error("another identity after passwd")
	}

	home = t.TempDir()
	was, _ = writeIdentity(t, home)
	if ring := openRing(t, config(home, "a")); didOf(t, ring.Own) != was || ring.Clear || !gone(home) {
		t.Errorf("with a passphrase: %s, clear %v, file gone %v", didOf(t, ring.Own), ring.Clear, gone(home))
	}
	// Another file in its place is no key of the agent, and is left alone.
	_, other := writeIdentity(t, home)
	if _, err := server.OpenRing(ctx, config(home, "a")); err == nil || !strings.Contains(err.Error(), "other keys") {
		t.Errorf("another identity file: %v", err)
	}
	if now, err := os.ReadFile(filepath.Join(home, "identity.json")); err != nil || !bytes.Equal(now, other) {
		t.Errorf("the other identity file was changed (%v)", err)
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
