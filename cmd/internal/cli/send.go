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
	var ack bool
	cmd := &cobra.Command{
		Use:   "send DID TEXT",
		Short: "send a text to an agent",
		Long: `Send sends a basic message, and prints its id when the agent has taken it in. It
fails if that does not happen within --timeout, or if the agent reports a
problem with it on the same connection. A WebSocket does not tell whether the
agent could open the message; --ack asks the agent itself.
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
				if ack {
					m.PleaseAck = []string{""} // this message
					_, err = c.Agent().Request(ctx, m)
				} else {
					err = c.Agent().Send(ctx, m, agent.ReturnRoute("all"), agent.AwaitDelivery())
				}
				if err != nil {
					return t.waited(err)
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
	cmd.Flags().BoolVar(&ack, "ack", false, "ask the agent to acknowledge the message, and wait until it does")
	return cmd
}
