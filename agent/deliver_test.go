package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// Parties that do not respond do not occupy the workers for others, and get their
// messages when they respond again.
func TestDeadPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dead, each = 12, 20
		start, known, back := time.Now(), 10*time.Minute, 6*time.Hour
		var mu sync.Mutex
		arrived, trying := make(map[string][]time.Duration), make(map[string]int)
		a := agenttest.NewNet().Agent(t, nil, withSender(func(ctx context.Context, endpoint string, _ transport.Packet) error {
			if strings.HasPrefix(endpoint, "test://dead") && time.Since(start) < back {
				mu.Lock()
				trying[endpoint]++
				if trying[endpoint] > 1 && time.Since(start) > known {
					t.Errorf("%d workers try %s after %v", trying[endpoint], endpoint, time.Since(start))
				}
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				trying[endpoint]--
				return ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			arrived[endpoint] = append(arrived[endpoint], time.Since(start))
			return nil
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.Workers = 16 }))
		send := func(endpoint string, n int) {
			p := agenttest.NewParty(t, endpoint)
			for range n {
				if err := a.Send(t.Context(), newMessage(t, p.DID)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range dead {
			send(fmt.Sprint("test://dead", i), each)
		}
		time.Sleep(known) // by now it is known who does not respond
		send("test://live", each)
		synctest.Wait()
		if got := arrived["test://live"]; len(got) != each || slices.Max(got) > known {
			t.Errorf("arrived at the live one at %v", got)
		}
		time.Sleep(time.Until(start.Add(back + 11*time.Minute))) // the longest backoff, and a try that began before
		synctest.Wait()
		for i := range dead {
			got := arrived[fmt.Sprint("test://dead", i)]
			if len(got) != each || slices.Max(got) > back+11*time.Minute {
				t.Errorf("%d arrived at %d, the last at %v", len(got), i, slices.Max(append(got, 0)))
			}
		}
	})
}

// wokenOutbox gives an item back without a reason only after a Wake.
type wokenOutbox struct {
	store.Outbox
	woken func() // once
	wake  chan struct{}
}

func (o wokenOutbox) Nak(ctx context.Context, l *store.Lease[store.Item], delay time.Duration, reason string) error {
	if reason == "" {
		<-o.wake
	}
	return o.Outbox.Nak(ctx, l, delay, reason)
}

func (o wokenOutbox) Wake(ctx context.Context, to string) error {
	defer o.woken()
	return o.Outbox.Wake(ctx, to)
}

// An item is sent at once even if it is given back just when its party responds again.
func TestBackMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake := make(chan struct{})
		box := wokenOutbox{store.NewOutbox(store.OutboxConfig{}), sync.OnceFunc(func() { close(wake) }), wake}
		var mu sync.Mutex
		var arrived []time.Duration
		start, back := time.Now(), 40*time.Second
		a := agenttest.NewNet().Agent(t, nil, withSender(func(ctx context.Context, _ string, _ transport.Packet) error {
			if time.Since(start) < 20*time.Second { // the party does not respond
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(time.Until(start.Add(back)))
			mu.Lock()
			defer mu.Unlock()
			arrived = append(arrived, time.Since(start))
			return nil
		}), agenttest.Configure(func(cfg *agent.Config) { cfg.Store, cfg.Workers = storeOf(box, nil), 2 }))
		p := agenttest.NewParty(t, "test://one")
		for range 2 {
			if err := a.Send(t.Context(), newMessage(t, p.DID)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []time.Duration{back, back}; !slices.Equal(arrived, want) {
			t.Errorf("arrived at %v, want %v", arrived, want)
		}
	})
}

// A party that has moved is found. Its DID is resolved again only if none of its
// endpoints answers.
func TestMovedEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := agenttest.NewParty(t), agenttest.NewParty(t)
		endpoint, looked := "test://old", 0
		cache := did.NewCache(did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
			doc, err := p.Resolver.Resolve(ctx, id)
			if err != nil || id != s.DID {
				return doc, err
			}
			looked++
			return &did.Document{
				ID: id, VerificationMethod: doc.VerificationMethod, KeyAgreement: doc.KeyAgreement, Authentication: doc.Authentication,
				Service: []did.Service{did.NewDIDCommService("#s", endpoint)},
			}, nil
		}), did.CacheConfig{})
		packer, err := envelope.New(envelope.Config{Keys: p.Keys, Resolver: cache})
		if err != nil {
			t.Fatal(err)
		}
		sc := &script{start: time.Now(), fail: func(endpoint string, _ int) error {
			if endpoint == "test://old" {
				return failure(false, 0) // gone for good
			}
			return nil
		}}
		a := agenttest.NewNet().Agent(t, nil, withSender(sc.send), agenttest.Configure(func(cfg *agent.Config) {
			cfg.DID, cfg.Packer = p.DID, packer
		}))
		if _, err := cache.Resolve(t.Context(), s.DID); err != nil { // so that the cache has the old document
			t.Fatal(err)
		}
		endpoint = "test://new"
		for range 2 {
			if err := a.Send(t.Context(), newMessage(t, s.DID), agent.AwaitDelivery()); err != nil {
				t.Fatal(err)
			}
		}
		var tried []string
		for _, try := range sc.all() {
			tried = append(tried, try.endpoint)
		}
		if want := []string{"test://old", "test://new", "test://new"}; !slices.Equal(tried, want) || looked != 2 {
			t.Errorf("tried %q, want %q; looked up %d times", tried, want, looked)
		}
	})
}

// A message that has failed for good is kept with its last error, and is sent when a
// person retries it.
func TestBuriedIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, buried, alive := store.NewOutbox(store.OutboxConfig{}), make(chan agent.Outcome, 10), false
		a := agenttest.NewNet().Agent(t, nil, withSender(func(context.Context, string, transport.Packet) error {
			if alive {
				return nil
			}
			return &transport.SendError{Endpoint: "test://one", Err: errors.New("410 gone")}
		}), agenttest.Configure(func(cfg *agent.Config) {
			cfg.Store, cfg.Trace = storeOf(box, nil), &agent.Trace{Buried: func(_ context.Context, o agent.Outcome) { buried <- o }}
		}))
		m := newMessage(t, agenttest.NewParty(t, "test://one").DID)
		m.ID = "m"
		if err := a.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		b := <-buried
		admin := box.(store.OutboxAdmin)
		e, err := admin.Get(t.Context(), b.ID)
		if err != nil || e.State != store.Buried || b.MessageID != "m" || !strings.Contains(e.LastError, "410 gone") || b.Err.Error() != e.LastError {
			t.Errorf("buried %v as %+v, %v", b.Err, e, err)
		}
		alive = true
		if err := admin.Retry(t.Context(), b.ID, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := admin.Get(t.Context(), b.ID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after it was retried: %v", err)
		}
		if len(buried) != 0 {
			t.Error("buried again")
		}
	})
}

// If the second endpoint of a party is one without receipts, the message asks for an ack
// from the start, so that this endpoint can be used.
func TestFailoverToConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, box := new(sessionSender), store.NewOutbox(store.OutboxConfig{})
		a := agenttest.NewNet().Agent(t, nil, withSender(func(context.Context, string, transport.Packet) error { return failure(true, 0) }),
			agenttest.Configure(func(cfg *agent.Config) { cfg.Senders["session"], cfg.Store = l, storeOf(box, nil) }))
		s := &stranger{Party: agenttest.NewParty(t, "test://one", "session://two")}
		if err := a.Send(t.Context(), newMessage(t, s.DID)); err != nil {
			t.Fatal(err)
		}
		m := s.open(t, l.session().next(t)).Message
		if !slices.Equal(m.PleaseAck, []string{m.ID}) {
			t.Errorf("please_ack %q", m.PleaseAck)
		}
		l.cut()
		time.Sleep(time.Second)
		if again := s.open(t, l.session().next(t)).Message; again.ID != m.ID {
			t.Errorf("sent %s again, not %s", again.ID, m.ID)
		}
	})
}
