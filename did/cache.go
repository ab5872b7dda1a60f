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

// Forever is the lifetime of what never changes: the document of a method whose
// DID is its own document.
const Forever time.Duration = math.MaxInt64

// CacheConfig says what a Cache keeps and for how long. The zero value is ready
// to use.
type CacheConfig struct {
	MaxEntries int // documents kept, the least recently used goes first; 0 means 10000
	MaxBytes   int // memory that they take together, about; 0 means 64 MiB

	Lifetime  time.Duration            // of methods that Lifetimes does not name; 0 means 5 minutes
	Lifetimes map[string]time.Duration // by method name; 0 keeps nothing; nil means Forever for key, jwk and peer
	Timeout   time.Duration            // of one resolution, whoever waits for it; 0 means 30 seconds

	Now func() time.Time // nil means time.Now
}

// Cache keeps the documents that another resolver found. However many ask for
// one DID at once, it is resolved once; errors are not kept. Use NewCache.
type Cache struct {
	// Static after construction.
	resolver Resolver
	cfg      CacheConfig

	mu      sync.Mutex
	kept    lru.Map[string, entry] // guarded by mu
	bytes   int                    // guarded by mu; sum of the entries' sizes
	flights map[string]*flight     // guarded by mu
}

var _ Resolver = (*Cache)(nil)

type entry struct {
	doc     *Document
	size    int
	expires time.Time // zero for never
}

// flight is one resolution on its way. It lives in a goroutine of its own, so
// that a caller can leave while others wait; when the last one has left it is
// cancelled.
type flight struct {
	refresh bool
	cancel  context.CancelFunc
	waiting int           // guarded by Cache.mu
	done    chan struct{} // closed when doc and err are set
	doc     *Document
	err     error
}

// NewCache wraps r.
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
	return &Cache{resolver: r, cfg: cfg, flights: make(map[string]*flight)}
}

// Resolve gives the kept document, or resolves it. A caller whose ctx ends stops
// waiting with its error; the resolution goes on for others who wait.
func (c *Cache) Resolve(ctx context.Context, id string) (*Document, error) {
	c.mu.Lock()
	if doc := c.lookup(id); doc != nil {
		c.mu.Unlock()
		return doc, nil
	}
	f := c.flights[id]
	if f == nil {
		f = c.launch(ctx, id, false)
	}
	f.waiting++
	c.mu.Unlock()
	return c.wait(ctx, id, f)
}

// Refresh resolves one DID anew, past what is kept, and keeps the answer. When
// that fails, what was kept stays until its lifetime ends, unless the answer was
// ErrNotFound.
func (c *Cache) Refresh(ctx context.Context, id string) (*Document, error) {
	c.mu.Lock()
	f := c.flights[id]
	// A flight of Resolve may have read the old document already: fly again, and
	// let its own callers have what it brings.
	if f == nil || !f.refresh {
		f = c.launch(ctx, id, true)
	}
	f.waiting++
	c.mu.Unlock()
	return c.wait(ctx, id, f)
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

// launch is called with mu held.
func (c *Cache) launch(ctx context.Context, id string, refresh bool) *flight {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
	f := &flight{refresh: refresh, cancel: cancel, done: make(chan struct{})}
	c.flights[id] = f
	go c.fly(ctx, id, f)
	return f
}

func (c *Cache) fly(ctx context.Context, id string, f *flight) {
	defer f.cancel()
	doc, err := c.resolve(ctx, id)
	c.mu.Lock()
	f.doc, f.err = doc, err
	if c.flights[id] == f {
		delete(c.flights, id)
		if err == nil {
			c.store(id, doc)
		} else if errors.Is(err, ErrNotFound) {
			c.remove(id)
		}
	}
	c.mu.Unlock()
	close(f.done)
}

// resolve turns a panic of a resolver into an error: in this goroutine it would
// end the process, whatever guards the caller has. No document and no error is
// ErrNotFound.
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

func (c *Cache) wait(ctx context.Context, id string, f *flight) (*Document, error) {
	select {
	case <-f.done:
		return f.doc, f.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if c.flights[id] == f {
			delete(c.flights, id)
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

// footprint is about the memory that a document takes. The JSON of usual ones
// has 4 to 5 bytes in memory for each of its own, that of the worst, which are
// full of tiny members, 9.
func (d *Document) footprint() int {
	if d.size > 0 {
		return 8 * d.size
	}
	return 1<<10 + 256*(len(d.VerificationMethod)+len(d.Service))
}
