package cli

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/spf13/cobra"
)

func (a *app) send() *cobra.Command {
	var t talk
	var p client.PostConfig
	cmd := &cobra.Command{
		Use:   "send DID TEXT",
		Short: "send a text to an agent",
		Long: `Send sends a basic message, and prints its id when the message cannot be lost any
more: the other agent has taken it in, or the outbox of this home has it. TEXT is
the text, or "-" for standard input: who sees the processes of this machine sees
their arguments.

Where the home directory has an agent's keys, send goes by that agent's DID. While
"didcomm serve" runs there, the message goes into its outbox. While it does not,
send delivers the message, and leaves it in the outbox for the next serve if that
fails for now; if it fails for good, nothing is kept. Standard error says when a
message was queued. See also didcomm outbox.

Where the home has no keys, new ones are used and forgotten: the message is
delivered within --timeout, or send fails.

A problem with the message that the agent reports on the same connection is a
failure. A WebSocket does not tell whether the agent could open the message, so
there send waits for half of --timeout until the agent says anything of it; with
--ack it has to.`,
		Example: `  didcomm send did:web:agent.example.org 'hello, agent'
  didcomm send --ws did:peer:2.Ez6LS... hello`,
		Args: positional("DID", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text := args[1]
			if text == "-" {
				data, err := a.input(nil)
				if err != nil {
					return err
				}
				text = strings.TrimSuffix(string(data), "\n")
			}
			m, err := basicmessage.New(text, "")
			if err != nil {
				return err
			}
			m.ID, m.To = message.NewID(), []string{args[0]}
			if p.Ack {
				m.PleaseAck = []string{""} // this message
			}
			p.Lane = basicmessage.PIURI
			err = a.deliver(cmd, &t, p, m)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), m.ID)
			}
			return err
		},
	}
	t.addFlags(cmd)
	addQueueFlags(cmd, &t.cfg.Home)
	f := cmd.Flags()
	f.StringVar(&p.From, "from", "", "send from this DID of the home (default the one that didcomm serve uses)")
	f.BoolVar(&p.Ack, "ack", false, "ask the agent to acknowledge the message, and wait until it does; as --no-queue")
	f.BoolVar(&p.NoQueue, "no-queue", false, "deliver the message now, or fail: do not leave it to the outbox")
	return cmd
}

// deliver sends a message as the agent of the home, if that has keys.
func (a *app) deliver(cmd *cobra.Command, t *talk, p client.PostConfig, m *message.Message) error {
	if err := t.check(m.To[0]); err != nil {
		return err
	}
	if err := t.cfg.Home.Check(); err != nil {
		return &usageError{err}
	}
	p.Config, p.Timeout = t.config(a), t.timeout
	has, err := home.HasKeys(cmd.Context(), p.Home)
	switch {
	case err != nil:
		return err
	case (!has || a.home == "") && p.From != "":
		return fmt.Errorf("--from %s: this home has no DIDs", p.From)
	case !has || a.home == "":
		return t.waited(client.Once(cmd.Context(), p, m))
	}
	return a.post(cmd, t, p, m)
}

// post sends a message as the agent of the home.
func (a *app) post(cmd *cobra.Command, t *talk, cfg client.PostConfig, m *message.Message) error {
	posted, err := client.Post(cmd.Context(), cfg, m)
	if err != nil {
		return t.waited(err)
	}
	switch o := posted.Outcome; {
	case o.State != delivery.Queued:
	case o.Err == nil:
		fmt.Fprintln(a.Stderr, "Queued: the agent that serves this home delivers it. See didcomm outbox show ID.")
	case posted.Served:
		fmt.Fprintf(a.Stderr, "Queued: not delivered yet: %s. The agent that serves this home tries again.\n", line(t.waited(o.Err)))
	default:
		fmt.Fprintf(a.Stderr, "Queued: not delivered yet: %s. The next didcomm serve on this home tries again.\n", line(t.waited(o.Err)))
	}
	return nil
}
