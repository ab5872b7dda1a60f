package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/didcomm-go/didcomm/agent/logs"
	"github.com/didcomm-go/didcomm/cmd/internal/server"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/spf13/cobra"
)

// lastOutput is how long serve waits at its end until its output is read.
const lastOutput = 250 * time.Millisecond

func (a *app) serve() *cobra.Command {
	var cfg server.Config
	var pass passphrase
	var log logging
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run an agent",
		Long: `Serve runs an agent until it is interrupted. It prints the DID of the agent on
standard output, and then each basic message that comes in. The log and hints go to
standard error. If nobody reads the output, lines are dropped and counted, and the
agent goes on: didcomm inbox has all messages. The log has at most 20 lines of one
kind in a minute, then the number of the others, and long DIDs are cut.

Store. Messages, DIDs and private keys are in agent.db in the home directory. After
a crash, the next serve continues the work. One agent serves a home at a time;
didcomm did, send, inbox and outbox work beside it.

Keys. The first start makes the private keys. A passphrase protects them. Serve
takes the passphrase from --passphrase-file, or from DIDCOMM_PASSPHRASE, or asks
for it at the terminal. Without a passphrase, only the mode of the file protects
the keys; see didcomm key passwd.

DIDs. The DID of the agent is a did:peer:2, which contains the keys and the public
URL. With another public URL or port, the same keys make another DID. Serve then
says so, and the former DID still works. With --did, the DID of the agent is a
did:web with the same keys. Serve also answers for each DID that didcomm did create
has made in the home. It publishes the document of each did:web whose host is that
of the public URL or of --did. The domain has to lead to this server.

Mediator. With --mediator, the agent keeps the messages of others, who enroll, until
they collect them; see didcomm mediator. Its DID is a did:peer:2 with a key pair of
its own, and with the URL for POST and for WebSocket. --enroll-list and
--enroll-invited say who may enroll.

Behind a mediator. With --via, the agent listens on no port. It enrolls with a
mediator, and its DID has the mediator as its service. The messages of former
mediators are collected, too.

Address. One URL takes messages by POST and by WebSocket: --public-url, or ` + server.DefaultPath + `
at the listening address; that of a mediator has no path. A proxy in front has to
keep the path. GET ` + server.LivePath + ` answers 200 while the agent runs, and GET ` + server.ReadyPath + `
while it can also work.

TLS. A certificate of --tls-cert that was renewed is used within a second. SIGHUP
makes serve load it at once.

Web pages. The agent takes messages from web pages of the origins of --allow-origin.
While it listens on loopback, it answers only for the names of loopback, and for the
hosts of the public URL and of --did.

Address guard. Peers choose the addresses that the agent connects to. The agent
refuses addresses of private networks. It refuses this machine too, unless both
--listen and the public URL are on loopback. --allow-private permits all these.
Behind a proxy on the same machine, always give --public-url: without it, the agent
does not know that others can reach it.`,
		Example: `  didcomm serve
  didcomm serve --listen 0.0.0.0:8443 --public-url https://agent.example.org:8443/didcomm --tls-cert cert.pem --tls-key key.pem
  didcomm serve --did did:web:agent.example.org --listen 127.0.0.1:8080 --public-url https://agent.example.org/didcomm
  didcomm serve --mediator --listen 127.0.0.1:8080 --public-url https://mediator.example.org
  didcomm serve --via did:web:mediator.example.org`,
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
			reload := make(chan os.Signal, 1)
			signal.Notify(reload, syscall.SIGHUP) // from now on, the signal ends nothing
			defer signal.Stop(reload)
			cfg.LimitMemory()
			// A terminal that is not read must not stop the agent.
			out, talk := newOutlet(a.Stdout, "; see didcomm inbox"), newOutlet(a.Stderr, "")
			defer func() { out.close(lastOutput); talk.close(lastOutput) }()
			handler := logs.New(log.handler(talk), logs.Config{})
			defer handler.Close()
			cfg.Logger = slog.New(handler)
			pass.open(a, &cfg.Home)
			cfg.OnMessage = func(from, to, text string) {
				if to != "" {
					to = " to " + printable(to)
				}
				fmt.Fprintf(out, "message from %s%s: %s\n", printable(from), to, printable(text))
			}
			s, err := server.Listen(ctx, cfg)
			if err != nil {
				return err
			}
			if s.Former() != "" {
				fmt.Fprintf(talk, "The agent's DID changed from %s to %s; the former one still works.\n", s.Former(), s.DID())
			}
			fmt.Fprintln(out, s.DID())
			where := "The agent takes"
			if cfg.Via != "" {
				where = "The agent listens on no port; its mediator takes"
			}
			fmt.Fprintf(talk, "%s messages at %s. To ping it, paste in a second terminal:\n\n  %s ping %s\n\n", where, s.Endpoint(), self(), s.DID())
			var reloads sync.WaitGroup
			defer reloads.Wait()
			running, end := context.WithCancel(ctx)
			defer end()
			reloads.Go(func() {
				for {
					select {
					case <-reload:
						s.Reload()
					case <-running.Done():
						return
					}
				}
			})
			return s.Run(ctx)
		},
	}
	addConfigFlag(cmd)
	log.addFlags(cmd, "info")
	f := cmd.Flags()
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "address to listen on, HOST:PORT; port 0 is a free one")
	f.StringVar(&cfg.PublicURL, "public-url", "", "URL at which peers reach the agent (default "+server.DefaultPath+" at the did:web's domain or the listening address)")
	f.StringVar(&cfg.DID, "did", "", "did:web to use as the DID of the agent; its document is published")
	f.StringVar(&cfg.Via, "via", "", "listen on no port, and collect messages from this mediator: its DID, or an invitation of it")
	f.BoolVar(&cfg.Invitation, "invitation", false, "answer GET "+server.InvitationPath+" with an invitation to the agent: JSON, or a page with a QR code for a browser")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "speak TLS with this certificate chain, a PEM file")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "private key of --tls-cert, a PEM file")
	f.StringVar(&cfg.ClientCA, "client-ca", "", "accept only clients with a certificate of these authorities, a PEM file")
	f.StringSliceVar(&cfg.AllowOrigins, "allow-origin", nil, "origin of web pages that may send messages to the agent, such as https://wallet.example, or * for all; can be repeated")
	f.BoolVar(&cfg.AllowPrivate, "allow-private", false, "connect to this machine and to private networks if the DID of a peer says so")
	f.Int64Var(&cfg.MaxBytes, "max-bytes", transport.DefaultMaxBytes, "largest message that is accepted, in bytes")
	f.Int64Var(&cfg.UnreadBytes, "unread-bytes", 0, "memory for all messages that are being received, in bytes; beyond, the slowest senders are refused (default an eighth of the memory, at most 256 MiB)")
	addStoreFlag(cmd, &cfg.Home)
	pass.addFlag(cmd)
	addQueueFlags(cmd, &cfg.Home)
	addLimitFlags(cmd, &cfg.Limits)
	addMediatorFlags(cmd, &cfg.Mediator)
	addDeliverWithin(cmd, &cfg.DeliverWithin)
	f.DurationVar(&cfg.KeepReceived, "keep-received", 7*24*time.Hour, "how long inbox shows a handled message, and how long the agent recognizes it if it comes again; an older message is refused")
	f.DurationVar(&cfg.StrangerWithin, "stranger-within", 10*time.Minute, "how long delivery is tried of an answer to a stranger: a party that the agent has not written to first")
	f.IntVar(&cfg.StrangerTries, "stranger-tries", 3, "how often delivery is tried of an answer to a stranger")
	f.IntVar(&cfg.RefusedTries, "refused-tries", 16, "how often in a row a peer refuses a message with the same answer, such as HTTP status 500, until the message is given up if the peer accepts others; 16 take about an hour")
	f.IntVar(&cfg.HostTries, "tries-per-host", 4, "messages that are sent to one host at the same time; more if the host accepts them quickly, and one if it does not answer")
	f.Int64Var(&cfg.StrangerBytes, "stranger-bytes", 64<<10, "bytes of all answers to one message of a stranger; twice the bytes of the message if that is more")
	f.IntVar(&cfg.ReportBurst, "report-burst", 20, "problem reports that the agent sends to one peer at once, without those in responses to POSTs")
	f.IntVar(&cfg.ReportsPerHour, "reports-per-hour", 10, "problem reports per hour to one peer after that")
	f.IntVar(&cfg.AnswerBurst, "answer-burst", 1000, "acks and ping responses that the agent sends to one peer at once, without those on the connection of the request")
	f.IntVar(&cfg.AnswersPerHour, "answers-per-hour", 36_000, "acks and ping responses per hour to one peer after that")
	f.DurationVar(&cfg.Documents.Lifetime, "did-web-lifetime", 5*time.Minute, "how long the document of a did:web is kept; a key that its owner has revoked is accepted for at most as long")
	f.IntVar(&cfg.Documents.Strangers.PerMinute, "did-web-per-minute", 600, "did:web documents fetched per minute because messages of strangers name them; a sixth of it at once")
	f.IntVar(&cfg.Documents.Strangers.HostPerMinute, "did-web-per-host", 60, "the same from one host; a third of it at once")
	f.DurationVar(&cfg.ReadTimeout, "read-timeout", 10*time.Second, "how long a peer may take to send the header of a request; the body has the same time")
	return cmd
}

// self returns the command line that runs this program, as the user would type it.
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
