package did

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/didcomm-go/didcomm/did/lru"
)

// ErrBusy means that a [Cache] has not called its resolver, because strangers ask for too
// much (see [ForStranger]). The error is not final: a later call may succeed.
var ErrBusy = errors.New("did: too many documents asked for")

// ForStranger returns a context for resolving the DIDs that one received message names,
// before anybody is authenticated. Anybody can send such a message, and it can name any
// host. With this context, a [Cache] differs in these ways:
//
//   - It calls its resolver only within [CacheConfig].Strangers. Otherwise Resolve and
//     Refresh return ErrBusy.
//   - It remembers for some seconds that a DID did not resolve.
//   - Refresh returns the document that this message has fetched, if it has. Otherwise
//     Refresh fetches a document at most every [StrangerLimits].RefreshEvery.
//
// Without this context, a Cache has no limits, and what strangers ask for does not delay it.
// A resolver around a Cache has to pass the context on.
func ForStranger(ctx context.Context) context.Context {
	return context.WithValue(ctx, strangerKey{}, new(stranger))
}

type strangerKey struct{}

// strangerOf returns the stranger for whom ctx is, or nil.
func strangerOf(ctx context.Context) *stranger {
	s, _ := ctx.Value(strangerKey{}).(*stranger)
	return s
}

// stranger is a received message whose sender is not authenticated yet.
type stranger struct {
	mu    sync.Mutex
	fresh map[string]*Document // guarded by mu; documents that cannot be newer, by DID
}

// keep notes that doc is as new as it can be. A nil stranger notes nothing.
func (s *stranger) keep(id string, doc *Document) {
	if s == nil || doc == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fresh == nil {
		s.fresh = make(map[string]*Document)
	}
	s.fresh[id] = doc
}

func (s *stranger) kept(id string) *Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh[id]
}

// StrangerLimits limit what strangers make a [Cache] ask its resolver for. They hold three
// times: for the DIDs that were lately asked for without [ForStranger], such as those of
// contacts, for others that have lately resolved, and for all others. So a flood of DIDs of
// strangers leaves the room of contacts. DIDs with the lifetime Forever have no limits, since
// their documents need no network. A zero in a field means the default.
//
// A host is that of a did:web without its port. With another method each DID is its own
// host. All hosts of one domain, which is the last two labels of their names, have together at
// most half of the room for all, since whoever has a domain has any number of hosts.
type StrangerLimits struct {
	// PerMinute is how many documents are fetched in a minute from all hosts, and Burst is
	// how many are fetched at once after a pause. The defaults are 600, and a sixth of
	// PerMinute.
	PerMinute, Burst int
	// HostPerMinute and HostBurst are the same for one host. The defaults are 60, and a third
	// of HostPerMinute.
	HostPerMinute, HostBurst int
	// Running is how many documents are fetched at the same time from all hosts, and
	// HostRunning is the same for one host. The defaults are 16 and 4.
	Running, HostRunning int
	// Waiting is how many calls wait at the same time. A quarter of them may wait for one
	// DID. The default is 1024.
	Waiting int
	// RefreshEvery is the shortest time between two fetches of a document that the Cache
	// has. The default is 10 seconds.
	RefreshEvery time.Duration
	// FailedFor is how long a DID counts as failed after it did not resolve. The default is
	// 5 seconds.
	FailedFor time.Duration
}

func (l *StrangerLimits) setDefaults() {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.PerMinute, 600}, {&l.HostPerMinute, 60}, {&l.Running, 16}, {&l.HostRunning, 4}, {&l.Waiting, 1024},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	if l.Burst <= 0 {
		l.Burst = max(l.PerMinute/6, 1)
	}
	if l.HostBurst <= 0 {
		l.HostBurst = max(l.HostPerMinute/3, 1)
	}
	if l.RefreshEvery <= 0 {
		l.RefreshEvery = 10 * time.Second
	}
	if l.FailedFor <= 0 {
		l.FailedFor = 5 * time.Second
	}
}

// Host returns the host of a did:web in lower case, without its port. For other DIDs it
// returns "".
func Host(id string) string {
	host, ok := strings.CutPrefix(id, "did:web:")
	if !ok {
		return ""
	}
	host, _, _ = strings.Cut(host, ":")
	host, _, _ = strings.Cut(strings.ToLower(host), "%3a")
	return host
}

// maxHosts is how many hosts and domains a gate knows. Those beyond are forgotten, the least
// recently used ones first.
const maxHosts = 10_000

// gate lets calls of a resolver pass. The Cache guards it.
type gate struct {
	limits  StrangerLimits
	waiting int // calls of strangers
	all     *room
	hosts   lru.Map[string, *room] // by host, and by "." and domain
}

// room is the room of one host, of one domain, or of all.
type room struct {
	rate    *rate.Limiter
	running int
	most    int // of running
}

func newRoom(perMinute, burst, running int) *room {
	return &room{rate: rate.NewLimiter(rate.Limit(float64(perMinute)/60), burst), most: running}
}

func newGate(l StrangerLimits) *gate {
	return &gate{limits: l, all: newRoom(l.PerMinute, l.Burst, l.Running)}
}

// enter returns the function that ends a call for the DID id, or nil if there is no room.
func (g *gate) enter(now time.Time, id string) (leave func()) {
	l := &g.limits
	host, domain := Host(id), ""
	if host == "" {
		host = id
	} else if labels := strings.Split(host, "."); len(labels) > 1 {
		domain = "." + strings.Join(labels[len(labels)-2:], ".")
	}
	rooms := []*room{g.all, g.room(host, l.HostPerMinute, l.HostBurst, l.HostRunning)}
	if domain != "" {
		rooms = append(rooms, g.room(domain, half(l.PerMinute), half(l.Burst), half(l.Running)))
	}
	for _, r := range rooms {
		if r.running >= r.most || r.rate.TokensAt(now) < 1 {
			return nil
		}
	}
	// Only now, so that refused calls take nothing from others.
	for _, r := range rooms {
		r.rate.AllowN(now, 1)
		r.running++
	}
	g.hosts.Put(host, rooms[1])
	if domain != "" {
		g.hosts.Put(domain, rooms[2])
	}
	for g.hosts.Len() > maxHosts {
		g.hosts.RemoveOldest()
	}
	return func() {
		for _, r := range rooms {
			r.running--
		}
	}
}

func (g *gate) room(name string, perMinute, burst, running int) *room {
	if r, ok := g.hosts.Get(name); ok {
		return r
	}
	return newRoom(perMinute, burst, running)
}

func half(n int) int { return (n + 1) / 2 }

// failure is an error that a Cache remembers. It has less memory than the error that it stands
// for.
type failure struct {
	text  string
	class error // one of finals, or nil
}

// finals are the classes of final errors.
func finals() []error { return []error{ErrNotFound, ErrInvalid, ErrMethod, ErrUnsupported, ErrRefused} }

func newFailure(err error) *failure {
	f := &failure{text: fmt.Sprintf("%.200s", err)}
	for _, class := range finals() {
		if errors.Is(err, class) {
			f.class = class
		}
	}
	return f
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.class }
