package cli

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

// addStoreFlag adds the flag --store.
func addStoreFlag(cmd *cobra.Command, cfg *home.Config) {
	cmd.Flags().StringVar(&cfg.URL, "store", "", "keep messages, DIDs and keys in the PostgreSQL database of this URL, postgres://... (default agent.db in the home directory); put a URL with a password into DIDCOMM_STORE")
}

// addQueueFlags adds the flags for the limits of outbox and inbox.
func addQueueFlags(cmd *cobra.Command, cfg *home.Config) {
	f := cmd.Flags()
	f.IntVar(&cfg.MaxItems, "max-queue", 1_000_000, "messages that may wait in the outbox, and in the inbox; a quarter of that for one peer; for all strangers, a quarter of the inbox and a sixteenth of the outbox")
	f.Int64Var(&cfg.MaxBytes, "max-queue-bytes", 4<<30, "bytes of messages that may wait in the outbox, and in the inbox; a quarter of that for one peer; for all strangers, a quarter of the inbox and a sixteenth of the outbox")
	f.IntVar(&cfg.MaxRemembered, "max-remembered", 10_000_000, "handled messages that are remembered, so that they are not handled again; a quarter of that for one party, a sixteenth for all strangers")
}

// kept has the settings of the commands that use the store of an agent.
type kept struct {
	cfg home.Config
	log logging
}

func (k *kept) addFlags(cmd *cobra.Command) {
	addConfigFlag(cmd)
	addStoreFlag(cmd, &k.cfg)
	k.log.addFlags(cmd, "off")
}

// config returns the configuration of the home.
func (k *kept) config(a *app) (home.Config, error) {
	cfg := k.cfg
	if err := cfg.CheckURL(); err != nil {
		return cfg, &usageError{err}
	}
	var err error
	cfg.Dir, err = a.needHome()
	cfg.Logger = k.log.logger(a.Stderr)
	return cfg, err
}

// cutOff adds to err that n messages of a list were written before err ended the list.
// The reader could otherwise take the list for complete.
func cutOff(n int, err error) error {
	switch {
	case err == nil || n == 0:
		return err
	case n == 1:
		return fmt.Errorf("cut off after 1 message: %w", err)
	default:
		return fmt.Errorf("cut off after %d messages: %w", n, err)
	}
}

// line returns the text of an error as one printable line.
func line(err error) string { return printable(oneLine(err.Error())) }

func oneLine(s string) string { return strings.Join(strings.Split(s, "\n"), "; ") }
