//go:build crash

package crash_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore"
	"github.com/didcomm-go/didcomm/agent/store/sqlstore/postgres/pgtest"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/protocols/mediation"
	"github.com/didcomm-go/didcomm/protocols/pickup"
	"github.com/didcomm-go/didcomm/protocols/routing"
)

// role is what a node does besides sending and handling messages.
type role struct {
	cfg       settings
	protocols []agent.MuxOption
	mediator  *mediator.Mediator
	collector *pickup.Collector
	ready     chan struct{} // closed when others can send to the node
}

func newRole(cfg settings, s *sqlstore.Store, logger *slog.Logger) (*role, error) {
	r := &role{cfg: cfg, ready: make(chan struct{})}
	if cfg.Mediates {
		var err error
		// All forwards come from one address, and without the name of their sender.
		much := store.Share{Items: 1_000_000, Bytes: 1 << 40}
		if r.mediator, err = mediator.New(mediator.Config{
			DID: cfg.DID, Store: s, Mailbox: s.Mailbox(), Logger: logger,
			Limits: mediator.Limits{Box: much, Pair: much, Sender: much, AddressPerMinute: -1, SenderPerMinute: -1},
		}); err != nil {
			return nil, err
		}
		r.protocols = append(r.protocols, mediation.Serve(r.mediator, logger), routing.Serve(r.mediator), pickup.Serve(r.mediator))
	}
	if cfg.Via != "" {
		r.collector = pickup.NewCollector(pickup.Config{
			Poll: 300 * time.Millisecond, SlowPoll: 2 * time.Second, NoLive: cfg.Polls, Logger: logger,
			MinBackoff: 50 * time.Millisecond, MaxBackoff: 500 * time.Millisecond,
		})
		r.protocols = append(r.protocols, r.collector.Handle())
	}
	return r, nil
}

// run works until ctx ends.
func (r *role) run(ctx context.Context, a *agent.Agent) error {
	<-a.Ready()
	g, ctx := errgroup.WithContext(ctx)
	if r.mediator != nil {
		g.Go(func() error { return r.mediator.Run(ctx) })
	}
	if r.collector != nil {
		r.enroll(ctx, a)
		g.Go(func() error { return r.collector.Run(ctx, a, pickup.Source{Mediator: r.cfg.Via}) })
	}
	close(r.ready)
	return g.Wait()
}

// enroll tries until the mediator has the DID of the phone. The mediator may be away.
func (r *role) enroll(ctx context.Context, a *agent.Agent) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := mediation.Enroll(within, a, r.cfg.Via)
		if err == nil {
			_, err = mediation.Update(within, a, r.cfg.Via, []mediation.Change{{RecipientDID: r.cfg.Behind, Action: mediation.Add}})
		}
		cancel()
		if err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// mediatedLimit is limit where a mediator is in between. A sender or a phone that was refused for
// now comes again in ten seconds, one after the other.
const mediatedLimit = time.Minute

// newMediated makes a world of a sender, the processes of one mediator, whose stores are given, and
// two phones behind the mediator, of which one polls and one has live mode. The mediator has an
// endpoint of each scheme at each process. The other stores are SQLite files.
func newMediated(t *testing.T, schemes []string, mediators ...string) *world {
	t.Helper()
	w := &world{limit: mediatedLimit}
	add := func(name, store string) *node {
		n := newNode(t, name)
		n.Store = store
		w.nodes = append(w.nodes, n)
		return n
	}
	from := add("sender", "sqlite")
	dids, secrets, err := identities(from.Listen)
	if err != nil {
		t.Fatal(err)
	}
	from.DID, from.Secrets = dids["http"], secrets
	from.Peer = map[string]string{}
	var endpoints []string
	for i, store := range mediators {
		m := add(fmt.Sprintf("mediator%d", i+1), store)
		m.Mediates, m.Shared = true, len(mediators) > 1
		for _, scheme := range schemes {
			endpoints = append(endpoints, scheme+"://"+m.Listen+"/")
		}
	}
	via, secrets := made(t, endpoints...)
	for _, m := range w.nodes[1:] {
		m.DID, m.Secrets = via, secrets
	}
	for _, name := range []string{"live", "polling"} {
		p := add(name, "sqlite")
		p.Via, p.Polls = via, name == "polling"
		p.DID, p.Behind, p.Secrets = phoneOf(t, via)
		from.Peer[name] = p.Behind
	}
	for _, n := range w.nodes {
		n.save(t)
	}
	return w
}

// made makes a DID with endpoints, and its keys.
func made(t *testing.T, endpoints ...string) (id string, secrets []byte) {
	t.Helper()
	made, keys := newIdentity(t, endpoints...)
	secrets, err := keys.MarshalSecrets()
	if err != nil {
		t.Fatal(err)
	}
	return made, secrets
}

// phoneOf makes the two DIDs of a phone: the one that the mediator knows as a device, and the
// one that others write to.
func phoneOf(t *testing.T, via string) (device, behind string, secrets []byte) {
	t.Helper()
	device, keys := newIdentity(t, did.QueueURI)
	behind, more := newIdentity(t, via)
	for _, kid := range more.KIDs() {
		key, err := more.Key(kid)
		if err == nil {
			err = keys.Add(kid, key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets, err := keys.MarshalSecrets()
	if err != nil {
		t.Fatal(err)
	}
	return device, behind, secrets
}

func newIdentity(t *testing.T, endpoints ...string) (string, *keyring.Keyring) {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer2(pair, endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	return id.DID(), keys
}

// TestMediated kills the sender, the mediator and the phones, whose stores are SQLite files.
func TestMediated(t *testing.T) {
	t.Parallel()
	w := newMediated(t, []string{"http", "ws"}, "sqlite")
	w.run(t, *messages, *kills, w.killAny(t))
}

// TestMediatedSocket is TestMediated with a mediator that has no endpoint but a WebSocket, which
// gives no receipts.
func TestMediatedSocket(t *testing.T) {
	t.Parallel()
	w := newMediated(t, []string{"ws"}, "sqlite")
	w.run(t, *messages, *kills, w.killAny(t))
}

// TestMediatedPostgres kills the sender, the mediator, whose store is on a PostgreSQL server, that
// server and the phones.
func TestMediatedPostgres(t *testing.T) {
	t.Parallel()
	mediatedPostgres(t, 1)
}

// TestMediatedShared is TestMediatedPostgres with a mediator of two processes.
func TestMediatedShared(t *testing.T) {
	t.Parallel()
	mediatedPostgres(t, 2)
}

// mediatedPostgres tests a mediator of some processes that share a PostgreSQL database.
func mediatedPostgres(t *testing.T, processes int) {
	server, err := pgtest.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn, err := server.DSN(t.Context(), "mediator")
	if err != nil {
		t.Fatal(err)
	}
	w := newMediated(t, []string{"http", "ws"}, slices.Repeat([]string{dsn}, processes)...)
	w.again = 10 * time.Second
	killAny := w.killAny(t)
	w.run(t, *messages/processes, *kills/processes, func() {
		if rand.N(len(w.nodes)+1) < len(w.nodes) {
			killAny()
			return
		}
		if err := server.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// killAny returns a function that kills one of the nodes, and starts that node again.
func (w *world) killAny(t *testing.T) func() {
	return func() { w.nodes[rand.N(len(w.nodes))].kill(t) }
}
