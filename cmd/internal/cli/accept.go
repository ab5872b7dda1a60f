package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/trustping"
	"github.com/spf13/cobra"
)

// party is another agent, and the id of its invitation or "".
type party struct{ did, invitation string }

// party returns the agent that an argument names: a DID, or an invitation.
func (t *talk) party(cmd *cobra.Command, text string) (party, error) {
	if !strings.ContainsAny(text, "/{") || strings.HasPrefix(text, "did:") {
		_, err := did.Parse(text)
		return party{did: text}, err
	}
	i, err := t.invitation(cmd.Context(), text)
	if err != nil {
		return party{}, err
	}
	return party{i.From, i.ID}, nil
}

// invitation reads an invitation that has not expired. It fetches the invitation of a short URL.
func (t *talk) invitation(ctx context.Context, text string) (*outofband.Invitation, error) {
	reach := network.Reach{Loopback: true, Private: t.cfg.AllowPrivate}
	o, err := outofband.NewOpener(outofband.OpenerConfig{Dial: reach.From(text).Dial(), Timeout: t.timeout})
	if err != nil {
		return nil, err
	}
	i, err := o.Open(ctx, text)
	switch {
	case errors.Is(err, outofband.ErrRefused) && !t.cfg.AllowPrivate:
		return nil, fmt.Errorf("%w (see --allow-private)", err)
	case err != nil:
		return nil, err
	case i.Expired(time.Now()):
		return nil, fmt.Errorf("%w on %s", outofband.ErrExpired, i.Expires.Format(time.RFC3339))
	}
	return i, nil
}

func (a *app) accept() *cobra.Command {
	var t talk
	var from string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "accept URL",
		Short: "accept the invitation of another agent",
		Long: `Accept reads an out-of-band invitation, makes the inviter a contact of this home,
greets it with a trust ping, and prints its DID. The greeting names the invitation,
so that the inviter knows who has accepted it. It is from the DID that didcomm serve
uses, or from another DID of the home with --from.

URL is the text of a QR code or of a link: a URL with the invitation in it, or a
short URL, whose invitation accept fetches. It may also be the invitation as JSON or
base64, or "-" for standard input. An invitation for a single use is a secret: other
users of this machine can see the arguments of a command.

An inviter that answers that it supports no ping has been greeted all the same. If
the inviter is behind a mediator, accept does not wait for an answer, which goes to
the agent that serves this home. Messages that are attached to the invitation are
named on standard error; accept does not answer them.`,
		Example: `  didcomm accept 'https://agent.example.org/invitation?_oob=eyJ0eXBl...'
  didcomm accept - <invitation.json`,
		Args: positional("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "from"); err != nil {
				return err
			}
			if err := t.checkSettings(); err != nil {
				return err
			}
			if _, err := a.needHome(); err != nil {
				return err
			}
			text := args[0]
			if text == "-" {
				data, err := a.input(nil)
				if err != nil {
					return err
				}
				text = string(data)
			}
			i, err := t.invitation(cmd.Context(), text)
			if err != nil {
				return err
			}
			cfg := client.PostConfig{Config: t.config(a), From: from, Timeout: t.timeout}
			var all []outofband.Attached
			err = client.Guest(cmd.Context(), cfg, func(ctx context.Context, g *agent.Agent) (err error) {
				if all, err = outofband.Accept(ctx, g, g.DID(), i); err != nil {
					return err
				}
				return a.greet(ctx, g, i)
			})
			if err != nil {
				return t.waited(err)
			}
			for _, m := range all {
				fmt.Fprintf(a.Stderr, "The invitation has a message that this command does not answer: %s\n", printable(m.Message.Type))
			}
			if !asJSON {
				fmt.Fprintln(cmd.OutOrStdout(), i.From)
				return nil
			}
			return writeJSON(cmd.OutOrStdout(), map[string]any{"did": i.From, "invitation": i})
		},
	}
	t.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "accept as this DID of the home (default the one that didcomm serve uses)")
	f.BoolVar(&asJSON, "json", false, `print {"did", "invitation"}`)
	return cmd
}

// mediatedWait is how long greet waits for a report of the mediator of an inviter.
const mediatedWait = time.Second

// greet sends a ping to the inviter.
func (a *app) greet(ctx context.Context, g *agent.Agent, i *outofband.Invitation) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	mediated := false // written before Ping returns
	_, err := trustping.Ping(waiting, g, i.From, agent.Once(), agent.Parent(i.ID), agent.Outcomes(func(o agent.Outcome) {
		if o.Mediated && o.State == delivery.Sent && !mediated {
			mediated = true
			time.AfterFunc(mediatedWait, stop)
		}
	}))
	var p *message.Problem
	switch {
	case mediated && ctx.Err() == nil && errors.Is(err, context.Canceled):
		a.tellMediated(agent.Outcome{Mediated: true}, false)
		return nil
	case errors.As(err, &p) && agent.IsUnsupported(p):
		fmt.Fprintln(a.Stderr, "The agent does not answer pings.")
		return nil
	case errors.As(err, &p):
		return fmt.Errorf("the agent reports a problem: %s", client.ProblemText(p))
	}
	return err
}
