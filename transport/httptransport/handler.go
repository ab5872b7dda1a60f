// Package httptransport carries DIDComm packets over HTTP and HTTPS.
//
// A server mounts NewHandler on any router (it is a plain http.Handler; in echo
// with echo.WrapHandler) and should take its timeouts from NewServer. A client
// starts with NewClient, whose Dial is the address guard of transport/netguard.
//
// It implements DIDComm v2.1, Transports, HTTPS: messages travel by POST under
// their IANA media type and any 2xx means received. Beyond that section it
// serves return routes (Return-Route extension): a reply that the Handler makes
// before the packet is handled is the body of the response, and such a body reaches
// the Handler that the client is bound to. Of redirects the client follows 307,
// and 308 as the same thing.
package httptransport

import (
	"bytes"
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

// DefaultTransferTimeout bounds the reading of a request's body and the writing
// of a reply where HandlerConfig names no other.
const DefaultTransferTimeout = 30 * time.Second

// HandlerConfig configures NewHandler; the zero value is usable.
type HandlerConfig struct {
	// MaxBytes is the largest body that is read; 0 is transport.DefaultMaxBytes.
	MaxBytes int64
	// ReadTimeout bounds the reading of one whole body, so that a sender that
	// trickles holds a connection no longer; 0 is DefaultTransferTimeout.
	ReadTimeout time.Duration
	// WriteTimeout bounds the writing of one reply; 0 is DefaultTransferTimeout.
	WriteTimeout time.Duration
	// WebSocket is given the WebSocket upgrades that come to the same URL;
	// usually a *wstransport.Server. With nil they are answered 405.
	WebSocket http.Handler
	// Logger hears of failed packets; nil discards.
	Logger *slog.Logger
}

// NewHandler returns an http.Handler that gives every packet that is POSTed to
// it to h, and answers:
//
//	200  with the packet that h gave to its Replier as the body
//	202  accepted and handled, no reply
//	400  one plain line: the Reason of h's *transport.RejectError, or that the body broke off
//	405  a method other than POST
//	408  the body took longer than ReadTimeout
//	413  the body is larger than MaxBytes
//	415  a media type other than DIDComm's, or a content coding
//	500  one plain line, the same for every other error and panic of h
//	503  h's *transport.BusyError, with its RetryAfter
//
// The Replier takes one packet, until h has handled its own, from any goroutine; it
// writes the response at once, so that an error of Reply means that the packet
// did not leave. After that, or when the client has gone, it returns
// transport.ErrNoReturnRoute. When h both replies and returns an error, the
// reply stands and the error goes to the log alone. The context of ServePacket,
// and the wait until h has handled the packet, end when the client goes away.
func NewHandler(h transport.Handler, cfg HandlerConfig) http.Handler {
	cfg.MaxBytes = cmp.Or(max(cfg.MaxBytes, 0), transport.DefaultMaxBytes)
	cfg.ReadTimeout = cmp.Or(max(cfg.ReadTimeout, 0), DefaultTransferTimeout)
	cfg.WriteTimeout = cmp.Or(max(cfg.WriteTimeout, 0), DefaultTransferTimeout)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &handler{next: transport.Contain(h), cfg: cfg}
}

// NewServer returns an http.Server for h with the timeouts and limits that an
// agent on the open Internet needs: 10 s and 64 KiB for the header of a
// request, 2 minutes for an idle connection. Bodies and replies are bounded by
// HandlerConfig, so ReadTimeout and WriteTimeout, which would also bound what a
// Handler may take, stay unset. The caller sets Addr, TLSConfig and ErrorLog.
func NewServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

type handler struct {
	next transport.Handler
	cfg  HandlerConfig
}

var _ http.Handler = (*handler)(nil)

// ServeHTTP serves one POST, or hands on one upgrade.
func (s *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.cfg.WebSocket != nil && isUpgrade(r) {
		s.cfg.WebSocket.ServeHTTP(w, r)
		return
	}
	// It holds for what net/http reads of a body that was refused, too; at the
	// end of the body net/http lifts it. A writer that has no deadlines (a
	// test's recorder) comes with a body in memory.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "a DIDComm message is sent by POST")
		return
	}
	mediaType, err := transport.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		w.Header().Set("Accept", transport.MediaTypeEncrypted)
		refuse(w, http.StatusUnsupportedMediaType, "not a DIDComm media type")
		return
	}
	// A compressed body would have to be inflated before its size is known.
	if c := r.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		w.Header().Set("Accept-Encoding", "identity")
		refuse(w, http.StatusUnsupportedMediaType, "content codings are not supported")
		return
	}
	data, code, err := s.read(w, r)
	if err != nil {
		s.cfg.Logger.InfoContext(r.Context(), "http body refused", "remote", r.RemoteAddr, "status", code, "error", err)
		refuse(w, code, err.Error())
		return
	}

	rep := exchange.NewReplier(func(ctx context.Context, p transport.Packet) error {
		return s.write(ctx, w, r, p)
	})
	handled, err := s.next.ServePacket(r.Context(), rep, transport.Packet{MediaType: mediaType, Data: data})
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
		http.Error(w, "busy", http.StatusServiceUnavailable)
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

// read returns the body, or the status and the line to refuse it with.
func (s *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, int, error) {
	tooLarge := fmt.Errorf("larger than %d bytes", s.cfg.MaxBytes)
	if r.ContentLength > s.cfg.MaxBytes {
		return nil, http.StatusRequestEntityTooLarge, tooLarge
	}
	// What the sender claims is believed up to 64 KiB, so that claims cost
	// no memory.
	var buf bytes.Buffer
	buf.Grow(int(min(max(r.ContentLength, 0), 64<<10)) + bytes.MinRead)
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, s.cfg.MaxBytes))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return nil, http.StatusRequestEntityTooLarge, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, http.StatusRequestTimeout, errors.New("the body took too long")
	case err != nil:
		return nil, http.StatusBadRequest, errors.New("the body is incomplete")
	case buf.Len() == 0:
		return nil, http.StatusBadRequest, errors.New("the body is empty")
	}
	return buf.Bytes(), 0, nil
}

// refuse answers before the body was read to its end. The connection ends with
// it, since its next request is somewhere behind that body.
func refuse(w http.ResponseWriter, code int, line string) {
	w.Header().Set("Connection", "close")
	http.Error(w, line, code)
}

// plainLine makes one line of at most 500 bytes of s.
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

// isUpgrade tells whether r asks for a WebSocket (RFC 6455, section 4.1).
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
		return fmt.Errorf("%w: client has gone: %w", transport.ErrNoReturnRoute, err)
	}
	deadline := time.Now().Add(s.cfg.WriteTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(deadline) // net/http lifts it after the request

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
