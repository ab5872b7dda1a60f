// Package cli is the command line of didcomm, with a file for each subcommand. [Main]
// runs a command.
//
// Scripts can rely on this: the exit status is 0 on success, 1 on failure and 2 on wrong
// usage. A failure writes one line, "didcomm: <what>: <why>", to standard error, and
// nothing to standard output: the output of a command is held back until the command has
// succeeded. There are three exceptions:
//
//   - serve runs until it is stopped, and writes at once.
//   - inbox and outbox list may have many messages, and write at once. If they fail
//     midway, the error says after how many messages.
//   - inspect prints its findings also if one of them is an error.
package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/config"
	"github.com/spf13/cobra"
)

// Exit statuses of the program.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// lastError is how long Main waits until its error is written.
const lastError = 5 * time.Second

// IO is the input and output of the program, and its environment.
type IO struct {
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	LookupEnv func(string) (string, bool)
}

// A usageError is the error for a wrong command line or a wrong setting.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// A verdictError makes the exit status 1 although the command has done its work. The
// output of the command is written.
type verdictError struct{ err error }

func (e *verdictError) Error() string { return e.err.Error() }
func (e *verdictError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// Main runs the command in args, which do not include the name of the program, and
// returns the exit status.
func Main(args []string, io IO) int {
	var out bytes.Buffer
	root := NewRoot(io)
	root.SetArgs(args)
	root.SetIn(io.Stdin)
	root.SetOut(&out)
	root.SetErr(io.Stderr)
	cmd, err := root.ExecuteC()
	if found := new(verdictError); out.Len() > 0 && (err == nil || errors.As(err, &found)) {
		if _, fail := io.Stdout.Write(out.Bytes()); fail != nil {
			err = fail
		}
	}
	if err == nil {
		return exitOK
	}
	what := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), root.Name()), " ")
	if what != "" {
		what += ": "
	}
	status, hint := exitFailure, ""
	var usage *usageError
	var setting *config.SettingError
	if errors.As(err, &usage) || errors.As(err, &setting) {
		status, hint = exitUsage, " (see "+cmd.CommandPath()+" --help)"
	}
	printed := make(chan struct{})
	go func() {
		defer close(printed)
		fmt.Fprintf(io.Stderr, "didcomm: %s%s%s\n", what, line(err), hint)
	}()
	select {
	case <-printed:
	case <-time.After(lastError): // nobody reads standard error
	}
	return status
}

// NewRoot returns the command didcomm with all of its subcommands.
func NewRoot(io IO) *cobra.Command {
	a := &app{IO: io}
	root := &cobra.Command{
		Use:   "didcomm",
		Short: "a DIDComm v2.1 agent, and a tool to talk to agents",
		Long: `didcomm is a DIDComm Messaging v2.1 agent, and a tool to talk to agents.

  didcomm serve                run an agent; it prints its DID, and a command that
                               pings it from a second terminal
  didcomm ping DID             see whether an agent answers, and how fast
  didcomm send DID TEXT        send an agent a message
  didcomm invite               invite another agent, by a URL or a QR code
  didcomm accept URL           accept the invitation of another agent
  didcomm inbox                show the messages that your agent has received
  didcomm pickup               collect the messages that wait with the mediator
  didcomm outbox               show the messages that your agent has to deliver
  didcomm peer DID             show what your agent knows about another agent
  didcomm mediator             look after the accounts of your mediator
  didcomm did                  look after the DIDs of your agent
  didcomm key                  look after its private keys and their passphrase
  didcomm backup, restore      save the state of your agent, and get it back

  didcomm pack, unpack         seal and open messages, in files or pipes
  didcomm inspect              explain an envelope, and what is wrong with it

Settings: the flag --public-url is also DIDCOMM_PUBLIC_URL in the environment, and
"public-url" in the configuration file. The command line wins over the environment,
and the environment over the file.

Exit status: 0 on success, 1 on failure, 2 on wrong usage. A command that fails
prints one line, "didcomm: what: why", on standard error, and nothing on standard
output. There are three exceptions: serve prints while it runs, inspect prints what
it found, and a list of messages may end early.`,
		Example: `  didcomm serve
  didcomm did create --method key --secrets-out alice.json
  didcomm ping did:web:agent.example.org`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.settle,

		SuggestionsMinimumDistance: 2,
		DisableFlagsInUseLine:      true,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.PersistentFlags().String("home", "", "directory of the agent's state (default \"didcomm\" in the user's configuration directory)")
	group(root)
	root.AddCommand(a.did(), a.pack(), a.unpack(), a.inspect(), a.serve(), a.ping(), a.send(), a.invite(), a.accept(), a.inbox(), a.outbox(), a.peer(), a.mediator(), a.pickup(), a.key(), a.backup(), a.restore())
	root.SetHelpCommand(help())
	root.InitDefaultCompletionCmd()
	return root
}

// group makes cmd a command that only has subcommands. Without a subcommand, cmd shows
// its help. A missing or an unknown subcommand is wrong usage.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usagef("no command given")
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			return usagef("no command %q; did you mean %q?", args[0], near[0])
		}
		return usagef("no command %q", args[0])
	}
}

func help() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "show what a command does",
		Long:    `Help shows what a command does. COMMAND --help shows the same.`,
		Example: `  didcomm help did create`,
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("no command %q", strings.Join(args, " "))
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

// positional checks the number of arguments against their names. An argument whose name
// is in brackets is optional.
func positional(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return usagef("unexpected argument %q", args[len(names)])
		}
		for _, name := range names[len(args):] {
			if !strings.HasPrefix(name, "[") {
				return usagef("%s is missing", name)
			}
		}
		return nil
	}
}
