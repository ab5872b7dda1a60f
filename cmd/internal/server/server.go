package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
	"github.com/labstack/echo/v4"
)

// Paths of the server besides the one of its public URL.
const (
	// DefaultPath is where messages are taken in unless the public URL has
	// another path.
	DefaultPath = "/didcomm"
	// HealthPath answers 200 while the agent runs.
	HealthPath = "/healthz"
)

// stopTimeout bounds how long Run takes to stop. Of that, requests under way are
// given drainTimeout, then what the agent has taken in handlerTimeout; the peers
// of WebSockets may take two seconds more to say goodbye.
const (
	stopTimeout    = 4750 * time.Millisecond
	drainTimeout   = 1500 * time.Millisecond
	handlerTimeout = 1 * time.Second
)

// Config is what a Server is made of.
type Config struct {
	// Home is where messages and keys are kept, its Logger apart.
	Home   home.Config
	Listen string // address, "HOST:PORT"; port 0 is a free one
	// PublicURL is where peers send messages, http or https. Empty is DefaultPath
	// at the domain of DID, or else at the listening address.
	PublicURL string
	// DID is a did:web for the agent, of the agent's keys; empty is the did:peer:2 of the keys
	// and of PublicURL. The server answers for the other DIDs of the home as well. It
	// publishes the document of each did:web of the home whose host is that of PublicURL or
	// of DID.
	DID string
	// TLSCert and TLSKey are PEM files; both or none.
	TLSCert, TLSKey string
	// AllowPrivate lets peers have this machine's and private addresses. An
	// agent that listens on loopback, and whose URL is there as well, connects
	// to this machine anyway.
	AllowPrivate bool
	MaxBytes     int64         // of one message
	ReadTimeout  time.Duration // for the header, and for the body, of one request
	// DeliverWithin is how long delivery is tried of a message that has no expiry of
	// its own.
	DeliverWithin time.Duration
	// KeepReceived is for how long a message that was handled is remembered, and
	// kept to be shown.
	KeepReceived time.Duration
	// Limits of what one peer is sent, at once and then in an hour: see agent.Config.
	ReportBurst, ReportsPerHour int
	AnswerBurst, AnswersPerHour int
	// OnMessage is called for each basic message, one at a time. To is the DID of the home that
	// the message came to, empty if that is Server.DID.
	OnMessage func(from, to, text string)
	Logger    *slog.Logger
}

// Server is an agent that listens. Listen makes one, Run runs it.
type Server struct {
	cfg      Config
	listener net.Listener
	endpoint *url.URL
	did      string
	former   string // DID that the agent of the home had before, or empty
	hosts    []string
	http     *http.Server
	ws       *wstransport.Server
	agent    *agent.Agent
	senders  *network.Senders
	home     *home.Home
}

// Listen opens the port, makes this process the one that serves the home, makes or
// reads the agent's keys and wires everything. Call Run then, which closes it all
// again.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg}
	if err := s.open(ctx, tlsConfig); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, tlsConfig *tls.Config) (err error) {
	if err := home.Unserved(s.cfg.Home.Dir); err != nil { // else the port would be the error
		return err
	}
	if s.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
		return listenError(s.cfg.Listen, err)
	}
	cfg := s.cfg.Home
	cfg.Logger = s.cfg.Logger
	if s.home, err = home.OpenToServe(ctx, cfg); err != nil {
		return err
	}
	return s.wire(ctx, tlsConfig)
}

// close closes what is open behind the agent.
func (s *Server) close() (err error) {
	if s.listener != nil {
		_ = s.listener.Close() // Shutdown may have done it
	}
	if s.home != nil {
		err = s.home.Close()
	}
	return err
}

// wire makes everything behind the listener.
func (s *Server) wire(ctx context.Context, tlsConfig *tls.Config) error {
	cfg := s.cfg
	var err error
	if s.endpoint, err = cfg.endpoint(s.listener.Addr()); err != nil {
		return err
	}
	if s.did, s.former, err = s.home.Serve(ctx, cfg.DID, s.endpoint.String()); err != nil {
		return err
	}
	s.hosts = s.webHosts()
	reach := network.Reach{Private: cfg.AllowPrivate, Loopback: s.loopbackOnly()}
	packer, book, err := s.packer(reach)
	if err != nil {
		return err
	}
	if s.senders, err = reach.Senders(cfg.MaxBytes, cfg.Logger); err != nil {
		return err
	}
	s.agent, err = agent.New(agent.Config{
		DID:          s.did,
		Packer:       packer,
		Contacts:     book,
		Shares:       s.home.Set.Shares,
		Handler:      s.mux(),
		Senders:      s.senders.ByScheme(false),
		Store:        s.home.Store,
		MaxAge:       cfg.DeliverWithin,
		ReplayWindow: cfg.KeepReceived,
		StopTimeout:  handlerTimeout,
		Logger:       cfg.Logger,

		ReportBurst: cfg.ReportBurst, ReportsPerHour: cfg.ReportsPerHour,
		AnswerBurst: cfg.AnswerBurst, AnswersPerHour: cfg.AnswersPerHour,
	})
	if err != nil {
		s.senders.Close()
		return err
	}
	s.ws = wstransport.NewServer(s.agent, wstransport.ServerConfig{
		Limits: wstransport.Limits{MaxBytes: cfg.MaxBytes, ReadTimeout: cfg.ReadTimeout},
		Logger: cfg.Logger,
	})
	s.http = httptransport.NewServer(s.routes())
	s.http.ReadHeaderTimeout = cfg.ReadTimeout
	s.http.TLSConfig = tlsConfig
	s.http.ErrorLog = slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)
	return nil
}

// packer returns a Packer for all DIDs of the home, which opens messages of MaxBytes bytes,
// and the contacts in the store.
func (s *Server) packer(reach network.Reach) (*envelope.Packer, *contact.Book, error) {
	book := contact.New(s.home.Store, contact.Config{Logger: s.cfg.Logger})
	resolver, err := reach.Resolver(book.Long)
	if err != nil {
		return nil, nil, err
	}
	packer, err := envelope.New(envelope.Config{
		Keys:     s.home.AgentKeys(s.did),
		Resolver: identity.Before(s.home.Set, resolver),
		MaxBytes: int(s.cfg.MaxBytes),
	})
	return packer, book, err
}

// DID is the DID of the agent.
func (s *Server) DID() string { return s.did }

// Former is the DID that the agent of the home had before, or empty if that is the same. The
// server answers for the former DID as well.
func (s *Server) Former() string { return s.former }

// Endpoint is the URL that takes messages in.
func (s *Server) Endpoint() string { return s.endpoint.String() }

// routes puts everything that the server answers on one router.
func (s *Server) routes() http.Handler {
	e := echo.New()
	messages := echo.WrapHandler(httptransport.NewHandler(s.agent, httptransport.HandlerConfig{
		MaxBytes:    s.cfg.MaxBytes,
		ReadTimeout: s.cfg.ReadTimeout,
		WebSocket:   s.ws,
		Logger:      s.cfg.Logger,
	}))
	e.Any(routePath(s.endpoint), messages)
	e.GET(HealthPath, func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.RouteNotFound("/*", s.publish)
	return e
}

// routePath is the path of a URL as echo matches it: decoded, unless that would
// lose how it was written.
func routePath(u *url.URL) string {
	switch {
	case u.RawPath != "":
		return u.RawPath
	case u.Path != "":
		return u.Path
	}
	return "/"
}

// loopbackOnly tells whether nobody but this machine can reach the agent: it
// listens on loopback, and its URL says so too. Behind a proxy that the world
// reaches, the agent must be as careful as on the open Internet.
func (s *Server) loopbackOnly() bool {
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback() && isLoopback(s.endpoint.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Run serves until ctx ends, then stops within five seconds: it closes the
// port, gives requests under way a moment, says goodbye to WebSocket peers, and
// ends the agent. It returns nil after such a stop.
func (s *Server) Run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	failed := make(chan error, 2)
	tasks.Go(func() {
		if err := s.agent.Run(running); err != nil {
			failed <- err
		}
	})
	tasks.Go(func() { s.home.KeepServing(running, s.did) })
	tasks.Go(func() {
		serve := func() error { return s.http.Serve(s.listener) }
		if s.http.TLSConfig != nil {
			serve = func() error { return s.http.ServeTLS(s.listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	})

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	s.drain(limit)
	stop()
	tasks.Go(s.senders.Close) // waits for what comes in on their connections
	done := make(chan struct{})
	var closeErr error
	go func() {
		tasks.Wait()
		closeErr = s.close()
		close(done)
	}()
	select {
	case <-done:
		return errors.Join(err, closeErr)
	case <-limit.Done():
		return errors.Join(err, fmt.Errorf("stopped with work left after %s", stopTimeout))
	}
}

// drain closes the port and ends what is connected.
func (s *Server) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	var ends sync.WaitGroup
	ends.Go(func() {
		if err := s.http.Shutdown(ctx); err != nil {
			s.http.Close() // connections that never became requests, or do not end
		}
	})
	ends.Go(func() {
		if err := s.ws.Close(ctx); err != nil {
			s.cfg.Logger.Warn("websocket connections cut", "err", err)
		}
	})
	ends.Wait()
}

func (c Config) tls() (*tls.Config, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("certificate and key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}
