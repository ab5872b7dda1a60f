// Package wstransport sends and receives DIDComm packets over WebSocket.
//
// To receive packets, mount the http.Handler of [NewServer] at a URL. If the same URL
// also receives packets by POST, set HandlerConfig.WebSocket of package httptransport to
// the [Server] instead. To send packets, call [NewClient] with the dial function of a
// netguard.Guard, and then [Client.Send].
//
// The package implements DIDComm v2.1, Transports, WebSockets: each DIDComm message is
// one WebSocket message, and trust comes from the envelope, never from the connection. It
// goes beyond that section by supporting the return-route extension: both ends can send
// on a connection at any time, and the Replier of a packet is a [transport.Session].
//
// Messages are sent in text frames, since wallets on React Native cannot read others. Packets
// that are not UTF-8 are sent in binary frames. Both are received. A received packet has no
// media type, because WebSocket does not transmit one.
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
	// DefaultMaxConns is the default of ServerConfig.MaxConns.
	DefaultMaxConns = 10_000
	// DefaultHandshakeTimeout limits the opening handshake of a Server, and is the
	// default of ClientConfig.HandshakeTimeout.
	DefaultHandshakeTimeout = 10 * time.Second
	// DefaultCloseTimeout limits Client.Close, and Server.Close if its context has no
	// deadline.
	DefaultCloseTimeout = 5 * time.Second
)

// An idle connection keeps its read buffer. The buffer is small because larger reads
// bypass it. Write buffers are pooled.
const (
	readBufferSize        = 512
	serverWriteBufferSize = 4 << 10
	clientWriteBufferSize = 32 << 10 // a client sends messages in fragments of this size
)

// ServerConfig configures [NewServer]. The zero value is ready to use.
type ServerConfig struct {
	// Limits limits each connection.
	Limits Limits
	// MaxConns is the largest number of open connections. Further handshakes are
	// answered with status 503. 0 means DefaultMaxConns.
	MaxConns int
	// Budget limits the memory of all messages. The Handlers, Servers and Clients of a
	// process should share one. nil means one of its own, of the default size. If the
	// Budget is used up, the connection of a message that arrives slower than others is
	// closed with close code 1013.
	Budget *transport.Budget
	// AllowOrigins lists the allowed values of the Origin header, for example
	// "https://wallet.example". "*" allows all of them. Browsers always send the header,
	// so only web pages of these origins can connect to the agent. Agents do not send
	// the header and can always connect.
	AllowOrigins []string
	// Logger logs failed packets. nil discards logs.
	Logger *slog.Logger
}

// Meter limits the messages and pings that a Server or Client receives on a connection. The
// net.Conn below the connection may implement Meter, such as that of package gate.
type Meter interface {
	// Take reports whether one more message or ping may be received. Otherwise the
	// connection is closed with close code 1013.
	Take() bool
	// Fail tells that the Handler has refused a message with a *transport.RejectError.
	Fail()
}

// Server is an http.Handler that upgrades HTTP requests to WebSocket connections. It
// passes each message as a packet to its Handler. An idle connection costs one goroutine
// and no HTTP state. Use [NewServer] to make one.
type Server struct {
	group    *group
	upgrader websocket.Upgrader
}

var _ http.Handler = (*Server)(nil)

// NewServer returns a Server that passes packets to h. Call [Server.Close] when the
// Server is not needed anymore, because Shutdown and Close of an http.Server do not close
// upgraded connections.
//
// The context of h.ServePacket ends after Limits.HandlerTimeout or when the Server is
// closed, but not when the connection ends. Errors of h are logged. The connection stays
// open after a *transport.RejectError or *transport.BusyError, although the peer does
// not see the error. Any other error, or a panic, closes the connection.
func NewServer(h transport.Handler, cfg ServerConfig) *Server {
	cfg.MaxConns = cmp.Or(max(cfg.MaxConns, 0), DefaultMaxConns)
	s := &Server{group: newGroup(cfg.Limits, cfg.Budget, cfg.Logger, cfg.MaxConns)}
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

// ServeHTTP upgrades a request and returns. From then on the Server owns the connection.
// Instead of upgrading, it answers
//   - 503 if it has MaxConns connections, or is closed;
//   - 403 if the Origin is not allowed;
//   - 400 or 405 if the request is not a WebSocket handshake.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.group.reserve() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "no more connections", http.StatusServiceUnavailable)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil) // answers the request if it fails
	if err != nil {
		s.group.release()
		s.group.logger.InfoContext(r.Context(), "websocket handshake failed", "remote", r.RemoteAddr, "error", err)
		return
	}
	s.group.start(ws, cmp.Or(transport.PeerOf(r.Context()), transport.AddrOf(r.RemoteAddr)), nil)
}

// Close refuses new connections, waits until the received packets are handled, and closes
// each connection with close code 1001. If ctx ends first, Close cancels the contexts of
// the Handler, cuts the connections, and returns the error of ctx. If ctx has no
// deadline, [DefaultCloseTimeout] applies. Close can be called more than once, but not by
// the Handler.
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
