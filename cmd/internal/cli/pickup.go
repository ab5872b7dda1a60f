package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/spf13/cobra"
)

func (a *app) pickup() *cobra.Command {
	var k keys
	var timeout time.Duration
	var asJSON, private bool
	cmd := &cobra.Command{
		Use:   "pickup",
		Short: "collect the messages that wait with the mediator",
		Long: `Pickup collects the messages that the mediator of this home keeps, and ends. It is
for a home of "didcomm serve --via" that is not served now; an agent that runs
collects by itself. Former mediators are asked, too. "didcomm inbox" shows the
messages.

For each mediator, pickup prints how many messages it has collected. Messages that
cannot be opened are set aside, and do not come again. With --json each mediator is
an object on a line of its own: {"mediator", "messages", "set_aside", "error"}.

It is a failure if the mediator that the home uses now does not answer.`,
		Example: `  didcomm pickup
  didcomm pickup --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s: want more than 0", timeout)
			}
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			switch served, err := home.Served(cfg.Dir); {
			case err != nil:
				return err
			case served:
				fmt.Fprintln(a.Stderr, "An agent runs on this home, and collects by itself.")
				return nil
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			total := 0
			list, err := server.Collect(ctx, server.Config{
				Home: cfg, MaxBytes: transport.DefaultMaxBytes, AllowPrivate: private, Logger: cfg.Logger,
				OnMessage: func(string, string, string) {},
			}, func(p pickup.Progress) {
				if total += p.Taken; p.Taken > 0 {
					fmt.Fprintf(a.Stderr, "collected: %d\n", total)
				}
			})
			if err != nil {
				return err
			}
			for _, c := range list {
				switch {
				case asJSON:
					err = errors.Join(err, writeLine(cmd.OutOrStdout(), collectedJSON(c)))
				case c.Err == nil:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: messages: %d, set aside: %d\n", printable(short(c.Mediator)), c.Taken, c.Parked)
				case c.Former:
					fmt.Fprintf(a.Stderr, "the former mediator %s: %s\n", printable(short(c.Mediator)), line(c.Err))
				}
				if c.Err != nil && !c.Former {
					return fmt.Errorf("mediator: %w", c.Err)
				}
			}
			return err
		},
	}
	k.addFlags(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to collect")
	cmd.Flags().BoolVar(&private, "allow-private", false, "connect to private networks too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each mediator")
	return cmd
}

func collectedJSON(c server.Collected) any {
	o := struct {
		Mediator string `json:"mediator"`
		Messages int    `json:"messages"`
		SetAside int    `json:"set_aside"`
		Error    string `json:"error,omitzero"`
	}{c.Mediator, c.Taken, c.Parked, ""}
	if c.Err != nil {
		o.Error = c.Err.Error()
	}
	return o
}
