package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/protocols/routing"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/gate"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/wstransport"
	"github.com/labstack/echo/v4"
)

// Paths of the server besides the one of its public URL.
const (
	// DefaultPath is the path for messages unless the public URL has another path.
	DefaultPath = "/didcomm"
	// LivePath and HealthPath are paths that answer 200 while the process serves.
	LivePath   = "/livez"
	HealthPath = "/healthz"
	// ReadyPath is the path that answers 200 while the agent can work, and otherwise 503.
	ReadyPath = "/readyz"
)

// stopTimeout limits the time in which Run stops. It covers three times: drainTimeout for the
// requests under way, then handlerTimeout for accepted messages, and two seconds for the
// peers of WebSockets to close their connections.
const (
	stopTimeout    = 4750 * time.Millisecond
	drainTimeout   = 1500 * time.Millisecond
	handlerTimeout = 1 * time.Second
	restartTime    = 10 * time.Second // after which a peer may find the next process
)

// Config has the settings of a Server.
type Config struct {
	// Home has the messages, DIDs and keys. Logger takes the place of its Logger.
	Home   home.Config
	Listen string // address, "HOST:PORT"; port 0 is a free one
	// PublicURL is the http or https URL to which peers send messages. The default is
	// DefaultPath at the domain of DID, or without DID at the listening address.
	PublicURL string
	// DID is a did:web that the agent uses with its keys. The default is the did:peer:2 of its
	// keys and of PublicURL. The server answers for the other DIDs of the home as well. It
	// publishes the document of each did:web of the home whose host is that of PublicURL or
	// of DID.
	DID string
	// Mediator makes the agent a mediator. Its DID has an endpoint for POST, and one for
	// WebSocket.
	Mediator MediatorConfig
	// Via is the DID of a mediator, or an invitation of one. It makes the agent one without a
	// port, whose messages the mediator keeps until the agent collects them.
	Via string
	// Invitation makes InvitationPath answer with an invitation to the agent, for programs and
	// as a page. Not with Via.
	Invitation bool
	// TLSCert and TLSKey are PEM files; both or none. They are loaded again when they change.
	TLSCert, TLSKey string
	// ClientCA is a PEM file with the authorities of the certificates that clients have to
	// show. If it is empty, clients need no certificate.
	ClientCA string
	// AllowOrigins are the origins of web pages that may reach the agent by POST and by
	// WebSocket; "*" is all of them. Documents of did:webs are open to all pages.
	AllowOrigins []string
	// AllowPrivate allows connections to this machine and to private networks. An agent
	// whose Listen and PublicURL are both on loopback may connect to this machine without
	// AllowPrivate.
	AllowPrivate bool
	MaxBytes     int64         // of one message
	ReadTimeout  time.Duration // for the header, and for the body, of one request
	Limits       Limits        // of connections and requests
	// UnreadBytes limits the memory of all messages and documents that are being received.
	// 0 means transport.DefaultBudget, or twice MaxBytes if that is more.
	UnreadBytes int64
	// DeliverWithin is how long the agent tries to deliver a message that has no expiry of
	// its own.
	DeliverWithin time.Duration
	// KeepReceived is how long a handled message is remembered and kept for display.
	KeepReceived time.Duration
	// StrangerWithin is DeliverWithin for answers to strangers. StrangerBytes is how many
	// bytes the answers to one message of a stranger may have: see agent.Config.
	StrangerWithin time.Duration
	StrangerBytes  int64
	// StrangerTries is how often delivery of such an answer is tried. HostTries is how many
	// messages are sent to one host at the same time: see agent.Config.
	StrangerTries, HostTries int
	// RefusedTries is how often in a row a peer refuses a message with the same answer before
	// the agent gives the message up: see agent.Config.
	RefusedTries int
	// Limits of the messages that one peer is sent, at once and then per hour: see
	// agent.Config.
	ReportBurst, ReportsPerHour int
	AnswerBurst, AnswersPerHour int
	// Documents configures the cache of DID documents. Its Lifetime, and the PerMinute and
	// HostPerMinute of its Strangers, are required.
	Documents did.CacheConfig
	// OnMessage is called for each basic message, one at a time. to is the DID of the home that
	// the message came to. It is empty if that DID is Server.DID.
	OnMessage func(from, to, text string)
	Logger    *slog.Logger
}

// Server is a running agent with a listening port. Use Listen to make a Server, and then Run.
type Server struct {
	cfg       Config
	listener  net.Listener // nil with Config.Via, like endpoint, http and ws
	endpoint  *url.URL
	did       string
	former    string // DID that the agent of the home had before, or empty
	hosts     []string
	certs     *certificates // nil without TLS
	gate      *gate.Gate
	ready     *readiness
	http      *http.Server
	ws        *wstransport.Server
	agent     *agent.Agent
	senders   *network.Senders
	budget    *transport.Budget
	home      *home.Home
	resolver  did.Resolver          // of all DIDs
	mediator  *mediator.Mediator    // nil if the agent is none
	via       home.Mediation        // of an agent without a port
	clients   []*client             // of all mediators of the home
	collector *pickup.Collector     // nil without such mediators
	progress  func(pickup.Progress) // of the collector, or nil

	invitations invitations
}

// Listen opens the port, takes the lock of the home, and reads or makes the agent's keys. Call
// Run next, which also closes everything that Listen has opened.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	certs, err := cfg.newCertificates()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, certs: certs}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if err := home.Unserved(s.cfg.Home.Dir); err != nil { // else the port would be the error
		return err
	}
	if s.cfg.Via == "" {
		if s.listener, err = net.Listen("tcp", s.cfg.Listen); err != nil {
			return listenError(s.cfg.Listen, err)
		}
	}
	cfg := s.cfg.Home
	cfg.Logger = s.cfg.Logger
	cfg.Mailbox = s.cfg.Mediator.mailbox()
	if s.home, err = home.OpenToServe(ctx, cfg); err != nil {
		return err
	}
	return s.wire(ctx)
}

// close closes the listener and the home.
func (s *Server) close() (err error) {
	if s.listener != nil {
		_ = s.listener.Close() // Shutdown may have done it
	}
	if s.home != nil {
		err = s.home.Close()
	}
	return err
}

// wire makes the agent and everything that it needs except for the listener.
func (s *Server) wire(ctx context.Context) error {
	cfg := s.cfg
	var err error
	if s.gate, err = cfg.Limits.gate(cfg.Logger); err != nil {
		return err
	}
	s.budget = transport.NewBudget(cfg.unreadBytes())
	reach := network.Reach{Private: cfg.AllowPrivate, Budget: s.budget, MaxConns: peerConns(), Meter: s.gate.Dial}
	if s.listener == nil {
		reach, err = s.join(ctx, reach)
	} else {
		reach, err = s.settle(ctx, reach)
	}
	if err != nil {
		return err
	}
	packer, book, err := s.packer(reach, s.did)
	if err != nil {
		return err
	}
	if err := s.openMediator(); err != nil {
		return err
	}
	if err := s.openInvitations(ctx, reach); err != nil {
		return err
	}
	if s.senders, err = reach.Senders(cfg.MaxBytes, cfg.Logger); err != nil {
		return err
	}
	mediations, err := s.home.Mediations(ctx)
	if err != nil {
		return err
	}
	var mailWindow time.Duration
	if len(mediations) > 0 {
		mailWindow = mailTime
		s.collector = pickup.NewCollector(pickup.Config{Progress: s.collected, Logger: cfg.Logger})
	}
	var unopened func(context.Context, *agent.Unopened) error
	if s.mediator != nil {
		unopened = routing.Unopened(s.mediator)
	}
	s.agent, err = agent.New(agent.Config{
		DID:         s.did,
		Packer:      packer,
		Contacts:    book,
		Shares:      s.home.Set.Shares,
		Handler:     s.mux(),
		Senders:     s.senders.ByScheme(false),
		Store:       s.home.Store,
		MaxAge:      cfg.DeliverWithin,
		StrangerAge: cfg.StrangerWithin, StrangerBytes: cfg.StrangerBytes,
		StrangerTries: cfg.StrangerTries, HostTries: cfg.HostTries, RefusedTries: cfg.RefusedTries,
		ReplayWindow: cfg.KeepReceived,
		MailWindow:   mailWindow,
		Unopened:     unopened,
		StopTimeout:  handlerTimeout,
		Logger:       cfg.Logger,

		ReportBurst: cfg.ReportBurst, ReportsPerHour: cfg.ReportsPerHour,
		AnswerBurst: cfg.AnswerBurst, AnswersPerHour: cfg.AnswersPerHour,
	})
	if err == nil {
		err = s.openClients(mediations)
	}
	if err != nil {
		s.senders.Close()
		return err
	}
	s.ready = newReadiness(s.home, cfg.Home.Dir, func(check string, err error) {
		cfg.Logger.Error("not ready", "check", check, "error", err)
	})
	if s.listener != nil {
		s.front()
	}
	return nil
}

// front makes the servers for HTTP and WebSocket.
func (s *Server) front() {
	cfg := s.cfg
	s.ws = wstransport.NewServer(s.agent, wstransport.ServerConfig{
		Limits:   wstransport.Limits{MaxBytes: cfg.MaxBytes, ReadTimeout: cfg.ReadTimeout},
		MaxConns: s.gate.MaxConns(),
		Budget:   s.budget,
		Logger:   cfg.Logger,

		AllowOrigins: append(slices.Clone(cfg.AllowOrigins), s.origin()),
	})
	s.http = httptransport.NewServer(s.guard(s.routes()))
	s.http.ReadHeaderTimeout = cfg.ReadTimeout
	s.http.ReadTimeout = 2 * cfg.ReadTimeout
	s.gate.Guard(s.http)
	s.http.Handler = s.share(s.http.Handler)
	s.http.TLSConfig = s.certs.tls()
	s.http.ErrorLog = slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug)
}

// settle gives an agent with a port its endpoint, its DID and its reach.
func (s *Server) settle(ctx context.Context, reach network.Reach) (_ network.Reach, err error) {
	if s.endpoint, err = s.cfg.endpoint(s.listener.Addr()); err != nil {
		return reach, err
	}
	at := s.endpoint.String()
	if s.cfg.Mediator.On {
		live := "ws" + strings.TrimPrefix(at, "http")
		s.did, s.former, err = s.home.ServeMediator(ctx, s.cfg.DID, at, live)
	} else {
		s.did, s.former, err = s.home.Serve(ctx, s.cfg.DID, at)
	}
	s.hosts = s.webHosts()
	reach.Loopback = s.loopbackOnly()
	return reach, err
}

// packer returns a Packer for all DIDs of the home, own first, which opens messages of MaxBytes
// bytes, and the contacts in the store.
func (s *Server) packer(reach network.Reach, own string) (*envelope.Packer, *contact.Book, error) {
	book := contact.New(s.home.Store, contact.Config{Logger: s.cfg.Logger})
	resolver, err := reach.Resolver(s.cfg.Documents, book.Long)
	if err != nil {
		return nil, nil, err
	}
	s.resolver = identity.Before(s.home.Set, resolver)
	packer, err := envelope.New(envelope.Config{
		Keys:     s.home.AgentKeys(own),
		Resolver: s.resolver,
		MaxBytes: int(s.cfg.MaxBytes),
	})
	return packer, book, err
}

// DID returns the DID of the agent.
func (s *Server) DID() string { return s.did }

// Former returns the DID that the agent of the home had before. It is empty if the DID has not
// changed. The server answers for the former DID as well.
func (s *Server) Former() string { return s.former }

// Endpoint returns the URL that accepts messages, or the DID of the mediator that does so for an
// agent without a port.
func (s *Server) Endpoint() string {
	if s.listener == nil {
		return s.via.Mediator
	}
	return s.endpoint.String()
}

// routes returns the router with all paths of the server.
func (s *Server) routes() http.Handler {
	e := echo.New()
	messages := echo.WrapHandler(httptransport.NewHandler(unlessStopped{s.agent}, httptransport.HandlerConfig{
		MaxBytes:    s.cfg.MaxBytes,
		ReadTimeout: s.cfg.ReadTimeout,
		Budget:      s.budget,
		WebSocket:   s.ws,
		Logger:      s.cfg.Logger,
	}))
	for _, path := range s.messagePaths() {
		e.Any(path, messages)
	}
	live := func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }
	e.GET(LivePath, live)
	e.GET(HealthPath, live)
	e.GET(ReadyPath, echo.WrapHandler(s.ready))
	e.GET(InvitationPath, s.serveInvitation)
	e.RouteNotFound("/*", s.publish)
	return e
}

// unlessStopped is an agent that asks peers to come back while it stops.
type unlessStopped struct{ *agent.Agent }

// ServePacket implements transport.Handler.
func (a unlessStopped) ServePacket(ctx context.Context, w transport.Replier, p transport.Packet) (<-chan struct{}, error) {
	handled, err := a.Agent.ServePacket(ctx, w, p)
	if errors.Is(err, agent.ErrStopped) {
		err = &transport.BusyError{RetryAfter: restartTime, Err: err}
	}
	return handled, err
}

// messagePaths returns the paths that take messages, in the form that echo matches. The path
// of the endpoint is decoded, unless it could not be encoded to the same text again. Some
// clients of mediators add a slash.
func (s *Server) messagePaths() []string {
	path := cmp.Or(s.endpoint.RawPath, s.endpoint.Path, "/")
	if !s.cfg.Mediator.On || strings.HasSuffix(path, "/") {
		return []string{path}
	}
	return []string{path, path + "/"}
}

// loopbackOnly reports whether only this machine can reach the agent: the listening address
// and the public URL are both on loopback. An agent behind a public proxy also listens on
// loopback, but must be as careful as on the open Internet.
func (s *Server) loopbackOnly() bool {
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	return ok && addr.IP.IsLoopback() && isLoopback(s.endpoint.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Reload loads the files of the certificates again. If they cannot be loaded, the last ones
// stay in use, and the log tells why.
func (s *Server) Reload() {
	if s.certs != nil {
		s.certs.reloadNow()
	}
}

// Run serves until ctx ends, and then stops within five seconds. It closes the port, waits a
// short time for requests under way, closes the WebSocket connections, and stops the agent. It
// returns nil after such a stop.
func (s *Server) Run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var tasks sync.WaitGroup
	failed := make(chan error, 3)
	tasks.Go(func() {
		if err := s.agent.Run(running); err != nil {
			failed <- err
		}
	})
	if s.mediator != nil {
		tasks.Go(func() {
			if err := s.mediator.Run(running); err != nil {
				failed <- err
			}
		})
	}
	tasks.Go(func() { s.home.KeepServing(running, s.did) })
	tasks.Go(func() { s.collect(running) })
	if s.listener != nil {
		tasks.Go(func() {
			if err := s.serve(); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if s.listener != nil {
		s.drain(limit)
	}
	stop()
	tasks.Go(s.ready.close)
	tasks.Go(s.senders.Close) // waits for messages that arrive on their connections
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

// serve serves HTTP on the port until it is closed.
func (s *Server) serve() error {
	listener := s.gate.Listener(s.listener)
	if s.http.TLSConfig != nil {
		return s.http.ServeTLS(listener, "", "")
	}
	return s.http.Serve(listener)
}

// drain closes the port and ends all connections.
func (s *Server) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	var ends sync.WaitGroup
	ends.Go(func() {
		if err := s.http.Shutdown(ctx); err != nil {
			s.http.Close() // connections without a request, or that do not end
		}
	})
	ends.Go(func() {
		if err := s.ws.Close(ctx); err != nil {
			s.cfg.Logger.Warn("websocket connections cut", "err", err)
		}
	})
	ends.Wait()
}
