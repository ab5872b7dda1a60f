package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/spf13/cobra"
)

// sealing has the settings of pack, unpack and inspect: our keys, and the way to resolve
// DIDs.
type sealing struct {
	secrets, docs string
	reach         network.Reach
	// home has the keys of pack and unpack, unless secrets names a file.
	home keys
}

func (s *sealing) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.secrets, "secrets", "", "file with private keys: a JSON array of JWKs, or a JWK Set; the kid of a key is its DID URL")
	cmd.Flags().StringVar(&s.docs, "did-docs", "", "file with DID documents, a JSON object from DID to document, or an array; they take precedence over resolvers")
	cmd.Flags().BoolVar(&s.reach.Private, "allow-private", false, "resolve a did:web on this machine or in a private network too")
}

// addHomeFlags adds the flags of addFlags, and those that open the keyring of the home.
func (s *sealing) addHomeFlags(cmd *cobra.Command) {
	s.addFlags(cmd)
	cmd.Flags().Lookup("secrets").Usage += " (default: the keys of the home, if there are any)"
	s.home.addFlags(cmd)
}

// with runs f with a Packer. The Packer has the keys of the file --secrets. Without such a
// file, it has the keys of the home if needKeys is set and the home has keys.
func (s *sealing) with(ctx context.Context, a *app, needKeys bool, cfg envelope.Config, f func(context.Context, *envelope.Packer) error) error {
	docs, others, err := resolvers(s.reach, s.docs)
	if err != nil {
		return err
	}
	run := func(ctx context.Context, keys envelope.Keys, resolver did.Resolver) error {
		cfg.Keys, cfg.Resolver, cfg.MaxBytes = keys, identity.Before(docs, resolver), maxInput
		packer, err := envelope.New(cfg)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		defer cancel()
		return f(ctx, packer)
	}
	switch {
	case s.secrets != "":
		keys, err := home.ReadSecrets(s.secrets)
		if err != nil {
			return err
		}
		return run(ctx, keys, others)
	case needKeys && a.home != "":
		cfg, err := s.home.config(a)
		if err != nil {
			return err
		}
		err = withHome(ctx, cfg, home.OpenOld, func(ctx context.Context, h *home.Home) error {
			return run(ctx, h.Keys(), identity.Before(h.Set, others))
		})
		if !errors.Is(err, home.ErrNoKeys) {
			return err
		}
	}
	return run(ctx, keyring.New(), others)
}

func (a *app) pack() *cobra.Command {
	var s sealing
	var from, signBy string
	var to []string
	var plain, protectSender, allKeyTypes bool
	enc := string(envelope.A256CBCHS512)
	cmd := &cobra.Command{
		Use:   "pack [FILE]",
		Short: "make an envelope of a plaintext message",
		Long: `Pack makes an envelope of a plaintext DIDComm message and prints it. The flags say
which kind of envelope:

  --to                   anoncrypt: encrypted, from an unknown sender
  --from --to            authcrypt: encrypted, from a proven sender
  --from --to --protect-sender
                         anoncrypt around authcrypt: the recipient gets proof of
                         the sender, and nobody else learns who that is
  --sign-by              signed; with the flags above, signed and then encrypted
  --plain                neither encrypted nor signed

Without --to, the recipients are those in the "to" of the message, except with
--sign-by alone. Pack makes one envelope for each recipient DID, on a line of its
own. An envelope is for the keys of one type: the first type in the document of the
DID that the sender has too. With --all-key-types there is one envelope for each
type.

The private keys are those of --secrets, else those of the home.

FILE is the message as JSON; "-" or none is standard input.`,
		Example: `  didcomm pack --from did:key:z6Mk... --to did:web:bob.example.org --secrets alice.json message.json
  didcomm pack --sign-by did:key:z6Mk... --secrets alice.json message.json
  didcomm pack --to did:key:z6Mk... --enc XC20P <message.json >envelope.json`,
		Args: positional("[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "from", "sign-by"); err != nil {
				return err
			}
			if err := checkPack(plain, protectSender, from, signBy, to, enc); err != nil {
				return err
			}
			if allKeyTypes && (plain || signBy != "" && from == "" && len(to) == 0) {
				return usagef("--all-key-types goes with what encrypts")
			}
			data, err := a.input(args)
			if err != nil {
				return err
			}
			m, _, err := message.Parse(data)
			if err != nil {
				return err
			}
			var opts []envelope.PackOption
			if plain {
				opts = append(opts, envelope.Plain())
			} else {
				opts = append(opts, envelope.ContentEncryption(envelope.Enc(enc)))
			}
			if from != "" {
				opts = append(opts, envelope.From(from))
			}
			if signBy != "" {
				opts = append(opts, envelope.SignBy(signBy))
			}
			if len(to) > 0 {
				opts = append(opts, envelope.To(to...))
			} else if signBy != "" && from == "" {
				opts = append(opts, envelope.Signed())
			}
			if protectSender {
				opts = append(opts, envelope.ProtectSender())
			}
			if allKeyTypes {
				opts = append(opts, envelope.AllKeyTypes())
			}
			return s.with(cmd.Context(), a, from != "" || signBy != "", envelope.Config{}, func(ctx context.Context, packer *envelope.Packer) error {
				envelopes, err := packer.Pack(ctx, m, opts...)
				if err != nil {
					return err
				}
				for _, e := range envelopes {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\n", e.Data)
				}
				return nil
			})
		},
	}
	s.addHomeFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "authcrypt from this DID, or from this key of it (DID URL)")
	f.StringArrayVar(&to, "to", nil, "recipient: a DID, or one key of it (DID URL); may be repeated")
	f.StringVar(&signBy, "sign-by", "", "sign with a key of this DID, or with this key (DID URL)")
	f.BoolVar(&protectSender, "protect-sender", false, "put anoncrypt around authcrypt")
	f.Var(&enum{&enc, []string{string(envelope.A256CBCHS512), string(envelope.A256GCM), string(envelope.XC20P)}}, "enc", "content encryption of anoncrypt: A256CBC-HS512, A256GCM or XC20P")
	f.BoolVar(&allKeyTypes, "all-key-types", false, "make an envelope for each key type of a recipient")
	f.BoolVar(&plain, "plain", false, "neither encrypt nor sign")
	return cmd
}

// notEmpty refuses flags that are given and empty. A script with an unset variable must not
// get a message of another sender, or a message without a proof.
func notEmpty(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef("--%s is empty: want a DID or a DID URL", name)
		}
	}
	return nil
}

// checkPack returns an error for flags that contradict each other.
func checkPack(plain, protectSender bool, from, signBy string, to []string, enc string) error {
	defaultEnc := enc == string(envelope.A256CBCHS512)
	switch {
	case plain && (from != "" || signBy != "" || len(to) > 0 || protectSender || !defaultEnc):
		return usagef("--plain goes with none of --from, --to, --sign-by, --protect-sender and --enc")
	case !defaultEnc && signBy != "" && from == "" && len(to) == 0:
		return usagef("--enc %s goes with --to: --sign-by alone does not encrypt", enc)
	case protectSender && from == "":
		return usagef("--protect-sender needs --from")
	case from != "" && !protectSender && !defaultEnc:
		return usagef("--enc %s is for anoncrypt: authcrypt (--from) takes %s alone, or --protect-sender around it", enc, envelope.A256CBCHS512)
	}
	return nil
}
