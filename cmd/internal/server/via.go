package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

const (
	// enrollTime limits the time to enroll with a mediator.
	enrollTime = 30 * time.Second
	// reachTime limits the time to reach a mediator that the home is not enrolled with yet.
	reachTime = 3 * time.Second
	// listPoll is how often the agent looks for DIDs that it has to register with a mediator.
	listPoll = time.Second
	// mailTime is how long mediators keep mail, as far as is known.
	mailTime = 30 * 24 * time.Hour
)

// checkVia returns an error for settings that an agent without a port cannot have.
func (c Config) checkVia() error {
	for _, setting := range []struct {
		flag  string
		given bool
	}{
		{"--mediator", c.Mediator.On}, {"--public-url", c.PublicURL != ""}, {"--did", c.DID != ""},
		{"--tls-cert", c.TLSCert != ""}, {"--tls-key", c.TLSKey != ""}, {"--client-ca", c.ClientCA != ""},
		{"--allow-origin", len(c.AllowOrigins) > 0}, {"--invitation", c.Invitation},
	} {
		if setting.given {
			return fmt.Errorf("%s does not go with --via: such an agent listens on no port", setting.flag)
		}
	}
	if _, err := did.Parse(c.Via); err == nil {
		return c.checkCommon()
	}
	if _, err := outofband.Parse(c.Via); err != nil && !errors.Is(err, outofband.ErrShort) {
		return fmt.Errorf("--via: want the DID of a mediator, or an invitation of it: %w", err)
	}
	return c.checkCommon()
}

// inviter returns the DID of the mediator that Config.Via names, and the token to enroll with it.
func (s *Server) inviter(ctx context.Context, reach network.Reach) (id, token string, err error) {
	if _, err := did.Parse(s.cfg.Via); err == nil {
		return s.cfg.Via, "", nil
	}
	all, err := s.home.Mediations(ctx)
	if err != nil {
		return "", "", err
	}
	for _, m := range all {
		if m.Routing != "" && m.Invitation == s.cfg.Via {
			return m.Mediator, "", nil // used before; a short URL may lead nowhere by now
		}
	}
	reach.Loopback = true // a person has named the URL
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: reach.Dial()})
	if err != nil {
		return "", "", err
	}
	i, err := o.Open(ctx, s.cfg.Via)
	if err == nil && i.Expired(time.Now()) {
		err = outofband.ErrExpired
	}
	if err != nil {
		return "", "", fmt.Errorf("--via: %w", err)
	}
	return i.From, i.ID, nil
}

// join gives an agent without a port its mediator, its DID and its reach. If the home is not
// enrolled with the mediator yet, join enrolls it.
func (s *Server) join(ctx context.Context, reach network.Reach) (network.Reach, error) {
	id, token, err := s.inviter(ctx, reach)
	if err != nil {
		return reach, err
	}
	if s.via, err = s.home.Mediation(ctx, id); err != nil {
		return reach, err
	}
	if s.via.Routing == "" {
		if s.via.Local, err = isLocal(ctx, reach, id); err != nil {
			return reach, fmt.Errorf("mediator: %w", err)
		}
	}
	reach.Loopback = s.via.Local
	if s.via.Routing == "" {
		if err := s.enroll(ctx, reach, token); err != nil {
			return reach, fmt.Errorf("mediator: %w", err)
		}
	} else if err := s.settleVia(ctx); err != nil {
		return reach, err
	}
	if s.via.Since = time.Now(); s.cfg.Via != s.via.Mediator {
		s.via.Invitation = s.cfg.Via
	}
	return reach, s.home.KeepMediation(ctx, s.via)
}

// settleVia gives the agent its DID, whose service is the mediator.
func (s *Server) settleVia(ctx context.Context) (err error) {
	s.did, s.former, err = s.home.Serve(ctx, "", s.via.Routing)
	return err
}

// isLocal reports whether all endpoints of a DID are on this machine.
func isLocal(ctx context.Context, reach network.Reach, id string) (bool, error) {
	reach.Loopback = true // a person has named the DID
	resolver, err := reach.Resolver(did.CacheConfig{}, nil)
	if err != nil {
		return false, err
	}
	doc, err := resolver.Resolve(ctx, id)
	if err != nil {
		return false, err
	}
	found := false
	for _, service := range doc.Service {
		for _, e := range service.Endpoints {
			u, err := url.Parse(e.URI)
			if err != nil || !isLoopback(u.Hostname()) {
				return false, nil
			}
			found = true
		}
	}
	return found, nil
}

// enroll enrolls the home with the mediator, gives the agent its DID, and registers the DID. The
// agent of the home cannot do so: its DID depends on the answer of the mediator.
func (s *Server) enroll(ctx context.Context, reach network.Reach, token string) error {
	packer, _, err := s.packer(reach, s.via.Own)
	if err != nil {
		return err
	}
	senders, err := reach.Senders(s.cfg.MaxBytes, s.cfg.Logger)
	if err != nil {
		return err
	}
	defer senders.Close()
	a, err := agent.Start(ctx, agent.Config{
		DID: s.via.Own, Packer: packer, Senders: senders.ByScheme(false), Logger: s.cfg.Logger, MaxAge: reachTime,
	})
	if err != nil {
		return err
	}
	defer a.Stop()
	ctx, cancel := context.WithTimeout(ctx, enrollTime)
	defer cancel()
	c, err := mediation.NewClient(mediation.ClientConfig{Agent: a, Mediator: s.via.Mediator, Set: s.home.Set, Token: token, Logger: s.cfg.Logger})
	if err != nil {
		return err
	}
	grant, err := c.Grant(ctx)
	if err != nil {
		return err
	}
	s.via.Routing = grant.RoutingDID()
	if err := s.settleVia(ctx); err != nil {
		return err
	}
	return c.Register(ctx, s.did)
}

// client is what an agent has for one of its mediators.
type client struct {
	list   *mediation.Client
	source pickup.Source
	lost   chan struct{} // has an element if the mediator does not know the agent any more
}

// openClients makes the collector, and the clients of all mediators of the home. The agent still
// collects from former mediators.
func (s *Server) openClients(all []home.Mediation) error {
	for _, m := range all {
		if m.Routing == "" {
			continue
		}
		list, err := mediation.NewClient(mediation.ClientConfig{
			Agent: s.agent, Mediator: m.Mediator, Set: s.home.Set, DID: m.Own, Poll: listPoll, Logger: s.cfg.Logger,
		})
		if err != nil {
			return err
		}
		s.clients = append(s.clients, &client{list, pickup.Source{Mediator: m.Mediator, DID: m.Own}, make(chan struct{}, 1)})
	}
	return nil
}

// collected is called after each step of the collector.
func (s *Server) collected(p pickup.Progress) {
	if s.progress != nil {
		s.progress(p)
	}
	var problem *message.Problem
	if !errors.As(p.Err, &problem) || problem.Code != mediator.CodeNotEnrolled {
		return
	}
	for _, c := range s.clients {
		if c.source.Mediator == p.Mediator {
			select {
			case c.lost <- struct{}{}:
			default:
			}
		}
	}
}

// collect keeps the lists of the mediators, and collects from them, until ctx ends.
func (s *Server) collect(ctx context.Context) {
	select {
	case <-s.agent.Ready():
	case <-ctx.Done():
		return
	}
	var tasks sync.WaitGroup
	for _, c := range s.clients {
		tasks.Go(func() { _ = c.list.Run(ctx) })                         // returns nil
		tasks.Go(func() { _ = s.collector.Run(ctx, s.agent, c.source) }) // the agent has ended, at most
		tasks.Go(func() { c.enrollAgain(ctx, s.cfg.Logger) })
	}
	tasks.Wait()
}

// enrollAgain enrolls again when the mediator has forgotten the agent, for example because the
// mediator has lost its store.
func (c *client) enrollAgain(ctx context.Context, logger *slog.Logger) {
	for {
		select {
		case <-c.lost:
		case <-ctx.Done():
			return
		}
		if err := c.list.Reconcile(ctx); err != nil && ctx.Err() == nil {
			logger.WarnContext(ctx, "not enrolled again", "mediator", c.source.Mediator, "error", err)
		}
	}
}
