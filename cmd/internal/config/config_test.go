package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/config"
	"github.com/spf13/pflag"
)

func flagSet(args ...string) *pflag.FlagSet {
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	fs.String("public-url", "default", "")
	fs.Bool("allow-private", false, "")
	fs.Int64("max-bytes", 1, "")
	fs.Duration("timeout", time.Second, "")
	fs.StringArray("to", nil, "")
	fs.String("home", "", "")
	if err := fs.Parse(args); err != nil {
		panic(err)
	}
	return fs
}

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		name, file string
		args, env  []string
		flag, want string
		err        string // part of the error
		value      bool   // the error is a SettingError
	}{
		{name: "default", flag: "public-url", want: "default"},
		{name: "file", file: "public-url: f", flag: "public-url", want: "f"},
		{name: "env over file", file: "public-url: f", env: []string{"DIDCOMM_PUBLIC_URL=e"}, flag: "public-url", want: "e"},
		{name: "flag over both", file: "public-url: f", env: []string{"DIDCOMM_PUBLIC_URL=e"}, args: []string{"--public-url=c"}, flag: "public-url", want: "c"},
		{name: "flag set to its default", env: []string{"DIDCOMM_PUBLIC_URL=e"}, args: []string{"--public-url=default"}, flag: "public-url", want: "default"},
		{name: "empty env is unset", file: "public-url: f", env: []string{"DIDCOMM_PUBLIC_URL="}, flag: "public-url", want: "f"},
		{name: "bool", file: "allow-private: true", flag: "allow-private", want: "true"},
		{name: "bool switched off", file: "allow-private: true", args: []string{"--allow-private=false"}, flag: "allow-private", want: "false"},
		{name: "number", file: "max-bytes: 1000000", flag: "max-bytes", want: "1000000"},
		{name: "duration", env: []string{"DIDCOMM_TIMEOUT=3m"}, flag: "timeout", want: "3m0s"},
		{name: "list", file: "to: [a, 'b,c']", flag: "to", want: `[a,"b,c"]`},
		{name: "list of one", file: "to: a", flag: "to", want: "[a]"},
		{name: "list in env", env: []string{"DIDCOMM_TO=a  b"}, flag: "to", want: "[a,b]"},
		{name: "flag replaces list", file: "to: [a, b]", args: []string{"--to=c"}, flag: "to", want: "[c]"},
		{name: "key of another command", file: "listen: x", flag: "public-url", want: "default"},
		{name: "empty file", file: "# nothing\n", flag: "public-url", want: "default"},
		{name: "unknown key", file: "publicurl: x", err: `unknown key "publicurl"`, value: true},
		{name: "except", file: "home: x", err: `unknown key "home"`, value: true},
		{name: "except in env", env: []string{"DIDCOMM_HOME=x"}, flag: "home", want: ""},
		{name: "bad number", file: "max-bytes: many", err: `max-bytes: invalid value "many"`, value: true},
		{name: "bad number in env", env: []string{"DIDCOMM_MAX_BYTES=many"}, err: `DIDCOMM_MAX_BYTES: invalid value "many"`, value: true},
		{name: "list for one", file: "public-url: [a, b]", err: "public-url: want one plain value", value: true},
		{name: "nothing for one", file: "public-url:", err: "public-url: want one plain value", value: true},
		{name: "map for list", file: "to: {a: b}", err: "to: want a value or a list", value: true},
		{name: "deep list", file: "to: [[a]]", err: "to: want a list of plain values", value: true},
		{name: "not yaml", file: "a: b: c", err: "mapping values are not allowed"},
		{name: "not a map", file: "- a", err: "cannot unmarshal"},
		{name: "duplicate key", file: "listen: a\nlisten: b", err: "already defined"},
		{name: "too large", file: strings.Repeat("# x\n", 1<<18) + "#", err: "larger than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			fs := flagSet(tt.args...)
			err := config.Apply(fs, config.Source{LookupEnv: lookup(tt.env), File: path, Known: []string{"listen"}}, "home")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Fatalf("error %v, want one line with %q", err, tt.err)
				}
				if value := new(config.SettingError); errors.As(err, &value) != tt.value {
					t.Fatalf("error %T: is a SettingError = %v, want %v", err, !tt.value, tt.value)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fs.Lookup(tt.flag).Value.String(); got != tt.want {
				t.Errorf("--%s = %s, want %s", tt.flag, got, tt.want)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	src := config.Source{LookupEnv: lookup(nil), File: filepath.Join(t.TempDir(), "none.yaml"), Optional: true}
	if err := config.Apply(flagSet(), src); err != nil {
		t.Errorf("optional file: %v", err)
	}
	src.Optional = false
	if err := config.Apply(flagSet(), src); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("named file: %v, want not exist", err)
	}
}

func lookup(env []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, kv := range env {
			if k, v, _ := strings.Cut(kv, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}
