package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/spf13/cobra"
)

func (a *app) key() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "look after the agent's private keys",
		Long: `Key shows and changes the private keys of this home. The keys are sealed, in the
store: agent.db in the home directory, or the database of --store. The first two
keys are those of the agent. The others come from did create, key new and key
import.

A passphrase protects the keys. The commands take it from --passphrase-file, or
from DIDCOMM_PASSPHRASE, or ask for it at the terminal. Without a passphrase,
anybody who can read the store has the keys.`,
		Example: `  didcomm key list
  didcomm key passwd`,
	}
	group(cmd)
	cmd.AddCommand(a.keyList(), a.keyNew(), a.keyExport(), a.keyImport(), a.keyPasswd())
	return cmd
}

// keys has the settings of the commands that use the keyring.
type keys struct {
	kept
	pass passphrase
}

func (k *keys) addFlags(cmd *cobra.Command) {
	k.kept.addFlags(cmd)
	k.pass.addFlag(cmd)
}

func (k *keys) config(a *app) (home.Config, error) {
	cfg, err := k.kept.config(a)
	k.pass.open(a, &cfg)
	return cfg, err
}

// with opens the home by open, and runs f with the home.
func (k *keys) with(a *app, cmd *cobra.Command, open func(context.Context, home.Config) (*home.Home, error), f func(context.Context, *home.Home) error) error {
	cfg, err := k.config(a)
	if err != nil {
		return err
	}
	return withHome(cmd.Context(), cfg, open, f)
}

func withHome(ctx context.Context, cfg home.Config, open func(context.Context, home.Config) (*home.Home, error), f func(context.Context, *home.Home) error) (err error) {
	h, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := h.Close(); err == nil {
			err = closeErr
		}
	}()
	return f(ctx, h)
}

func (a *app) keyList() *cobra.Command {
	var k keys
	cmd := &cobra.Command{
		Use:   "list",
		Short: "list the keys, without their secret part",
		Long: `List prints a line for each key: the key id, the curve and the use. The use is sig
for signatures, enc for key agreement, or sig,enc for both.`,
		Example: `  didcomm key list`,
		Args:    positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.with(a, cmd, home.OpenOld, func(_ context.Context, h *home.Home) error {
				for _, kid := range h.Ring.KIDs() {
					key, err := h.Ring.Key(kid)
					if err != nil {
						return err
					}
					fmt.Fprintln(cmd.OutOrStdout(), kid, key.Type(), use(key))
				}
				return nil
			})
		},
	}
	k.addFlags(cmd)
	return cmd
}

func use(key *keyring.Key) string {
	switch pair := identity.Single(key); {
	case pair.Sign == nil:
		return "enc"
	case pair.Agree == nil:
		return "sig"
	}
	return "sig,enc"
}

func (a *app) keyNew() *cobra.Command {
	var k keys
	curve := string(keyring.Ed25519)
	cmd := &cobra.Command{
		Use:   "new",
		Short: "make a key",
		Long: `New makes a key in the keyring and prints its key id, which is that of a did:key.
With an Ed25519 key comes the X25519 key that the did:key also lists. Its key id is
on a second line.

Pack and unpack use such a key. Didcomm serve does not use the key; for a DID that
serve answers for, see didcomm did create.`,
		Example: `  didcomm key new
  didcomm key new --curve P-256`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return k.with(a, cmd, home.Open, func(ctx context.Context, h *home.Home) error {
				key, err := keyring.Generate(keyring.Curve(curve))
				if err != nil {
					return err
				}
				id, err := identity.Key(identity.Single(key))
				if err != nil {
					return err
				}
				made, err := id.Keyring()
				if err != nil {
					return err
				}
				return addKeys(ctx, cmd, h, made)
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().Var(&enum{&curve, curves}, "curve", "key type: Ed25519, X25519, P-256, P-384, P-521 or secp256k1")
	return cmd
}

func addKeys(ctx context.Context, cmd *cobra.Command, h *home.Home, more *keyring.Keyring) error {
	if err := h.AddKeys(ctx, more); err != nil {
		return err
	}
	for _, kid := range more.KIDs() {
		fmt.Fprintln(cmd.OutOrStdout(), kid)
	}
	return nil
}

func (a *app) keyExport() *cobra.Command {
	var k keys
	var out string
	cmd := &cobra.Command{
		Use:   "export [KID...]",
		Short: "write private keys in clear",
		Long: `Export writes the private keys with these key ids, or all private keys, in clear.
The form is that of DIDComm Messaging v2.1, Appendix A. The keys go to standard
output, or to the file of --out. A new file has mode 0600; an old one keeps the
keys that it has. Anybody who can read the output has the keys.`,
		Example: `  didcomm key export --out keys.json
  didcomm key export did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH#z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, kids []string) error {
			return k.with(a, cmd, home.OpenOld, func(_ context.Context, h *home.Home) error {
				only, err := h.Export(kids...)
				if err != nil {
					return err
				}
				if out != "" {
					return home.AddSecrets(out, only)
				}
				data, err := only.MarshalSecrets()
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", data)
				return err
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to add the private keys to")
	return cmd
}

func (a *app) keyImport() *cobra.Command {
	var k keys
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "take private keys from a file",
		Long: `Import adds the private keys of a file and prints their key ids. The file is one
that export or did create --secrets-out has written. If one of the keys cannot be
added, none is. The file stays as it is, in clear.`,
		Example: `  didcomm key import keys.json`,
		Args:    positional("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			more, err := home.ReadSecrets(args[0])
			if err != nil {
				return err
			}
			return k.with(a, cmd, home.Open, func(ctx context.Context, h *home.Home) error {
				return addKeys(ctx, cmd, h, more)
			})
		},
	}
	k.addFlags(cmd)
	return cmd
}

func (a *app) keyPasswd() *cobra.Command {
	var k keys
	var file string
	var remove bool
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "set, change or remove the passphrase of the keys",
		Long: `Passwd protects the keys with a new passphrase. It takes the new passphrase from
--new-passphrase-file, or from DIDCOMM_NEW_PASSPHRASE, or asks for it twice at the
terminal. In a home without keys, passwd makes them. A running agent continues, and
needs the new passphrase at its next start.

After a crash, either the old or the new passphrase opens the keys. Older copies
and backups still open with the old one.`,
		Example: `  didcomm key passwd
  didcomm key passwd --passphrase-file old.txt --new-passphrase-file new.txt
  didcomm key passwd --remove`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if remove && file != "" {
				return usagef("--remove and --new-passphrase-file do not go together")
			}
			cfg, err := k.config(a)
			if err != nil {
				return err
			}
			return home.SetPassphrase(cmd.Context(), cfg, func(ctx context.Context) ([]byte, error) {
				if remove {
					return nil, nil
				}
				secret, err := a.given(file, "DIDCOMM_NEW_PASSPHRASE")
				if secret == nil && err == nil {
					secret, err = a.askNew(ctx)
				}
				if secret == nil && err == nil {
					err = errors.New("no new passphrase: give --new-passphrase-file FILE or DIDCOMM_NEW_PASSPHRASE, or be at a terminal")
				}
				return secret, err
			})
		},
	}
	k.addFlags(cmd)
	cmd.Flags().StringVar(&file, "new-passphrase-file", "", "file with the new passphrase (default: DIDCOMM_NEW_PASSPHRASE, else the command asks for it at a terminal)")
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the passphrase")
	return cmd
}
