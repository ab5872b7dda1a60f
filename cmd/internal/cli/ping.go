package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/spf13/cobra"
)

// talk has the settings of ping and send.
type talk struct {
	cfg     client.Config
	pass    passphrase
	log     logging
	timeout time.Duration
}

func (t *talk) addFlags(cmd *cobra.Command) {
	addConfigFlag(cmd)
	addStoreFlag(cmd, &t.cfg.Home)
	t.pass.addFlag(cmd)
	t.log.addFlags(cmd, "off")
	f := cmd.Flags()
	f.BoolVar(&t.cfg.WebSocket, "ws", false, "send by WebSocket, also to an http URL")
	f.BoolVar(&t.cfg.AllowPrivate, "allow-private", false, "connect to private networks too")
	f.DurationVar(&t.timeout, "timeout", 15*time.Second, "how long to wait; some agents say only after 10 seconds that they cannot open a message")
}

// check returns an error for a wrong DID or a wrong setting.
func (t *talk) check(id string) error {
	if _, err := did.Parse(id); err != nil {
		return err
	}
	return t.checkSettings()
}

func (t *talk) checkSettings() error {
	if err := t.cfg.Home.CheckURL(); err != nil {
		return &usageError{err}
	}
	if t.timeout <= 0 {
		return usagef("--timeout %s: want more than 0", t.timeout)
	}
	return nil
}

func (t *talk) config(a *app) client.Config {
	cfg := t.cfg
	cfg.Logger = t.log.logger(a.Stderr)
	cfg.Home.Dir, cfg.Home.Logger = a.home, cfg.Logger
	t.pass.open(a, &cfg.Home)
	return cfg
}

// with runs f with an agent that talks to the party of id.
func (t *talk) with(a *app, cmd *cobra.Command, id string, f func(ctx context.Context, c *client.Client) error) (err error) {
	if err := t.check(id); err != nil {
		return err
	}
	cfg := t.config(a)
	cfg.Peer = id
	c, err := client.Start(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := c.Close(); err == nil {
			err = closeErr
		}
	}()
	return f(cmd.Context(), c)
}

// waited adds the time of --timeout to an error of a command that ran out of time.
func (t *talk) waited(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (waited %s, see --timeout)", err, t.timeout)
	}
	return err
}

// isMediated reports whether all ways to a party lead through mediators.
func isMediated(ctx context.Context, a *agent.Agent, id string) bool {
	routes, err := a.Packer().Routes(ctx, id)
	return err == nil && len(routes) > 0 && !slices.ContainsFunc(routes, func(r envelope.Route) bool { return len(r.RoutingKeys) == 0 })
}

func (a *app) ping() *cobra.Command {
	var t talk
	var count int
	cmd := &cobra.Command{
		Use:   "ping DID|URL",
		Short: "see whether an agent answers, and how fast",
		Long: `Ping sends trust pings to an agent, one after the other, and prints how long each
answer took. Each ping has to be answered within --timeout.

A ping goes to one endpoint in the document of the DID: to the first that accepts
DIDComm v2 and can be reached. The answer comes back on the same connection, so
that ping works behind a firewall. An agent behind a mediator gets the ping, but has
no connection for its answer. Ping uses the keys of the home. In a home without
keys, it uses temporary keys.

URL is an invitation of the agent, which a ping may use up: to stay in contact, use
didcomm accept.

To an agent that does not support trust ping 2.0, ping sends a ping of version 1.0,
and its output says so. A home with keys remembers that; see didcomm peer.`,
		Example: `  didcomm ping did:web:agent.example.org
  didcomm ping --count 5 --ws did:peer:2.Ez6LS...`,
		Args: positional("DID|URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if count < 1 {
				return usagef("--count %d: want at least 1", count)
			}
			to, err := t.party(cmd, args[0])
			if err != nil {
				return err
			}
			return t.with(a, cmd, to.did, func(ctx context.Context, c *client.Client) error {
				var least, most, sum time.Duration
				for n := range count {
					pong, err := once(ctx, t.timeout, func(ctx context.Context) (trustping.Pong, error) {
						return trustping.Ping(ctx, c.Agent(), to.did, agent.Once(), agent.Parent(to.invitation))
					})
					if err != nil {
						err = t.waited(err)
						if isMediated(ctx, c.Agent(), to.did) {
							err = fmt.Errorf("%w; the agent is behind a mediator, by which no answer comes back to this command: use didcomm send", err)
						}
						if count > 1 {
							err = fmt.Errorf("ping %d of %d: %w", n+1, count, err)
						}
						return err
					}
					version := ""
					if pong.PIURI == trustping.PIURI1 {
						version = ", by trust ping 1.0"
					}
					rtt := pong.Took
					fmt.Fprintf(cmd.OutOrStdout(), "answer %d from %s: %s%s\n", n+1, short(to.did), milliseconds(rtt), version)
					if n == 0 || rtt < least {
						least = rtt
					}
					most = max(most, rtt)
					sum += rtt
				}
				if count > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "%d pings, %d answers; fastest %s, mean %s, slowest %s\n", count, count,
						milliseconds(least), milliseconds(sum/time.Duration(count)), milliseconds(most))
				}
				return nil
			})
		},
	}
	t.addFlags(cmd)
	cmd.Flags().IntVar(&count, "count", 1, "how many pings to send")
	return cmd
}

func once[T any](ctx context.Context, timeout time.Duration, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return f(ctx)
}

// short cuts a DID for a line of text. The first characters of a DID, which contain the
// keys of a did:peer:2, are enough to tell DIDs apart.
func short(id string) string {
	const most = 48
	if len(id) <= most {
		return id
	}
	return id[:most-3] + "..."
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.3f ms", float64(d)/float64(time.Millisecond))
}
