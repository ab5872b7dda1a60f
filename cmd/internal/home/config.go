package home

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
)

// storeFile is the SQLite database with an agent's outbox, inbox and keys.
const storeFile = "agent.db"

// Config says where an agent's outbox, inbox and keys are kept.
type Config struct {
	Dir string // the home directory
	// URL is of a PostgreSQL database, which several agents may share; empty is a
	// SQLite database in Dir.
	URL string
	// MaxItems and MaxBytes bound the messages that wait, of outbox and inbox
	// each; a quarter of that is for one peer. 0 is the default of package store.
	MaxItems int
	MaxBytes int64
	// MaxRemembered bounds the handled messages that the inbox remembers. 0 is the default of
	// package store.
	MaxRemembered int
	// Mailbox bounds the mail that a mediator keeps for others. Zero fields take the defaults of
	// package sqlstore.
	Mailbox store.MailboxConfig
	// Passphrase gives the passphrase of the keys, nil for none. With need, there
	// has to be one, and a person may be asked. Default: none.
	Passphrase func(ctx context.Context, need bool) ([]byte, error)
	// Notice tells a person, in a line, what becomes of the keys; default: nobody.
	Notice func(line string)
	Logger *slog.Logger // default: none
}

// CheckURL finds what is wrong with the URL.
func (c Config) CheckURL() error {
	if c.URL == "" || strings.HasPrefix(c.URL, "postgres://") || strings.HasPrefix(c.URL, "postgresql://") {
		return nil
	}
	return errors.New("--store: want postgres://..., or none for " + storeFile + " in the home directory") // it may hold a password
}

// Check finds what is wrong with the settings themselves.
func (c Config) Check() error {
	if err := c.CheckURL(); err != nil {
		return err
	}
	if c.MaxItems <= 0 {
		return fmt.Errorf("--max-queue %d: want more than 0", c.MaxItems)
	}
	if c.MaxBytes <= 0 {
		return fmt.Errorf("--max-queue-bytes %d: want more than 0", c.MaxBytes)
	}
	if c.MaxRemembered <= 0 {
		return fmt.Errorf("--max-remembered %d: want more than 0", c.MaxRemembered)
	}
	return nil
}

// open opens the store, and makes it where there is none. With reclaim, what a
// former process had leased is to be had at once.
func (c Config) open(ctx context.Context, reclaim bool) (*sqlstore.Store, error) {
	cfg := sqlstore.Config{
		Outbox:  store.OutboxConfig{MaxItems: c.MaxItems, MaxBytes: c.MaxBytes},
		Inbox:   store.InboxConfig{MaxItems: c.MaxItems, MaxBytes: c.MaxBytes, MaxRemembered: c.MaxRemembered},
		Mailbox: c.Mailbox,
		Reclaim: reclaim,
		Logger:  c.Logger,
	}
	var s *sqlstore.Store
	var err error
	if c.URL == "" {
		if _, err := os.Stat(c.path()); errors.Is(err, fs.ErrNotExist) {
			if err := c.lacking(); err != nil {
				return nil, err
			}
		}
		s, err = sqlite.Open(ctx, c.path(), cfg)
	} else {
		s, err = postgres.Open(ctx, c.URL, cfg)
	}
	switch {
	case errors.Is(err, sqlstore.ErrCorrupt):
		return nil, fmt.Errorf("%w; %s is left as it is%s", err, c.where(), c.remedy())
	case errors.Is(err, sqlstore.ErrNewerSchema):
		return nil, fmt.Errorf("%s: %w; use that program, or a newer one", c.where(), err)
	}
	return s, err
}

// openNew is open, and makes the home too.
func (c Config) openNew(ctx context.Context) (*sqlstore.Store, error) {
	if err := c.makeDir(); err != nil {
		return nil, err
	}
	return c.open(ctx, false)
}

// openOld opens the store of an agent that was served before.
func (c Config) openOld(ctx context.Context) (*sqlstore.Store, error) {
	if err := c.made(); err != nil {
		return nil, err
	}
	return c.open(ctx, false)
}

// made is an error if there is no store in the home.
func (c Config) made() error {
	if _, err := os.Stat(c.path()); c.URL == "" && errors.Is(err, fs.ErrNotExist) {
		return cmp.Or(c.lacking(), fmt.Errorf("no agent was served from %s yet: there is no %s", c.Dir, storeFile))
	}
	return nil
}

func (c Config) makeDir() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("home directory: %w", err)
	}
	return nil
}

func (c Config) path() string { return filepath.Join(c.Dir, storeFile) }

func (c Config) notice(format string, args ...any) {
	if c.Notice != nil {
		c.Notice(fmt.Sprintf(format, args...))
	}
}

// where the keys are, and what guards them there.
func (c Config) where() string {
	if c.URL != "" {
		return "the database of --store"
	}
	return c.path()
}

func (c Config) guard() string {
	if c.URL != "" {
		return "who may read that"
	}
	return "the mode of the file"
}

// writable tells whether other users may replace and delete the files of the home.
func (c Config) writable() bool {
	info, err := os.Stat(c.Dir)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0
}

// exposed tells whether the file of the store is open to other users, by its mode.
func (c Config) exposed() bool {
	info, err := os.Stat(c.path())
	return c.URL == "" && err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}
