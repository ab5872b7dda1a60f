package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/spf13/cobra"
)

func (a *app) mediator() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mediator",
		Short: "look after the accounts of a mediator",
		Long: `Mediator shows and changes the accounts of the mediator of this home, also while
"didcomm serve --mediator" runs. An account has a few devices, each of which is a
DID that has enrolled. Commands take the id of an account, which is the DID of its
first device, or the DID of another device.`,
		Example: `  didcomm mediator accounts
  didcomm mediator block did:web:wallet.example.org`,
	}
	group(cmd)
	cmd.AddCommand(
		a.mediatorAccounts(), a.mediatorShow(), a.mediatorStats(), a.mediatorPurge(), a.mediatorInvite(),
		a.mediatorChange("block", "block accounts", `Block blocks accounts. From then on, the mediator accepts nothing for them, and
gives them nothing, also on connections that are open. The messages that wait for
the accounts stay until they expire.`, (*mediator.Mediator).Block),
		a.mediatorChange("unblock", "end the block of accounts", `Unblock ends the block of accounts.`, (*mediator.Mediator).Unblock),
	)
	return cmd
}

// withMediator runs f with the mediator of the home.
func (k *kept) withMediator(a *app, cmd *cobra.Command, f func(context.Context, *home.Mediator) error) (err error) {
	cfg, err := k.config(a)
	if err != nil {
		return err
	}
	m, err := home.OpenMediator(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := m.Close(); err == nil {
			err = closeErr
		}
	}()
	return f(cmd.Context(), m)
}

// mediatorChange makes a command that changes accounts.
func (a *app) mediatorChange(name, what, long string, f func(*mediator.Mediator, context.Context, string) error) *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:     name + " DID...",
		Short:   what,
		Long:    long + "\n\nDID is the id of an account, or the DID of a device.",
		Example: "  didcomm mediator " + name + " did:web:wallet.example.org",
		Args:    ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				for _, id := range args {
					if err := f(m.Mediator, ctx, id); err != nil {
						return fmt.Errorf("%s: %w", short(id), err)
					}
				}
				return m.Known(ctx)
			})
		},
	}
	k.addFlags(cmd)
	return cmd
}

func (a *app) mediatorAccounts() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "list the accounts of a mediator",
		Long: `Accounts prints a line for each account: its id, its state, how many devices it has,
how many DIDs it has registered, and the time when it enrolled. The account that was
changed last is the last. The states are:

  active    the mediator keeps messages for the account
  blocked   the operator has blocked the account

With --json each account is an object on a line of its own: {"account", "state",
"created", "devices", "recipients"}.`,
		Example: `  didcomm mediator accounts
  didcomm mediator accounts --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				const page = 500
				for after, more := uint64(0), true; more; more = after != 0 {
					list, next, err := m.Accounts(ctx, after, page)
					if err != nil {
						return err
					}
					after = next
					for i := range list {
						if err := showAccount(cmd.OutOrStdout(), &list[i], asJSON); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each account")
	return cmd
}

// accountObject is the JSON form of a mediator.Account.
type accountObject struct {
	Account    string    `json:"account"`
	State      string    `json:"state"`
	Created    time.Time `json:"created"`
	Devices    int       `json:"devices"`
	Recipients int       `json:"recipients"`
}

func accountJSON(a *mediator.Account) accountObject {
	o := accountObject{a.ID, "active", a.Created, len(a.Devices), a.Recipients}
	if !a.Blocked.IsZero() {
		o.State = "blocked"
	}
	return o
}

func showAccount(w io.Writer, a *mediator.Account, asJSON bool) error {
	o := accountJSON(a)
	if asJSON {
		return writeLine(w, o)
	}
	_, err := fmt.Fprintf(w, "%s %s, devices: %d, DIDs: %d, enrolled %s\n", printable(o.Account), o.State, o.Devices, o.Recipients, localTime(o.Created))
	return err
}

func (a *app) mediatorShow() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show DID",
		Short: "show an account of a mediator",
		Long: `Show prints an account: its devices, the messages that wait for each of them, and
the DIDs that the account has registered. "delivered" are messages that a device was
given and has not acknowledged.

With --json the account is one object: {"account", "state", "created", "devices":
[{"did", "joined", "messages", "bytes", "delivered", "oldest"}], "recipients"}.`,
		Example: `  didcomm mediator show did:web:wallet.example.org
  didcomm mediator show --json did:web:wallet.example.org`,
		Args: positional("DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				d, err := m.Show(ctx, args[0])
				if err != nil {
					return fmt.Errorf("%s: %w", short(args[0]), err)
				}
				o := detailsJSON(d)
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), o)
				}
				return o.show(cmd.OutOrStdout())
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

type detailsObject struct {
	Account    string         `json:"account"`
	State      string         `json:"state"`
	Created    time.Time      `json:"created"`
	Devices    []deviceObject `json:"devices"`
	Recipients []string       `json:"recipients"`
}

type deviceObject struct {
	DID       string    `json:"did"`
	Joined    time.Time `json:"joined"`
	Messages  int       `json:"messages"`
	Bytes     int64     `json:"bytes"`
	Delivered int       `json:"delivered"`
	Oldest    time.Time `json:"oldest,omitzero"`
}

func detailsJSON(d *mediator.Details) *detailsObject {
	account := accountJSON(&d.Account)
	o := &detailsObject{Account: account.Account, State: account.State, Created: account.Created, Recipients: d.Registered}
	for i, device := range d.Devices {
		box := d.Boxes[i]
		o.Devices = append(o.Devices, deviceObject{device.DID, device.Joined, box.Count, box.Bytes, box.Leased, box.Oldest})
	}
	return o
}

func (o *detailsObject) show(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name+":", printable(fmt.Sprintf(format, args...)))
	}
	line("account", "%s", o.Account)
	line("state", "%s", o.State)
	line("enrolled", "%s", localTime(o.Created))
	for _, d := range o.Devices {
		oldest := ""
		if !d.Oldest.IsZero() {
			oldest = ", oldest " + localTime(d.Oldest)
		}
		line("device", "%s, messages: %d, bytes: %d, delivered: %d%s", d.DID, d.Messages, d.Bytes, d.Delivered, oldest)
	}
	for _, id := range o.Recipients {
		line("recipient", "%s", id)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *app) mediatorStats() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "count the accounts and the messages of a mediator",
		Long: `Stats counts the accounts of a mediator and the messages that wait for them.
"delivered" are messages that a device was given and has not acknowledged, and
"oldest" is when the message came that waits for the longest time.

With --json the figures are one object: {"accounts", "blocked", "devices",
"recipients", "messages", "bytes", "delivered", "oldest"}.`,
		Example: `  didcomm mediator stats
  didcomm mediator stats --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				s, err := m.Stats(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), statsObject{s.Accounts, s.Blocked, s.Devices, s.Recipients, s.Packets, s.Bytes, s.Delivered, s.Oldest})
				}
				oldest := "none"
				if !s.Oldest.IsZero() {
					oldest = localTime(s.Oldest)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "accounts: %d\nblocked: %d\ndevices: %d\nrecipients: %d\nmessages: %d\nbytes: %d\ndelivered: %d\noldest: %s\n",
					s.Accounts, s.Blocked, s.Devices, s.Recipients, s.Packets, s.Bytes, s.Delivered, oldest)
				return err
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

type statsObject struct {
	Accounts   int       `json:"accounts"`
	Blocked    int       `json:"blocked"`
	Devices    int       `json:"devices"`
	Recipients int       `json:"recipients"`
	Messages   int       `json:"messages"`
	Bytes      int64     `json:"bytes"`
	Delivered  int       `json:"delivered"`
	Oldest     time.Time `json:"oldest,omitzero"`
}

func (a *app) mediatorPurge() *cobra.Command {
	var k kept
	var dryRun, asJSON bool
	cmd := &cobra.Command{
		Use:   "purge DID",
		Short: "remove an account of a mediator, with its messages",
		Long: `Purge removes an account with all that it has: its devices, the DIDs that it has
registered, and the messages that wait for it. The account may enroll again. A
blocked account loses its DIDs and its messages, and stays blocked. Purge prints
what it removes. With --dry-run it removes nothing.

With --json the output is one object: {"account", "devices", "recipients",
"messages", "bytes", "dry_run"}.`,
		Example: `  didcomm mediator purge --dry-run did:web:wallet.example.org
  didcomm mediator purge did:web:wallet.example.org`,
		Args: positional("DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				p, err := m.Purge(ctx, args[0], dryRun)
				if err == nil && !dryRun {
					err = m.Known(ctx)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", short(args[0]), err)
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), struct {
						Account    string `json:"account"`
						Devices    int    `json:"devices"`
						Recipients int    `json:"recipients"`
						Messages   int    `json:"messages"`
						Bytes      int64  `json:"bytes"`
						DryRun     bool   `json:"dry_run"`
					}{p.Account, p.Devices, p.Recipients, p.Packets, p.Bytes, dryRun})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "account: %s\ndevices: %d\nrecipients: %d\nmessages: %d\nbytes: %d\n",
					printable(p.Account), p.Devices, p.Recipients, p.Packets, p.Bytes)
				return err
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (a *app) mediatorInvite() *cobra.Command {
	var k kept
	var uses int
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "make an invitation to enroll with a mediator",
		Long: `Invite prints an invitation, as a URL, with which agents may enroll with the
mediator of this home if "didcomm serve" has --enroll-invited. The invited party
gives the URL to "didcomm serve --via". Everybody who sees the URL can use it.`,
		Example: `  didcomm mediator invite
  didcomm mediator invite --uses 100 --for 720h`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if uses <= 0 {
				return usagef("--uses %d: want more than 0", uses)
			}
			if within <= 0 {
				return usagef("--for %s: want more than 0", within)
			}
			return k.withMediator(a, cmd, func(ctx context.Context, m *home.Mediator) error {
				until := time.Now().Add(within)
				i := outofband.New(m.DID())
				i.GoalCode, i.Goal, i.Expires = server.EnrollGoalCode, server.EnrollGoal, until
				var err error
				if i.ID, err = m.NewToken(ctx, uses, until); err != nil {
					return err
				}
				at, err := url.Parse(m.Endpoint)
				if err != nil {
					return err
				}
				text, err := i.URL(at.Scheme + "://" + at.Host + server.InvitationPath)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
				return err
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().IntVar(&uses, "uses", 1, "how many accounts may enroll with the invitation")
	cmd.Flags().DurationVar(&within, "for", 7*24*time.Hour, "how long the invitation may be used")
	return cmd
}
