package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/didcomm-go/didcomm/agent/keyring"
)

// Files in an agent's home directory. Both hold private keys in the form of
// keyring.ParseSecrets, under mode 0600.
const (
	identityFile = "identity.json" // the agent's own keys; never rewritten
	secretsFile  = "secrets.json"  // keys of DIDs that the user has made
)

// ReadSecrets reads a file of private keys.
func ReadSecrets(path string) (*keyring.Keyring, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ring, err := keyring.ParseSecrets(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ring, nil
}

// HomeSecrets reads the keys of the DIDs that were made in this home; there may
// be none.
func HomeSecrets(home string) (*keyring.Keyring, error) {
	ring, err := ReadSecrets(filepath.Join(home, secretsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return keyring.New(), nil
	}
	return ring, err
}

// KeepSecrets adds keys to those that the home has, and returns their file.
func KeepSecrets(home string, ring *keyring.Keyring) (path string, err error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", err
	}
	path = filepath.Join(home, secretsFile)
	return path, AddSecrets(path, ring)
}

// AddSecrets adds keys to a file of private keys, which it makes if it is
// missing or empty. What is in the file stays; if that is no list of private
// keys, it is an error and the file is left alone.
func AddSecrets(path string, ring *keyring.Keyring) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().IsRegular() && info.Size() == 0:
	case err != nil:
		return err
	case !info.Mode().IsRegular(): // a pipe or device: nothing to keep, nothing to rename over
		data, err := ring.MarshalSecrets()
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(data, '\n'), 0o600)
	default:
		all, err := ReadSecrets(path)
		if err != nil {
			return fmt.Errorf("%w; the file is left as it is", err)
		}
		for _, kid := range ring.KIDs() {
			key, err := ring.Key(kid)
			if err != nil {
				return err
			}
			if err := all.Add(kid, key); err != nil {
				return err
			}
		}
		ring = all
	}
	return writeSecrets(path, ring, os.Rename)
}

// writeSecrets writes a whole file beside path and then puts it in place, so
// that a crash or a full disk leaves either the old file or the new one.
func writeSecrets(path string, ring *keyring.Keyring, place func(from, to string) error) (err error) {
	data, err := ring.MarshalSecrets()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return tidy(err, path)
	}
	defer os.Remove(f.Name()) // fails where it was renamed
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return tidy(err, path)
	}
	return tidy(place(f.Name(), path), path)
}

// tidy names the file that the user knows instead of a temporary one.
func tidy(err error, path string) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return fmt.Errorf("write %s: %w", path, p.Err)
	case errors.As(err, &l) && !errors.Is(err, fs.ErrExist):
		return fmt.Errorf("write %s: %w", path, l.Err)
	}
	return err
}
