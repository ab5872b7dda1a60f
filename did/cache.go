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
	// the method of its DID. 0 means 5 minutes.
	Lifetime time.Duration
	// Lifetimes is how long a document stays in the cache, by the method name of its
	// DID, such as "web". A lifetime of 0 disables the cache for a method. nil means
	// Forever for key, jwk and peer.
	Lifetimes map[string]time.Duration
	// Timeout limits each call of the wrapped resolver. 0 means 30 seconds.
	Timeout time.Duration

	// Now returns the current time. nil means time.Now.
	Now func() time.Time
}

// Cache is a [Resolver] that keeps the documents of another resolver in memory.
// Concurrent callers of Resolve share one call of that resolver for each DID. Errors
// are not kept. A Cache may be used from several goroutines. Use [NewCache] to make
// one.
type Cache struct {
	// Static after construction.
	resolver Resolver
	cfg      CacheConfig

	mu      sync.Mutex
	kept    lru.Map[string, entry] // guarded by mu
	bytes   int                    // guarded by mu; sum of the entries' sizes
	running map[string]*resolution // guarded by mu; by DID
}

var _ Resolver = (*Cache)(nil)

type entry struct {
	doc     *Document
	size    int
	expires time.Time // zero for never
}

// resolution is a call of the resolver in progress. It has a goroutine of its own, so
// that one caller can stop waiting while others go on. When the last caller stops
// waiting, the call is cancelled.
type resolution struct {
	refresh bool
	cancel  context.CancelFunc
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
	return &Cache{resolver: r, cfg: cfg, running: make(map[string]*resolution)}
}

// Resolve returns the document of a DID from the cache, or calls the wrapped
// resolver. Errors are those of the wrapped resolver, or context.Cause(ctx) if ctx
// ends first. The call of the resolver goes on while other callers wait for it.
func (c *Cache) Resolve(ctx context.Context, id string) (*Document, error) {
	c.mu.Lock()
	if doc := c.lookup(id); doc != nil {
		c.mu.Unlock()
		return doc, nil
	}
	r := c.running[id]
	if r == nil {
		r = c.start(ctx, id, false)
	}
	r.waiting++
	c.mu.Unlock()
	return c.wait(ctx, id, r)
}

// Refresh calls the wrapped resolver even if the cache has the document of the DID,
// and puts the result into the cache. If the resolver fails with [ErrNotFound], the
// old document is dropped. If it fails in another way, the old document stays for the
// rest of its lifetime.
func (c *Cache) Refresh(ctx context.Context, id string) (*Document, error) {
	c.mu.Lock()
	r := c.running[id]
	// A call that Resolve began may have read the old document already. Its callers
	// still get its result.
	if r == nil || !r.refresh {
		r = c.start(ctx, id, true)
	}
	r.waiting++
	c.mu.Unlock()
	return c.wait(ctx, id, r)
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
	r := &resolution{refresh: refresh, cancel: cancel, done: make(chan struct{})}
	c.running[id] = r
	go c.run(ctx, id, r)
	return r
}

func (c *Cache) run(ctx context.Context, id string, r *resolution) {
	defer r.cancel()
	doc, err := c.resolve(ctx, id)
	c.mu.Lock()
	r.doc, r.err = doc, err
	if c.running[id] == r {
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

func (c *Cache) wait(ctx context.Context, id string, r *resolution) (*Document, error) {
	select {
	case <-r.done:
		return r.doc, r.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
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
