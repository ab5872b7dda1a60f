package cli

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/spf13/cobra"
)

func (a *app) serve() *cobra.Command {
	var cfg server.Config
	var pass passphrase
	var log logging
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run an agent",
		Long: `Serve runs an agent until it is interrupted. It prints its DID, then each basic
message that it gets, on standard output; the log and hints go to standard error.

The first time, it makes its keys in its store, agent.db in the home directory, to
be copied where they must not be lost. A passphrase protects them: of
--passphrase-file, else of DIDCOMM_PASSPHRASE, else asked for at a terminal once
there is one. Without one only the mode of the file does; see didcomm key passwd.

The agent's DID is a did:peer:2,
which holds the keys and the public URL itself. So the same keys under another
--public-url, or another port without one, make another DID; the keys stay. With
--did the agent goes by a did:web instead, with the same keys, and publishes its
document where that DID says: the domain has to lead here.

What it has to deliver, and what it received, is kept in the home directory too, in
agent.db: an agent that was killed goes on where it was. One agent serves a home at
a time; didcomm send, inbox and outbox work beside it.

One URL takes messages by POST and by WebSocket: --public-url as peers see it, or
else ` + server.DefaultPath + ` at the listening address. A proxy in front has to keep the path.
GET ` + server.HealthPath + ` answers 200 while the agent runs.

Peers choose where the agent connects to: it refuses addresses of private
networks, and of this machine unless both --listen and the public URL are on
loopback. Behind a proxy on the same machine, the public URL is what tells that
others can reach the agent: always give it there. --allow-private lets it
connect to all these.`,
		Example: `  didcomm serve
  didcomm serve --listen 0.0.0.0:8443 --public-url https://agent.example.org:8443/didcomm --tls-cert cert.pem --tls-key key.pem
  didcomm serve --did did:web:agent.example.org --listen 127.0.0.1:8080 --public-url https://agent.example.org/didcomm`,
		Args: positional(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return &usageError{err}
			}
			var err error
			if cfg.Home.Dir, err = a.needHome(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			cfg.Logger = log.logger(a.Stderr)
			pass.open(a, &cfg.Home)
			cfg.OnMessage = func(from, to, text string) {
				if to != "" {
					to = " to " + printable(to)
				}
				fmt.Fprintf(a.Stdout, "message from %s%s: %s\n", printable(from), to, printable(text))
			}
			s, err := server.Listen(ctx, cfg)
			if err != nil {
				return err
			}
			if s.Former() != "" {
				fmt.Fprintf(a.Stderr, "The agent's DID changed from %s to %s; the former one still works.\n", s.Former(), s.DID())
			}
			fmt.Fprintln(a.Stdout, s.DID())
			fmt.Fprintf(a.Stderr, "The agent takes messages at %s. To ping it, paste in a second terminal:\n\n  %s ping %s\n\n", s.Endpoint(), self(), s.DID())
			return s.Run(ctx)
		},
	}
	addConfigFlag(cmd)
	log.addFlags(cmd, "info")
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "address to listen on, HOST:PORT; port 0 is a free one")
	f.StringVar(&cfg.PublicURL, "public-url", "", "URL at which peers reach the agent (default "+server.DefaultPath+" at the did:web's domain or the listening address)")
	f.StringVar(&cfg.DID, "did", "", "go by this did:web and publish its document")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "speak TLS with this certificate chain, a PEM file")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "private key of --tls-cert, a PEM file")
	f.BoolVar(&cfg.AllowPrivate, "allow-private", false, "connect to this machine and private networks where a peer's DID says so")
	f.Int64Var(&cfg.MaxBytes, "max-bytes", transport.DefaultMaxBytes, "largest message that is taken in, in bytes")
	addStoreFlag(cmd, &cfg.Home)
	pass.addFlag(cmd)
	addQueueFlags(cmd, &cfg.Home)
	addDeliverWithin(cmd, &cfg.DeliverWithin)
	f.DurationVar(&cfg.KeepReceived, "keep-received", 7*24*time.Hour, "for how long a handled message is shown by inbox, and known if it comes again")
	f.IntVar(&cfg.ReportBurst, "report-burst", 20, "problem reports that one peer is sent at once, besides those in the responses to its POSTs")
	f.IntVar(&cfg.ReportsPerHour, "reports-per-hour", 10, "problem reports that one peer is sent in an hour after that")
	f.IntVar(&cfg.AnswerBurst, "answer-burst", 1000, "acks and ping-responses that one peer is sent at once, by another connection than it asked on")
	f.IntVar(&cfg.AnswersPerHour, "answers-per-hour", 36_000, "acks and ping-responses that one peer is sent in an hour after that")
	f.DurationVar(&cfg.ReadTimeout, "read-timeout", 10*time.Second, "how long a peer may take to send a request's header, and its body")
	return cmd
}

// self is the command that runs this program again, as the user would type it.
func self() string {
	exe, err := os.Executable()
	if err != nil {
		return "didcomm"
	}
	if strings.Contains(filepath.ToSlash(exe), "/go-build") { // go run
		return "go run ./cmd/didcomm"
	}
	if found, err := exec.LookPath("didcomm"); err == nil {
		if found, err = filepath.EvalSymlinks(found); err == nil && found == exe {
			return "didcomm"
		}
	}
	if strings.ContainsAny(exe, " '\"$\\") {
		return "'" + strings.ReplaceAll(exe, "'", `'\''`) + "'"
	}
	return exe
}
