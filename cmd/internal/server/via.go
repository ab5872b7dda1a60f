package server

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/outofband"
)

const (
	// enrollTime limits the time to enroll with a mediator.
	enrollTime = 30 * time.Second
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
		{"--allow-origin", len(c.AllowOrigins) > 0},
	} {
		if setting.given {
			return fmt.Errorf("%s does not go with --via: such an agent listens on no port", setting.flag)
		}
	}
	if _, err := did.Parse(c.Via); err == nil {
		return c.checkCommon()
	}
	if _, err := outofband.Parse(c.Via); err != nil {
		return fmt.Errorf("--via: want the DID of a mediator, or an invitation of it: %w", err)
	}
	return c.checkCommon()
}

// mailWindow returns agent.Config.MailWindow.
func (c Config) mailWindow() time.Duration {
	if c.Via == "" {
		return 0
	}
	return max(mailTime, c.KeepReceived)
}

// join gives an agent without a port its mediator, its DID and its reach. If the home is not
// enrolled with the mediator yet, join enrolls it.
func (s *Server) join(ctx context.Context, reach network.Reach) (network.Reach, error) {
	id, token := s.cfg.Via, ""
	if i, err := outofband.Parse(id); err == nil {
		id, token = i.From, i.ID
	}
	var err error
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
		if s.via.Routing, err = s.enroll(ctx, reach, token); err != nil {
			return reach, fmt.Errorf("mediator: %w", err)
		}
	}
	s.via.Since = time.Now()
	if err := s.home.KeepMediation(ctx, s.via); err != nil {
		return reach, err
	}
	s.did, s.former, err = s.home.Serve(ctx, "", s.via.Routing)
	return reach, err
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

// enroll enrolls the DID of s.via with the mediator, and returns the routing DID. The agent of
// the home cannot do so: its DID depends on the answer.
func (s *Server) enroll(ctx context.Context, reach network.Reach, token string) (_ string, err error) {
	packer, _, err := s.packer(reach, s.via.Own)
	if err != nil {
		return "", err
	}
	senders, err := reach.Senders(s.cfg.MaxBytes, s.cfg.Logger)
	if err != nil {
		return "", err
	}
	defer senders.Close()
	a, err := agent.Start(ctx, agent.Config{
		DID: s.via.Own, Packer: packer, Senders: senders.ByScheme(false), Logger: s.cfg.Logger,
	})
	if err != nil {
		return "", err
	}
	defer a.Stop()
	ctx, cancel := context.WithTimeout(ctx, enrollTime)
	defer cancel()
	grant, err := mediation.Enroll(ctx, a, s.via.Mediator, mediation.Token(token))
	if err != nil {
		return "", err
	}
	return grant.RoutingDID(), nil
}
