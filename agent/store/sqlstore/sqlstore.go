// Package sqlstore keeps an agent's outbox, inbox, records, mailboxes and keys in SQLite
// or PostgreSQL. It is the durable implementation of agent/store.
//
// The packages agent/store/sqlstore/sqlite and agent/store/sqlstore/postgres open a
// [Store]; each links only its own driver:
//
//	s, err := sqlite.Open(ctx, path, sqlstore.Config{Reclaim: true})
//	defer s.Close()
//	a, err := agent.New(agent.Config{Store: s, ...})
//
// A Store is a [store.Store]: [Store.Commit] makes changes of records, outbox and inbox in
// one transaction. The outbox is a [store.OutboxAdmin] too, and the inbox a
// [store.InboxAdmin].
//
// # Durability
//
// A method that writes returns when its transaction is committed:
//
//   - For SQLite, the transaction is on the disk then (synchronous=FULL).
//   - For PostgreSQL, it is as durable as the settings of the server make it. By default,
//     it is on the disk.
//
// Calls that wait at the same time share a transaction. A call that fails by its own
// checks, such as with store.ErrExists, does not affect the others. If one part of a
// Commit fails, the transaction is rolled back, and the other calls are done in a new one.
//
// If ctx ends before a call has begun its transaction, nothing is written, and the error
// is that of ctx. After that, the method waits for the transaction although ctx has ended.
//
// If the connection to PostgreSQL is lost during a commit, the store looks up in the
// database whether the transaction was committed, and writes nothing else meanwhile. If
// the database does not answer for eight seconds, a call returns [ErrUnavailable]. Its
// transaction may still be committed later. So after ErrUnavailable:
//
//   - The data that was passed to the method must not be changed.
//   - Enqueue and Deposit may fail with store.ErrExists when they are called again.
//   - Put and Commit may fail with store.ErrVersion when they are called again.
//   - A lease that was made for the call is given back within a second, but for one of mail.
//
// # Several processes
//
// Any number of processes on any number of machines may share a PostgreSQL database. Only
// processes of one machine may share a SQLite database, such as a server and a command
// line. At most one of the processes leases an item at a time. A change by one process
// wakes callers that wait in the others: at once with PostgreSQL, within a quarter of a
// second with SQLite.
//
// With PostgreSQL, each process that writes sends a heartbeat to the database twice a
// second:
//
//   - When a process dies, freezes or loses its network, its leases are given back after
//     about five seconds.
//   - A process that pauses for less than three seconds keeps its leases.
//   - A process that continues after a longer pause has lost its leases. The messages that
//     it was handling may be handled twice.
//   - When a process stops in the middle of a transaction, the server ends its session
//     after three seconds. Other processes wait no longer than that for its locks.
//
// This is not so for the leases of mail, which have no owner: they end when they run out, or
// with a Nak of any process.
//
// Package postgres sets the timeouts of the server for this. Parameters of the DSN, such
// as statement_timeout, override them.
//
// Each process uses its own clock. The differences between the clocks lengthen or shorten
// leases, so they must be much smaller than a lease. If a clock is wrong for a time, the
// entries that were written in that time keep the wrong times. For example, with a clock
// that is ahead by an hour, an entry that should be due at once is due in an hour. In a
// mailbox, leases and delays end when the clock is found to be a minute or more behind the
// last write to the box.
//
// Limits are exact within one process. Several processes may together exceed a limit by
// the calls that they make at the same time.
//
// The Seq of an entry and the Version of a record follow the clock, too. With PostgreSQL,
// an entry or a record may appear in a list after another one with a higher number that
// another process wrote at the same time.
package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// Errors that only stores of this package return, besides those of package store; match
// them with errors.Is.
var (
	// ErrClosed tells that the store was closed.
	ErrClosed = errors.New("sqlstore: closed")
	// ErrCorrupt tells that the database is damaged, or is no database of a store. The
	// store leaves the database as it is.
	ErrCorrupt = errors.New("sqlstore: not a sound database")
	// ErrNewerSchema tells that a newer version of the program has written the database.
	ErrNewerSchema = errors.New("sqlstore: database was written by a newer program")
	// ErrUnavailable tells that the database does not answer. The call may or may not
	// have taken effect, or may take effect later: see Durability in the package doc.
	ErrUnavailable = errors.New("sqlstore: the database does not answer")
)

// Config has the limits and settings of a store. Zero fields take the defaults.
type Config struct {
	Outbox  store.OutboxConfig
	Inbox   store.InboxConfig
	Records store.RecordsConfig
	Mailbox store.MailboxConfig
	// Reclaim makes Open end all leases, since the process that held them has ended. Set
	// it only if no other process leases from this database, such as for a server on
	// SQLite. In any other process, Reclaim would take away items that are being worked
	// on. Without Reclaim, leases end when they run out, and on PostgreSQL also when
	// their process sends no more heartbeats. With Reclaim, sqlite.Open also checks the
	// file for damage first.
	Reclaim bool
	// Fallback is how often a waiting call looks for changes of other processes, in case
	// a notification of PostgreSQL was lost. SQLite does not use it. Default 5 s.
	Fallback time.Duration
	Logger   *slog.Logger // default: none
}

func (c *Config) setDefaults() {
	c.Outbox.SetDefaults(1_000_000, 4<<30, 10_000)
	c.Inbox.SetDefaults(1_000_000, 4<<30, 10_000_000, 4<<30)
	c.Records.MaxItems = cmp.Or(max(c.Records.MaxItems, 0), 10_000_000)
	c.Records.MaxBytes = cmp.Or(max(c.Records.MaxBytes, 0), 16<<30)
	c.Mailbox.MaxItems = cmp.Or(max(c.Mailbox.MaxItems, 0), 10_000_000)
	c.Mailbox.MaxBytes = cmp.Or(max(c.Mailbox.MaxBytes, 0), 64<<30)
	c.Mailbox.MaxBoxItems = cmp.Or(max(c.Mailbox.MaxBoxItems, 0), 10_000)
	c.Mailbox.MaxBoxBytes = cmp.Or(max(c.Mailbox.MaxBoxBytes, 0), 256<<20)
	c.Fallback = cmp.Or(max(c.Fallback, 0), 5*time.Second)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
}

// Store is an open database. After Close, calls of its parts fail.
type Store struct {
	db      *Backend
	w       *writer
	read    *statements
	outbox  *Outbox
	inbox   *Inbox
	records *Records
	mail    *Mailbox
	keys    *SealedKeys

	stopListening context.CancelFunc
	listening     sync.WaitGroup
	closing       sync.Once
	closeErr      error
}

var _ store.Store = (*Store)(nil)

// Outbox returns the outbox of the store, an [*Outbox].
func (s *Store) Outbox() store.Outbox { return s.outbox }

// Inbox returns the inbox of the store, an [*Inbox].
func (s *Store) Inbox() store.Inbox { return s.inbox }

// Records returns the records of the store, a [*Records].
func (s *Store) Records() store.Records { return s.records }

// Mailbox returns the mailbox of the store, with the boxes of all owners.
func (s *Store) Mailbox() *Mailbox { return s.mail }

// SealedKeys returns the sealed keys of the store.
func (s *Store) SealedKeys() *SealedKeys { return s.keys }

// Open migrates a database to the schema of this package and returns a Store on it. Open
// takes over the pools of db, and closes them if it fails. Programs call sqlite.Open or
// postgres.Open, which call Open. Errors: ErrCorrupt, ErrNewerSchema, store.ErrFull.
func Open(ctx context.Context, db *Backend, cfg Config) (*Store, error) {
	cfg.setDefaults()
	s := &Store{db: db}
	s.w = &writer{
		db: db, log: cfg.Logger, clock: newClock(), fallback: cfg.Fallback,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	s.w.files = &files{db: db, log: cfg.Logger, wake: s.w.signal}
	s.read = &statements{on: db.Read, dialect: db.Dialect, tries: db, files: s.w.files}
	shard := rand.Int64N(shards)
	s.outbox = &Outbox{w: s.w, read: s.read, table: &outboxTable{cfg: cfg.Outbox, total: classTotals("outbox", shard), buried: classTotals("outbox buried", shard)}}
	s.inbox = &Inbox{w: s.w, read: s.read, table: &inboxTable{cfg: cfg.Inbox, total: &total{name: "inbox", shard: shard}, past: &total{name: "inbox past", shard: shard},
		totalStrangers: &total{name: "inbox stranger", shard: shard}, pastStrangers: &total{name: "inbox past stranger", shard: shard}}}
	s.mail = &Mailbox{w: s.w, read: s.read, table: &mailTable{cfg: cfg.Mailbox, total: &total{name: "mail", shard: shard}}, poll: db.Changed == nil}
	s.keys = &SealedKeys{w: s.w, read: s.read, table: &keyTable{}}
	s.records = &Records{w: s.w, read: s.read, table: &recordTable{cfg: cfg.Records, total: &total{name: "records", shard: shard}}}
	s.w.tables = []table{s.outbox.table, s.inbox.table, s.mail.table, s.keys.table, s.records.table}
	s.w.leasers = map[leaseTable]*leaser{s.outbox.table: {}, s.inbox.table: {}}
	s.w.changed = s.mail.wakeAll
	if db.Shared {
		s.w.held = newHeldLeases()
		s.w.liveness = newLiveness(s.w, s.inbox.table, s.outbox.table, &statements{on: db.Heartbeat, dialect: db.Dialect})
	}
	s.mail.table.wake = s.mail.wake
	err := s.prepare(ctx, cfg.Reclaim)
	if err != nil {
		s.w.liveness.remove()
		s.closePools()
		return nil, err
	}
	go s.w.run()
	s.listen()
	return s, nil
}

// prepare migrates the database and sets the clock. With reclaimAll it ends all leases.
// The writer is not running yet.
func (s *Store) prepare(ctx context.Context, reclaimAll bool) error {
	err := migrate(ctx, s.db)
	if s.db.Migrate != nil {
		err = errors.Join(err, s.db.Migrate.Close())
	}
	if err != nil {
		return s.storeError(err)
	}
	for _, table := range []string{"outbox", "inbox", "mail_packet", "sealed_key",
		"(SELECT (SELECT MAX(m.seq) FROM record m WHERE m.collection = c.collection) AS seq FROM record_collection c) l"} {
		last, err := number(ctx, s.read, "SELECT COALESCE(MAX(seq), 0) FROM "+table)
		if err != nil {
			return s.storeError(err)
		}
		s.w.clock.observe(last)
	}
	if !reclaimAll {
		return nil
	}
	var reqs []*request
	for _, tab := range s.w.tables[:3] {
		reqs = append(reqs, &request{table: tab, body: &reclaim{all: true}})
	}
	stop := context.AfterFunc(ctx, s.w.giveUp)
	for more := true; more; {
		if _, err := s.w.attempt(reqs, nil); err != nil {
			stop()
			return err
		}
		more = slices.ContainsFunc(reqs, func(r *request) bool { return r.body.(*reclaim).more })
	}
	if !stop() {
		return ctx.Err()
	}
	return nil
}

func (s *Store) storeError(err error) error {
	if errors.Is(err, ErrNewerSchema) {
		return err
	}
	return s.w.storeError(err, s.db.Fault(err))
}

// listen starts the heartbeats of this process, and the goroutine that receives the notices
// of other processes.
func (s *Store) listen() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopListening = cancel
	if s.w.liveness != nil {
		s.listening.Go(func() { s.w.liveness.run(ctx) })
	}
	if s.db.Listen == nil {
		return
	}
	s.listening.Go(func() {
		for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := s.db.Listen(ctx, func(notice string) {
				wait = 100 * time.Millisecond
				s.heard(notice)
			})
			if ctx.Err() != nil {
				return
			}
			s.w.log.Warn("sqlstore: cannot listen for notifications of other processes, trying again", "database", s.db.Name, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
		}
	})
}

// heard acts on a notice of another process, which tells what may have become due.
func (s *Store) heard(notice string) {
	switch {
	case notice == "":
		s.w.look()
		s.mail.wakeAll()
	case notice == leaseNotice:
		s.w.look()
	default:
		s.mail.heard(notice)
	}
}

// Close makes waiting calls return ErrClosed, waits for transactions that have begun, and
// closes the database. Close may be called more than once.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.mail.close()
		s.w.close()
		s.stopListening()
		s.listening.Wait()
		s.w.liveness.remove()
		if s.keys.table.left {
			s.scrub()
		}
		s.closeErr = s.closePools()
	})
	return s.closeErr
}

// scrub removes remains of former wrapped keys that could not be removed when the keyring
// was changed.
func (s *Store) scrub() {
	ctx := context.Background()
	c, err := s.db.Write.Conn(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	s.keys.table.scrub(ctx, s.db, c, s.w.log)
}

func (s *Store) closePools() error {
	s.w.release()
	s.read.close()
	if s.db.Heartbeat != nil {
		_ = s.db.Heartbeat.Close()
	}
	// The last connection to close checkpoints the log of SQLite, so it must be one that
	// may write.
	var err error
	if s.db.Read != s.db.Write {
		err = s.db.Read.Close()
	}
	err = errors.Join(err, s.db.Write.Close())
	if s.db.Release != nil {
		err = errors.Join(err, s.db.Release())
	}
	if err != nil {
		return fmt.Errorf("%s: close: %w", s.db.Name, err)
	}
	return nil
}
