//go:build crash

package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/sqlite"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
	"github.com/didcomm-go/didcomm/protocols/empty"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/httptransport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// nodeVariable names, in a node's environment, the file of its settings.
const nodeVariable = "CRASH_NODE"

func TestMain(m *testing.M) {
	if path := os.Getenv(nodeVariable); path != "" {
		if err := runNode(path); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// settings are what a node is started with.
type settings struct {
	Listen  string
	Home    string        // directory of the database
	Handled string        // file that gets a line "ID TIME" for each message handled
	Store   string        // "sqlite", or how to reach a PostgreSQL database
	Shared  bool          // the database is that of other nodes too
	Takes   time.Duration // what the handler takes for a message
	Counts  bool          // the handler counts messages and answers each with its number
	Secrets json.RawMessage
	DID     string            // who it is; it has the keys of its other DID, too
	Peer    map[string]string // the peer's DID by the way that leads to it: http, ws
	// Mediates makes the node a mediator too.
	Mediates bool
	// Via is the DID of the mediator of a node that is a phone. Behind is the phone's DID that
	// the mediator takes mail for. Polls means that the phone has no live mode.
	Via, Behind string
	Polls       bool
}

// runNode is an agent in a process of its own. It says "ready" on standard
// output, and for each line "WAY ID" on standard input sends a message; "accepted
// ID" follows when Send has returned without an error, "refused ID ERROR" else. It
// says "begun" and "ended" of each call of the handler. It ends with its standard
// input.
func runNode(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var cfg settings
	if err := json.Unmarshal(data, &cfg); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

	s, err := openStore(ctx, cfg, sqlstore.Config{Reclaim: !cfg.Shared, Logger: logger})
	if err != nil {
		return err
	}
	defer s.Close()
	keys, err := keyring.ParseSecrets(cfg.Secrets)
	if err != nil {
		return err
	}
	handled, err := os.OpenFile(cfg.Handled, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer handled.Close()

	dial := (&netguard.Guard{AllowLoopback: true}).DialContext
	domains, err := didweb.NewResolver(didweb.Config{Dial: dial, AllowHTTPLoopback: true})
	if err != nil {
		return err
	}
	web, err := httptransport.NewClient(httptransport.ClientConfig{Dial: dial, Logger: logger})
	if err != nil {
		return err
	}
	defer web.Close()
	socket, err := wstransport.NewClient(wstransport.ClientConfig{
		Dial: dial, Logger: logger, MinBackoff: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	defer socket.Close()
	r, err := newRole(cfg, s, logger)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Config{
		DID: cfg.DID, Keys: keys, Logger: logger, Store: s, MailWindow: 24 * time.Hour,
		Resolver: did.Methods{"peer": didpeer.NewResolver(), "web": domains},
		Handler: agent.NewMux(append(r.protocols, empty.Handle(), unordered(
			func(ctx context.Context, w agent.Responder, in *agent.Inbound, _ basicmessage.Body) error {
				fmt.Println("begun")
				defer fmt.Println("ended")
				if cfg.Counts {
					return count(ctx, w, s.Records(), in)
				}
				select {
				case <-time.After(cfg.Takes):
				case <-ctx.Done():
					return ctx.Err()
				}
				// One write, which survives the process.
				_, err := fmt.Fprintln(handled, in.Message.ID, time.Now().UnixNano())
				return err
			}))...),
		Senders:    map[string]transport.Sender{"http": web, "ws": socket},
		MinBackoff: 20 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
		MaxTries:   1000, // one message may be in hand at each strike
		AckTimeout: 15 * time.Second, SendTimeout: 10 * time.Second, Workers: 32,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return err
	}
	sockets := wstransport.NewServer(a, wstransport.ServerConfig{Logger: logger})
	server := httptransport.NewServer(httptransport.NewHandler(a, httptransport.HandlerConfig{WebSocket: sockets, Logger: logger}))

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.Run(ctx) })
	g.Go(func() error { return r.run(ctx, a) })
	g.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		defer stop()
		<-a.Ready()
		<-r.ready
		obey(ctx, a, cfg.Peer)
		return server.Close()
	})
	return g.Wait()
}

// obey sends what standard input asks for.
func obey(ctx context.Context, a *agent.Agent, peers map[string]string) {
	var mu sync.Mutex // one line at a time
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	say("ready")
	var sends sync.WaitGroup
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		way, id, _ := strings.Cut(lines.Text(), " ")
		sends.Go(func() {
			if err := send(ctx, a, peers, way, id); err != nil {
				say("refused %s %v", id, err)
				return
			}
			say("accepted %s", id)
		})
	}
	sends.Wait()
}

// unordered handles basic messages as if each were of somebody else: the few clients of
// this suite stand for many.
func unordered(fn basicmessage.Handler) agent.MuxOption {
	return agent.Handle(agent.Protocol{
		PIURI: basicmessage.PIURI, Messages: map[string]agent.Handler{basicmessage.TypeMessage: fn},
	})
}

// send sends a message by a way: http, ws, or back for http with the answer in the response.
func send(ctx context.Context, a *agent.Agent, peers map[string]string, way, id string) error {
	m, err := basicmessage.New(strings.Repeat("x", 500), "")
	if err != nil {
		return err
	}
	if way == "back" {
		way, m.ReturnRoute = "http", "all"
	}
	m.ID, m.To = id, []string{peers[way]}
	return a.Send(ctx, m, agent.Lane(id)) // many at a time: their order is for examples/fleet
}

func openStore(ctx context.Context, cfg settings, limits sqlstore.Config) (*sqlstore.Store, error) {
	if cfg.Store == "sqlite" {
		return sqlite.Open(ctx, filepath.Join(cfg.Home, "agent.db"), limits)
	}
	return openPostgres(ctx, cfg.Store, limits)
}

// identities are the DIDs of one agent, by the way that leads to its nodes, and their
// keys.
func identities(listen ...string) (map[string]string, json.RawMessage, error) {
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		return nil, nil, err
	}
	ring, dids := keyring.New(), map[string]string{}
	for _, way := range []string{"http", "ws"} {
		var endpoints []string
		for _, l := range listen {
			endpoints = append(endpoints, way+"://"+l+"/")
		}
		id, err := identity.Peer2(pair, endpoints...)
		if err != nil {
			return nil, nil, err
		}
		dids[way] = id.DID()
		for _, h := range id.Handles() {
			var key any = pair.Sign
			if h.Use == identity.ToAgree {
				key = pair.Agree
			}
			if err := ring.Add(h.KID, key); err != nil {
				return nil, nil, err
			}
		}
	}
	secrets, err := ring.MarshalSecrets()
	return dids, secrets, err
}

// newID is a message id that tells who sent it, for a person who reads a log.
func newID(from string) string { return from + "-" + message.NewID() }
