// Package httptransport sends and receives DIDComm packets over HTTP and HTTPS.
//
// To receive packets, mount the http.Handler of [NewHandler] on any router, and serve
// the router with an http.Server that has the timeouts of [NewServer]. To send packets,
// call [NewClient] with the dial function of a netguard.Guard, and then [Client.Send]. An
// agent does both: it is the transport.Handler of NewHandler, and the Client is one of its
// agent.Config.Senders, under "http" and under "https". Package agent/network makes the
// Senders of an agent.
//
// To stop an agent, first call Shutdown of the http.Server, so that the packets under way are
// answered. Then end the agent, and call [Client.Close] last.
//
// The package implements DIDComm v2.1, Transports, HTTPS: a message is sent by POST
// with its IANA media type, any status 2xx means that the peer has received it, and
// status 307 is followed. It goes beyond that section in three points:
//   - It supports the return-route extension. If the Handler replies before a packet is
//     handled, the reply is the body of the response. The client passes this body to
//     the Handler that is set by [Client.Bind].
//   - It follows status 308 in the same way as 307.
//   - It takes the media types of encrypted messages that are older than DIDComm v2, and
//     sends with application/didcomm-envelope-enc to an endpoint that refuses the new one.
package httptransport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/internal/exchange"
)

// DefaultTransferTimeout is the default of HandlerConfig.ReadTimeout and
// HandlerConfig.WriteTimeout.
const DefaultTransferTimeout = 30 * time.Second

// HandlerConfig configures [NewHandler]. The zero value is ready to use.
type HandlerConfig struct {
	// MaxBytes limits the body of a request, in bytes. 0 means
	// transport.DefaultMaxBytes.
	MaxBytes int64
	// ReadTimeout limits the time to read the whole body of a request. 0 means
	// DefaultTransferTimeout.
	ReadTimeout time.Duration
	// WriteTimeout limits the time to write a reply. 0 means DefaultTransferTimeout.
	WriteTimeout time.Duration
	// Budget limits the memory of all bodies. The Handlers, Servers and Clients of a
	// process should share one. nil means one of its own, of the default size.
	Budget *transport.Budget
	// WebSocket, if not nil, serves the WebSocket upgrades at the same URL. It is
	// usually a *wstransport.Server. If it is nil, upgrades are answered with status
	// 405.
	WebSocket http.Handler
	// Logger logs failed packets. nil discards logs.
	Logger *slog.Logger
}

// NewHandler returns an http.Handler that passes each packet that is sent to it by
// POST to h. It waits until h has handled the packet, and answers with one of these
// statuses:
//
//	200  h has replied; the body is the reply
//	202  h has accepted the packet and has not replied
//	400  h returned a *transport.RejectError, whose Reason is the body; or the
//	     body of the request is empty or incomplete
//	405  the method is not POST
//	408  reading the body took longer than ReadTimeout
//	413  the body is larger than MaxBytes
//	415  the media type is not one of DIDComm, or the body has a content coding. A
//	     request without media type is accepted, and so is application/octet-stream,
//	     which some clients send by default
//	429  h returned a *transport.BusyError with Rate, whose RetryAfter is Retry-After
//	500  h returned any other error or panicked; the body does not tell the cause
//	503  h returned another *transport.BusyError, whose RetryAfter is Retry-After; or
//	     the Budget is used up, and the body arrived slower than others
//
// The Replier that h gets accepts one reply, from any goroutine, until h has handled
// the packet. It writes the response at once, so an error of Reply means that the
// reply was not sent. Its errors match [transport.ErrNoReturnRoute] after the first
// reply, after the packet is handled, and when the client has closed its connection.
// If h replies and then returns an error, the status stays 200 and the error is
// logged.
//
// When the client closes its connection, the context of ServePacket ends, and the
// http.Handler does not wait for h any longer.
func NewHandler(h transport.Handler, cfg HandlerConfig) http.Handler {
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), transport.DefaultMaxBytes)
	cfg.ReadTimeout = cmp.Or(max(cfg.ReadTimeout, 0), DefaultTransferTimeout)
	cfg.WriteTimeout = cmp.Or(max(cfg.WriteTimeout, 0), DefaultTransferTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Budget == nil {
		cfg.Budget = transport.NewBudget(0)
	}
	return &handler{next: transport.Contain(h), cfg: cfg}
}

// NewServer returns an http.Server for h with the limits that an agent on the open
// Internet needs: 10 seconds and 64 KiB for the header of a request, 40 seconds for the
// whole request on every path, and 2 minutes for an idle connection. ReadTimeout ends with
// the body, so that it does not limit the time of a transport.Handler. WriteTimeout would,
// and is unset; [HandlerConfig] limits replies, and package gate all other responses. The
// caller sets Addr, TLSConfig and ErrorLog.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       40 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 100, SendPingTimeout: 30 * time.Second, PingTimeout: 10 * time.Second, WriteByteTimeout: 30 * time.Second},
	}
}

type handler struct {
	next transport.Handler
	cfg  HandlerConfig
}

var _ http.Handler = (*handler)(nil)

// ServeHTTP serves a POST, or passes on an upgrade.
func (s *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.WebSocket != nil && isUpgrade(r) {
		s.cfg.WebSocket.ServeHTTP(w, r)
		return
	}
	// The deadline also limits how long net/http reads the rest of a refused body.
	// net/http removes the deadline at the end of the body. The error is ignored for
	// writers without deadlines, such as a test's recorder, whose body is in memory.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "a DIDComm message is sent by POST")
		return
	}
	typ := r.Header.Get("Content-Type")
	if strings.EqualFold(typ, "application/octet-stream") {
		typ = "" // which says as little (RFC 9110, section 8.3)
	}
	mediaType, err := transport.ParseMediaType(typ)
	if err != nil {
		w.Header().Set("Accept", transport.MediaTypeEncrypted)
		refuse(w, http.StatusUnsupportedMediaType, "not a DIDComm media type")
		return
	}
	// The size of a compressed body is only known after decompression.
	if c := r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		w.Header().Set("Accept-Encoding", "identity")
		refuse(w, http.StatusUnsupportedMediaType, "content codings are not supported")
		return
	}
	data, release, code, err := s.read(w, r)
	if err != nil {
		if code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
			s.cfg.Logger.WarnContext(r.Context(), "packet refused for now", "remote", r.RemoteAddr, "error", err)
		} else {
			s.cfg.Logger.InfoContext(r.Context(), "http body refused", "remote", r.RemoteAddr, "status", code, "error", err)
		}
		refuse(w, code, err.Error())
		return
	}

	rep := exchange.NewReplier(func(ctx context.Context, p transport.Packet) error {
		return s.write(ctx, w, r, p)
	})
	ctx := transport.WithPeer(r.Context(), cmp.Or(transport.PeerOf(r.Context()), transport.AddrOf(r.RemoteAddr)))
	handled, err := s.next.ServePacket(ctx, rep, transport.Packet{MediaType: mediaType, Data: data})
	release()
	exchange.Await(r.Context(), handled)
	replied := rep.End()
	if err != nil {
		s.log(r, err)
	}
	var reject *transport.RejectError
	var busy *transport.BusyError
	switch {
	case replied:
	case err == nil:
		w.WriteHeader(http.StatusAccepted)
	case errors.As(err, &busy):
		if busy.RetryAfter > 0 {
			w.Header().Set("Retry-After", fmt.Sprint(int64(math.Ceil(busy.RetryAfter.Seconds()))))
		}
		code := http.StatusServiceUnavailable
		if busy.Rate {
			code = http.StatusTooManyRequests
		}
		http.Error(w, cmp.Or(plainLine(busy.Reason), "busy"), code)
	case errors.As(err, &reject):
		http.Error(w, plainLine(reject.Reason), http.StatusBadRequest)
	default:
		http.Error(w, "internal error", http.StatusInternalServerError)
	}
}

func (s *handler) log(r *http.Request, err error) {
	var reject *transport.RejectError
	var busy *transport.BusyError
	var p *transport.PanicError
	switch {
	case errors.As(err, &busy):
		s.cfg.Logger.WarnContext(r.Context(), "packet refused for now", "remote", r.RemoteAddr, "error", err)
	case errors.As(err, &p):
		s.cfg.Logger.ErrorContext(r.Context(), "packet handler panicked", "remote", r.RemoteAddr, "panic", p.Value, "stack", string(p.Stack))
	case errors.As(err, &reject):
		s.cfg.Logger.InfoContext(r.Context(), "packet rejected", "remote", r.RemoteAddr, "error", err)
	default:
		s.cfg.Logger.ErrorContext(r.Context(), "packet failed", "remote", r.RemoteAddr, "error", err)
	}
}

// retryAfter is the Retry-After, in seconds, of a body that was given up.
const retryAfter = "5"

// read returns the body, or the status and text for a refusal.
func (s *handler) read(w http.ResponseWriter, r *http.Request) (data []byte, release func(), code int, err error) {
	tooLarge := fmt.Errorf("larger than %d bytes", s.cfg.MaxBytes)
	if r.ContentLength > s.cfg.MaxBytes {
		return nil, nil, http.StatusRequestEntityTooLarge, tooLarge
	}
	interrupt := func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }
	data, release, err = s.cfg.Budget.ReadAll(r.Body, r.ContentLength, s.cfg.MaxBytes, interrupt)
	switch {
	case errors.Is(err, transport.ErrTooLarge):
		return nil, nil, http.StatusRequestEntityTooLarge, tooLarge
	case errors.Is(err, transport.ErrBudget):
		return nil, nil, http.StatusServiceUnavailable, errors.New("too many unread bytes")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil, http.StatusRequestTimeout, errors.New("the body took too long")
	case err != nil:
		return nil, nil, http.StatusBadRequest, errors.New("the body is incomplete")
	case len(data) == 0:
		release()
		return nil, nil, http.StatusBadRequest, errors.New("the body is empty")
	}
	return data, release, 0, nil
}

// refuse answers a request whose body is not read to its end, and closes the
// connection, because the next request would only begin after that body.
func refuse(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Connection", "close")
	http.Error(w, line, code)
}

// plainLine turns s into one line of at most 500 bytes.
func plainLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "")
	}
	return s
}

// isUpgrade reports whether r is a WebSocket handshake (RFC 6455, section 4.1).
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// write writes p as the response to r.
func (s *handler) write(ctx context.Context, w http.ResponseWriter, r *http.Request, p transport.Packet) error {
	if err := r.Context().Err(); err != nil {
		return fmt.Errorf("%w: client has closed the connection: %w", transport.ErrNoReturnRoute, err)
	}
	deadline := time.Now().Add(s.cfg.WriteTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(deadline) // net/http removes the deadline after the request

	head := w.Header()
	head.Set("Content-Type", p.MediaType)
	head.Set("Content-Length", fmt.Sprint(len(p.Data)))
	head.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(p.Data)
	if err == nil {
		if err = rc.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: write response: %w", transport.ErrNoReturnRoute, err)
	}
	return nil
}
