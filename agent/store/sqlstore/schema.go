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

// schema has the migrations. A migration must not be changed once it was released.
//
//go:embed schema/*.sql
var schema embed.FS

// migrationLock is the number of the advisory lock that is held during migrations.
const migrationLock = 0x6469_6463_6f6d_6d00

// VersionTable is the table that has the migrations that were applied to a database.
const VersionTable = "didcomm_schema"

// migrate applies the missing migrations to a database. Several processes may call it at
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
	// SQLite has no lock that spans the migrations. If two processes migrate at the same
	// time, one of them may fail, and finds the migrations done in its next try.
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

// upgradeAlone calls upgrade under an advisory lock, if the database has such locks. The
// lock of goose is not used, because goose polls for it every five seconds.
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
		return fmt.Errorf("%w: it has schema version %d, this program knows versions up to %d", ErrNewerSchema, has, knows)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	return nil
}
