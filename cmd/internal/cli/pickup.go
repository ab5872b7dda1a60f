package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
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
cannot be opened are set aside, and do not come again: see "pickup list". With
--json each mediator is an object on a line of its own: {"mediator", "messages",
"set_aside", "error"}.

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
			list, err := server.Collect(ctx, onceConfig(cfg, private), func(p pickup.Progress) {
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
	cmd.AddCommand(a.pickupList(), a.pickupRetry(), a.pickupDrop())
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

// onceConfig is the configuration of a server that ends soon.
func onceConfig(cfg home.Config, private bool) server.Config {
	return server.Config{
		Home: cfg, MaxBytes: transport.DefaultMaxBytes, AllowPrivate: private, Logger: cfg.Logger,
		OnMessage: func(string, string, string) {},
	}
}

func (a *app) pickupList() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the collected messages that cannot be opened",
		Long: `List prints a line for each message that was collected and set aside, because it
cannot be opened: its id, the time, its size, the mediator and the reason. The
oldest is the first. If there are too many, the oldest are dropped.

With --json each message is an object on a line of its own: {"id", "time",
"mediator", "reason", "packet"}.`,
		Example: `  didcomm pickup list
  didcomm pickup list --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withDIDs(a, cmd, func(d *home.DIDs) error {
				list, err := pickup.ListParked(cmd.Context(), d.Records())
				if err != nil {
					return err
				}
				for _, p := range list {
					if asJSON {
						err = writeLine(cmd.OutOrStdout(), struct {
							ID       string    `json:"id"`
							Time     time.Time `json:"time"`
							Mediator string    `json:"mediator"`
							Reason   string    `json:"reason"`
							Packet   string    `json:"packet"`
						}{p.Key, p.Time, p.Mediator, p.Reason, string(p.Data)})
					} else {
						_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s, %d bytes, from %s: %s\n", p.Key, localTime(p.Time), len(p.Data), printable(short(p.Mediator)), printable(p.Reason))
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each message")
	return cmd
}

func (a *app) pickupRetry() *cobra.Command {
	var k keys
	var private bool
	cmd := &cobra.Command{
		Use:   "retry ID...",
		Short: "try to open messages again that were set aside",
		Long: `Retry tries to open messages again that were collected and set aside, for example
after the home got a key. A message that is opened goes to the inbox. No agent may
run on the home meanwhile. ID is the id of the message, as "pickup list" shows it.`,
		Example: `  didcomm pickup retry 0f3c9a2e5b7d41c68a90e2f1d4b6c8a0`,
		Args:    ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			if err := home.Unserved(cfg.Dir); err != nil {
				return err
			}
			return server.Retry(cmd.Context(), onceConfig(cfg, private), args...)
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&private, "allow-private", false, "resolve DIDs of senders in private networks too")
	return cmd
}

func (a *app) pickupDrop() *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:   "drop ID...",
		Short: "remove messages that were set aside",
		Long: `Drop removes messages that were collected and set aside. ID is the id of the
message, as "pickup list" shows it.`,
		Example: `  didcomm pickup drop 0f3c9a2e5b7d41c68a90e2f1d4b6c8a0`,
		Args:    ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withDIDs(a, cmd, func(d *home.DIDs) error {
				for _, id := range args {
					err := pickup.DropParked(cmd.Context(), d.Records(), id)
					if errors.Is(err, store.ErrNotFound) {
						err = fmt.Errorf("no message %s was set aside", id)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	k.addFlags(cmd)
	return cmd
}
