package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockFile is locked by the agent that serves a home, for as long as it runs. The
// operating system ends the lock of a process that dies; the file stays.
const lockFile = "serve.lock"

// serveWait is how long an agent waits for the lock: a command that looks whether
// one runs holds it for a moment.
const serveWait = time.Second

// acquire makes this process the one that serves the home.
func (c Config) acquire(ctx context.Context) (*flock.Flock, error) {
	l := flock.New(filepath.Join(c.Dir, lockFile), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, serveWait)
	defer cancel()
	_, err := l.TryLockContext(ctx, 10*time.Millisecond)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, errServed(c.Dir)
	case err != nil:
		return nil, fmt.Errorf("lock the home directory: %w", err)
	}
	return l, nil
}

func errServed(dir string) error {
	return fmt.Errorf("an agent runs on the home directory %s already; stop it first, or give this one another --home", dir)
}

// Unserved is an error that says what to do if an agent serves the home directory
// now.
func Unserved(dir string) error {
	served, err := Served(dir)
	if err == nil && served {
		err = errServed(dir)
	}
	return err
}

// Served tells whether an agent serves the home directory now.
func Served(dir string) (bool, error) {
	path := filepath.Join(dir, lockFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	l := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := l.TryRLock()
	if err != nil {
		return false, fmt.Errorf("look whether an agent runs: %w", err)
	}
	if !free {
		return true, l.Close()
	}
	return false, l.Unlock()
}
