package cli

import (
	"bytes"
	"context"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/spf13/cobra"
)

func (a *app) unpack() *cobra.Command {
	var s sealing
	var strict, asJSON bool
	cmd := &cobra.Command{
		Use:   "unpack [FILE]",
		Short: "open an envelope and print the message in it",
		Long: `Unpack opens an envelope with the private keys of --secrets, or else of the
keyring of the home, where key and did create keep them. It verifies what is
signed or sent by authcrypt, checks that all layers agree about who sent it to
whom, and prints the plaintext message as JSON.

With --json it prints {"message", "metadata"}: metadata says how the message was
protected, by which keys, and under "deviations" what was tolerated although it
is not what DIDComm v2.1 says to send. With --strict such things are errors.

FILE is the envelope; "-" or none is standard input.`,
		Example: `  didcomm unpack --secrets bob.json envelope.json
  didcomm unpack --secrets bob.json --json <envelope.json`,
		Args: positional("[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := a.input(args)
			if err != nil {
				return err
			}
			return s.with(cmd.Context(), a, true, envelope.Config{Strict: strict}, func(ctx context.Context, packer *envelope.Packer) error {
				u, err := packer.Unpack(ctx, bytes.TrimSpace(data))
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"message": u.Message, "metadata": u.Metadata})
				}
				return writeJSON(cmd.OutOrStdout(), u.Message)
			})
		},
	}
	s.addHomeFlags(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "refuse what departs from the specification")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"message", "metadata"}`)
	return cmd
}
