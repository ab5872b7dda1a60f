package did_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/did"
)

// asked is a resolver that counts its calls by host, and the most calls at one time.
type asked struct {
	mu            sync.Mutex
	calls         map[string]int
	running, most int
	fail          error
	slow          time.Duration // of each call
	version       string
}

func (a *asked) Resolve(ctx context.Context, id string) (*did.Document, error) {
	a.mu.Lock()
	if a.calls == nil {
		a.calls = make(map[string]int)
	}
	a.calls[did.Host(id)]++
	a.running++
	a.most = max(a.most, a.running)
	slow, fail, version := a.slow, a.fail, a.version
	a.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	a.running--
	a.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	return &did.Document{ID: id, AlsoKnownAs: []string{version}}, nil
}

// set changes the resolver under its lock.
func (a *asked) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *asked) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.calls {
		n += c
	}
	return n
}

func TestHost(t *testing.T) {
	for id, want := range map[string]string{
		"did:web:Example.com": "example.com", "did:web:example.com%3A8443:a": "example.com", "did:web:a.example%3a1": "a.example",
		"did:web:a.example:b%3A1": "a.example", "did:key:z6Mk": "", "nonsense": "",
	} {
		if got := did.Host(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

// Strangers make the Cache ask each host, each domain and all hosts no more often than the
// limits say. What the owner asks for, and DIDs that are known, have room meanwhile.
func TestStrangersAreLimited(t *testing.T) {
	const n = 3000
	for name, test := range map[string]struct {
		id         func(i int) string
		want, more int // calls at once, and in the next minute
	}{
		"one host":   {func(i int) string { return fmt.Sprintf("did:web:evil.example:%d", i) }, 20, 60},
		"one domain": {func(i int) string { return fmt.Sprintf("did:web:h%d.evil.example:%d", i%300, i) }, 50, 300},
		"300 hosts":  {func(i int) string { return fmt.Sprintf("did:web:evil%d.example:%d", i%300, i) }, 100, 600},
		"other":      {func(i int) string { return fmt.Sprintf("did:other:%d", i) }, 100, 600},
		"ports":      {func(i int) string { return fmt.Sprintf("did:web:EVIL.example%%3A%d", 1000+i) }, 20, 60},
		"no network": {func(i int) string { return fmt.Sprintf("did:key:%d", i) }, n, 6 * n},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := new(asked)
				c := did.NewCache(a, did.CacheConfig{})
				const contact = "did:web:contact.example"
				resolve(t, c, contact)
				time.Sleep(time.Hour)
				a.set(func() { a.fail, a.calls = errors.New("down"), nil })
				flood := func() {
					t.Helper()
					busy := 0
					before := a.total()
					for i := range n {
						if _, err := c.Resolve(did.ForStranger(t.Context()), test.id(i)); errors.Is(err, did.ErrBusy) {
							busy++
						} else if err == nil {
							t.Fatal("resolved")
						}
					}
					if called := a.total() - before; called+busy != n {
						t.Errorf("%d calls and %d busy of %d", called, busy, n)
					}
				}
				flood()
				if got := a.total(); got != test.want {
					t.Errorf("%d calls at once, want %d", got, test.want)
				}
				a.set(func() { a.fail = nil })
				if _, err := c.Resolve(did.ForStranger(t.Context()), contact); err != nil {
					t.Errorf("a known DID for a stranger: %v", err)
				}
				if _, err := c.Resolve(t.Context(), test.id(n)); err != nil {
					t.Errorf("another DID for the owner: %v", err)
				}
				a.set(func() { a.fail, a.calls = errors.New("down"), nil })
				for range 6 {
					time.Sleep(10 * time.Second)
					flood()
				}
				if got := a.total(); got > test.more || got < test.more/2 {
					t.Errorf("%d calls in a minute, want %d", got, test.more)
				}
			})
		})
	}
}

// Slow hosts hold no more calls than the limits say. They do not delay the owner.
func TestSlowHostsAreLimited(t *testing.T) {
	for name, test := range map[string]struct {
		id   func(i int) string
		want int
	}{
		"one host":  {func(i int) string { return fmt.Sprintf("did:web:slow.example:%d", i) }, 4},
		"many":      {func(i int) string { return fmt.Sprintf("did:web:slow%d.example", i) }, 16},
		"one DID":   {func(i int) string { return "did:web:slow.example" }, 1},
		"subdomain": {func(i int) string { return fmt.Sprintf("did:web:s%d.slow.example", i) }, 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &asked{slow: 10 * time.Second}
				c := did.NewCache(a, did.CacheConfig{})
				var wg sync.WaitGroup
				var mu sync.Mutex
				waited, busy := 0, 0
				for i := range 3000 {
					wg.Go(func() {
						begin := time.Now()
						_, err := c.Resolve(did.ForStranger(t.Context()), test.id(i))
						mu.Lock()
						defer mu.Unlock()
						switch {
						case errors.Is(err, did.ErrBusy) && time.Since(begin) == 0:
							busy++
						case err == nil:
							waited++
						default:
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				begin := time.Now()
				a.set(func() { a.slow = 0 })
				resolve(t, c, "did:web:slow.example:own")
				if d := time.Since(begin); d != 0 {
					t.Errorf("the owner waited %s", d)
				}
				wg.Wait()
				if a.most > test.want+1 || waited < test.want || waited > 256 || waited+busy != 3000 {
					t.Errorf("%d calls at one time, want %d; %d waited, %d busy", a.most-1, test.want, waited, busy)
				}
				a.set(func() { a.slow = 0 })
				time.Sleep(time.Minute)
				if _, err := c.Resolve(did.ForStranger(t.Context()), "did:web:slow.example:later"); err != nil {
					t.Errorf("later: %v", err)
				}
			})
		})
	}
}

// A stranger's DID that did not resolve is asked for again only after some seconds. The
// error keeps its class.
func TestFailureIsRemembered(t *testing.T) {
	for _, fail := range []error{errors.New("down"), did.ErrNotFound, did.ErrRefused} {
		synctest.Test(t, func(t *testing.T) {
			a := &asked{fail: fmt.Errorf("server: %w", fail)}
			c := did.NewCache(a, did.CacheConfig{})
			ask := func(ctx context.Context, want int) {
				t.Helper()
				_, err := c.Resolve(ctx, "did:web:a.example")
				if got := a.total(); got != want || err == nil || errors.Is(err, did.ErrBusy) {
					t.Errorf("%d calls, want %d; %v", got, want, err)
				}
				for _, class := range []error{did.ErrNotFound, did.ErrRefused} {
					if errors.Is(err, class) != errors.Is(fail, class) {
						t.Errorf("%v, want the class of %v", err, fail)
					}
				}
			}
			ask(did.ForStranger(t.Context()), 1)
			ask(did.ForStranger(t.Context()), 1)
			ask(t.Context(), 2)
			time.Sleep(5 * time.Second)
			ask(did.ForStranger(t.Context()), 3)
		})
	}
}

// Refresh for a stranger fetches a document once per message, and not more often than every
// RefreshEvery.
func TestRefreshForStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "did:web:a.example"
		a := &asked{version: "1"}
		c := did.NewCache(a, did.CacheConfig{})
		ask := func(ctx context.Context, ask func(context.Context, string) (*did.Document, error), want string, calls int) {
			t.Helper()
			doc, err := ask(ctx, id)
			if got := a.total(); got != calls || want == "" && !errors.Is(err, did.ErrBusy) {
				t.Errorf("%v after %d calls, want %d", err, got, calls)
			}
			if want != "" && (err != nil || doc.AlsoKnownAs[0] != want) {
				t.Errorf("%v, %v, want %s", doc, err, want)
			}
		}
		first := did.ForStranger(t.Context())
		ask(first, c.Resolve, "1", 1)
		a.set(func() { a.version = "2" })
		ask(first, c.Refresh, "1", 1) // the message has fetched the document
		ask(did.ForStranger(t.Context()), c.Refresh, "", 1)
		time.Sleep(10 * time.Second)
		second := did.ForStranger(t.Context())
		ask(second, c.Resolve, "1", 1)
		ask(second, c.Refresh, "2", 2)
		ask(second, c.Refresh, "2", 2)
		ask(did.ForStranger(t.Context()), c.Resolve, "2", 2)
		ask(did.ForStranger(t.Context()), c.Refresh, "", 2)
		ask(t.Context(), c.Refresh, "2", 3)
	})
}

// Strangers whose DIDs resolve, quickly or slowly, take no room from a DID that the owner has
// asked for.
func TestContactsHaveRoom(t *testing.T) {
	for name, slow := range map[string]time.Duration{"quick": 0, "slow": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const contact = "did:web:contact.example"
				a := new(asked)
				c := did.NewCache(a, did.CacheConfig{})
				flood := func() {
					for i := range 3000 {
						go c.Resolve(did.ForStranger(t.Context()), fmt.Sprintf("did:web:evil%d.example%d", i%100, i%100)) // the error does not matter
					}
					synctest.Wait()
				}
				resolve(t, c, contact)
				flood() // so that these DIDs count as known
				time.Sleep(10 * time.Minute)
				a.set(func() { a.slow = slow })
				flood()
				a.set(func() { a.slow = 0 })
				if _, err := c.Resolve(did.ForStranger(t.Context()), contact); err != nil {
					t.Errorf("a contact: %v", err)
				}
				time.Sleep(time.Minute) // the slow calls end
			})
		})
	}
}
