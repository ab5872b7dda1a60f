// Package gate bounds what one network address can take of an HTTP server: open connections,
// new connections, requests, and requests that fail. It also bounds the connections of all
// addresses together, so that the process keeps descriptors for its own work.
//
// Make a [Gate] with [New]. Then put the http.Server behind the Gate, and let it serve the
// listener of the Gate:
//
//	g := gate.New(gate.Config{Logger: logger})
//	srv := httptransport.NewServer(router)
//	g.Guard(srv)
//	err := srv.Serve(g.Listener(l)) // or ServeTLS
//
// # Addresses
//
// An IPv4 address counts on its own, also in the form of an IPv6 address. An IPv6 address
// counts as its /64, the network of one host. Its /48 has eight times the limits of a /64,
// because a /48 with 65,536 networks costs nothing.
//
// Behind a proxy, all clients have the address of the proxy. Name the proxy in
// Config.TrustedProxies: then the last address in X-Forwarded-For or Forwarded that is not of
// a trusted proxy counts. The Gate logs a warning if a proxy seems to stand in front that is
// not named. Addresses on loopback have the same limits as all others.
//
// # Refusals
//
// A request over a limit of its address is answered with status 429, and a request on a
// connection for which the process has no room with 503, both with Retry-After. First, idle
// connections are closed to make room. A message or a ping on a WebSocket of package
// wstransport counts as a request, and the WebSocket is closed with code 1013 above a limit. A
// few connections over the limits are still accepted for one request each, so that the refusal
// can be read and [Config.Probes] are answered. Further ones are closed at once.
package gate

import (
	"cmp"
	"container/list"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Defaults of [Config].
const (
	DefaultMaxConns          = 10_000           // of MaxConns
	DefaultConnsPerAddress   = 256              // of ConnsPerAddress
	DefaultConnectsPerMinute = 1200             // of ConnectsPerMinute
	DefaultRequestsPerMinute = 30_000           // of RequestsPerMinute
	DefaultFailuresPerMinute = 120              // of FailuresPerMinute
	DefaultMaxAddresses      = 32_768           // of MaxAddresses
	DefaultWriteTimeout      = 30 * time.Second // of WriteTimeout
)

// Config configures [New]. In each field, 0 means the default. A negative number of connections,
// or of what happens in a minute, means no limit. A number per minute bounds what is allowed at
// once, and then per minute.
type Config struct {
	// MaxConns is the largest number of open connections. It is reduced to what the
	// descriptors of the process allow: those of [Kept] are kept for its own work.
	MaxConns int
	// ConnsPerAddress is the largest number of open connections of an address, and of its
	// requests under way. A WebSocket counts as a request under way until it is closed. An
	// address gets at most a quarter of MaxConns.
	ConnsPerAddress int
	// ConnectsPerMinute limits the new connections of an address.
	ConnectsPerMinute int
	// RequestsPerMinute limits the requests of an address.
	RequestsPerMinute int
	// FailuresPerMinute limits the requests of an address that are answered with a status
	// from 400 to 499, but for 429 of the handler. Above it, all requests of the address are
	// refused.
	FailuresPerMinute int
	// MaxAddresses is how many addresses and networks are remembered, besides those that have
	// connections. The one that was unseen for the longest time is forgotten first, and
	// before that the ones that have all of their limits left.
	MaxAddresses int
	// WriteTimeout limits the time to write a response, once its handler has begun to write.
	WriteTimeout time.Duration
	// TrustedProxies are the addresses of proxies that tell the addresses of their clients.
	// The limits of connections do not hold for them. A trusted proxy has to set
	// X-Forwarded-For or Forwarded, or to append to it.
	TrustedProxies []netip.Prefix
	// Probes are paths that are answered also over the limits, to a few requests at a time. The
	// watch of an agent may have the address of a proxy, or of a client that fails.
	Probes []string
	// Logger logs refusals, counted, at most once a minute. nil discards logs.
	Logger *slog.Logger
}

const (
	wideScale    = 8                // limits of a /48, in those of a /64
	maxRefusing  = 32               // connections over the limits that are open
	maxProbes    = 32               // requests for probes over the limits, at a time
	refuseTime   = 2 * time.Second  // life of such a connection
	refuseRate   = 4                // such connections of an address in a second, after
	refuseBurst  = 8                // so many at once
	lingerTime   = time.Second      // to read the rest of a request that is refused
	connsWait    = 10 * time.Second // Retry-After where connections are at their limit
	summaryEvery = time.Minute      // between two log records of refusals
)

// Kinds of refusals.
const (
	tooManyConns    = "too many connections"
	tooManyConnects = "too many new connections"
	tooManyRequests = "too many requests"
	tooManyAtOnce   = "too many requests at once"
	tooManyFailures = "too many failed requests"
	noRoom          = "no room for more connections"
)

// Gate bounds the connections and requests of an http.Server. Make one with [New]. A Gate may
// be used from several goroutines.
type Gate struct {
	cfg Config // static

	mu       sync.Mutex // guards all below
	open     int        // connections, without those that are being refused
	refusing int        // connections that are being refused
	probes   int        // requests for probes over the limits, under way
	idle     list.List  // of *conn, the longest idle first
	parties  parties
	refused  map[string]int // refusals since the last log record, by kind
	told     time.Time      // of the last log record
	warned   bool           // of a proxy
}

// New returns a Gate.
func New(cfg Config) *Gate {
	number := func(n *int, d int) {
		if *n = cmp.Or(*n, d); *n < 0 {
			*n = math.MaxInt / wideScale
		}
	}
	number(&cfg.MaxConns, DefaultMaxConns)
	number(&cfg.ConnsPerAddress, DefaultConnsPerAddress)
	number(&cfg.ConnectsPerMinute, DefaultConnectsPerMinute)
	number(&cfg.RequestsPerMinute, DefaultRequestsPerMinute)
	number(&cfg.FailuresPerMinute, DefaultFailuresPerMinute)
	cfg.MaxAddresses = cmp.Or(max(cfg.MaxAddresses, 0), DefaultMaxAddresses)
	if kept := Kept(); kept > 0 {
		cfg.MaxConns = max(1, min(cfg.MaxConns, descriptors()-kept))
	}
	if cfg.ConnsPerAddress < math.MaxInt/wideScale {
		cfg.ConnsPerAddress = max(1, min(cfg.ConnsPerAddress, cfg.MaxConns/4))
	}
	cfg.WriteTimeout = cmp.Or(max(cfg.WriteTimeout, 0), DefaultWriteTimeout)
	cfg.TrustedProxies = slices.Clone(cfg.TrustedProxies)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	g := &Gate{cfg: cfg, refused: make(map[string]int)}
	g.parties.make, g.parties.max = g.newParty, cfg.MaxAddresses
	return g
}

// Kept returns how many descriptors a Gate keeps for the own work of the process, such as its
// files and the connections to its peers: a sixth of all, and 64 more. It returns 0 if there is
// no limit of descriptors.
func Kept() int {
	n := descriptors()
	if n == 0 {
		return 0
	}
	return n/6 + 64
}

// MaxConns returns the largest number of open connections.
func (g *Gate) MaxConns() int { return g.cfg.MaxConns }

// Guard puts srv behind the Gate: it wraps the Handler, ConnState and ConnContext of srv. Call
// Guard once, before srv serves the listener of [Gate.Listener].
func (g *Gate) Guard(srv *http.Server) {
	srv.Handler = g.handler(cmp.Or[http.Handler](srv.Handler, http.DefaultServeMux))
	srv.ConnContext = withConn(srv.ConnContext)
	state := srv.ConnState
	srv.ConnState = func(nc net.Conn, s http.ConnState) {
		if c := connOf(nc); c != nil {
			g.setIdle(c, s == http.StateIdle)
		}
		if state != nil {
			state(nc, s)
		}
	}
}

// refuse counts a refusal, and logs a sum if the last one was long ago. The caller holds mu.
func (g *Gate) refuse(kind string, now time.Time) {
	g.refused[kind]++
	if now.Sub(g.told) < summaryEvery {
		return
	}
	var attrs []any
	for kind, n := range g.refused {
		attrs = append(attrs, kind, n)
	}
	g.cfg.Logger.Warn("connections or requests refused", attrs...)
	g.told = now
	clear(g.refused)
}

// perMinute returns a Limiter of n events at once, and then n a minute.
func perMinute(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(float64(n)/60), n) }
