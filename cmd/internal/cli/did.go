package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/spf13/cobra"
)

// resolveTimeout limits the time to resolve DIDs in a command without --timeout.
const resolveTimeout = 30 * time.Second

func (a *app) did() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "did",
		Short: "make, list, retire and resolve DIDs",
		Long: `Did looks after the DIDs of this home, and resolves the DIDs of others. It supports
the methods key, peer, web and jwk.`,
		Example: `  didcomm did create --method key
  didcomm did list
  didcomm did resolve did:web:example.org`,
	}
	group(cmd)
	cmd.AddCommand(a.didCreate(), a.didList(), a.didRetire(), a.didResolve())
	return cmd
}

func (a *app) didCreate() *cobra.Command {
	c := creation{method: "peer", numalgo: "2"}
	var k keys
	var secretsOut string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create",
		Short: "make a DID and its private keys",
		Long: `Create makes a DID and its private keys, and prints the DID.

  --method peer   did:peer:2, or did:peer:4 with --numalgo 4; may have services
  --method key    did:key; one key, no service
  --method jwk    did:jwk; one key, no service
  --method web    did:web of --domain; may have services. The document is printed
                  too, and standard error names the URL to publish it at

In a home of didcomm serve --via, the service is the mediator, unless you give
another. The command registers the DID with the mediator.

With --one-key, the X25519 key of a did:peer is the image of its Ed25519 key. Credo
wraps a message for a mediator of such a DID once, and for any other twice.

The home keeps the DID and its keys, which are sealed (see didcomm key). The agent
of this home answers for the DID, even if it runs already. It also publishes the
document of a did:web, if the host of the did:web is that of its public URL or of
--did. Pack and unpack use the keys.

With --secrets-out or --json, the home keeps neither the DID nor its keys.
--secrets-out adds the keys to a file, in clear. --json prints {"did", "document",
"secrets"}; the secrets are the keys, in clear.`,
		Example: `  didcomm did create --method key --secrets-out alice.json
  didcomm did create --method peer --service https://agent.example.org/didcomm
  didcomm did create --method web --domain example.org/agents/bob --json`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.check(); err != nil {
				return err
			}
			var id *identity.Identity
			var err error
			if asJSON || secretsOut != "" {
				id, err = c.create()
			} else {
				id, err = k.keep(a, cmd, &c)
			}
			if err != nil {
				return err
			}
			secrets, err := id.Keyring()
			if err != nil {
				return err
			}
			if secretsOut != "" {
				if err := home.AddSecrets(secretsOut, secrets); err != nil {
					return fmt.Errorf("private keys: %w", err)
				}
			}
			if asJSON {
				list, err := secrets.MarshalSecrets()
				if err != nil {
					return err
				}
				return writeJSON(cmd.OutOrStdout(), map[string]any{"did": id.DID(), "document": id.Document(), "secrets": json.RawMessage(list)})
			}
			fmt.Fprintln(cmd.OutOrStdout(), id.DID())
			if c.method != "web" {
				return nil
			}
			if at, err := didweb.URLOf(id.DID()); err == nil {
				note := ""
				if secretsOut == "" {
					note = " (didcomm serve does so if that is its host)"
				}
				fmt.Fprintf(a.Stderr, "publish the document at %s%s\n", at, note)
			}
			return writeJSON(cmd.OutOrStdout(), id.Document())
		},
	}
	k.addFlags(cmd)
	f := cmd.Flags()
	f.Var(&enum{&c.method, []string{"key", "peer", "web", "jwk"}}, "method", "DID method: key, peer, web or jwk")
	f.StringArrayVar(&c.services, "service", nil, "DIDComm endpoint to list: a URL, or the DID of a mediator; may be repeated (peer and web)")
	f.StringVar(&c.domain, "domain", "", "host and path of a did:web: HOST[:PORT][/PATH]")
	f.Var(&enum{&c.curve, curves}, "curve", "key type: Ed25519, X25519, P-256, P-384, P-521 or secp256k1 (default Ed25519, with X25519 for encryption; for jwk P-256)")
	f.Var(&enum{&c.numalgo, []string{"2", "4"}}, "numalgo", "kind of did:peer: 2 or 4")
	f.BoolVar(&c.oneKey, "one-key", false, "make the X25519 key of the Ed25519 key, for the DID of a mediator (peer)")
	f.StringVar(&secretsOut, "secrets-out", "", "file to add the private keys to, in clear; the home does not keep them")
	f.BoolVar(&asJSON, "json", false, `print {"did", "document", "secrets"}, with the private keys in clear; the home does not keep them`)
	return cmd
}

// keep makes a DID, and adds it to the home.
func (k *keys) keep(a *app, cmd *cobra.Command, c *creation) (id *identity.Identity, err error) {
	if a.home == "" {
		return nil, usagef("there is no home directory for the private keys: name a file with --secrets-out FILE, or --home DIR")
	}
	open := func(ctx context.Context, cfg home.Config) (*home.Home, error) {
		h, err := home.Open(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("private keys: %w", err)
		}
		return h, nil
	}
	err = k.with(a, cmd, open, func(ctx context.Context, h *home.Home) error {
		via, err := h.Via(ctx)
		if err != nil {
			return err
		}
		mediated := via != nil && len(c.services) == 0 && (c.method == "peer" || c.method == "web")
		if mediated {
			c.services = []string{via.Routing}
		}
		if id, err = c.create(); err != nil {
			return err
		}
		if err := h.Keep(ctx, id); err != nil {
			return err
		}
		fmt.Fprintf(a.Stderr, "private keys: %s\n", printable(h.Where()))
		if !mediated {
			return nil
		}
		cfg := client.Config{Logger: k.log.logger(a.Stderr)}
		if err := client.Register(ctx, cfg, h, via, id.DID()); err != nil {
			fmt.Fprintf(a.Stderr, "The mediator does not take messages to the DID yet; didcomm serve registers it: %s\n", line(err))
		}
		return nil
	})
	return id, err
}

var curves = []string{string(keyring.Ed25519), string(keyring.X25519), string(keyring.P256), string(keyring.P384), string(keyring.P521), string(keyring.Secp256k1)}

// creation has the flags of did create.
type creation struct {
	method, numalgo, domain, curve string
	services                       []string
	oneKey                         bool
}

// check returns an error if a flag does not fit the method.
func (c *creation) check() error {
	alone := c.method == "key" || c.method == "jwk"
	switch {
	case alone && len(c.services) > 0:
		return usagef("a did:%s has no services; --service goes with --method peer or web", c.method)
	case !alone && (c.curve == string(keyring.X25519) || c.curve == string(keyring.Secp256k1)):
		return usagef("--curve %s does not both sign and agree on keys, as a did:%s has to", c.curve, c.method)
	case (c.method == "web") != (c.domain != ""):
		return usagef("--method web and --domain HOST[:PORT][/PATH] go together")
	case c.numalgo != "2" && c.method != "peer":
		return usagef("--numalgo goes with --method peer")
	case c.oneKey && (c.method != "peer" || c.curve != "" && c.curve != string(keyring.Ed25519)):
		return usagef("--one-key goes with --method peer and --curve Ed25519")
	}
	for _, s := range c.services {
		if err := checkEndpoint(s); err != nil {
			return err
		}
	}
	return nil
}

// checkEndpoint returns an error for an endpoint to which no agent could send.
func checkEndpoint(s string) error {
	if _, err := did.Parse(s); err == nil {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Opaque == "" && u.Host == "" || strings.ContainsAny(s, " \t\r\n") {
		return usagef("--service %q: want a URL or a DID", s)
	}
	return nil
}

func (c *creation) create() (*identity.Identity, error) {
	curve := keyring.Curve(c.curve)
	switch {
	case curve != "":
	case c.method == "jwk":
		curve = keyring.P256 // the one common key that both signs and agrees on keys
	default:
		curve = keyring.Ed25519
	}
	if c.method == "key" || c.method == "jwk" {
		key, err := keyring.Generate(curve)
		if err != nil {
			return nil, err
		}
		if c.method == "key" {
			return identity.Key(identity.Single(key))
		}
		return identity.JWK(identity.Single(key))
	}
	pair, err := identity.Generate(curve)
	if err != nil {
		return nil, err
	}
	if c.method == "web" {
		id, err := didweb.New(c.domain)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--domain %s: %w", c.domain, err)}
		}
		return identity.Web(id, pair, c.services...)
	}
	if c.oneKey {
		if pair, err = pair.Image(); err != nil {
			return nil, err
		}
	}
	if c.numalgo == "4" {
		return identity.Peer4(pair, c.services...)
	}
	return identity.Peer2(pair, c.services...)
}

func (a *app) didResolve() *cobra.Command {
	var docs string
	var reach network.Reach
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "resolve DID",
		Short: "print the document of a DID",
		Long: `Resolve prints the document of a DID as JSON. For a did:web of this machine, such
as did:web:localhost%3A8080, it also tries plain http.`,
		Example: `  didcomm did resolve did:key:z6MkpTHR8VNsBxYAAWHut2Geadd9jSwuBV8xRoAnwWsdvktH
  didcomm did resolve did:web:localhost%3A8080
  didcomm did resolve did:example:alice --did-docs documents.json`,
		Args: positional("DID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s: want more than 0", timeout)
			}
			reach.Loopback = true
			known, others, err := resolvers(reach, docs)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			doc, err := identity.Before(known, others).Resolve(ctx, args[0])
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), doc)
		},
	}
	cmd.Flags().StringVar(&docs, "did-docs", "", "file with DID documents, a JSON object from DID to document, or an array; they take precedence over resolvers")
	cmd.Flags().BoolVar(&reach.Private, "allow-private", false, "resolve a did:web in a private network too")
	cmd.Flags().DurationVar(&timeout, "timeout", resolveTimeout, "how long to wait for the document")
	return cmd
}

// resolvers returns the DID documents of a file, which may be "", and the resolver of all
// other DIDs.
func resolvers(reach network.Reach, docs string) (network.Docs, did.Resolver, error) {
	others, err := reach.Resolver(did.CacheConfig{}, nil)
	if err != nil || docs == "" {
		return nil, others, err
	}
	data, err := readFile(docs)
	if err != nil {
		return nil, nil, err
	}
	known, err := network.ParseDocs(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", docs, err)
	}
	return known, others, nil
}
