package home

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/didcomm-go/didcomm/agent/keyring"
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

// AddSecrets adds keys to a file of private keys, which it makes if it is
// missing or empty. What is in the file stays, also what other processes add at
// the same time; if that is no list of private keys, it is an error and the file
// is left alone. Of a symbolic link, the file that it leads to is written.
func AddSecrets(path string, ring *keyring.Keyring) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular(): // a pipe or device: nothing to keep, nothing to rename over
		data, err := ring.MarshalSecrets()
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(data, '\n'), 0o600)
	case err == nil:
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	default:
		// Another process may have made the file since Stat looked: only a link is one.
		if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("write %s: the link leads nowhere", path)
		}
	}

	// The new file is also the lock: whoever made it, read the old one after
	// that, and gives it up by putting it in place.
	f, err := createLock(path + ".lock")
	if err != nil {
		return tidy(err, path)
	}
	all, err := former(path)
	if err == nil {
		err = merge(all, ring)
	}
	if err == nil {
		err = tidy(fill(f, all), path)
	}
	_ = f.Close() // an error that matters came from fill
	if err == nil {
		err = tidy(os.Rename(f.Name(), path), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// lockWait is how long AddSecrets waits for other processes.
const lockWait = 10 * time.Second

// createLock makes a file that does not exist, mode 0600. While it does, another
// process is at work, for a moment.
func createLock(path string) (*os.File, error) {
	for end := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil || !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("%s is there: another program is adding keys, or was cut off; remove it if none is", path)
		}
	}
}

// former reads the keys that a file of them has; a missing or empty one has none.
func former(path string) (*keyring.Keyring, error) {
	if info, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return keyring.New(), nil
	}
	ring, err := ReadSecrets(path)
	if err != nil {
		return nil, fmt.Errorf("%w; the file is left as it is", err)
	}
	return ring, nil
}

func merge(all, ring *keyring.Keyring) error {
	for _, kid := range ring.KIDs() {
		key, err := ring.Key(kid)
		if err != nil {
			return err
		}
		if err := all.Add(kid, key); err != nil {
			return err
		}
	}
	return nil
}

// fill writes keys to a new file, to the disk, and closes it.
func fill(f *os.File, ring *keyring.Keyring) error {
	data, err := ring.MarshalSecrets()
	if err != nil {
		return err
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
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
