package gate

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/didcomm-go/didcomm/transport"
)

// handler returns next behind the limits of requests.
func (g *Gate) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &response{ResponseWriter: w, gate: g}
		defer rec.limitWrite() // of a response that is written after the handler
		if kind := isRefused(r); kind != "" {
			rec.Header().Set("Connection", "close")
			if !g.probe(next, rec, r) {
				answer(rec, r, kind, connsWait)
			}
			return
		}
		addr := g.client(r)
		kind, wait := g.enter(rec, addr)
		if kind != "" {
			if !g.probe(next, rec, r) {
				answer(rec, r, kind, wait)
			}
			return
		}
		defer g.leave(rec)
		next.ServeHTTP(rec, r.WithContext(transport.WithPeer(r.Context(), addr)))
	})
}

// probe serves a request over the limits if its path is a probe. It reports whether it did.
func (g *Gate) probe(next http.Handler, w *response, r *http.Request) bool {
	if !slices.Contains(g.cfg.Probes, r.URL.Path) || !g.enterProbe() {
		return false
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.probes--
	}()
	next.ServeHTTP(w, r)
	return true
}

func (g *Gate) enterProbe() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.probes >= maxProbes {
		return false
	}
	g.probes++
	return true
}

// answer refuses a request. The body is not read to its end.
func answer(w *response, r *http.Request, kind string, wait time.Duration) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(lingerTime))
	}
	status := http.StatusTooManyRequests
	if kind == noRoom {
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Retry-After", fmt.Sprint(int64(math.Ceil(wait.Seconds()))))
	http.Error(w, kind, status)
}

// enter counts a request, or returns the kind of its refusal and the time to wait.
func (g *Gate) enter(rec *response, addr netip.Addr) (kind string, wait time.Duration) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	ps := g.parties.find(addr, now)
	if kind, wait = over(ps, now); kind != "" {
		g.refuse(kind, now)
		return kind, wait
	}
	for _, p := range ps {
		p.requests++
	}
	rec.parties = ps
	return "", 0
}

// over returns the limit that is reached and the time until there is room again. If there is
// none, it counts a request.
func over(ps []*party, now time.Time) (kind string, wait time.Duration) {
	for _, p := range ps {
		if p.requests >= p.maxConns {
			return tooManyAtOnce, connsWait
		}
	}
	return overRates(ps, now)
}

// overRates is over, without the requests under way.
func overRates(ps []*party, now time.Time) (kind string, wait time.Duration) {
	for _, p := range ps {
		if wait := untilToken(p.failures, now); wait > 0 {
			return tooManyFailures, wait
		}
	}
	for _, p := range ps {
		if !p.attempts.AllowN(now, 1) {
			return tooManyRequests, untilToken(p.attempts, now)
		}
	}
	return "", 0
}

// untilToken returns the time until l allows an event.
func untilToken(l *rate.Limiter, now time.Time) time.Duration {
	return time.Duration(max(0, 1-l.TokensAt(now)) / float64(l.Limit()) * float64(time.Second))
}

// leave ends a request, unless the connection was hijacked: then its end ends the request.
func (g *Gate) leave(rec *response) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rec.status >= 400 && rec.status < 500 && rec.status != http.StatusTooManyRequests {
		fail(rec.parties)
	}
	if !rec.hijacked {
		release(rec.parties)
	}
}

// fail counts a request that failed.
func fail(ps []*party) {
	now := time.Now()
	for _, p := range ps {
		p.failures.AllowN(now, 1)
	}
}

func release(ps []*party) {
	for _, p := range ps {
		p.requests--
	}
}

// response notes the status of a response, and gives its writing a deadline.
type response struct {
	http.ResponseWriter
	gate    *Gate
	parties []*party // counted for the request

	status   int  // 0 before the header is written
	deadline bool // for the writing was set by the handler
	hijacked bool
}

var (
	_ http.Hijacker = (*response)(nil)
	_ http.Flusher  = (*response)(nil)
)

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.limitWrite()
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(data)
}

// SetWriteDeadline is for http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.deadline = true
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(t)
}

// limitWrite sets the deadline for a response that has no status yet, unless the handler has
// set one. net/http removes the deadline after the response.
func (w *response) limitWrite() {
	if w.status == 0 && !w.deadline && !w.hijacked {
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.gate.cfg.WriteTimeout))
	}
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// Hijack implements http.Hijacker. The request counts until the connection is closed.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.hijacked = true
	return &hijacked{metered: metered{nc, w.gate, w.parties}}, buf, nil
}

// Dial returns a dial function for WebSockets to peers. The messages on its connections count
// as requests of the address that was dialled, as do those on connections from that address.
func (g *Gate) Dial(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		peer := transport.AddrOf(nc.RemoteAddr().String())
		g.mu.Lock()
		defer g.mu.Unlock()
		return &metered{nc, g, g.parties.find(peer, time.Now())}, nil
	}
}

// metered is a connection on which messages count as requests.
type metered struct {
	net.Conn
	gate    *Gate
	parties []*party
}

// hijacked is a connection that counts as a request under way until it is closed.
type hijacked struct {
	metered
	once sync.Once
}

// Take reports whether one more message may be received on the connection, which counts as a
// request.
func (c *metered) Take() bool {
	now := time.Now()
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	kind, _ := overRates(c.parties, now)
	if kind != "" {
		c.gate.refuse(kind, now)
	}
	return kind == ""
}

// Fail counts a message that was refused as a request that failed.
func (c *metered) Fail() {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	fail(c.parties)
}

// Close closes the connection, and ends the request.
func (c *hijacked) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.gate.mu.Lock()
		defer c.gate.mu.Unlock()
		release(c.parties)
	})
	return err
}
