package cli_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/cli"
	"github.com/didcomm-go/didcomm/cmd/internal/config"
	"github.com/spf13/pflag"
)

// handbook describes all commands and all settings of serve.
const handbook = "cmd/didcomm/README.md"

// pages are the documents that name commands and flags.
var pages = []string{"README.md", handbook, "examples/README.md", "examples/crash/README.md", "examples/interop/README.md"}

// page is the text of a document.
func page(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// blocks are the code blocks of a language.
func blocks(text, language string) []string {
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// Each command of a document exists, and takes the flags and arguments that it is
// given there.
func TestPagesCommands(t *testing.T) {
	found := 0
	for _, name := range pages {
		text := page(t, name)
		for line := range strings.Lines(strings.Join(append(blocks(text, "sh"), blocks(text, "console")...), "")) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			if command, ok := strings.CutPrefix(line, "go run ./cmd/"); ok {
				line = command
			}
			if line, _, _ = strings.Cut(line, " # "); strings.HasPrefix(line, "didcomm ") {
				found++
				checkCommand(t, name, line, true)
			}
		}
		for _, m := range regexp.MustCompile("`(didcomm [^`]+)`").FindAllStringSubmatch(text, -1) {
			found++
			checkCommand(t, name, m[1], false)
		}
	}
	if found < 50 {
		t.Errorf("found only %d commands", found)
	}
}

// checkCommand checks a command line. One that is not whole may lack its arguments.
func checkCommand(t *testing.T, where, line string, whole bool) {
	t.Helper()
	line = regexp.MustCompile(`'[^']*'`).ReplaceAllString(line, "quoted")
	args := strings.Fields(regexp.MustCompile(`[<>]\S+`).ReplaceAllString(line, ""))
	cmd, rest, err := cli.NewRoot(cli.IO{LookupEnv: noEnv}).Find(args[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil && cmd.HasSubCommands() && cmd.Flags().NArg() > 0 {
		err = errors.New("no such command")
	}
	if err == nil && (whole || cmd.Flags().NArg() > 0) {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: %q: %v", where, line, err)
	}
}

// Each flag and each variable of a document exists.
func TestPagesSettings(t *testing.T) {
	var flags, variables []string
	help := ""
	add := func(f *pflag.Flag) {
		flags = append(flags, "--"+f.Name)
		variables = append(variables, config.EnvName(f.Name))
		help += f.Usage
	}
	for _, c := range commands(t) {
		c.InitDefaultHelpFlag()
		c.LocalFlags().VisitAll(add) // those of the root are inherited by all
	}
	variable := regexp.MustCompile(`DIDCOMM_[A-Z_]+`)
	variables = append(variables, variable.FindAllString(help, -1)...) // of a passphrase there is no flag
	for _, name := range pages {
		text := page(t, name)
		for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(text, -1) {
			if !slices.Contains(flags, flag) {
				t.Errorf("%s names %s, which no command has", name, flag)
			}
		}
		for _, v := range variable.FindAllString(text, -1) {
			if !slices.Contains(variables, v) {
				t.Errorf("%s names %s, which no command reads", name, v)
			}
		}
	}
}

// The handbook has each command, and each setting of serve; its configuration file
// is one.
func TestHandbook(t *testing.T) {
	text := page(t, handbook)
	for _, c := range commands(t) {
		if !c.HasParent() || c.HasSubCommands() && c.Name() != "inbox" && c.Name() != "pickup" || c.Name() == "help" {
			continue
		}
		if !regexp.MustCompile("(?m)^\\| `" + c.CommandPath() + "[ `]").MatchString(text) {
			t.Errorf("%s has no line for %s", handbook, c.CommandPath())
		}
	}
	serveFlags(t, nil, nil, "").VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !strings.Contains(text, "`--"+f.Name+"`") {
			t.Errorf("%s does not name --%s of serve", handbook, f.Name)
		}
	})
	files := blocks(text, "yaml")
	if len(files) != 1 {
		t.Fatalf("%s has %d configuration files, want 1", handbook, len(files))
	}
	serveFlags(t, nil, nil, files[0])
}
