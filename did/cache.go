package did

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/did/lru"
)

// Forever is the lifetime of documents that never change, because the method makes
// the document from the DID itself.
const Forever time.Duration = math.MaxInt64

// CacheConfig configures a [Cache]. The zero value is ready to use.
type CacheConfig struct {
	// MaxEntries is the largest number of documents in the cache. The least recently
	// used ones are dropped first. 0 means 10000.
	MaxEntries int
	// MaxBytes is the approximate amount of memory for all documents in the cache, in
	// bytes. The least recently used ones are dropped first. 0 means 64 MiB.
	MaxBytes int

	// Lifetime is how long a document stays in the cache if Lifetimes does not name
	// the method of its DID. 0 means 5 minutes. A key that its owner has revoked counts as
	// valid for at most as long.
	Lifetime time.Duration
	// Lifetimes is how long a document stays in the cache, by the method name of its
	// DID, such as "web". A lifetime of 0 disables the cache for a method. nil means
	// Forever for key, jwk and peer.
	Lifetimes map[string]time.Duration
	// Timeout limits each call of the wrapped resolver. 0 means 30 seconds.
	Timeout time.Duration
	// Strangers limit the calls of the wrapped resolver that strangers ask for, see
	// [ForStranger].
	Strangers StrangerLimits

	// Now returns the current time. nil means time.Now.
	Now func() time.Time
}

// Cache is a [Resolver] that keeps the documents of another resolver in memory.
// Concurrent callers of Resolve share one call of that resolver for each DID. Errors
// are kept only for strangers, whose calls have limits of their own (see [ForStranger]). A
// Cache may be used from several goroutines. Use [NewCache] to make one.
type Cache struct {
	// Static after construction.
	resolver Resolver
	cfg      CacheConfig

	mu      sync.Mutex
	kept    lru.Map[string, entry] // guarded by mu
	bytes   int                    // guarded by mu; sum of the entries' sizes
	running map[string]*resolution // guarded by mu; by DID
	past    lru.Map[string, past]  // guarded by mu; by DID, without those that live Forever
	// The gates for the DIDs that strangers name; guarded by mu.
	wanted  *gate // for DIDs that were lately asked for without ForStranger
	known   *gate // for others that have lately resolved
	unknown *gate // for all others
}

var _ Refresher = (*Cache)(nil)

type entry struct {
	doc     *Document
	size    int
	expires time.Time // zero for never
}

// past is what happened to a DID lately.
type past struct {
	wanted  bool      // it was asked for without ForStranger
	known   bool      // it has resolved
	fetched time.Time // the start of the last call of the resolver that succeeded
	err     *failure  // of the last call of the resolver, or nil
	failed  time.Time // the end of that call
}

// maxPastID is the length of the longest DID whose past is kept, in bytes.
const maxPastID = 512

// resolution is a call of the resolver in progress. It has a goroutine of its own, so
// that one caller can stop waiting while others go on. When the last caller stops
// waiting, the call is cancelled.
type resolution struct {
	refresh bool
	began   time.Time
	cancel  context.CancelFunc
	leave   func()        // guarded by Cache.mu; nil if no gate was passed
	waiting int           // guarded by Cache.mu
	done    chan struct{} // closed when doc and err are set
	doc     *Document
	err     error
}

// NewCache returns an empty Cache in front of r.
func NewCache(r Resolver, cfg CacheConfig) *Cache {
	if cfg.MaxEntries <= 0 {
		cfg.MaxEntries = 10000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = 5 * time.Minute
	}
	if cfg.Lifetimes == nil {
		cfg.Lifetimes = map[string]time.Duration{"key": Forever, "jwk": Forever, "peer": Forever}
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Strangers.setDefaults()
	return &Cache{
		resolver: r, cfg: cfg, running: make(map[string]*resolution),
		wanted: newGate(cfg.Strangers), known: newGate(cfg.Strangers), unknown: newGate(cfg.Strangers),
	}
}

// Resolve returns the document of a DID from the cache, or calls the wrapped
// resolver. Errors are those of the wrapped resolver, or context.Cause(ctx) if ctx
// ends first, or [ErrBusy]. The call of the resolver goes on while other callers wait for
// it.
func (c *Cache) Resolve(ctx context.Context, id string) (*Document, error) {
	by := strangerOf(ctx)
	c.mu.Lock()
	if by == nil {
		c.noteWanted(id)
	}
	if doc := c.lookup(id); doc != nil {
		c.mu.Unlock()
		if c.lifetime(id) == Forever {
			by.keep(id, doc)
		}
		return doc, nil
	}
	return c.join(ctx, id, by, false)
}

// Refresh calls the wrapped resolver even if the cache has the document of the DID,
// and puts the result into the cache. If the resolver fails with [ErrNotFound], the
// old document is dropped. If it fails in another way, the old document stays for the
// rest of its lifetime. With a context of [ForStranger], Refresh may return the document of
// the cache, or ErrBusy.
func (c *Cache) Refresh(ctx context.Context, id string) (*Document, error) {
	by := strangerOf(ctx)
	if by != nil {
		if doc := by.kept(id); doc != nil {
			return doc, nil
		}
	}
	c.mu.Lock()
	if by == nil {
		c.noteWanted(id)
	}
	return c.join(ctx, id, by, true)
}

// join waits for a call of the resolver, which it starts if there is none. It is called with
// mu held, and releases mu.
func (c *Cache) join(ctx context.Context, id string, by *stranger, refresh bool) (*Document, error) {
	r := c.running[id]
	// A call that Resolve began may have read the old document already. Its callers
	// still get its result.
	begin := r == nil || refresh && !r.refresh
	var g *gate
	var leave func()
	if by != nil && c.lifetime(id) != Forever {
		var err error
		if g, leave, err = c.admit(id, r, begin, refresh); err != nil {
			c.mu.Unlock()
			return nil, fmt.Errorf("resolve %s: %w", abbreviate(id), err)
		}
		g.waiting++
	}
	if begin {
		r = c.start(ctx, id, refresh)
		r.leave = leave
	}
	r.waiting++
	c.mu.Unlock()
	doc, err := c.wait(ctx, id, r, g)
	if begin || c.lifetime(id) == Forever {
		by.keep(id, doc)
	}
	return doc, err
}

// admit checks that a stranger may wait for r, or may begin a call of the resolver. It returns
// the gate of the DID. If a call is to begin, it also returns the function to be called at the
// end of the call. It is called with mu held.
func (c *Cache) admit(id string, r *resolution, begin, refresh bool) (g *gate, leave func(), err error) {
	l := &c.cfg.Strangers
	p, _ := c.past.Get(id)
	switch {
	case p.wanted:
		g = c.wanted
	case p.known:
		g = c.known
	default:
		g = c.unknown
	}
	if g.waiting >= l.Waiting || r != nil && r.waiting >= max(l.Waiting/4, 1) {
		return nil, nil, ErrBusy
	}
	if !begin {
		return g, nil, nil
	}
	now := c.cfg.Now()
	switch {
	case p.err != nil && now.Sub(p.failed) < l.FailedFor:
		return nil, nil, p.err
	case refresh && p.known && now.Sub(p.fetched) < l.RefreshEvery:
		return nil, nil, ErrBusy
	}
	if leave = g.enter(now, id); leave == nil {
		return nil, nil, ErrBusy
	}
	return g, leave, nil
}

// lookup is called with mu held.
func (c *Cache) lookup(id string) *Document {
	e, ok := c.kept.Get(id)
	if !ok {
		return nil
	}
	if !e.expires.IsZero() && !c.cfg.Now().Before(e.expires) {
		c.remove(id)
		return nil
	}
	return e.doc
}

// start is called with mu held.
func (c *Cache) start(ctx context.Context, id string, refresh bool) *resolution {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
	r := &resolution{refresh: refresh, began: c.cfg.Now(), cancel: cancel, done: make(chan struct{})}
	c.running[id] = r
	go c.run(ctx, id, r)
	return r
}

func (c *Cache) run(ctx context.Context, id string, r *resolution) {
	defer r.cancel()
	doc, err := c.resolve(ctx, id)
	c.mu.Lock()
	r.doc, r.err = doc, err
	if r.leave != nil {
		r.leave()
	}
	if c.running[id] == r {
		c.note(id, r)
		delete(c.running, id)
		if err == nil {
			c.store(id, doc)
		} else if errors.Is(err, ErrNotFound) {
			c.remove(id)
		}
	}
	c.mu.Unlock()
	close(r.done)
}

// resolve turns a panic of the resolver into an error. In this goroutine a panic
// would end the process even if the caller of Resolve recovers from panics. A
// resolver that returns neither document nor error is treated as ErrNotFound.
func (c *Cache) resolve(ctx context.Context, id string) (doc *Document, err error) {
	defer func() {
		if p := recover(); p != nil {
			doc, err = nil, fmt.Errorf("resolve %s: panic: %v", abbreviate(id), p)
		}
	}()
	doc, err = c.resolver.Resolve(ctx, id)
	if doc == nil && err == nil {
		return nil, fmt.Errorf("resolve %s: %w", abbreviate(id), ErrNotFound)
	}
	return doc, err
}

// note keeps the result of a call of the resolver. It is called with mu held.
func (c *Cache) note(id string, r *resolution) {
	p, _ := c.past.Get(id)
	if r.err == nil {
		p.known, p.fetched, p.err = true, r.began, nil
	} else {
		p.err, p.failed = newFailure(r.err), c.cfg.Now()
	}
	c.keepPast(id, p)
}

// noteWanted keeps that a DID was asked for without ForStranger. It is called with mu held.
func (c *Cache) noteWanted(id string) {
	p, _ := c.past.Get(id)
	p.wanted = true
	c.keepPast(id, p)
}

func (c *Cache) keepPast(id string, p past) {
	if len(id) > maxPastID || c.lifetime(id) == Forever {
		return
	}
	c.past.Put(id, p)
	for c.past.Len() > c.cfg.MaxEntries {
		c.past.RemoveOldest()
	}
}

func (c *Cache) wait(ctx context.Context, id string, r *resolution, g *gate) (*Document, error) {
	select {
	case <-r.done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if g != nil {
		g.waiting--
	}
	r.waiting--
	select {
	case <-r.done:
		return r.doc, r.err
	default:
	}
	if r.waiting == 0 {
		r.cancel()
		if c.running[id] == r {
			delete(c.running, id)
		}
	}
	return nil, fmt.Errorf("resolve %s: %w", abbreviate(id), context.Cause(ctx))
}

// store is called with mu held.
func (c *Cache) store(id string, doc *Document) {
	c.remove(id)
	lifetime := c.lifetime(id)
	e := entry{doc: doc, size: len(id) + doc.footprint()}
	if lifetime <= 0 || e.size > c.cfg.MaxBytes {
		return
	}
	if lifetime != Forever {
		e.expires = c.cfg.Now().Add(lifetime)
	}
	c.kept.Put(id, e)
	c.bytes += e.size
	for c.kept.Len() > c.cfg.MaxEntries || c.bytes > c.cfg.MaxBytes {
		oldest, _ := c.kept.RemoveOldest()
		c.bytes -= oldest.size
	}
}

func (c *Cache) lifetime(id string) time.Duration {
	method, _, _ := strings.Cut(strings.TrimPrefix(id, "did:"), ":")
	if d, ok := c.cfg.Lifetimes[method]; ok {
		return d
	}
	return c.cfg.Lifetime
}

// remove is called with mu held.
func (c *Cache) remove(id string) {
	if e, ok := c.kept.Remove(id); ok {
		c.bytes -= e.size
	}
}

// footprint estimates the memory that a document takes, in bytes. Usual documents
// take 4 to 5 times the length of their JSON. Documents with many tiny members take 9
// times that length.
func (d *Document) footprint() int {
	if d.size > 0 {
		return 8 * d.size
	}
	return 1<<10 + 256*(len(d.VerificationMethod)+len(d.Service))
}
