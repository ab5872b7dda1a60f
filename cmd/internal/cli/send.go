package cli

import (
	"context"
	"fmt"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/spf13/cobra"
)

func (a *app) send() *cobra.Command {
	var t talk
	cmd := &cobra.Command{
		Use:   "send DID TEXT",
		Short: "send a text to an agent",
		Long: `Send sends a basic message, and prints its id when the agent has taken it in. It
fails if that does not happen within --timeout, or if the agent reports a
problem with it on the same connection.
` + talkHelp,
		Example: `  didcomm send did:web:agent.example.org 'hello, agent'
  didcomm send --ws did:peer:2.Ez6LS... hello`,
		Args: positional("DID", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.with(a, cmd, args[0], func(ctx context.Context, c *server.Client) error {
				m, err := basicmessage.New(args[1], "")
				if err != nil {
					return err
				}
				m.To = []string{args[0]}
				ctx, cancel := context.WithTimeout(ctx, t.timeout)
				defer cancel()
				if err := c.Agent().Send(ctx, m, agent.ReturnRoute("all"), agent.AwaitDelivery()); err != nil {
					return err
				}
				if p := c.Problem(); p != nil {
					return fmt.Errorf("the agent reports a problem: %s: %s", p.Code, p.Text())
				}
				fmt.Fprintln(cmd.OutOrStdout(), m.ID)
				return nil
			})
		},
	}
	t.addFlags(cmd)
	return cmd
}
