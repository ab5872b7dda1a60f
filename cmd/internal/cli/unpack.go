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
		Long: `Unpack opens an envelope and prints the plaintext message in it, as JSON. The
private keys are those of --secrets, else all keys of the home, also those of
retired DIDs. Unpack verifies signatures and authcrypt, and checks that all layers
name the same sender and recipient.

With --json it prints {"message", "metadata"}. The metadata say how the message was
protected, and with which keys. "deviations" lists what was tolerated although it
departs from DIDComm v2.1. With --strict, a deviation is an error.

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
	cmd.Flags().BoolVar(&strict, "strict", false, "refuse a message that departs from the specification")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"message", "metadata"}`)
	return cmd
}
