package main

import (
	"context"
	"errors"
	"expvar"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"

	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// site is a backend that can be started again, at the same public URL. In front of the backend
// is a load balancer, which answers 503 while the backend is stopped.
type site struct {
	*backend
	cfg   config
	inbox chan text

	front  *http.Server
	target atomic.Pointer[url.URL] // of the backend; nil while it is stopped

	cancel context.CancelFunc // of the running backend; nil while it is stopped
	ended  chan error
}

// newSite starts a backend with a store at path.
func newSite(ctx context.Context, path string) (*site, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{inbox: make(chan text, 16)}
	s.cfg = config{
		path:    path,
		url:     "http://" + listener.Addr().String(),
		keys:    newKMS(),
		proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, // the site itself
		guard:   &netguard.Guard{AllowLoopback: true},                  // all backends are on this machine
		counts:  new(expvar.Map),
		logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		onText: func(ctx context.Context, t text) error {
			select {
			case s.inbox <- t:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	s.front = httptransport.NewServer(s)
	go s.front.Serve(listener)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.front.Close())
	}
	return s, nil
}

// ServeHTTP passes a request to the backend.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := s.target.Load()
	if target == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	proxy.ServeHTTP(w, r)
}

// start makes a backend and runs it.
func (s *site) start(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b, err := newBackend(ctx, s.cfg)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, s.cancel = context.WithCancel(ctx)
	s.backend, s.ended = b, make(chan error, 1)
	go func() { s.ended <- b.run(ctx, listener) }()
	s.target.Store(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	return nil
}

// stop stops the backend, and returns when the backend has stopped.
func (s *site) stop() error {
	if s.cancel == nil {
		return nil
	}
	s.target.Store(nil)
	s.cancel()
	s.cancel = nil
	return <-s.ended
}

func (s *site) close() error { return errors.Join(s.stop(), s.front.Close()) }

func (s *site) receive(ctx context.Context) (text, error) {
	select {
	case t := <-s.inbox:
		return t, nil
	case <-ctx.Done():
		return text{}, fmt.Errorf("wait for a message: %w", ctx.Err())
	}
}
