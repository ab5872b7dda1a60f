package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/protocols/pickup"
)

// ErrNoMediator tells that the agent of a home is behind no mediator. Match it with errors.Is.
var ErrNoMediator = errors.New("the agent of this home is behind no mediator; see didcomm serve --via")

// Collected is what Collect has collected from a mediator.
type Collected struct {
	pickup.Progress
	Former bool // the agent uses another mediator now
	Err    error
}

// Collect collects the messages of an agent without a port from its mediators, once, and hands
// them to the handlers of a Server. progress is called after each step. Collect returns an error
// if it cannot begin.
func Collect(ctx context.Context, cfg Config, progress func(pickup.Progress)) (list []Collected, err error) {
	err = once(ctx, cfg, progress, func(s *Server) {
		for _, c := range s.clients {
			got := Collected{Former: c.source.Mediator != s.via.Mediator}
			if got.Progress, got.Err = s.collector.Collect(ctx, s.agent, c.source); got.Err == nil {
				got.Err = c.list.Reconcile(ctx)
			}
			list = append(list, got)
		}
	})
	return list, err
}

// Retry hands messages that the collector has set aside to the handlers of a Server again. key
// is that of a pickup.Parked. Errors are those of pickup.RetryParked.
func Retry(ctx context.Context, cfg Config, keys ...string) error {
	var failed error
	err := once(ctx, cfg, nil, func(s *Server) {
		for _, key := range keys {
			if err := pickup.RetryParked(ctx, s.agent, key); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", key, err))
			}
		}
	})
	return errors.Join(failed, err)
}

// once runs the agent of a home behind a mediator until f returns.
func once(ctx context.Context, cfg Config, progress func(pickup.Progress), f func(*Server)) (err error) {
	switch has, err := home.HasKeys(ctx, cfg.Home); {
	case err != nil:
		return err
	case !has:
		return ErrNoMediator
	}
	s := &Server{cfg: cfg, progress: progress}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.home, err = home.OpenToServe(ctx, cfg.Home); err != nil {
		return err
	}
	via, err := s.home.Via(ctx)
	if err != nil {
		return err
	}
	if via == nil {
		return ErrNoMediator
	}
	s.cfg.Via = via.Mediator
	if err := s.wire(ctx); err != nil {
		return err
	}
	defer s.senders.Close()
	defer s.ready.close()
	ended := make(chan error, 1)
	go func() { ended <- s.agent.Run(context.WithoutCancel(ctx)) }()
	<-s.agent.Ready()
	f(s)
	s.agent.Stop()
	return <-ended
}
