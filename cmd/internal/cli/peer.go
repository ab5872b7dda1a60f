package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/contact"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/did"
	"github.com/spf13/cobra"
)

func (a *app) peer() *cobra.Command {
	var k kept
	var from string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "peer DID",
		Short: "show what this home knows about another agent",
		Long: `Peer prints what this home knows about the agent that uses DID, or has moved to
another DID from there. Each DID of the home knows other agents on its own, and each
that knows this agent is shown. Peer works while "didcomm serve" runs, too.

  own      the DID of this home
  did      the DID that the agent uses now
  state    "contact" if this home has sent to the agent, or else "stranger"; "ended"
           if the agent has ended the relationship
  since    the time when the agent moved to its DID, or ended the relationship
  speaks   the protocols and message types that the agent has used
  lacks    those that the agent has reported as not supported
  acks     "no" if the agent acknowledges no messages, "yes" if it did so after all

Of the last four, only those that are known are shown. With --json each DID of the
home is an object on a line of its own: {"own", "did", "state", "since", "speaks",
"lacks", "acks"}.

It is a failure if no DID of the home knows the agent.`,
		Example: `  didcomm peer did:web:agent.example.org
  didcomm peer --json did:peer:2.Ez6LS...`,
		Args: positional("DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "from"); err != nil {
				return err
			}
			if _, err := did.Parse(args[0]); err != nil {
				return err
			}
			return k.withDIDs(a, cmd, func(d *home.DIDs) error {
				found, err := d.About(cmd.Context(), from, args[0])
				if err == nil && len(found) == 0 {
					err = fmt.Errorf("%s is not known", short(args[0]))
				}
				if err != nil {
					return err
				}
				for i, p := range found {
					if asJSON {
						err = writeLine(cmd.OutOrStdout(), partyJSON(&p))
					} else {
						err = showParty(cmd.OutOrStdout(), &p, i > 0)
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
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "show only what this DID of the home knows")
	f.BoolVar(&asJSON, "json", false, "print a JSON object for each DID of the home")
	return cmd
}

// partyObject is the JSON form of a contact.Party.
type partyObject struct {
	Own    string    `json:"own"`
	DID    string    `json:"did"`
	State  string    `json:"state"`
	Since  time.Time `json:"since,omitzero"`
	Speaks []string  `json:"speaks,omitempty"`
	Lacks  []string  `json:"lacks,omitempty"`
	Acks   string    `json:"acks,omitempty"`
}

func partyJSON(p *contact.Party) *partyObject {
	o := &partyObject{Own: p.Own, DID: p.DID, State: "stranger", Since: p.Since, Speaks: p.Dialect.Speaks, Lacks: p.Dialect.Lacks}
	switch {
	case p.Ended:
		o.State = "ended"
	case p.Contact:
		o.State = "contact"
	}
	switch {
	case p.Dialect.NoAcks:
		o.Acks = "no"
	case p.Dialect.Acks:
		o.Acks = "yes"
	}
	return o
}

func showParty(w io.Writer, p *contact.Party, more bool) error {
	var b strings.Builder
	if more {
		b.WriteByte('\n')
	}
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-7s %s\n", name+":", printable(value))
		}
	}
	o := partyJSON(p)
	line("own", o.Own)
	line("did", o.DID)
	line("state", o.State)
	if !o.Since.IsZero() {
		line("since", localTime(o.Since))
	}
	line("speaks", strings.Join(o.Speaks, " "))
	line("lacks", strings.Join(o.Lacks, " "))
	line("acks", o.Acks)
	_, err := io.WriteString(w, b.String())
	return err
}
