package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

func (a *app) inbox() *cobra.Command {
	var k kept
	var pass passphrase
	var follow, asJSON bool
	var reach network.Reach
	cmd := &cobra.Command{
		Use:   "inbox",
		Short: "show the messages that the agent has received",
		Long: `Inbox shows the messages that the agent of this home has received, the oldest
first, also while "didcomm serve" runs. A line has the time, the state, the sender
and the type of the message, and the text of a basic message or of a problem that a
peer reports. The states are:

  waiting     the message waits for its handler, or for another try
  handling    the handler works on the message
  done        the handler has finished; the message stays for the time of serve's
              --keep-received
  set aside   the handler failed for good, the message could not be opened for
              days, or it was not sent to us; the line has the reason

A line that is not "done" has the id of the message: "inbox retry" gives the
message to its handler again, and "inbox drop" removes it.

The inbox keeps messages sealed, as they came. If a message cannot be opened now,
for example because the DID of its sender does not resolve, the line has the
reason. If such a message came by a WebSocket, its sender and its type are not
known, and its id is that of the packet.

A signed message that was sent to another party, and that this party has passed on
to us, is not handled. Its line has "not sent to us" and its signer.

With --follow, inbox goes on with messages that come in, until it is interrupted.
With --json, each message is an object on a line of its own: {"time", "state",
"attempts", "error", "from", "to", "id", "type", "thread", "message"}. Instead of
"message", "unopened" has the reason. A message that was not sent to us has
"passed_on": true, and "signed_by" instead of "from". If an error ends the list
early, the error says after how many messages.`,
		Example: `  didcomm inbox
  didcomm inbox --follow
  didcomm inbox --json
  didcomm inbox retry 6b8f0c53-63c2-4b3c-9a43-0fd2a2a8a7c1`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			pass.open(a, &cfg)
			b, err := home.OpenInbox(ctx, cfg)
			if err != nil {
				return err
			}
			defer b.Close()
			reach.Loopback = true
			letters, err := b.Letters(ctx, reach)
			if err != nil {
				return err
			}
			each, show := letters.Each, showLetter
			if follow {
				each = letters.Follow
				var stop func()
				ctx, stop = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
			}
			if asJSON {
				show = letterJSON
			}
			n := 0
			err = each(ctx, func(l home.Letter) error {
				if err := show(a.Stdout, l); err != nil {
					return err
				}
				n++
				return nil
			})
			return cutOff(n, err)
		},
	}
	cmd.AddCommand(
		a.inboxChange("retry", "give a message to its handler again", `Retry gives messages that wait, or were set aside, to their handlers again. The
agent that serves this home does so at once. If none serves the home now, the next
agent does.`, (*home.Inbox).Retry),
		a.inboxChange("drop", "remove a message for good", `Drop removes a message from the inbox, whatever its state. The agent remembers the
message, and does not handle it if it comes again.`, (*home.Inbox).Drop),
	)
	k.addFlags(cmd)
	pass.addFlag(cmd)
	f := cmd.Flags()
	f.BoolVar(&follow, "follow", false, "go on with messages that come in later")
	f.BoolVar(&asJSON, "json", false, "print a JSON object for each message")
	f.BoolVar(&reach.Private, "allow-private", false, "resolve DIDs of senders in private networks too")
	return cmd
}

// inboxChange makes a command that changes messages of the inbox.
func (a *app) inboxChange(name, what, long string, f func(*home.Inbox, context.Context, string) error) *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:     name + " ID...",
		Short:   what,
		Long:    long + "\n\nID is the id of the message, as inbox shows it.",
		Example: "  didcomm inbox " + name + " 6b8f0c53-63c2-4b3c-9a43-0fd2a2a8a7c1",
		Args:    ids,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			b, err := home.OpenInbox(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer b.Close()
			for _, id := range args {
				if err := f(b, cmd.Context(), id); err != nil {
					return err
				}
			}
			return nil
		},
	}
	k.addFlags(cmd)
	return cmd
}

// inboxStates has the names of the states of a received message.
var inboxStates = map[store.State]string{
	store.Waiting: "waiting", store.Leased: "handling", store.Done: "done", store.Buried: "set aside",
}

func showLetter(w io.Writer, l home.Letter) error {
	state, id := inboxStates[l.State], ""
	if l.State != store.Done {
		id = ", id " + l.Item.ID
		if l.LastError != "" {
			state += " (" + oneLine(l.LastError) + ")"
		}
	}
	from := "from " + printable(short(l.Item.Peer))
	switch {
	case l.PassedOn && l.Signer != "":
		from = "not sent to us, signed by " + printable(short(l.Signer))
	case l.PassedOn:
		from = "not sent to us"
	case l.Item.Peer == "":
		from = "from anonymous"
	}
	text := ""
	if l.Err != nil {
		text = ": cannot be opened: " + oneLine(l.Err.Error())
	} else if t, ok := content(l.Message); ok {
		text = ": " + t
	}
	if l.Err != nil && agent.IsParked(l.Item) { // its sender and type are not known
		_, err := fmt.Fprintf(w, "%s %s%s%s\n", l.Item.Time.Local().Format(time.DateTime), printable(state), printable(text), printable(id))
		return err
	}
	_, err := fmt.Fprintf(w, "%s %s, %s, %s%s%s\n", l.Item.Time.Local().Format(time.DateTime), printable(state),
		from, printable(protocol(l.Item.Type)), printable(id), printable(text))
	return err
}

// protocol returns the last three parts of a message type: protocol, version and message.
func protocol(typ string) string {
	parts := strings.Split(typ, "/")
	return strings.Join(parts[max(0, len(parts)-3):], "/")
}

// content returns the text of a basic message, or the code and the text of a problem report.
func content(m *message.Message) (string, bool) {
	if p, err := agent.ParseProblemReport(m); err == nil {
		return client.ProblemText(p), true
	}
	var body basicmessage.Body
	if !message.Is(m, basicmessage.TypeMessage) || m.DecodeBody(&body) != nil {
		return "", false
	}
	return body.Content, true
}

func letterJSON(w io.Writer, l home.Letter) error {
	v := struct {
		Time     time.Time        `json:"time"`
		State    string           `json:"state"`
		Attempts int              `json:"attempts"`
		Error    string           `json:"error,omitzero"`
		From     string           `json:"from,omitzero"`
		PassedOn bool             `json:"passed_on,omitzero"`
		Signer   string           `json:"signed_by,omitzero"`
		To       string           `json:"to,omitzero"`
		ID       string           `json:"id"`
		Type     string           `json:"type"`
		Thread   string           `json:"thread,omitzero"`
		Message  *message.Message `json:"message,omitzero"`
		Unopened string           `json:"unopened,omitzero"`
	}{l.Item.Time, inboxStates[l.State], l.Attempts, l.LastError, l.Item.Peer, l.PassedOn, l.Signer, l.Item.To, l.Item.ID, l.Item.Type, l.Item.Thread, l.Message, ""}
	if l.Err != nil {
		v.Unopened = l.Err.Error()
	}
	return writeLine(w, v)
}

// writeLine writes v as JSON on one line.
func writeLine(w io.Writer, v any) error {
	data, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	return err
}
