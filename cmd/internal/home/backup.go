package home

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// Backup writes the store of a home to a new file with mode 0600, also while an agent serves
// the home. The keys are sealed in the file as in the store.
func Backup(ctx context.Context, cfg Config, to string) error {
	if cfg.URL != "" {
		return errors.New("the store is a PostgreSQL database; back it up with pg_dump")
	}
	if err := cfg.made(); err != nil {
		return err
	}
	err := sqlite.Copy(ctx, cfg.path(), to)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already; name another file", to)
	}
	return err
}

// Restore makes a store from a file of Backup, in a home that has none. It is an error if the
// file is damaged, has no agent's keys, or has those of another agent than the one that the
// home had.
func Restore(ctx context.Context, cfg Config, from string) (err error) {
	if cfg.URL != "" {
		return errors.New("the store is a PostgreSQL database; restore it with pg_restore")
	}
	if err := cfg.makeDir(); err != nil {
		return err
	}
	lock, err := cfg.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	for _, end := range []string{"", "-wal", "-shm"} {
		if _, err := os.Lstat(cfg.path() + end); err == nil {
			return fmt.Errorf("%s is there already; move it away, or name another --home", cfg.path()+end)
		}
	}
	part := cfg.path() + ".restoring"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a restore that was cut off
		return err
	}
	if err := sqlite.Copy(ctx, from, part); err != nil {
		return err
	}
	kids, err := keysIn(ctx, part)
	switch {
	case err == nil && kids == nil:
		err = fmt.Errorf("%s has no agent's keys", from)
	case err == nil:
		err = cfg.mark(kids)
	}
	if err == nil {
		err = os.Rename(part, cfg.path())
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// keysIn returns the key ids of the agent's own keys in the store in a file.
func keysIn(ctx context.Context, path string) (kids []string, err error) {
	s, err := sqlite.Open(ctx, path, sqlstore.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return firstKIDs(ctx, s.SealedKeys())
}
