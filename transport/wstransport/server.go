// Package wstransport carries DIDComm packets over WebSocket.
//
// A server mounts NewServer, an http.Handler for upgrades, on its URL; to serve
// POST at the same one, hand it to httptransport.HandlerConfig.WebSocket. A
// client starts with NewClient, whose Dial is the address guard of
// transport/netguard.
//
// It implements DIDComm v2.1, Transports, WebSockets: each message is one
// WebSocket message, trust comes from the envelope and never from the
// connection. Beyond that section connections carry answers both ways
// (Return-Route extension): the Replier of every packet is a transport.Session.
// Text frames are sent unless the peer sends binary ones; both are received.
// A packet that was received has no media type, because WebSocket carries none.
package wstransport

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/transport"
)

const (
	// DefaultMaxConns is how many connections a Server holds at a time unless
	// ServerConfig says otherwise.
	DefaultMaxConns = 10_000
	// DefaultHandshakeTimeout bounds one opening handshake, at either end.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultCloseTimeout bounds Close where the caller gave no deadline.
	DefaultCloseTimeout = 5 * time.Second
)

// Buffers: an idle connection keeps its read buffer, which only has to hold
// headers since larger reads go past it; write buffers are pooled.
const (
	readBufferSize        = 512
	serverWriteBufferSize = 4 << 10
	clientWriteBufferSize = 32 << 10 // a client's messages are sent in fragments of this size
)

// ServerConfig configures NewServer; the zero value is usable.
type ServerConfig struct {
	Limits Limits
	// MaxConns is how many connections may be open at the same time; the next
	// is answered 503. 0 is DefaultMaxConns.
	MaxConns int
	// AllowOrigins are the values of the Origin header, such as
	// "https://wallet.example", that may connect; "*" is all. Agents send no
	// Origin and may always connect. Browsers always send one: without an entry
	// here no web page can make its visitors' browsers talk to the agent.
	AllowOrigins []string
	// Logger hears of failed packets; nil discards.
	Logger *slog.Logger
}

// Server upgrades HTTP requests to WebSocket connections and gives what comes
// to its Handler. An upgraded connection leaves nothing of the HTTP request
// behind and costs one goroutine while it is idle.
type Server struct {
	group    *group
	upgrader websocket.Upgrader
}

var _ http.Handler = (*Server)(nil)

// NewServer returns a Server that gives packets to h. Close it: http.Server's
// Shutdown and Close leave upgraded connections alone.
//
// The context of ServePacket ends after Limits.HandlerTimeout or with the
// Server, not with the connection. A connection is read on when its packet is
// accepted, but is not idle before that is handled. An error of h is logged, the peer learns
// nothing of it; a panic ends its connection.
func NewServer(h transport.Handler, cfg ServerConfig) *Server {
	cfg.MaxConns = cmp.Or(max(cfg.MaxConns, 0), DefaultMaxConns)
	s := &Server{group: newGroup(cfg.Limits, cfg.Logger, cfg.MaxConns)}
	s.group.bind(h)
	allowed := slices.Clone(cfg.AllowOrigins)
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: DefaultHandshakeTimeout,
		ReadBufferSize:   readBufferSize,
		WriteBufferSize:  serverWriteBufferSize,
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin: func(r *http.Request) bool {
			origin := r.Header["Origin"]
			return len(origin) == 0 || slices.Contains(allowed, "*") || slices.Contains(allowed, origin[0])
		},
	}
	return s
}

// ServeHTTP upgrades the connection and returns; the Server owns it from then
// on. It answers 503 when it is full or closed, 403 to a foreign Origin, and
// 400 or 405 to what is no WebSocket handshake.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.group.reserve() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "no more connections", http.StatusServiceUnavailable)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil) // it has answered when it fails
	if err != nil {
		s.group.release()
		s.group.logger.InfoContext(r.Context(), "websocket handshake failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	s.group.start(ws, nil)
}

// Close refuses new connections, lets what was received be handled and answered, says
// goodbye to every peer (close code 1001) and waits for all of it. When ctx
// ends first, or after DefaultCloseTimeout if it has no deadline, the handlers'
// contexts are cancelled, the connections cut, and the error of ctx returned.
// It is idempotent; a handler must not call it.
func (s *Server) Close(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultCloseTimeout)
		defer cancel()
	}
	return s.group.close(ctx)
}

// Len returns the number of open connections.
func (s *Server) Len() int {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	return len(s.group.conns)
}
