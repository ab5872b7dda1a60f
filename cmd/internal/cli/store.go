package cli

import (
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

// addStoreFlag says where the agent's messages and keys are kept.
func addStoreFlag(cmd *cobra.Command, cfg *home.Config) {
	cmd.Flags().StringVar(&cfg.URL, "store", "", "keep messages, DIDs and keys in the PostgreSQL database of this URL, postgres://... (default agent.db in the home directory); put a URL with a password into DIDCOMM_STORE")
}

// addQueueFlags are the limits of outbox and inbox.
func addQueueFlags(cmd *cobra.Command, cfg *home.Config) {
	f := cmd.Flags()
	f.IntVar(&cfg.MaxItems, "max-queue", 1_000_000, "messages that may wait in the outbox, and in the inbox; a quarter of that for one peer")
	f.Int64Var(&cfg.MaxBytes, "max-queue-bytes", 4<<30, "bytes of messages that may wait in the outbox, and in the inbox; a quarter of that for one peer")
}

// kept is what commands share that look at what an agent keeps.
type kept struct {
	cfg home.Config
	log logging
}

func (k *kept) addFlags(cmd *cobra.Command) {
	addConfigFlag(cmd)
	addStoreFlag(cmd, &k.cfg)
	k.log.addFlags(cmd, "off")
}

// config is where the agent of the home keeps it.
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

// cutOff is the error that ended a list of messages, n of which were written: a
// list that is not complete looks as if it were.
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

// line makes one printable line of an error, which may have several.
func line(err error) string { return printable(oneLine(err.Error())) }

func oneLine(s string) string { return strings.Join(strings.Split(s, "\n"), "; ") }
