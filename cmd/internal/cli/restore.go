package cli

import (
	"fmt"

	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

func (a *app) restore() *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "make the agent's state from a file of backup",
		Long: `Restore makes agent.db from a file that backup has written, or from a file
agent.db.rescued-TIME. The home must have no agent.db, and no agent may run on it.
Restore refuses a file that is damaged, that has no agent's keys, or that has the
keys of another agent than the one that the home had.

The agent continues as it was when the file was written. Messages that waited in the
outbox then are sent again, also those that were delivered since. What the agent has
received since is forgotten, and so are DIDs that were made since. The passphrase is
that of the time of the backup.`,
		Example: `  didcomm restore /mnt/backup/agent-1.db`,
		Args:    positional("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			if err := home.Restore(cmd.Context(), cfg, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stderr, "Restored. The next didcomm serve sends what waited in the outbox at the time of the backup, also if it was delivered since.")
			return err
		},
	}
	k.addFlags(cmd)
	return cmd
}
