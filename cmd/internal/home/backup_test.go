package home_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

func served(t *testing.T, cfg home.Config) *home.Home {
	t.Helper()
	h, err := home.OpenToServe(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// TestBackup: a backup of a home that is served has its DIDs, keys and messages, and makes the
// same agent in another home.
func TestBackup(t *testing.T) {
	ctx := t.Context()
	cfg := home.Config{Dir: t.TempDir(), Passphrase: secret("open sesame")}
	h := served(t, cfg)
	did, _, err := h.Serve(ctx, "", "http://127.0.0.1:8080/didcomm")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Store.Outbox().Enqueue(ctx, store.Item{ID: "out", To: "did:example:b"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Store.Inbox().Add(ctx, store.Received{ID: "in", Sender: "did:example:b", Packet: store.Packet{Data: []byte("{}")}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := home.Backup(ctx, cfg, file); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := home.Backup(ctx, cfg, file); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("backup to a file that is there: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("backup: %v, %v", info, err)
	}

	other := home.Config{Dir: filepath.Join(t.TempDir(), "new"), Passphrase: cfg.Passphrase}
	if err := home.Restore(ctx, other, file); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the backup was changed, %v", err)
	}
	r := served(t, other)
	if again, _, err := r.Serve(ctx, "", "http://127.0.0.1:8080/didcomm"); again != did || err != nil {
		t.Errorf("the restored agent is %s, %v, want %s", again, err, did)
	}
	if got, want := r.Ring.KIDs(), h.Ring.KIDs(); strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the restored keys are %v, want %v", got, want)
	}
	if e, err := r.Store.Outbox().(store.OutboxAdmin).Get(ctx, "out"); err != nil {
		t.Errorf("outbox: %v, %v", e, err)
	}
	if list, err := r.Store.Inbox().(store.InboxAdmin).List(ctx, 0, 10); err != nil || len(list) != 1 {
		t.Errorf("inbox: %v, %v", list, err)
	}
}

// TestRestoreRefused: a restore never replaces a store, and takes no file that is not a backup
// of the agent.
func TestRestoreRefused(t *testing.T) {
	ctx := t.Context()
	alice, bob := home.Config{Dir: t.TempDir()}, home.Config{Dir: t.TempDir()}
	for _, cfg := range []home.Config{alice, bob} {
		opened(t, cfg)
	}
	file := filepath.Join(t.TempDir(), "alice")
	if err := home.Backup(ctx, alice, file); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	// A home whose agent.db was deleted.
	if err := os.Remove(filepath.Join(bob.Dir, "agent.db")); err != nil {
		t.Fatal(err)
	}
	serving := home.Config{Dir: t.TempDir()}
	served(t, serving)
	for name, tt := range map[string]struct {
		cfg  home.Config
		file string
		want string
	}{
		"in use":           {serving, file, "an agent runs on the home directory"},
		"not empty":        {alice, file, "agent.db is there already"},
		"cut off":          {home.Config{Dir: filepath.Join(t.TempDir(), "new")}, cut, "not a sound database"},
		"missing":          {home.Config{Dir: t.TempDir()}, cut + "2", "no such file"},
		"of another agent": {bob, file, "has the keys of another agent"},
		"PostgreSQL":       {home.Config{Dir: t.TempDir(), URL: "postgres://localhost/x"}, file, "pg_restore"},
	} {
		t.Run(name, func(t *testing.T) {
			had, _ := os.ReadFile(filepath.Join(tt.cfg.Dir, "agent.db"))
			if err := home.Restore(ctx, tt.cfg, tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("restore: %v, want %q", err, tt.want)
			}
			has, _ := os.ReadFile(filepath.Join(tt.cfg.Dir, "agent.db"))
			if !bytes.Equal(had, has) {
				t.Error("agent.db was changed")
			}
			if left, _ := filepath.Glob(filepath.Join(tt.cfg.Dir, "*restoring*")); left != nil {
				t.Errorf("%v was left behind", left)
			}
		})
	}
}

// TestLost: a home whose keys were lost does not become another agent.
func TestLost(t *testing.T) {
	ctx := t.Context()
	other := home.Config{Dir: t.TempDir()}
	opened(t, other)
	for name, spoil := range map[string]func(path string) error{
		"deleted":          os.Remove,
		"emptied":          func(path string) error { return os.Truncate(path, 0) },
		"of another agent": func(path string) error { return os.Rename(filepath.Join(other.Dir, "agent.db"), path) },
		"deleted with its directory while it was open": func(path string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.Rename(path, path+".rescued-20261130T120000Z"), os.Remove(filepath.Join(dir, "identity")))
		},
		"former version": func(path string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.Remove(path), os.Rename(filepath.Join(dir, "identity"), filepath.Join(dir, "dids.json")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := home.Config{Dir: t.TempDir()}
			opened(t, cfg)
			if err := spoil(filepath.Join(cfg.Dir, "agent.db")); err != nil {
				t.Fatal(err)
			}
			for what, open := range map[string]func() (*home.Home, error){
				"Open":        func() (*home.Home, error) { return home.Open(ctx, cfg) },
				"OpenOld":     func() (*home.Home, error) { return home.OpenOld(ctx, cfg) },
				"OpenToServe": func() (*home.Home, error) { return home.OpenToServe(ctx, cfg) },
			} {
				h, err := open()
				if err == nil {
					_ = h.Close()
				}
				if err == nil || errors.Is(err, home.ErrNoKeys) || !strings.Contains(err.Error(), "didcomm restore") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestPlainCopy: a copy of agent.db alone, made while an agent runs, has the keys and the DID.
func TestPlainCopy(t *testing.T) {
	ctx := t.Context()
	h := served(t, home.Config{Dir: t.TempDir()})
	did, _, err := h.Serve(ctx, "", "http://127.0.0.1:8080/didcomm")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(h.Where())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "agent.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	c := served(t, home.Config{Dir: dir})
	if got, err := c.Sender(ctx); got != did || err != nil {
		t.Errorf("the copy is %s, %v, want %s", got, err, did)
	}
}
