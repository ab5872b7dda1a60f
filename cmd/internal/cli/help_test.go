package cli_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/cli"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func noEnv(string) (string, bool) { return "", false }

// commands returns all commands that are ours.
func commands(t *testing.T) []*cobra.Command {
	t.Helper()
	var all []*cobra.Command
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" { // cobra's own
			return
		}
		all = append(all, c)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(cli.NewRoot(cli.IO{LookupEnv: noEnv}))
	if len(all) < 5 {
		t.Fatalf("only %d commands", len(all))
	}
	return all
}

// A person finds in each help text what the command does, how it is called and
// what each flag means, and the examples in it work as they stand.
func TestHelp(t *testing.T) {
	for _, c := range commands(t) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			if c.Short == "" || strings.HasSuffix(c.Short, ".") || strings.ToLower(c.Short[:1]) != c.Short[:1] && !strings.HasPrefix(c.Short, "DID") {
				t.Errorf("short text %q: want a phrase, without capital and full stop", c.Short)
			}
			if len(c.Long) < 50 || !strings.HasSuffix(c.Long, ".") && !strings.HasSuffix(c.Long, "\"") {
				t.Errorf("long text %q: want sentences", c.Long)
			}
			if c.Example == "" {
				t.Error("no example")
			}
			for line := range strings.Lines(c.Long) {
				if len([]rune(strings.TrimRight(line, "\n"))) > 84 {
					t.Errorf("line of the long text over 84 columns: %q", line)
				}
			}
			c.LocalFlags().VisitAll(func(f *pflag.Flag) {
				if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
					t.Errorf("--%s: usage %q: want a phrase without full stop", f.Name, f.Usage)
				}
			})
		})
	}
}

func TestExamples(t *testing.T) {
	for _, c := range commands(t) {
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			for part := range strings.SplitSeq(line, "|") {
				part = regexp.MustCompile(`'[^']*'`).ReplaceAllString(part, "quoted")
				args := strings.Fields(regexp.MustCompile(`[<>]\S+`).ReplaceAllString(part, ""))
				if len(args) == 0 || args[0] != "didcomm" {
					t.Errorf("%s: example %q does not run didcomm", c.CommandPath(), line)
					continue
				}
				root := cli.NewRoot(cli.IO{LookupEnv: noEnv})
				cmd, rest, err := root.Find(args[1:])
				if err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
					continue
				}
				if err := cmd.ParseFlags(rest); err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				}
			}
		}
	}
}

// What help prints is what it says on standard output, with status 0.
func TestHelpFlag(t *testing.T) {
	for _, c := range commands(t) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		var stdout, stderr bytes.Buffer
		status := cli.Main(args, cli.IO{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, LookupEnv: noEnv})
		if status != 0 || stderr.Len() > 0 || !strings.Contains(stdout.String(), "Usage:") {
			t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, stdout.String(), stderr.String())
		}
	}
}

// One flag name means one thing: the configuration file and the environment
// know settings by it.
func TestFlagsAgree(t *testing.T) {
	usage := map[string][]string{}
	for _, c := range commands(t) {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !slices.Contains(usage[f.Name], f.Value.Type()) {
				usage[f.Name] = append(usage[f.Name], f.Value.Type())
			}
		})
	}
	for name, types := range usage {
		if len(types) > 1 {
			t.Errorf("--%s has the types %v", name, types)
		}
	}
}
