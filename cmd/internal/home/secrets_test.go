package home_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

// newKeys is a keyring of one new key.
func newKeys(t *testing.T, curve keyring.Curve) *keyring.Keyring {
	key, err := keyring.Generate(curve)
	if err != nil {
		t.Error(err)
		return keyring.New()
	}
	ring := keyring.New()
	if err := ring.Add("did:example:"+message.NewID()+"#key-1", key); err != nil {
		t.Error(err)
	}
	return ring
}

// Keys that a file has are never lost by adding others.
func TestAddSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	var kids []string
	for range 3 {
		keys := newKeys(t, keyring.Ed25519)
		for range 2 { // the second time changes nothing
			if err := home.AddSecrets(path, keys); err != nil {
				t.Fatal(err)
			}
		}
		kids = append(kids, keys.KIDs()...)
		ring, err := home.ReadSecrets(path)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(ring.KIDs(), kids) {
			t.Errorf("the file has %v, want %v", ring.KIDs(), kids)
		}
	}
	for _, other := range []string{"text", "{}", `[{"kid":`} {
		if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		keys := newKeys(t, keyring.P256)
		if err := home.AddSecrets(path, keys); !errors.Is(err, keyring.ErrInvalid) {
			t.Errorf("file %q: %v", other, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != other {
			t.Errorf("file %q became %q (%v)", other, now, err)
		}
	}
}

// No process loses the keys that another adds at the same time.
func TestAddSecretsAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets.json")
	const adders = 20
	var all sync.WaitGroup
	for range adders {
		all.Go(func() {
			if err := home.AddSecrets(path, newKeys(t, keyring.P256)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	ring, err := home.ReadSecrets(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ring.KIDs()); n != adders {
		t.Errorf("%d keys of %d are left", n, adders)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// What a process left that was killed is told, and nothing is overwritten.
func TestAddSecretsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.json")
	if err := os.WriteFile(path+".lock", []byte("keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys := newKeys(t, keyring.P256)
	synctest.Test(t, func(t *testing.T) {
		if err := home.AddSecrets(path, keys); err == nil || !strings.Contains(err.Error(), path+".lock is there") {
			t.Errorf("error %v", err)
		}
	})
	if data, err := os.ReadFile(path + ".lock"); string(data) != "keys" {
		t.Errorf("the other's file is %q, %v", data, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written all the same: %v", err)
	}
}

// A symbolic link stays one, and the file that it leads to has all keys.
func TestAddSecretsLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Skip(err) // Windows asks for a privilege
	}
	keys := newKeys(t, keyring.P256)
	if err := home.AddSecrets(link, keys); err == nil {
		t.Error("a link to nothing was written")
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := home.AddSecrets(link, keys); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	ring, err := home.ReadSecrets(file)
	if err != nil || len(ring.KIDs()) != 1 {
		t.Errorf("keys of the file: %v, %v", ring, err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}
