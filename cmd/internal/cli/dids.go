package cli

import (
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

func (a *app) didList() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the DIDs of this home",
		Long: `List prints a line for each DID of this home, the oldest first: the DID, its state,
and the time when it was made. It works while "didcomm serve" runs, too. The states
are:

  in use    the DID of didcomm serve, or of the last serve; didcomm send uses it too
  former    the DID of an earlier serve; messages to it are still opened
  own       a DID of did create; serve answers for it
  enrolled  the DID with which serve --via is enrolled with a mediator
  retired   a DID of did retire; messages to it are opened until the time given

With --json each DID is an object on a line of its own: {"did", "state", "created",
"until"}. Only the object of a retired DID has "until".`,
		Example: `  didcomm did list
  didcomm did list --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withDIDs(a, cmd, func(d *home.DIDs) error {
				list, err := d.List(cmd.Context())
				if err != nil {
					return err
				}
				for _, entry := range list {
					if asJSON {
						err = writeLine(cmd.OutOrStdout(), didJSON(entry))
					} else {
						_, err = fmt.Fprintln(cmd.OutOrStdout(), didText(entry))
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each DID")
	return cmd
}

// withDIDs runs f with the DIDs of the home.
func (k *kept) withDIDs(a *app, cmd *cobra.Command, f func(*home.DIDs) error) (err error) {
	cfg, err := k.config(a)
	if err != nil {
		return err
	}
	d, err := home.OpenDIDs(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil {
			err = closeErr
		}
	}()
	return f(d)
}

func didText(d home.DID) string {
	state := string(d.State)
	if d.State == home.Retired && time.Now().Before(d.Until) {
		state += " until " + localTime(d.Until)
	}
	return fmt.Sprintf("%s %s, made %s", printable(d.ID), state, localTime(d.Created))
}

func didJSON(d home.DID) any {
	return struct {
		DID     string    `json:"did"`
		State   string    `json:"state"`
		Created time.Time `json:"created"`
		Until   time.Time `json:"until,omitzero"`
	}{d.ID, string(d.State), d.Created, d.Until}
}

func localTime(t time.Time) string { return t.Local().Format(time.DateTime) }

func (a *app) didRetire() *cobra.Command {
	var k kept
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "retire DID",
		Short: "end the use of a DID of this home",
		Long: `Retire ends the use of a DID. Messages that are under way to the DID are still
opened for the time of --for. After that, the agent does not answer for the DID,
and does not publish its document. Retire works while "didcomm serve" runs, too.

A retired DID cannot be used again. Its keys stay in the home. The DID that serve
uses cannot be retired: first start serve with another --public-url, --listen,
--did or --via. A mediator is told to take no more messages for a retired DID when
these are not opened any more. A DID that is enrolled with a mediator cannot be
retired.`,
		Example: `  didcomm did retire did:web:example.org:agents:bob
  didcomm did retire --for 0 did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH`,
		Args: positional("DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if within < 0 {
				return usagef("--for %s: want 0 or more", within)
			}
			return k.withDIDs(a, cmd, func(d *home.DIDs) error {
				until := time.Now().Add(within)
				id, err := d.Retire(cmd.Context(), args[0], until)
				if err != nil {
					return err
				}
				if within == 0 {
					fmt.Fprintf(a.Stderr, "Retired: messages to %s are not opened any more.\n", printable(id))
				} else {
					fmt.Fprintf(a.Stderr, "Retired: messages to %s are opened until %s.\n", printable(id), localTime(until))
				}
				return nil
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().DurationVar(&within, "for", 72*time.Hour, "how long messages to the DID are still opened; with 0 no message is opened from now on")
	return cmd
}
