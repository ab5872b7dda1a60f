package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/cmd/internal/cli"
	"github.com/didcomm-go/didcomm/cmd/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settings are all settings of serve, each with a value for the command line,
// the environment and the file.
var settings = map[string][3]string{
	"listen":        {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"},
	"public-url":    {"http://flag.example", "http://env.example", "http://file.example"},
	"did":           {"did:web:flag.example", "did:web:env.example", "did:web:file.example"},
	"via":           {"did:web:flag.example", "did:web:env.example", "did:web:file.example"},
	"tls-cert":      {"flag.pem", "env.pem", "file.pem"},
	"tls-key":       {"flag.pem", "env.pem", "file.pem"},
	"client-ca":     {"flag.pem", "env.pem", "file.pem"},
	"allow-origin":  {"[http://flag.example]", "[http://env.example]", "[http://file.example]"},
	"allow-private": {"true", "true", "true"},
	"invitation":    {"true", "true", "true"},
	"max-bytes":     {"1", "2", "3"},
	"unread-bytes":  {"1", "2", "3"},
	"read-timeout":  {"1s", "2s", "3s"},
	"log-level":     {"debug", "warn", "error"},
	"log-format":    {"json", "json", "json"},

	"store":           {"postgres://flag.example", "postgres://env.example", "postgres://file.example"},
	"passphrase-file": {"flag.txt", "env.txt", "file.txt"},
	"max-queue":       {"1", "2", "3"},
	"max-queue-bytes": {"1", "2", "3"},
	"max-remembered":  {"1", "2", "3"},
	"deliver-within":  {"1s", "2s", "3s"},
	"keep-received":   {"1s", "2s", "3s"},
	"stranger-within": {"1s", "2s", "3s"},
	"stranger-bytes":  {"1", "2", "3"},
	"stranger-tries":  {"1", "2", "3"},
	"refused-tries":   {"1", "2", "3"},
	"tries-per-host":  {"1", "2", "3"},

	"did-web-lifetime":   {"1s", "2s", "3s"},
	"did-web-per-minute": {"1", "2", "3"},
	"did-web-per-host":   {"1", "2", "3"},

	"report-burst":     {"1", "2", "3"},
	"reports-per-hour": {"1", "2", "3"},
	"answer-burst":     {"1", "2", "3"},
	"answers-per-hour": {"1", "2", "3"},

	"max-connections":         {"1", "2", "3"},
	"connections-per-address": {"1", "2", "3"},
	"connects-per-minute":     {"1", "2", "3"},
	"requests-per-minute":     {"1", "2", "3"},
	"failures-per-minute":     {"1", "2", "3"},
	"trusted-proxy":           {"[10.0.0.1]", "[10.0.0.2]", "[10.0.0.3]"},

	"mediator":         {"true", "true", "true"},
	"enroll-invited":   {"true", "true", "true"},
	"enroll-list":      {"flag.txt", "env.txt", "file.txt"},
	"next-hop":         {"[did:web:flag.example]", "[did:web:env.example]", "[did:web:file.example]"},
	"max-accounts":     {"1", "2", "3"},
	"max-mail":         {"1", "2", "3"},
	"max-mail-bytes":   {"1", "2", "3"},
	"mail-age":         {"1s", "2s", "3s"},
	"mailbox-messages": {"1", "2", "3"},
	"mailbox-bytes":    {"1", "2", "3"},
	"pair-messages":    {"1", "2", "3"},
	"pair-bytes":       {"1", "2", "3"},
	"sender-messages":  {"1", "2", "3"},
	"sender-bytes":     {"1", "2", "3"},

	"forwards-per-address":   {"1", "2", "3"},
	"forwards-per-sender":    {"1", "2", "3"},
	"enrolments-per-hour":    {"1", "2", "3"},
	"enrolments-per-address": {"1", "2", "3"},
}

// serveFlags returns the flags of serve as it would run with the given command
// line, environment and file.
func serveFlags(t *testing.T, args []string, env map[string]string, file string) *pflag.FlagSet {
	t.Helper()
	home := t.TempDir()
	if file != "" {
		if err := os.WriteFile(filepath.Join(home, "config.yaml"), []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := cli.NewRoot(cli.IO{LookupEnv: func(name string) (string, bool) {
		if name == "DIDCOMM_HOME" {
			return home, true
		}
		v, ok := env[name]
		return v, ok
	}})
	cmd, _, err := root.Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	var flags *pflag.FlagSet
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		flags = cmd.Flags()
		return nil
	}
	root.SetArgs(append([]string{"serve"}, args...))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return flags
}

// Every setting of serve can be made in three places, and the first of them
// wins: the command line, the environment, the file.
func TestServeSettings(t *testing.T) {
	for name, v := range settings {
		env := map[string]string{config.EnvName(name): strings.Trim(v[1], "[]")} // pflag prints a list in brackets
		arg, file := []string{"--" + name + "=" + strings.Trim(v[0], "[]")}, name+": "+strings.Trim(v[2], "[]")+"\n"
		for _, tt := range []struct {
			from string
			args []string
			env  map[string]string
			file string
			want string
		}{
			{"flag", arg, nil, "", v[0]},
			{"environment", nil, env, "", v[1]},
			{"file", nil, nil, file, v[2]},
			{"flag over environment", arg, env, "", v[0]},
			{"flag over file", arg, nil, file, v[0]},
			{"environment over file", nil, env, file, v[1]},
			{"flag over all", arg, env, file, v[0]},
		} {
			if got := serveFlags(t, tt.args, tt.env, tt.file).Lookup(name).Value.String(); got != tt.want {
				t.Errorf("--%s by %s: %q, want %q", name, tt.from, got, tt.want)
			}
		}
	}
	if got := serveFlags(t, []string{"--allow-private=false"}, nil, "allow-private: true").Lookup("allow-private").Value.String(); got != "false" {
		t.Errorf("a switch of the file is not switched off by the flag: %s", got)
	}

	serveFlags(t, nil, nil, "").VisitAll(func(f *pflag.Flag) {
		if _, ok := settings[f.Name]; !ok && !slices.Contains([]string{"home", "config", "help"}, f.Name) {
			t.Errorf("--%s is missing in this test", f.Name)
		}
	})
}
