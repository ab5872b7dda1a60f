package credolike

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/did/didpeer"
)

// QueueURI is the endpoint that a client of a mediator lists beside the mediator.
const queueURI = "didcomm:transport/queue"

// DefaultDelay is how long Credo waits before it answers 500.
const DefaultDelay = 10 * time.Second

// Config describes an agent.
type Config struct {
	// Numalgo is the kind of did:peer that the agent makes: 2, or 4 if it is 0.
	Numalgo int
	// Schemes are those of the endpoints in its DIDs, in that order: "http" and "ws" if there
	// are none. The server takes both in any case.
	Schemes []string
	// Mediator is a DID of the agent's mediator. The agent enrolls with the mediator when it
	// starts, its DIDs list the mediator instead of endpoints, and it picks up its messages.
	Mediator string
	// Live makes the agent pick up over a WebSocket, which stays open. By default it polls
	// over HTTP.
	Live bool
	// Delay is the time before a 500; DefaultDelay if it is 0.
	Delay time.Duration
}

// Agent is a running agent. All its methods may be called at the same time.
type Agent struct {
	cfg        Config
	server     *http.Server
	host       string
	mediation  mediation // as a client of a mediator
	resolver   *didpeer.Resolver
	invitation *identity
	routing    ed25519.PrivateKey // of its role as a mediator
	routingDID string
	ctx        context.Context // ends with Close
	stop       context.CancelFunc
	client     http.Client
	working    sync.WaitGroup

	dialing sync.Mutex         // guards sockets
	sockets map[string]*socket // that the agent has opened, by endpoint

	mu     sync.Mutex // guards all below
	own    map[string]*identity
	peers  []*connection
	got    []Message
	news   chan struct{} // closed at the next change of got or failures
	failed []error
	sent   int
}

// Start starts an agent, which Close ends.
func Start(cfg Config) (*Agent, error) {
	if len(cfg.Schemes) == 0 {
		cfg.Schemes = []string{"http", "ws"}
	}
	if cfg.Delay == 0 {
		cfg.Delay = DefaultDelay
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &Agent{
		cfg: cfg, host: l.Addr().String(), resolver: didpeer.NewResolver(),
		client: http.Client{Transport: &http.Transport{}},
		own:    map[string]*identity{}, sockets: map[string]*socket{}, news: make(chan struct{}),
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	a.server = &http.Server{Handler: http.HandlerFunc(a.serveHTTP), ReadHeaderTimeout: time.Minute}
	if err := a.setUp(); err != nil {
		a.Close()
		return nil, errors.Join(err, l.Close())
	}
	a.begin(func() { _ = a.server.Serve(l) })
	if cfg.Mediator != "" {
		a.begin(a.pickUp)
	}
	return a, nil
}

func (a *Agent) setUp() (err error) {
	if a.cfg.Mediator != "" {
		if err := a.enroll(a.ctx); err != nil {
			return fmt.Errorf("enroll: %w", err)
		}
	}
	if a.invitation, err = a.newDID(a.ctx); err != nil {
		return err
	}
	if _, a.routing, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return err
	}
	// A mediator prefers its WebSocket.
	uris := a.uris()
	uri := uris[0]
	for _, u := range uris {
		if u == "ws://"+a.host {
			uri = u
		}
	}
	a.routingDID, err = routingDID(a.routing.Public().(ed25519.PublicKey), uri)
	return err
}

// uris are the agent's endpoints.
func (a *Agent) uris() []string {
	var uris []string
	for _, scheme := range a.cfg.Schemes {
		uris = append(uris, scheme+"://"+a.host)
	}
	return uris
}

// newDID makes a DID of the agent, which the mediator is told.
func (a *Agent) newDID(ctx context.Context) (*identity, error) {
	endpoints := a.uris()
	if a.cfg.Mediator != "" {
		endpoints = []string{a.mediation.routingDID, queueURI}
	}
	id, err := a.keepDID(endpoints)
	if err != nil || a.cfg.Mediator == "" {
		return id, err
	}
	return id, a.register(ctx, id)
}

// keepDID makes a DID with those endpoints.
func (a *Agent) keepDID(endpoints []string) (*identity, error) {
	id, err := newIdentity(a.cfg.Numalgo, endpoints)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own[id.did] = id
	return id, nil
}

// Invitation is the DID of a reusable invitation.
func (a *Agent) Invitation() string { return a.invitation.did }

// URL is the address of the server for a scheme.
func (a *Agent) URL(scheme string) string { return scheme + "://" + a.host }

// RoutingDID is the DID that the agent gives to its clients as a mediator.
func (a *Agent) RoutingDID() string { return a.routingDID }

// Close ends the agent, and waits for what it is doing.
func (a *Agent) Close() {
	a.mu.Lock()
	a.stop() // begin begins nothing any more
	a.mu.Unlock()
	_ = a.server.Close()
	a.client.CloseIdleConnections()
	a.working.Wait()
}

// begin runs f in a goroutine that Close waits for, unless the agent is closed.
func (a *Agent) begin(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx.Err() == nil {
		a.working.Go(f)
	}
}

// Received returns the messages that the agent has opened so far.
func (a *Agent) Received() []Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Message(nil), a.got...)
}

// Sent returns how many messages the agent has sent.
func (a *Agent) Sent() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// Failures returns the reasons for each message that the agent has not handled.
func (a *Agent) Failures() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]error(nil), a.failed...)
}

// Wait waits for a message that matches, also among those that came earlier. Its error says
// what came instead.
func (a *Agent) Wait(ctx context.Context, match func(Message) bool) (Message, error) {
	return a.waitAfter(ctx, 0, match)
}

// waitAfter waits for a message that matches, not among so many that came first.
func (a *Agent) waitAfter(ctx context.Context, skip int, match func(Message) bool) (Message, error) {
	for {
		a.mu.Lock()
		got, failed, news := a.got, a.failed, a.news
		a.mu.Unlock()
		for _, m := range got[skip:] {
			if match(m) {
				return m, nil
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			var types []string
			for _, m := range got {
				types = append(types, m.Type)
			}
			return Message{}, fmt.Errorf("credo-like: the message did not come: %w; received %q, failures %q", ctx.Err(), types, failed)
		}
	}
}

// note changes what Wait looks at.
func (a *Agent) note(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
	close(a.news)
	a.news = make(chan struct{})
}

func (a *Agent) fail(err error) {
	a.note(func() { a.failed = append(a.failed, err) })
}
