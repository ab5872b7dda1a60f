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
		Use:   "send DID|URL TEXT",
		Short: "send a text to an agent",
		Long: `Send sends a basic message and prints its id. TEXT is the text, or "-" for standard
input. Prefer "-" for a private text: other users of this machine can see the
arguments of a command. URL is an invitation of the agent.

In a home with keys, the message is from the DID that didcomm serve uses, or from
another DID of the home with --from. Send ends when the other agent or the outbox
of this home has the message:

  - While "didcomm serve" runs on the home, the message goes into its outbox.
  - Otherwise send delivers the message itself. After a temporary failure, the
    message stays in the outbox for the next serve. After a permanent failure, the
    message is not kept.

Standard error says when a message was queued; see didcomm outbox. It also says when
the message was handed to a mediator of the agent. A mediator does not confirm that
the agent gets the message.

In a home without keys, send uses temporary keys. It delivers the message within
--timeout, or fails.

A problem that the agent reports on the same connection is a failure. A WebSocket
gives no receipt: send waits up to half of --timeout for a message from the agent,
or a second for a report of its mediator.
With --ack, an acknowledgement has to come.

To an agent that is known to give no acknowledgements (see didcomm peer), send does
not wait for one: with --ack, the message is sent, and the command fails.`,
		Example: `  didcomm send did:web:agent.example.org 'hello, agent'
  didcomm send --ws did:peer:2.Ez6LS... hello`,
		Args: positional("DID|URL", "TEXT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "from"); err != nil {
				return err
			}
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
			to, err := t.party(cmd, args[0])
			if err != nil {
				return err
			}
			m.ID, m.To, m.ParentThreadID = message.NewID(), []string{to.did}, to.invitation
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
	f.BoolVar(&p.Ack, "ack", false, "ask the agent to acknowledge the message, and wait for that; includes --no-queue")
	f.BoolVar(&p.NoQueue, "no-queue", false, "deliver the message now, or fail; do not put it into the outbox")
	return cmd
}

// deliver sends a message as the agent of the home, or with temporary keys if the home has
// no keys.
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
		o, err := client.Once(cmd.Context(), p, m)
		if err != nil {
			return t.waited(err)
		}
		a.tellMediated(o, p.Ack)
		return nil
	}
	return a.post(cmd, t, p, m)
}

// tellMediated says that nobody has confirmed a message which a mediator is to forward.
func (a *app) tellMediated(o delivery.Outcome, acked bool) {
	if o.Mediated && !acked {
		fmt.Fprintln(a.Stderr, "Handed to the mediator, unconfirmed: a mediator does not say whether the agent gets the message.")
	}
}

// post sends a message as the agent of the home.
func (a *app) post(cmd *cobra.Command, t *talk, cfg client.PostConfig, m *message.Message) error {
	posted, err := client.Post(cmd.Context(), cfg, m)
	if err != nil {
		return t.waited(err)
	}
	switch o := posted.Outcome; {
	case o.State != delivery.Queued:
		a.tellMediated(o, cfg.Ack)
	case o.Err == nil:
		fmt.Fprintln(a.Stderr, "Queued: the agent that serves this home delivers it. See didcomm outbox show ID.")
	case posted.Served:
		fmt.Fprintf(a.Stderr, "Queued: not delivered yet: %s. The agent that serves this home tries again.\n", line(t.waited(o.Err)))
	default:
		fmt.Fprintf(a.Stderr, "Queued: not delivered yet: %s. The next didcomm serve on this home tries again.\n", line(t.waited(o.Err)))
	}
	return nil
}
