package cli

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/cmd/internal/config"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app has the input and output of the program, and the home directory, which settle
// sets.
type app struct {
	IO
	home string // empty if there is no default and no name was given
}

// settle sets the flags of cmd from the environment and from the configuration file. It
// runs before every command.
func (a *app) settle(cmd *cobra.Command, _ []string) error {
	home := cmd.Flags().Lookup("home").Value.String()
	if home == "" {
		home, _ = a.LookupEnv(config.EnvName("home"))
	}
	if home == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			home = filepath.Join(dir, "didcomm")
		}
	}
	a.home = home

	src := config.Source{LookupEnv: a.LookupEnv}
	if f := cmd.Flags().Lookup("config"); f != nil {
		src.File = f.Value.String()
		if src.File == "" {
			src.File, _ = a.LookupEnv(config.EnvName("config"))
		}
		if src.File == "" && home != "" {
			src.File, src.Optional = filepath.Join(home, "config.yaml"), true
		}
		src.Known = flagNames(cmd.Root())
	}
	return config.Apply(cmd.Flags(), src, notSettings...)
}

// notSettings are flags that the configuration file cannot set.
var notSettings = []string{"home", "config", "help", "version"}

// flagNames are the names of the settings of all commands below cmd.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notSettings, f.Name) {
			names = append(names, f.Name)
		}
	})
	for _, sub := range cmd.Commands() {
		names = append(names, flagNames(sub)...)
	}
	return names
}

// needHome returns the agent's home directory. Without a home directory, the error says how
// to name one.
func (a *app) needHome() (string, error) {
	if a.home == "" {
		return "", usagef("there is no home directory for the agent's state: name one with --home DIR")
	}
	return a.home, nil
}

func addConfigFlag(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "configuration file, YAML (default config.yaml in the home directory, if there)")
}

// logging has the level and the form of the log.
type logging struct{ level, format string }

func (l *logging) addFlags(cmd *cobra.Command, level string) {
	l.level, l.format = level, "text"
	cmd.Flags().Var(&enum{&l.level, []string{"debug", "info", "warn", "error", "off"}}, "log-level", "what to log on standard error: debug, info, warn, error or off")
	cmd.Flags().Var(&enum{&l.format, []string{"text", "json"}}, "log-format", "form of the log: text or json")
}

func (l *logging) logger(w io.Writer) *slog.Logger { return slog.New(l.handler(w)) }

func (l *logging) handler(w io.Writer) slog.Handler {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError, "off": math.MaxInt}
	opts := &slog.HandlerOptions{Level: levels[l.level]}
	if l.format == "json" {
		return slog.NewJSONHandler(w, opts)
	}
	return slog.NewTextHandler(w, opts)
}

// enum is a flag whose value is one of a few words.
type enum struct {
	value   *string
	allowed []string
}

var _ pflag.Value = (*enum)(nil)

func (e *enum) String() string { return *e.value }
func (e *enum) Type() string   { return "WORD" }

func (e *enum) Set(s string) error {
	if !slices.Contains(e.allowed, s) {
		return fmt.Errorf("want one of %s", strings.Join(e.allowed, ", "))
	}
	*e.value = s
	return nil
}
