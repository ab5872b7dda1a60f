package interop_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// credoMediation is an exchange in which one of the two is the mediator of the other.
type credoMediation struct {
	mediates bool // the agent is the mediator
	how      string
	run      func(ctx context.Context, t *testing.T) error
}

func (m credoMediation) String() string {
	if m.mediates {
		return "our mediator: " + m.how
	}
	return "our client: " + m.how
}

func (c *credo) mediations() []credoMediation {
	return []credoMediation{
		{false, "polled", func(ctx context.Context, t *testing.T) error { return c.enrolls(ctx, t, false) }},
		{false, "live", func(ctx context.Context, t *testing.T) error { return c.enrolls(ctx, t, true) }},
		{true, "polled", func(ctx context.Context, t *testing.T) error { return c.mediates(ctx, t, "http") }},
		{true, "live", func(ctx context.Context, t *testing.T) error { return c.mediates(ctx, t, "http", "ws") }},
	}
}

// enrolls has the agent as a client of our mediator, which is killed in between.
func (c *credo) enrolls(ctx context.Context, t *testing.T, live bool) error {
	m := startMediator(t, c.path)
	them := c.them(t, credolike.Config{Mediator: m.did, Live: live})
	other := c.them(t, credolike.Config{Numalgo: 2, Mediator: m.did, Live: live})
	said := func(steps ...func() error) error {
		for i, step := range steps {
			if err := step(); err != nil {
				return fmt.Errorf("step %d: %w", i+1, err)
			}
		}
		return nil
	}
	send := func(content string) func() error {
		return func() error {
			if _, _, err := c.stranger(t).run(ctx, "send", them.Invitation(), content); err != nil {
				return err
			}
			_, err := them.Wait(ctx, saying(content))
			return err
		}
	}
	say := func(content string) func() error {
		return func() error {
			if _, err := other.Say(ctx, them.Invitation(), content); err != nil {
				return err
			}
			_, err := them.Wait(ctx, saying(content))
			return err
		}
	}
	if err := said(send("1"), say("2"),
		func() error { return m.forwardJunk(ctx, t, them.Invitation()) }, send("3"),
		func() error { return m.restart(t) }, send("4"), say("5")); err != nil {
		return err
	}
	for _, content := range []string{"1", "2", "3", "4", "5"} {
		got := slices.DeleteFunc(them.Received(), func(m credolike.Message) bool { return !saying(content)(m) })
		if len(got) != 1 {
			return fmt.Errorf("the agent has got %q %d times", content, len(got))
		}
	}
	return nil
}

// mediates has the agent as the mediator of our client.
func (c *credo) mediates(ctx context.Context, t *testing.T, schemes ...string) error {
	return c.collects(ctx, t, c.them(t, credolike.Config{Schemes: schemes}).Invitation())
}

// collects has our client behind a mediator. The client is away in between. What it gets is
// from our program and from the agent.
func (c *credo) collects(ctx context.Context, t *testing.T, mediator string) error {
	other := c.by(t, "http")
	us := serveWith(t, c.path, "--via", mediator)
	send := func(content string) error {
		_, _, err := c.stranger(t).run(ctx, "send", us.did, content)
		return err
	}
	say := func(content string) error {
		_, err := other.Say(ctx, us.did, content)
		return err
	}
	if err := errors.Join(send("1"), us.says(ctx, "1"), say("2"), us.says(ctx, "2")); err != nil {
		return err
	}
	if err := errors.Join(us.stop(), send("3"), say("4"), us.start(t), us.says(ctx, "3"), us.says(ctx, "4"), send("5"), us.says(ctx, "5")); err != nil {
		return err
	}
	for _, content := range []string{"1", "2", "3", "4", "5"} {
		if n := us.said(content); n != 1 {
			return fmt.Errorf("serve says %q %d times", content, n)
		}
	}
	return nil
}
