package cli

import (
	"strings"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/spf13/cobra"
)

// addQueueFlags are the limits of outbox and inbox.
func addQueueFlags(cmd *cobra.Command, cfg *server.StoreConfig) {
	f := cmd.Flags()
	f.IntVar(&cfg.MaxItems, "max-queue", 1_000_000, "messages that may wait, in outbox and inbox each; a quarter of it for one peer")
	f.Int64Var(&cfg.MaxBytes, "max-queue-bytes", 4<<30, "bytes of messages that may wait, in outbox and inbox each; a quarter of it for one peer")
}

// kept opens the store of the home's agent for a command beside that.
func (a *app) kept(log *logging) (server.StoreConfig, error) {
	home, err := a.needHome()
	return server.StoreConfig{Home: home, Logger: log.logger(a.Stderr)}, err
}

// line makes one printable line of an error, which may have several.
func line(err error) string { return printable(oneLine(err.Error())) }

func oneLine(s string) string { return strings.Join(strings.Split(s, "\n"), "; ") }
