package server

import (
	"context"
	"errors"

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
	switch has, err := home.HasKeys(ctx, cfg.Home); {
	case err != nil:
		return nil, err
	case !has:
		return nil, ErrNoMediator
	}
	s := &Server{cfg: cfg, progress: progress}
	defer func() { err = errors.Join(err, s.close()) }()
	if s.home, err = home.OpenToServe(ctx, cfg.Home); err != nil {
		return nil, err
	}
	via, err := s.home.Via(ctx)
	if err != nil {
		return nil, err
	}
	if via == nil {
		return nil, ErrNoMediator
	}
	s.cfg.Via = via.Mediator
	if err := s.wire(ctx); err != nil {
		return nil, err
	}
	defer s.senders.Close()
	defer s.ready.close()
	ended := make(chan error, 1)
	go func() { ended <- s.agent.Run(context.WithoutCancel(ctx)) }()
	<-s.agent.Ready()
	for _, c := range s.clients {
		got := Collected{Former: c.source.Mediator != via.Mediator}
		if got.Progress, got.Err = s.collector.Collect(ctx, s.agent, c.source); got.Err == nil {
			got.Err = c.list.Reconcile(ctx)
		}
		list = append(list, got)
	}
	s.agent.Stop()
	return list, <-ended
}
