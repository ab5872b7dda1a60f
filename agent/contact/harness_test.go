package contact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

const (
	own   = "did:example:own"
	other = "did:example:other" // another DID of ours
)

// party returns the DID of a party with a short name.
func party(name string) string { return "did:example:" + name }

// at returns a time for an iat.
func at(n int64) time.Time { return time.Unix(n, 0) }

// peer4 returns a new did:peer:4.
func peer4(t testing.TB, name string) (long, short string) {
	t.Helper()
	long, err := didpeer.Encode4(fmt.Appendf(nil, `{"service":[{"id":"#s","type":"T","serviceEndpoint":"https://example.org/%s"}]}`, name))
	if err != nil {
		t.Fatal(err)
	}
	short, ok := didpeer.Short(long)
	if !ok {
		t.Fatalf("%s has no short form", long)
	}
	return long, short
}

func newStore() store.Store { return store.New(store.Config{}) }

// eager returns a Book that reads every record from the store, as if it had no cache.
func eager(st store.Store) *contact.Book {
	return contact.New(st, contact.Config{Fresh: time.Nanosecond})
}

// checked has the methods of a Book. An error ends the test.
type checked struct {
	testing.TB
	*contact.Book
}

func (b checked) current(own, peer string) string {
	b.Helper()
	now, err := b.Current(context.Background(), own, peer)
	if errors.Is(err, contact.ErrEnded) {
		return "ended"
	}
	b.must(err)
	return now
}

func (b checked) left(own, peer string) bool {
	b.Helper()
	// With from_prior nothing is confirmed.
	left, err := b.Met(context.Background(), own, peer, time.Time{}, true)
	b.must(err)
	return left
}

func (b checked) met(own, peer string) {
	b.Helper()
	left, err := b.Met(context.Background(), own, peer, time.Time{}, false)
	b.must(err)
	if left {
		b.Errorf("%s has left", peer)
	}
}

func (b checked) rotate(own, prior, id string, iat int64) (holds bool) {
	b.Helper()
	holds, err := b.Rotate(context.Background(), own, contact.Rotation{Prior: prior, DID: id, IssuedAt: at(iat)})
	b.must(err)
	return holds
}

func (b checked) keep(own, peer string) {
	b.Helper()
	b.must(b.Keep(context.Background(), own, peer))
}

func (b checked) long(short string) string {
	b.Helper()
	long, err := b.Long(context.Background(), short)
	b.must(err)
	return long
}

func (b checked) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// count returns the number of records in a collection.
func count(t testing.TB, st store.Store, collection string) int {
	t.Helper()
	list, err := st.Records().List(t.Context(), store.Query{Collection: collection, N: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// hooked is a store that calls hook before each call of its records, and of Commit. If
// hook returns an error, the call fails: after it took effect if the error matches
// errAfter, and otherwise without effect.
type hooked struct {
	store.Store
	hook func(call string) error
}

var (
	errBefore = errors.New("fails")
	errAfter  = errors.New("fails although it took effect")
)

func (h hooked) call(name string, f func() error) error {
	err := h.hook(name)
	if err == nil || errors.Is(err, errAfter) {
		if failed := f(); failed != nil {
			return failed
		}
	}
	return err
}

func (h hooked) Records() store.Records { return hookedRecords{h.Store.Records(), h} }

func (h hooked) Commit(ctx context.Context, c *store.Changes) error {
	return h.call("commit", func() error { return h.Store.Commit(ctx, c) })
}

type hookedRecords struct {
	store.Records
	h hooked
}

func (r hookedRecords) Get(ctx context.Context, collection, key string) (rec store.Record, err error) {
	err = r.h.call("get", func() (err error) { rec, err = r.Records.Get(ctx, collection, key); return err })
	return rec, err
}

func (r hookedRecords) Put(ctx context.Context, rec store.Record) (version uint64, err error) {
	err = r.h.call("put", func() (err error) { version, err = r.Records.Put(ctx, rec); return err })
	return version, err
}

func (r hookedRecords) Delete(ctx context.Context, collection, key string, version uint64) error {
	return r.h.call("delete", func() error { return r.Records.Delete(ctx, collection, key, version) })
}

func (r hookedRecords) List(ctx context.Context, q store.Query) (list []store.Record, err error) {
	err = r.h.call("list", func() (err error) { list, err = r.Records.List(ctx, q); return err })
	return list, err
}

// calls counts the calls of a store, by name.
type calls struct {
	mu     sync.Mutex
	byName map[string]int
}

func (c *calls) hook(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = make(map[string]int)
	}
	c.byName[name]++
	return nil
}

// take returns the calls since the last take.
func (c *calls) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var s []string
	for _, name := range []string{"get", "put", "delete", "list", "commit"} {
		if n := c.byName[name]; n > 0 {
			s = append(s, fmt.Sprint(n, " ", name))
		}
	}
	clear(c.byName)
	return strings.Join(s, ", ")
}

// journal is a logger with its log.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// count counts the lines of a level.
func (j *journal) count(level slog.Level) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), "level="+level.String())
}
