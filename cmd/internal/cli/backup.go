package cli

import (
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

func (a *app) backup() *cobra.Command {
	var k kept
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "write the agent's state to a file",
		Long: `Backup writes agent.db of this home to a new file: the messages, the DIDs and the
private keys. It works while the agent runs. The file has mode 0600, and what guards
the keys in the home guards them in the file: without a passphrase, anybody who can
read the file has the keys.

With --store, back up the PostgreSQL database with pg_dump.`,
		Example: `  didcomm backup /mnt/backup/agent-1.db`,
		Args:    positional("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			return home.Backup(cmd.Context(), cfg, args[0])
		},
	}
	k.addFlags(cmd)
	return cmd
}
