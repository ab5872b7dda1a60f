package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// schema has the migrations. A file that was released is not changed any more.
//
//go:embed schema/*.sql
var schema embed.FS

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
	if db.Dialect == PostgreSQL {
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return err
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(db.Dialect.goose(), db.Write, files, opts...)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	// SQLite has no lock that spans the migrations: who comes second fails on
	// what the first made, and finds it done when it tries again.
	for try := 1; ; try++ {
		err = upgrade(ctx, provider)
		if err == nil || db.Dialect != SQLite || try == maxTries || db.Fault(err) == Corrupt || db.Fault(err) == Full || ctx.Err() != nil || errors.Is(err, ErrNewerSchema) {
			return err
		}
		time.Sleep(time.Duration(try*10) * time.Millisecond)
	}
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
