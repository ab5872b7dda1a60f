package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/cmd/internal/client"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/cmd/internal/network"
	"github.com/didcomm-go/didcomm/cmd/internal/qrcode"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/outofband"
	"github.com/didcomm-go/didcomm/protocols/shorten"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Values of --shorten besides a DID.
const (
	shortenAuto  = "auto"
	shortenNever = "never"
)

// offer has the settings of invite.
type offer struct {
	talk
	goal, goalCode, from, base string
	single                     bool
	expires                    time.Duration
	png, svg, shorten          string
	asJSON                     bool
}

func (a *app) invite() *cobra.Command {
	var o offer
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "invite another agent, by a URL or a QR code",
		Long: `Invite makes an out-of-band invitation to the agent of this home, and prints it as a
URL, at a terminal also as a QR code. The agent knows the invitation at once, also
if it runs already. It must have been served from this home before, since the
invitation says where it is reached.

Anybody who has the URL can use it. With --single-use, the first agent that answers
uses the invitation up, and others are refused. Such an invitation has a new DID of
its own, which tells the agent who has answered also where the answer does not name
the invitation. With --from, it has that DID instead.

A long URL makes a QR code that is hard to read. If the agent is behind a mediator
that shortens URLs, and a QR code is asked for, such a URL is shortened: see
--shorten. The mediator can read the invitation. A short URL ends with the
invitation, or when the mediator says.

The URL begins with ` + server.InvitationPath + ` at the agent's address, or at that of its mediator,
or with --url. It works as well where nothing answers there, since agents read what
is in the URL. With didcomm serve --invitation, browsers see a page there.`,
		Example: `  didcomm invite --goal 'To talk to Alice'
  didcomm invite --single-use --expires 24h --png code.png
  didcomm invite --shorten did:web:mediator.example.org`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkOffer(cmd); err != nil {
				return err
			}
			if _, err := a.needHome(); err != nil {
				return err
			}
			cfg := o.config(a)
			return withHome(cmd.Context(), cfg.Home, home.OpenOld, func(ctx context.Context, h *home.Home) error {
				return a.offer(ctx, cmd, &o, cfg, h)
			})
		},
	}
	o.addFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.goal, "goal", "", "what the invitation is for, for people")
	f.StringVar(&o.goalCode, "goal-code", "", "what the invitation is for, for programs, such as issue-vc")
	f.BoolVar(&o.single, "single-use", false, "make the invitation for the first agent that answers")
	f.DurationVar(&o.expires, "expires", 0, "how long the invitation can be used (default for ever)")
	f.StringVar(&o.from, "from", "", "invite as this DID of the home (default the one that didcomm serve uses)")
	f.StringVar(&o.base, "url", "", "URL that the invitation is put into, such as a page of yours")
	f.StringVar(&o.png, "png", "", "file to write the QR code to, as PNG")
	f.StringVar(&o.svg, "svg", "", "file to write the QR code to, as SVG")
	f.StringVar(&o.shorten, "shorten", shortenAuto, "DID of a mediator that shortens the URL; auto: the mediator of the agent, if a QR code is hard to read without; or never")
	f.BoolVar(&o.asJSON, "json", false, `print {"url", "invitation", "expires"}, with the short URL as "short_url"`)
	return cmd
}

func (o *offer) checkOffer(cmd *cobra.Command) error {
	if err := notEmpty(cmd, "from"); err != nil {
		return err
	}
	if o.expires < 0 || cmd.Flags().Changed("expires") && o.expires < time.Second {
		return usagef("--expires %s: want a second or more", o.expires)
	}
	if o.shorten != shortenAuto && o.shorten != shortenNever {
		if _, err := did.Parse(o.shorten); err != nil {
			return usagef("--shorten %s: want auto, never or the DID of a mediator", o.shorten)
		}
	}
	if u, err := url.Parse(o.base); o.base != "" && (err != nil || u.Scheme == "") {
		return usagef("--url %s: want a URL", o.base)
	}
	return o.checkSettings()
}

// offer makes an invitation, keeps it in the home, and prints it.
func (a *app) offer(ctx context.Context, cmd *cobra.Command, o *offer, cfg client.Config, h *home.Home) error {
	from, err := o.inviter(ctx, h)
	if err != nil {
		return err
	}
	base := o.base
	if base == "" {
		if base, err = o.where(ctx, h, from); err != nil {
			return err
		}
	}
	k := &outofband.Kept{SingleUse: o.single, Pairwise: o.single && o.from == ""}
	if k.Pairwise {
		if from, err = a.another(ctx, cfg, h, from); err != nil {
			return err
		}
	}
	i := outofband.New(from)
	k.Invitation, i.Goal, i.GoalCode = i, o.goal, o.goalCode
	if o.expires > 0 {
		i.Expires = time.Now().Add(o.expires).Truncate(time.Second)
	}
	long, err := i.URL(base)
	if err != nil {
		return err
	}
	if err := outofband.NewBook(h.Store.Records()).Keep(ctx, k); err != nil {
		return err
	}
	terminal := a.terminal() && !o.asJSON
	drawn := terminal || o.png != "" || o.svg != ""
	short, err := a.short(ctx, o, cfg, h, long, drawn)
	if err != nil {
		return err
	}
	text := long
	if short != "" {
		text = short
	}
	if drawn {
		if err := a.draw(cmd, o, text, terminal); err != nil {
			return err
		}
	}
	if !o.asJSON {
		fmt.Fprintln(cmd.OutOrStdout(), text)
		return nil
	}
	out := map[string]any{"url": long, "invitation": i}
	if short != "" {
		out["short_url"] = short
	}
	if !i.Expires.IsZero() {
		out["expires"] = i.Expires.UTC().Format(time.RFC3339)
	}
	return writeJSON(cmd.OutOrStdout(), out)
}

// inviter returns the DID of --from, or that of the agent.
func (o *offer) inviter(ctx context.Context, h *home.Home) (string, error) {
	if o.from != "" {
		own, err := h.Set.Own(ctx, o.from)
		if errors.Is(err, envelope.ErrNoKey) {
			err = fmt.Errorf("%s is no DID of this home, or was retired; see didcomm did list", o.from)
		}
		return own, err
	}
	own, err := h.AgentDID(ctx)
	var endpoints []string
	if err == nil && own != "" {
		endpoints, err = endpointsOf(ctx, h.Set, own)
	}
	if err == nil && len(endpoints) == 0 {
		err = errors.New("no agent was served from this home yet, so nobody can reach it; first start didcomm serve")
	}
	return own, err
}

// another makes a new DID for the home, with the endpoints of another one. The mediator that is
// such an endpoint is told of the DID.
func (a *app) another(ctx context.Context, cfg client.Config, h *home.Home, own string) (string, error) {
	endpoints, err := endpointsOf(ctx, h.Set, own)
	if err != nil {
		return "", err
	}
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return "", err
	}
	id, err := identity.Peer2(pair, endpoints...)
	if err != nil {
		return "", err
	}
	if err := h.Keep(ctx, id); err != nil {
		return "", err
	}
	via, err := h.Via(ctx)
	if err == nil && via != nil {
		if err := client.Register(ctx, cfg, h, via, id.DID()); err != nil {
			fmt.Fprintf(a.Stderr, "The mediator does not take messages to the invitation yet; didcomm serve registers its DID: %s\n", line(err))
		}
	}
	return id.DID(), err
}

// endpointsOf returns the endpoints of a DID at which it can be reached.
func endpointsOf(ctx context.Context, r did.Resolver, id string) ([]string, error) {
	doc, err := r.Resolve(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range doc.DIDCommServices() {
		if e.URI != did.QueueURI {
			all = append(all, e.URI)
		}
	}
	return all, nil
}

// where returns the URL of InvitationPath at the address of a DID of the home, or of its
// mediator.
func (o *offer) where(ctx context.Context, h *home.Home, id string) (string, error) {
	reach := network.Reach{Loopback: true, Private: o.cfg.AllowPrivate}
	others, err := reach.Resolver(did.CacheConfig{}, nil)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	resolver := identity.Before(h.Set, others)
	for range 2 { // the agent, and its mediator
		endpoints, err := endpointsOf(ctx, resolver, id)
		if err != nil {
			return "", fmt.Errorf("address for the URL: %w (see --url)", err)
		}
		id = ""
		for _, e := range endpoints {
			u, err := url.Parse(e)
			switch {
			case err != nil:
			case u.Scheme == "http" || u.Scheme == "https":
				return u.Scheme + "://" + u.Host + server.InvitationPath, nil
			case strings.HasPrefix(e, "did:"):
				id = did.Base(e)
			}
		}
		if id == "" {
			break
		}
	}
	return "", errors.New("the DID of the agent has no http address for the URL; name one with --url")
}

// short returns a short URL for a long one, or "" if none is wanted.
func (a *app) short(ctx context.Context, o *offer, cfg client.Config, h *home.Home, long string, drawn bool) (string, error) {
	if o.shorten == shortenNever {
		return "", nil
	}
	mediator, from := o.shorten, ""
	list, err := h.Mediations(ctx)
	if err != nil {
		return "", err
	}
	auto := o.shorten == shortenAuto
	if auto {
		via, err := h.Via(ctx)
		if err != nil || via == nil || !drawn || !hard(long) {
			return "", err
		}
		mediator = via.Mediator
	}
	for _, m := range list { // the mediator knows the home by that DID
		if did.Canonical(m.Mediator) == did.Canonical(mediator) {
			from = m.Own
		}
	}
	var short string
	err = client.Guest(ctx, client.PostConfig{Config: cfg, From: from, Timeout: o.timeout}, func(ctx context.Context, g *agent.Agent) error {
		var expires time.Time
		var err error
		if short, expires, err = shorten.Shorten(ctx, g, mediator, long, o.expires, agent.Once()); err == nil && !expires.IsZero() {
			fmt.Fprintf(a.Stderr, "The short URL works until %s.\n", expires.Format(time.RFC3339))
		}
		return err
	})
	if err != nil && auto {
		fmt.Fprintf(a.Stderr, "The URL was not shortened: %s\n", line(o.waited(err)))
		return "", nil
	}
	return short, o.waited(err)
}

// hard reports whether the QR code of a text is hard to read, or impossible.
func hard(text string) bool {
	c, err := qrcode.New(text)
	return err != nil || c.Dense()
}

// draw writes the QR code of a text to the files of the flags, and to a terminal.
func (a *app) draw(cmd *cobra.Command, o *offer, text string, terminal bool) error {
	code, err := qrcode.New(text)
	if err != nil {
		if o.png == "" && o.svg == "" {
			fmt.Fprintf(a.Stderr, "No QR code: %s.\n", err)
			return nil
		}
		return err
	}
	if code.Dense() {
		fmt.Fprintln(a.Stderr, "The QR code is hard to read; a mediator can make the URL shorter: see --shorten.")
	}
	if o.png != "" {
		if err := os.WriteFile(o.png, code.PNG(), 0o600); err != nil {
			return err
		}
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, []byte(code.SVG()+"\n"), 0o600); err != nil {
			return err
		}
	}
	if terminal {
		fmt.Fprint(cmd.OutOrStdout(), code.Terminal())
	}
	return nil
}

// terminal reports whether standard output is a terminal.
func (a *app) terminal() bool {
	f, ok := a.Stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
