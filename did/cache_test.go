package did_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

func TestMethods(t *testing.T) {
	example := did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
		if strings.HasSuffix(id, ":gone") {
			return nil, did.ErrNotFound
		}
		return &did.Document{ID: id}, nil
	})
	m := did.Methods{"example": example, "nil": nil}
	if d, err := m.Resolve(t.Context(), "did:example:1"); err != nil || d.ID != "did:example:1" {
		t.Errorf("got %v, %v", d, err)
	}
	for id, want := range map[string]error{
		"did:other:1": did.ErrMethod, "did:nil:1": did.ErrMethod, "did:example:gone": did.ErrNotFound,
		"did:example:1#k": did.ErrInvalid, "": did.ErrInvalid,
	} {
		if d, err := m.Resolve(t.Context(), id); !errors.Is(err, want) || d != nil {
			t.Errorf("%q: got %v, %v, want %v", id, d, err, want)
		}
	}
}

// counter resolves everything, counts, and answers as told.
type counter struct {
	calls atomic.Int64
	fail  atomic.Pointer[error]
	gate  chan struct{} // if not nil, each call waits for one value of it, or for its context
}

func (c *counter) Resolve(ctx context.Context, id string) (*did.Document, error) {
	n := c.calls.Add(1)
	if c.gate != nil {
		select {
		case <-c.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := c.fail.Load(); err != nil {
		return nil, *err
	}
	return &did.Document{ID: id, AlsoKnownAs: []string{fmt.Sprint(n)}}, nil
}

func resolve(t *testing.T, c *did.Cache, id string) string {
	t.Helper()
	d, err := c.Resolve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d.AlsoKnownAs[0]
}

func TestCacheLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(counter)
		c := did.NewCache(r, did.CacheConfig{Lifetime: time.Minute, Lifetimes: map[string]time.Duration{"key": did.Forever, "short": time.Second, "never": 0}})
		for _, id := range []string{"did:web:a", "did:key:a", "did:short:a", "did:never:a"} { // calls 1 to 4
			resolve(t, c, id)
		}
		time.Sleep(time.Second) // the bubble's clock
		for id, want := range map[string]string{"did:web:a": "1", "did:key:a": "2"} {
			if got := resolve(t, c, id); got != want {
				t.Errorf("%s after a second: %s, want %s", id, got, want)
			}
		}
		if got := resolve(t, c, "did:short:a"); got != "5" {
			t.Errorf("short lifetime: %s", got)
		}
		if got := resolve(t, c, "did:never:a"); got != "6" {
			t.Errorf("no lifetime: %s", got)
		}
		time.Sleep(1000 * time.Hour)
		if got := resolve(t, c, "did:key:a"); got != "2" {
			t.Errorf("forever: %s", got)
		}
		if got := resolve(t, c, "did:web:a"); got != "7" {
			t.Errorf("after its lifetime: %s", got)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	r := new(counter)
	c := did.NewCache(r, did.CacheConfig{MaxEntries: 2})
	resolve(t, c, "did:x:a")
	resolve(t, c, "did:x:b")
	resolve(t, c, "did:x:a")
	resolve(t, c, "did:x:c") // b goes: it was used least recently
	if got := resolve(t, c, "did:x:a"); got != "1" {
		t.Errorf("a was dropped: %s", got)
	}
	if got := resolve(t, c, "did:x:b"); got != "4" {
		t.Errorf("b was kept: %s", got)
	}

	var calls int
	big := did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
		calls++
		return did.ParseDocument([]byte(`{"id":"` + id + `","x":"` + strings.Repeat("a", 1000) + `"}`))
	})
	c = did.NewCache(big, did.CacheConfig{MaxBytes: 20_000})
	for _, id := range []string{"did:x:a", "did:x:b", "did:x:b", "did:x:c", "did:x:b", "did:x:a"} {
		if _, err := c.Resolve(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 4 {
		t.Errorf("%d calls with room for two documents, want 4", calls)
	}
	c, calls = did.NewCache(big, did.CacheConfig{MaxBytes: 5000}), 0
	for range 2 {
		if _, err := c.Resolve(t.Context(), "did:x:a"); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 2 {
		t.Errorf("%d calls with room for none, want 2", calls)
	}
}

// A cache full of documents whose JSON is small beside what it becomes must stay
// within its bytes all the same.
func TestCacheMemory(t *testing.T) {
	const limit = 8 << 20
	c := did.NewCache(did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
		b := []byte(`{"id":"` + id + `"`)
		for i := range 10_000 {
			b = fmt.Appendf(b, `,"%x":0`, i)
		}
		return did.ParseDocument(append(b, '}'))
	}), did.CacheConfig{MaxBytes: limit})
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	for i := range 50 {
		if _, err := c.Resolve(t.Context(), fmt.Sprintf("did:x:%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := heap() - before; got > 2*limit {
		t.Errorf("%d bytes kept, with a limit of %d", got, limit)
	}
	runtime.KeepAlive(c)
}

func TestCacheKeepsNoErrors(t *testing.T) {
	r := new(counter)
	c := did.NewCache(r, did.CacheConfig{})
	r.fail.Store(&did.ErrNotFound)
	for range 2 {
		if d, err := c.Resolve(t.Context(), "did:x:a"); !errors.Is(err, did.ErrNotFound) || d != nil {
			t.Errorf("got %v, %v", d, err)
		}
	}
	r.fail.Store(nil)
	if got := resolve(t, c, "did:x:a"); got != "3" {
		t.Errorf("got %s", got)
	}
	panics := did.NewCache(did.ResolverFunc(func(context.Context, string) (*did.Document, error) { panic("no") }), did.CacheConfig{})
	if d, err := panics.Resolve(t.Context(), "did:x:a"); err == nil || d != nil {
		t.Errorf("panic: %v, %v", d, err)
	}
	empty := did.NewCache(did.ResolverFunc(func(context.Context, string) (*did.Document, error) { return nil, nil }), did.CacheConfig{})
	if d, err := empty.Resolve(t.Context(), "did:x:a"); !errors.Is(err, did.ErrNotFound) || d != nil {
		t.Errorf("no document and no error: %v, %v", d, err)
	}
}

func TestCacheOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &counter{gate: make(chan struct{})}
		c := did.NewCache(r, did.CacheConfig{})
		first, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if d, err := c.Resolve(first, "did:x:a"); !errors.Is(err, context.Canceled) || d != nil {
				t.Errorf("the one who left: %v, %v", d, err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if got := resolve(t, c, "did:x:a"); got != "1" {
					t.Errorf("got %s", got)
				}
			})
		}
		synctest.Wait()
		leave() // the caller that started the resolution, which goes on
		synctest.Wait()
		r.gate <- struct{}{}
		wg.Wait()
		if n := r.calls.Load(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// When no caller waits any more, the resolution is cancelled. The next caller starts
// a new one.
func TestCacheAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &counter{gate: make(chan struct{})}
		c := did.NewCache(r, did.CacheConfig{Timeout: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Resolve(ctx, "did:x:a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		synctest.Wait() // for the goroutine of the resolution to end
		go func() { r.gate <- struct{}{} }()
		if got := resolve(t, c, "did:x:a"); got != "2" {
			t.Errorf("got %s", got)
		}
	})
}

func TestCacheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := did.NewCache(&counter{gate: make(chan struct{})}, did.CacheConfig{Timeout: time.Second})
		start := time.Now()
		if _, err := c.Resolve(t.Context(), "did:x:a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestCacheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(counter)
		c := did.NewCache(r, did.CacheConfig{})
		refresh := func() (string, error) {
			d, err := c.Refresh(t.Context(), "did:x:a")
			if err != nil {
				return "", err
			}
			return d.AlsoKnownAs[0], nil
		}
		resolve(t, c, "did:x:a")
		resolve(t, c, "did:x:b")
		if got, err := refresh(); err != nil || got != "3" {
			t.Errorf("refreshed: %s, %v", got, err)
		}
		if got := resolve(t, c, "did:x:a"); got != "3" {
			t.Errorf("after refresh: %s", got)
		}
		if got := resolve(t, c, "did:x:b"); got != "2" {
			t.Errorf("the other: %s", got)
		}

		// A failure keeps what was kept; "not found" does not.
		down := errors.New("down")
		r.fail.Store(&down)
		if _, err := refresh(); !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
		if got := resolve(t, c, "did:x:a"); got != "3" {
			t.Errorf("after a failed refresh: %s", got)
		}
		r.fail.Store(&did.ErrNotFound)
		if _, err := refresh(); !errors.Is(err, did.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Resolve(t.Context(), "did:x:a"); !errors.Is(err, did.ErrNotFound) {
			t.Errorf("after it is gone: %v", err)
		}
	})
}

// A refresh does not use the result of a resolution that started before it, and the
// older result does not replace the newer one.
func TestCacheRefreshDuringResolve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := make(chan struct{}), make(chan struct{})
		gates := make(chan chan struct{}, 2)
		gates <- older
		gates <- newer
		var calls atomic.Int64
		c := did.NewCache(did.ResolverFunc(func(_ context.Context, id string) (*did.Document, error) {
			n, gate := calls.Add(1), <-gates
			<-gate
			return &did.Document{ID: id, AlsoKnownAs: []string{fmt.Sprint(n)}}, nil
		}), did.CacheConfig{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if got := resolve(t, c, "did:x:a"); got != "1" {
				t.Errorf("the older resolution: %s", got)
			}
		})
		synctest.Wait()
		for range 3 {
			wg.Go(func() {
				if d, err := c.Refresh(t.Context(), "did:x:a"); err != nil || d.AlsoKnownAs[0] != "2" {
					t.Errorf("refresh: %v, %v", d, err)
				}
			})
		}
		synctest.Wait()
		newer <- struct{}{}
		synctest.Wait()
		older <- struct{}{}
		wg.Wait()
		if got := resolve(t, c, "did:x:a"); got != "2" {
			t.Errorf("kept %s", got)
		}
	})
}

func TestCacheConcurrently(t *testing.T) {
	r := new(counter)
	c := did.NewCache(r, did.CacheConfig{MaxEntries: 4, Lifetime: time.Nanosecond})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 200 {
				id := fmt.Sprintf("did:x:%d", (i+n)%8)
				ctx, cancel := context.WithCancel(t.Context())
				if n%3 == 0 {
					cancel()
				}
				find := c.Resolve
				if n%5 == 0 {
					find = c.Refresh
				}
				if d, err := find(ctx, id); err == nil && d.ID != id {
					t.Errorf("asked for %s, got %s", id, d.ID)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
