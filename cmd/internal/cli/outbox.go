package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

type outboxEntry = store.Entry[store.Item]

func (a *app) outbox() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "outbox",
		Short: "look after the messages that the agent has to deliver",
		Long: `Outbox shows and changes the messages that the agent of this home has to deliver,
also while "didcomm serve" runs. A message is "waiting" for its next try,
"sending", or "buried": given up or expired, and kept for you to see.

ID is the id of a message, which send has printed. A message to several recipients
is in the outbox once for each of them.`,
		Example: `  didcomm outbox list
  didcomm outbox retry 6b8f0c53-63c2-4b3c-9a43-0fd2a2a8a7c1`,
	}
	group(cmd)
	cmd.AddCommand(a.outboxList(), a.outboxShow(), a.outboxRetry(), a.outboxDrop())
	return cmd
}

// withOutbox runs f with the outbox of the home.
func (a *app) withOutbox(cmd *cobra.Command, k *kept, f func(ctx context.Context, o *home.Outbox) error) (err error) {
	cfg, err := k.config(a)
	if err != nil {
		return err
	}
	o, err := home.OpenOutbox(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := o.Close(); err == nil {
			err = closeErr
		}
	}()
	return f(cmd.Context(), o)
}

// outboxStates has the names of the states of a message in the outbox.
var outboxStates = map[store.State]string{store.Waiting: "waiting", store.Leased: "sending", store.Buried: "buried"}

func (a *app) outboxList() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the messages to deliver, and those that were given up",
		Long: `List prints a line for each message in the outbox, the oldest first: its id, its
state, the number of tries and the time of the next try, the recipient, and the
error of the last try. A "buried" message was given up, or has expired; the line
says which.

With --json each message is an object on a line of its own. Its "outcome" is
"queued", "given up" or "expired". If an error ends the list early, the error says
after how many messages.`,
		Example: `  didcomm outbox list
  didcomm outbox list --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withOutbox(cmd, &k, func(ctx context.Context, o *home.Outbox) error {
				n := 0
				err := o.Each(ctx, func(e outboxEntry) error {
					show := listEntry
					if asJSON {
						show = listJSON
					}
					if err := show(a.Stdout, &e); err != nil {
						return err
					}
					n++
					return nil
				})
				if err == nil && n == 0 {
					fmt.Fprintln(a.Stderr, "The outbox is empty.")
				}
				return cutOff(n, err)
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each message")
	return cmd
}

func (a *app) outboxShow() *cobra.Command {
	var k kept
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "show all that is known of a message",
		Long: `Show prints where a message goes, and what has become of it. With --json it prints
an object for each recipient, with the sealed packets.`,
		Example: `  didcomm outbox show 6b8f0c53-63c2-4b3c-9a43-0fd2a2a8a7c1`,
		Args:    positional("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withOutbox(cmd, &k, func(ctx context.Context, o *home.Outbox) error {
				entries, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				for i := range entries {
					if asJSON {
						err = writeJSON(cmd.OutOrStdout(), packetsJSON(&entries[i]))
					} else {
						err = showEntry(cmd.OutOrStdout(), &entries[i])
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
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, with the sealed packets")
	return cmd
}

func (a *app) outboxRetry() *cobra.Command {
	var within time.Duration
	cmd := a.change("retry", "try to deliver a message now", `Retry makes a message due now: the agent that serves this home tries to deliver it
at once. If none serves the home now, the next agent does. Delivery of a "buried"
message is tried again for the time of --deliver-within.`, func(ctx context.Context, o *home.Outbox, entries []outboxEntry) error {
		return o.Retry(ctx, entries, within)
	})
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if within <= 0 {
			return usagef("--deliver-within %s: want more than 0", within)
		}
		return nil
	}
	addDeliverWithin(cmd, &within)
	return cmd
}

func addDeliverWithin(cmd *cobra.Command, d *time.Duration) {
	cmd.Flags().DurationVar(d, "deliver-within", 72*time.Hour, "how long delivery is tried of a message that has no expiry of its own")
}

func (a *app) outboxDrop() *cobra.Command {
	return a.change("drop", "remove a message for good", `Drop removes a message from the outbox, whatever its state. A message in the state
"sending" may still arrive.`,
		func(ctx context.Context, o *home.Outbox, entries []outboxEntry) error { return o.Drop(ctx, entries) })
}

// ids checks the arguments of a command that changes messages.
func ids(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("ID is missing")
	}
	return nil
}

// change makes a command that changes messages of the outbox.
func (a *app) change(name, what, long string, f func(context.Context, *home.Outbox, []outboxEntry) error) *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:     name + " ID...",
		Short:   what,
		Long:    long,
		Example: "  didcomm outbox " + name + " 6b8f0c53-63c2-4b3c-9a43-0fd2a2a8a7c1",
		Args:    ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withOutbox(cmd, &k, func(ctx context.Context, o *home.Outbox) error {
				for _, id := range args {
					entries, err := o.Find(ctx, id)
					if err == nil {
						err = f(ctx, o, entries)
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

func listEntry(w io.Writer, e *outboxEntry) error {
	o, why := delivery.OutcomeOf(*e), ""
	switch {
	case o.Ended():
		why = ": " + oneLine(o.String())
	case o.Err != nil:
		why = ": " + oneLine(o.Err.Error())
	}
	_, err := fmt.Fprintf(w, "%s %s, %s, to %s%s\n", printable(o.MessageID), progress(e), tries(o.Attempts),
		printable(short(o.To)), printable(why))
	return err
}

func listJSON(w io.Writer, e *outboxEntry) error { return writeLine(w, entryJSON(e)) }

// progress returns the state of an entry, and the time of its next try.
func progress(e *outboxEntry) string {
	state := outboxStates[e.State]
	if wait := time.Until(e.Due); e.State == store.Waiting && !e.Due.IsZero() && wait > 0 {
		state += " until " + e.Due.Local().Format(time.DateTime)
	}
	return state
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}

func showEntry(w io.Writer, e *outboxEntry) error {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-9s %s\n", name+":", printable(value))
		}
	}
	o := delivery.OutcomeOf(*e)
	line("message", o.MessageID)
	line("thread", o.Thread)
	line("from", o.From)
	line("to", o.To)
	for _, r := range e.Item.Endpoints {
		if len(r.RoutingKeys) > 0 {
			r.URI += ", a mediator"
		}
		line("by", r.URI)
	}
	line("size", fmt.Sprintf("%d bytes", e.Item.Bytes()))
	line("created", e.Item.Created.Local().Format(time.DateTime))
	line("deadline", e.Item.Deadline.Local().Format(time.DateTime))
	line("state", progress(e))
	line("outcome", string(o.State))
	line("tries", fmt.Sprint(o.Attempts))
	if o.Err != nil {
		line("error", oneLine(o.Err.Error()))
	}
	_, err := fmt.Fprintln(w)
	return err
}

// entryObject is the JSON form of an entry.
type entryObject struct {
	ID       string        `json:"id"` // of the message
	Item     string        `json:"item"`
	Thread   string        `json:"thread,omitzero"`
	From     string        `json:"from,omitzero"`
	To       string        `json:"to"`
	State    string        `json:"state"`
	Outcome  string        `json:"outcome"` // a delivery.State
	Attempts int           `json:"attempts"`
	Error    string        `json:"error,omitzero"`
	Due      time.Time     `json:"due,omitzero"`
	Created  time.Time     `json:"created"`
	Deadline time.Time     `json:"deadline"`
	Packet   any           `json:"packet,omitzero"`
	Routes   []routeObject `json:"routes,omitzero"`
}

type routeObject struct {
	Endpoint string `json:"endpoint"`
	// RoutingKeys are the keys of the mediators for which the packet is wrapped.
	RoutingKeys []string `json:"routing_keys,omitzero"`
}

func entryJSON(e *outboxEntry) *entryObject {
	o := delivery.OutcomeOf(*e)
	return &entryObject{
		ID: o.MessageID, Item: o.ID, Thread: o.Thread, From: o.From, To: o.To,
		State: outboxStates[e.State], Outcome: string(o.State), Attempts: o.Attempts, Error: e.LastError, Due: e.Due,
		Created: e.Item.Created, Deadline: e.Item.Deadline,
	}
}

func packetsJSON(e *outboxEntry) *entryObject {
	o := entryJSON(e)
	o.Packet = packetJSON(e.Item.Direct)
	for _, r := range e.Item.Endpoints {
		o.Routes = append(o.Routes, routeObject{r.URI, r.RoutingKeys})
	}
	return o
}

// packetJSON returns a packet as JSON, or nil for a packet that is not JSON.
func packetJSON(p store.Packet) any {
	if v := jsontext.Value(p.Data); v.IsValid() {
		return v
	}
	return nil
}
