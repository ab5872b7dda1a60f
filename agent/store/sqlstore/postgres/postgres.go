// Package postgres opens an agent's store in PostgreSQL 13 or later, by the pure
// Go github.com/jackc/pgx. See sqlstore for what holds.
//
// Any number of processes may share one store. They tell each other by NOTIFY
// what there is to do, on the channel "didcomm".
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

// Schema is the PostgreSQL schema that the tables stand in, and that Open makes,
// unless the DSN sets search_path: then it is the first of those.
const Schema = "didcomm"

const (
	channel  = "didcomm"
	maxConns = 8
	// connectTimeout bounds a connection's making, tryTimeout one try of a
	// transaction, patience all tries of an operation.
	connectTimeout = 3 * time.Second
	tryTimeout     = 4 * time.Second
	patience       = 8 * time.Second
)

// Open opens the store of a database, given as a URL or as keywords and values:
//
//	postgres://user@host/database?sslmode=verify-full
//	host=/run/postgresql dbname=didcomm
//
// Errors: sqlstore.ErrNewerSchema, sqlstore.ErrCorrupt, store.ErrFull.
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
		// Each statement is written for an index. The planner is not to choose by
		// statistics that lag behind a table that grows.
		"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off",
		"plan_cache_mode": "force_generic_plan",
		// A process that stops in the middle of a transaction, or whose host is gone,
		// holds up the others for no longer than this. A process that waits for a lock
		// tries again.
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
	generations := &generations{ended: make(chan struct{})}
	pool := func(conns int, c *pgx.ConnConfig) *sql.DB {
		db := stdlib.OpenDB(*c, stdlib.OptionAfterConnect(generations.made), stdlib.OptionShouldPing(noPing), stdlib.OptionResetSession(generations.check))
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db
	}
	db := pool(maxConns, c)
	if err := makeSchema(ctx, db, ownSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: %w", err), db.Close())
	}
	patient := c.Copy()
	// A heartbeat need not outlive a crash of the server, and costs its disk nothing.
	light := c.Copy()
	light.RuntimeParams["synchronous_commit"] = "off"
	patient.RuntimeParams["statement_timeout"], patient.RuntimeParams["lock_timeout"] = "0", "60s"
	self := fmt.Sprintf("%016x ", rand.Uint64()) // who gives a notice
	return sqlstore.Open(ctx, &sqlstore.Backend{
		Name:    fmt.Sprintf("postgres %s/%s", c.Host, c.Database),
		Dialect: sqlstore.PostgreSQL,
		Write:   db, Read: db, Heartbeat: pool(2, light),
		Migrate: stdlib.OpenDB(*patient),
		// A lease is made to last: the server may crash alone.
		Begin: "BEGIN", BeginLease: "BEGIN",
		Pipeline: pipeline,
		Notify: func(notice string) sqlstore.Statement {
			return sqlstore.Statement{Text: "SELECT pg_notify('" + channel + "', $1)", Args: []any{self + notice}}
		},
		Timeout:  tryTimeout,
		Patience: patience,
		Renew:    generations.renew,
		Shared:   true,
		Fault:    fault,
		Listen:   func(ctx context.Context, heard func(string)) error { return listen(ctx, c, generations, self, heard) },
	}, cfg)
}

// makeSchema makes the schema where there is none. Two processes may try at once:
// one of them fails, and the schema is there.
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

// pipeline sends all statements before it waits for an answer.
func pipeline(ctx context.Context, c *sql.Conn, statements []sqlstore.Statement) error {
	return c.Raw(func(conn any) error {
		var batch pgx.Batch
		for _, s := range statements {
			batch.Queue(s.Text, s.Args...)
		}
		return conn.(*stdlib.Conn).Conn().SendBatch(ctx, &batch).Close()
	})
}

// listen hears the notices of others on a connection of its own.
func listen(ctx context.Context, c *pgx.ConnConfig, generations *generations, self string, heard func(string)) error {
	ctx, cancel := generations.context(ctx)
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
	heard("") // what was said before
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

// fault classifies by SQLSTATE (PostgreSQL's Appendix A), and takes what is no
// answer of the server for a lost connection.
func fault(err error) sqlstore.Fault {
	var answer *pgconn.PgError
	if errors.As(err, new(*pgconn.ConnectError)) {
		return sqlstore.Refused
	}
	if errors.As(err, &answer) {
		// The server ends the connection, whatever the reason: it shuts down, or the
		// session was idle for longer than it may be, or should read or write no more.
		if answer.SeverityUnlocalized == "FATAL" || answer.SeverityUnlocalized == "PANIC" {
			return sqlstore.Lost
		}
		switch answer.Code {
		case "55P03", "57014": // lock not available, statement timed out
			return sqlstore.Busy
		case "40001", "40P01", // serialization failure, deadlock
			"23505": // unique violation: another process was as quick, and now it shows
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
