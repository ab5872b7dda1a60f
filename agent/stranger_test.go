package agent_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didweb"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
)

// withSKID returns an encrypted message with another skid. It does not open.
func withSKID(t *testing.T, p transport.Packet, skid string) transport.Packet {
	t.Helper()
	var jwe, header map[string]any
	read := func(data []byte, into *map[string]any) {
		if err := json.Unmarshal(data, into); err != nil {
			t.Error(err)
		}
	}
	read(p.Data, &jwe)
	protected, err := base64.RawURLEncoding.DecodeString(jwe["protected"].(string))
	if err != nil {
		t.Error(err)
	}
	read(protected, &header)
	header["skid"], header["apu"] = skid, base64.RawURLEncoding.EncodeToString([]byte(skid))
	protected, _ = json.Marshal(header)
	jwe["protected"] = base64.RawURLEncoding.EncodeToString(protected)
	p.Data, _ = json.Marshal(jwe)
	return p
}

// silent listens on loopback, and never answers. It counts the connections.
type silent struct {
	net.Listener

	mu              sync.Mutex // guards all below
	all, open, most int
}

func newSilent(t *testing.T) *silent {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &silent{Listener: l}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var conns sync.WaitGroup
		defer conns.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.all, s.open = s.all+1, s.open+1
			s.most = max(s.most, s.open)
			s.mu.Unlock()
			conns.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c) // until the client gives up
				s.mu.Lock()
				s.open--
				s.mu.Unlock()
			})
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return s
}

// A stranger who names DIDs at silent hosts makes the agent hold and open few connections,
// and is told to try again. The agent resolves meanwhile what it sends to.
func TestGarbageOfStrangers(t *testing.T) {
	const n, friend = 3000, "did:web:example.com:friend"
	for name, test := range map[string]struct {
		skid       func(i int) string
		open       int // connections at the same time
		burst      int // connections at once
		perSeconds int // and later
	}{
		"one host":  {func(i int) string { return fmt.Sprintf("did:web:evil.example:%d#k", i) }, 4, 20, 1},
		"300 hosts": {func(i int) string { return fmt.Sprintf("did:web:evil%d.example:%d#k", i%300, i) }, 16, 100, 10},
	} {
		t.Run(name, func(t *testing.T) {
			evil, loopback := newSilent(t), &netguard.Guard{AllowLoopback: true}
			router := http.NewServeMux()
			site := httptest.NewTLSServer(router) // with a certificate for example.com
			defer site.Close()
			web, err := didweb.NewResolver(didweb.Config{
				Timeout: 3 * time.Second, RootCAs: site.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					to := evil.Addr()
					if strings.HasPrefix(addr, "example.com:") {
						to = site.Listener.Addr()
					}
					return loopback.DialContext(ctx, network, to.String())
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			w := newParkTest(t)
			w.store = store.New(store.Config{}) // not that of the first agent
			a := w.run(t, func(cfg *agent.Config) {
				cfg.Packer, cfg.Keys = nil, w.party.Keys
				cfg.Resolver = did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
					if did.Host(id) != "" {
						return web.Resolve(ctx, id)
					}
					return w.party.Resolver.Resolve(ctx, id)
				})
				cfg.Logger = nil // 3000 lines
			})
			to := w.web(t, friend, "mem://friend")
			path, err := didweb.PathOf(friend)
			if err != nil {
				t.Fatal(err)
			}
			router.Handle(path, didweb.Handler(func(context.Context) (*did.Document, error) { return w.docs[friend], nil }))
			s := newStranger(t, w.net)
			p := s.pack(t, s.message(t, a, chatType, nil))

			begin, next := time.Now(), atomic.Int64{}
			var clients sync.WaitGroup
			for range 64 {
				clients.Go(func() {
					for i := next.Add(1); i <= n; i = next.Add(1) {
						err := serve(t.Context(), a, new(call), withSKID(t, p, test.skid(int(i))))
						var busy *transport.BusyError
						if !errors.As(err, &busy) || busy.RetryAfter <= 0 {
							t.Errorf("ServePacket: %v", err)
						}
					}
				})
			}
			own, err := message.New(chatType, nil)
			if err != nil {
				t.Fatal(err)
			}
			own.To = []string{friend}
			if err := a.Send(t.Context(), own); err != nil {
				t.Errorf("own message: %v", err)
			}
			to.next(t)
			clients.Wait()
			seconds := int(time.Since(begin)/time.Second) + 1
			evil.mu.Lock()
			defer evil.mu.Unlock()
			// While connections are opened, as many may be about to close.
			if evil.most > 2*test.open || evil.all > test.burst+seconds*test.perSeconds || evil.all < test.open {
				t.Errorf("%d connections, %d at one time, in %d seconds", evil.all, evil.most, seconds)
			}
		})
	}
}

// A message under a new key of a did:web, whose document was fetched before, is not lost: it
// waits until the document may be fetched again. A POST is answered with 503 as long.
func TestNewKeyOfKnownDID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const id = "did:web:peer.example"
		w := newParkTest(t)
		w.store = store.New(store.Config{}) // not that of the first agent
		w.agent = w.run(t, func(cfg *agent.Config) {
			cfg.Packer, cfg.Keys, cfg.Resolver = nil, w.party.Keys, w.outage
		})
		before := w.web(t, id)
		before.give(t, w.agent, new(call), before.message(t, w.agent, chatType, nil))
		w.got.next(t)
		after := w.web(t, id) // with other keys
		p := after.pack(t, after.message(t, w.agent, chatType, nil))
		var busy *transport.BusyError
		if err := serve(t.Context(), w.agent, new(call), p); !errors.As(err, &busy) || !errors.Is(err, did.ErrBusy) {
			t.Errorf("a POST: %v", err)
		}
		after.give(t, w.agent, newSession(), after.message(t, w.agent, chatType, nil))
		w.has(t, "at once", 0, store.Waiting)
		if got := w.calls(id); got != 1 {
			t.Errorf("%d fetches", got)
		}
		time.Sleep(time.Minute)
		w.has(t, "later", 1, store.Done)
		if err := serve(t.Context(), w.agent, new(call), p); err != nil {
			t.Errorf("the POST again: %v", err)
		}
		var reject *transport.RejectError
		old := before.pack(t, before.message(t, w.agent, chatType, nil))
		if err := serve(t.Context(), w.agent, new(call), old); !errors.As(err, &reject) {
			t.Errorf("a POST under the revoked key: %v", err)
		}
		if got := w.calls(id); got != 3 {
			t.Errorf("%d fetches", got)
		}
	})
}

// A message of a DID whose address the resolver refuses is parked like the message of a DID
// that is down. It is tried once more, and then set aside.
func TestRefusedAddressIsTriedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t)
		s := w.web(t, "did:web:localhost")
		w.set(did.ErrRefused, s.DID)
		s.give(t, w.agent, newSession(), s.message(t, w.agent, chatType, nil))
		w.has(t, "at once", 0, store.Waiting)
		time.Sleep(time.Hour)
		w.has(t, "later", 0, store.Buried)
		if got := w.calls(s.DID); got != 2 {
			t.Errorf("resolved %d times", got)
		}
	})
}

// The documents of strangers name mediators. Answers to strangers make the agent fetch the
// documents of mediators only as often as messages of strangers do.
func TestMediatorsOfStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 60
		w := newParkTest(t)
		w.store = store.New(store.Config{}) // not that of the first agent
		var fetched, handled atomic.Int64
		a := w.run(t, func(cfg *agent.Config) {
			cfg.Packer, cfg.Keys = nil, w.party.Keys
			cfg.Resolver = did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
				if did.Host(id) != "" {
					fetched.Add(1)
					return nil, errDown
				}
				return w.party.Resolver.Resolve(ctx, id)
			})
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
				handled.Add(1)
				m, err := message.New(chatType, nil)
				if err == nil && r.Reply(ctx, m) == nil {
					err = errors.New("replied by a mediator that cannot be reached")
				}
				return err
			})
		})
		for i := range n {
			s := &stranger{Party: agenttest.NewParty(t, fmt.Sprintf("did:web:victim.example:%d", i))}
			s.give(t, a, new(call), s.message(t, a, chatType, nil))
		}
		if got := fetched.Load(); handled.Load() != n || got > 20 || got < 10 {
			t.Errorf("%d fetches for %d messages", got, handled.Load())
		}
	})
}
