// Package postgres opens the store of an agent in PostgreSQL 13 or later, with [Open].
// The driver is github.com/jackc/pgx, which is pure Go. Package sqlstore tells what a store
// guarantees.
//
// Any number of processes may share one store. They notify each other of new items on the
// channel "didcomm" (NOTIFY).
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
)

// Schema is the PostgreSQL schema of the tables, which [Open] makes if it is missing. If the
// DSN sets search_path, the tables are in the first schema of this path instead, and Open
// makes no schema.
const Schema = "didcomm"

const (
	channel  = "didcomm"
	maxConns = 8
	// connectTimeout bounds the making of a connection, tryTimeout one try of a
	// transaction, and patience all tries of a transaction.
	connectTimeout = 3 * time.Second
	tryTimeout     = 4 * time.Second
	patience       = 8 * time.Second
)

// Open opens the store in a database. The dsn is a URL, or keywords and values:
//
//	postgres://user@host/database?sslmode=verify-full
//	host=/run/postgresql dbname=didcomm
//
// Parameters in dsn override the settings that Open makes for the sessions, such as
// statement_timeout. Errors: [sqlstore.ErrNewerSchema], [sqlstore.ErrCorrupt],
// store.ErrFull.
func Open(ctx context.Context, dsn string, cfg sqlstore.Config) (*sqlstore.Store, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	params := map[string]string{
		"application_name": "didcomm",
		// Each statement is written for an index. The planner must not choose another plan
		// by statistics that are older than the rows of a growing table.
		"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off",
		"plan_cache_mode": "force_generic_plan",
		// A process may stop in the middle of a transaction, or lose its network. These
		// timeouts bound how long the other processes wait for it. A process that waits for
		// a lock for longer tries again.
		"max_parallel_workers_per_gather": "0",
		"statement_timeout":               "3s", "lock_timeout": "1500ms", "idle_in_transaction_session_timeout": "3s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "10s",
	}
	ownSchema := c.RuntimeParams["search_path"] == ""
	if ownSchema {
		params["search_path"] = Schema
	}
	for name, value := range params {
		if c.RuntimeParams[name] == "" {
			c.RuntimeParams[name] = value
		}
	}
	c.DialFunc = newDialer(c.ConnectTimeout).DialContext
	gens := &generations{ended: make(chan struct{})}
	pool := func(conns int, c *pgx.ConnConfig) *sql.DB {
		db := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(gens.assign), stdlib.OptionShouldPing(noPing), stdlib.OptionResetSession(gens.check))
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db
	}
	db := pool(maxConns, c)
	if err := makeSchema(ctx, db, ownSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", err), db.Close())
	}
	patient := c.Copy()
	// A heartbeat need not survive a crash of the server, so it waits for no write to disk.
	light := c.Copy()
	light.RuntimeParams["synchronous_commit"] = "off"
	patient.RuntimeParams["statement_timeout"], patient.RuntimeParams["lock_timeout"] = "0", "60s"
	self := fmt.Sprintf("%016x ", rand.Uint64()) // the sender of a notice
	return sqlstore.Open(ctx, &sqlstore.Backend{
		Name:    fmt.Sprintf("postgres %s/%s", c.Host, c.Database),
		Dialect: sqlstore.PostgreSQL,
		Write:   db, Read: db, Heartbeat: pool(2, light),
		Migrate: stdlib.OpenDB(*patient),
		// A lease must survive a crash of the server, since this process may live on.
		Begin: "BEGIN", BeginLease: "BEGIN",
		Pipeline: pipeline,
		Notify: func(notice string) sqlstore.Statement {
			return sqlstore.Statement{Text: "SELECT pg_notify('" + channel + "', $1)", Args: []any{self + notice}}
		},
		Timeout:  tryTimeout,
		Patience: patience,
		Renew:    gens.renew,
		Shared:   true,
		Fault:    fault,
		Listen:   func(ctx context.Context, heard func(string)) error { return listen(ctx, c, gens, self, heard) },
	}, cfg)
}

// makeSchema makes the schema if there is none. If two processes do so at the same time,
// one of them fails, and finds the schema in its next try.
func makeSchema(ctx context.Context, db *sql.DB, own bool) error {
	if err := db.PingContext(ctx); err != nil || !own {
		return err
	}
	var there bool
	for range 2 {
		err := db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)", Schema).Scan(&there)
		if err != nil || there {
			return err
		}
		if _, err = db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+Schema); err == nil {
			return nil
		} else if fault(err) != sqlstore.Contended {
			return err
		}
	}
	return nil
}

// pipeline sends all statements before it waits for the answers.
func pipeline(ctx context.Context, c *sql.Conn, statements []sqlstore.Statement) error {
	return c.Raw(func(conn any) error {
		var batch pgx.Batch
		for _, s := range statements {
			batch.Queue(s.Text, s.Args...)
		}
		return conn.(*stdlib.Conn).Conn().SendBatch(ctx, &batch).Close()
	})
}

// listen calls heard for each notice of another process, on a connection of its own.
func listen(ctx context.Context, c *pgx.ConnConfig, gens *generations, self string, heard func(string)) error {
	ctx, cancel := gens.context(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c.Copy())
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	heard("") // earlier notices were missed
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if who, notice, ok := strings.Cut(n.Payload, " "); ok && who+" " != self && notice != "" {
			heard(notice)
		}
	}
}

// fault classifies an error by its SQLSTATE (Appendix A of the PostgreSQL manual). Errors
// of the network count as a lost connection.
func fault(err error) sqlstore.Fault {
	var answer *pgconn.PgError
	if errors.As(err, new(*pgconn.ConnectError)) {
		return sqlstore.Refused
	}
	if errors.As(err, &answer) {
		// The server ends the connection. For example, it shuts down, or the session was
		// idle for too long in a transaction.
		if answer.SeverityUnlocalized == "FATAL" || answer.SeverityUnlocalized == "PANIC" {
			return sqlstore.Lost
		}
		switch answer.Code {
		case "55P03", "57014": // lock not available, statement timed out
			return sqlstore.Busy
		case "40001", "40P01", // serialization failure, deadlock
			"23505": // unique violation: another process has inserted the same key at the same time
			return sqlstore.Contended
		case "53100": // disk full
			return sqlstore.Full
		case "XX001", "XX002": // data corrupted, index corrupted
			return sqlstore.Corrupt
		case "57P03", "53300": // starting; too many connections
			return sqlstore.Refused
		case "57P01", "57P02", // shut down, crashed
			"25006": // read-only: another server took over
			return sqlstore.Lost
		}
		if answer.Code[:2] == "08" { // connection exception
			return sqlstore.Lost
		}
		return sqlstore.Other
	}
	var network net.Error
	for _, lost := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded} {
		if errors.Is(err, lost) {
			return sqlstore.Lost
		}
	}
	if errors.As(err, &network) || pgconn.SafeToRetry(err) {
		return sqlstore.Lost
	}
	return sqlstore.Other
}
