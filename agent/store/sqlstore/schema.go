package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
)

// schema has the migrations. A file that was released is not changed any more.
//
//go:embed schema/*.sql
var schema embed.FS

// migrationLock is the number of the advisory lock that is held meanwhile.
const migrationLock = 0x6469_6463_6f6d_6d00

// VersionTable is where a database keeps which migrations it has seen.
const VersionTable = "didcomm_schema"

// migrate brings a database to the program's schema. Several processes may try at
// the same time.
func migrate(ctx context.Context, db *Backend) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{
		goose.WithTableName(VersionTable),
		goose.WithDisableGlobalRegistry(true),
		goose.WithSlog(slog.New(slog.DiscardHandler)),
	}
	pool := db.Write
	if db.Migrate != nil {
		pool = db.Migrate
	}
	provider, err := goose.NewProvider(db.Dialect.goose(), pool, files, opts...)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	// SQLite has no lock that spans the migrations: the second of two processes fails
	// on what the first made, and finds it done in another try.
	for try := 1; ; try++ {
		err = upgradeAlone(ctx, db.Dialect, pool, provider)
		if err == nil || try == maxTries || ctx.Err() != nil || errors.Is(err, ErrNewerSchema) {
			return err
		}
		switch fault := db.Fault(err); {
		case fault == Lost, fault == Refused:
		case db.Dialect == SQLite && fault != Corrupt && fault != Full:
		default:
			return err
		}
		time.Sleep(time.Duration(try*10) * time.Millisecond)
	}
}

// upgradeAlone is upgrade while no other process does the same, where there is a
// lock. Others wait for the lock no longer than it is held. Of goose's own lock that is
// not true: goose asks for it every five seconds.
func upgradeAlone(ctx context.Context, d Dialect, pool *sql.DB, provider *goose.Provider) error {
	if d != PostgreSQL {
		return upgrade(ctx, provider)
	}
	c, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
		return fmt.Errorf("schema: lock: %w", err)
	}
	defer c.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
	return upgrade(ctx, provider)
}

func upgrade(ctx context.Context, provider *goose.Provider) error {
	has, knows, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema version: %w", err)
	}
	if has > knows {
		return fmt.Errorf("%w: its schema is version %d, this program knows up to %d", ErrNewerSchema, has, knows)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	return nil
}
