//go:build crash

package crash_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
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

// newMediated makes a world of a sender, a mediator, and two phones behind the mediator, of
// which one polls and one has live mode. The stores are those of the three kinds.
func newMediated(t *testing.T, sender, mediator, phone string) *world {
	t.Helper()
	w := new(world)
	add := func(name, store string) *node {
		n := newNode(t, name)
		n.Store = store
		w.nodes = append(w.nodes, n)
		return n
	}
	from, m := add("sender", sender), add("mediator", mediator)
	dids, secrets, err := identities(from.Listen)
	if err != nil {
		t.Fatal(err)
	}
	from.DID, from.Secrets = dids["http"], secrets
	from.Peer = map[string]string{}
	m.Mediates = true
	m.DID, m.Secrets = made(t, "http://"+m.Listen+"/", "ws://"+m.Listen+"/")
	for _, name := range []string{"live", "polling"} {
		p := add(name, phone)
		p.Via, p.Polls = m.DID, name == "polling"
		p.DID, p.Behind, p.Secrets = phoneOf(t, m.DID)
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
	w := newMediated(t, "sqlite", "sqlite", "sqlite")
	w.run(t, *messages, *kills, func() { w.nodes[rand.N(len(w.nodes))].kill(t) })
}

// TestMediatedPostgres kills the mediator, whose store is on a PostgreSQL server, that server
// and the phones.
func TestMediatedPostgres(t *testing.T) {
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
	w := newMediated(t, "sqlite", dsn, "sqlite")
	w.run(t, *messages, *kills, func() {
		if i := rand.N(len(w.nodes) + 1); i < len(w.nodes) {
			w.nodes[i].kill(t)
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
