package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

func TestSendFillsHeaders(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
	m := &message.Message{Type: chatType, To: []string{s.DID}}
	if err := a.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got := s.next(t).Message
	if got.ID == "" || got.Typ != message.MediaType || got.From != a.DID() || got.CreatedTime.IsZero() {
		t.Errorf("sent %+v", got)
	}
	if m.ID != "" || m.From != "" {
		t.Errorf("the caller's message was changed: %+v", m)
	}
}

func TestSendOptions(t *testing.T) {
	for name, test := range map[string]struct {
		opts                             []agent.SendOption
		from, auth, nonRepudiation, wrap bool
		returnRoute                      string
	}{
		"default":      {from: true, auth: true},
		"anonymous":    {opts: []agent.SendOption{agent.Anonymous()}, wrap: true},
		"protected":    {opts: []agent.SendOption{agent.ProtectSender()}, from: true, auth: true, wrap: true},
		"return route": {opts: []agent.SendOption{agent.ReturnRoute("all")}, from: true, auth: true, returnRoute: "all"},
	} {
		t.Run(name, func(t *testing.T) {
			n := agenttest.NewNet()
			a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
			if err := a.Send(t.Context(), newMessage(t, s.DID), test.opts...); err != nil {
				t.Fatal(err)
			}
			u := s.next(t)
			if (u.Message.From == a.DID()) != test.from || u.Metadata.Authenticated != test.auth ||
				u.Metadata.AnonymousSender != test.wrap || u.Message.ReturnRoute != test.returnRoute {
				t.Errorf("from %q, return route %q, %+v", u.Message.From, u.Message.ReturnRoute, u.Metadata)
			}
		})
	}
}

func TestSendSigned(t *testing.T) {
	n := agenttest.NewNet()
	a, s := n.Agent(t, nil), newStranger(t, n, "mem://stranger")
	if err := a.Send(t.Context(), newMessage(t, s.DID), agent.SignBy(a.DID())); err != nil {
		t.Fatal(err)
	}
	u := s.next(t)
	if !u.Metadata.NonRepudiation || !u.Metadata.Encrypted || u.Metadata.EncryptedFromKID != "" || did.Base(u.Metadata.SignFrom) != a.DID() {
		t.Errorf("want anoncrypt(signed): %+v", u.Metadata)
	}
}

func TestSendToSeveral(t *testing.T) {
	n := agenttest.NewNet()
	a, s, other := n.Agent(t, nil), newStranger(t, n, "mem://s"), newStranger(t, n, "mem://other")
	m := newMessage(t, s.DID, other.DID, s.DID)
	if err := a.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*stranger{s, other} {
		u := who.next(t)
		if u.Message.ID != m.ID || !slices.Equal(u.Message.To, m.To) {
			t.Errorf("got %+v", u.Message)
		}
		for _, kid := range u.Metadata.EncryptedToKIDs {
			if did.Base(kid) != who.DID {
				t.Errorf("the envelope is for %s, too", kid)
			}
		}
		who.none(t)
	}
}

func TestSendNoRoute(t *testing.T) {
	n := agenttest.NewNet()
	a, good := n.Agent(t, nil), newStranger(t, n, "mem://good")
	for name, endpoints := range map[string][]string{
		"no endpoint":    nil,
		"unknown scheme": {"gopher://example.org"},
		"queue":          {"didcomm:transport/queue"},
	} {
		t.Run(name, func(t *testing.T) {
			p := agenttest.NewParty(t, endpoints...)
			wantError(t, "Send", a.Send(t.Context(), newMessage(t, good.DID, p.DID)), agent.ErrNoRoute)
			_, err := a.Request(t.Context(), newMessage(t, p.DID))
			wantError(t, "Request", err, agent.ErrNoRoute)
			good.none(t)
		})
	}
	if err := a.Send(t.Context(), newMessage(t)); err == nil {
		t.Error("a message to nobody was sent")
	}
}

func TestSendOutboxFull(t *testing.T) {
	n := agenttest.NewNet()
	a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
		cfg.Store = storeOf(store.NewOutbox(store.OutboxConfig{MaxBytes: 1}), nil)
	}))
	s := newStranger(t, n, "mem://stranger")
	wantError(t, "Send", a.Send(t.Context(), newMessage(t, s.DID)), store.ErrFull)
	_, err := a.Request(t.Context(), newMessage(t, s.DID))
	wantError(t, "Request", err, store.ErrFull)
}

// try is a call of a script.
type try struct {
	endpoint string
	at       time.Duration
}

// script is a Sender that fails as the test says, and records its calls.
type script struct {
	start time.Time
	fail  func(endpoint string, n int) error // n is the number of earlier tries at this endpoint

	mu    sync.Mutex
	tries []try
}

func (s *script) send(_ context.Context, endpoint string, _ transport.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, t := range s.tries {
		if t.endpoint == endpoint {
			n++
		}
	}
	s.tries = append(s.tries, try{endpoint, time.Since(s.start)})
	return s.fail(endpoint, n)
}

func (s *script) all() []try {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tries)
}

func failure(retryable bool, after time.Duration) error {
	return &transport.SendError{Endpoint: "e", Retryable: retryable, RetryAfter: after, Err: errors.New("failed")}
}

func TestDelivery(t *testing.T) {
	const one, two = "test://one", "test://two"
	always := func(err error) func(string, int) error { return func(string, int) error { return err } }
	for name, test := range map[string]struct {
		fail    func(endpoint string, n int) error
		edit    func(*message.Message)
		tried   []string // nil: any
		buried  bool
		minTime time.Duration // from the first try to the last
		maxTime time.Duration
	}{
		"at once": {fail: always(nil), tried: []string{one}},
		"failover": {fail: func(e string, _ int) error {
			if e == one {
				return failure(true, 0)
			}
			return nil
		}, tried: []string{one, two}},
		"failover from a refusal": {fail: func(e string, _ int) error {
			if e == one {
				return failure(false, 0)
			}
			return nil
		}, tried: []string{one, two}},
		"retry, each endpoint again": {fail: func(e string, n int) error {
			if e == one || n < 2 {
				return failure(true, 0)
			}
			return nil
		}, tried: []string{one, two, one, two, one, two}, minTime: 1500 * time.Millisecond, maxTime: 3 * time.Second},
		"an error of another kind": {fail: func(e string, n int) error {
			if n == 0 {
				return errors.New("who knows")
			}
			return nil
		}, tried: []string{one, two, one}, minTime: 500 * time.Millisecond, maxTime: time.Second},
		"refused by all": {fail: always(failure(false, 0)), tried: []string{one, two}, buried: true},
		"retry after": {fail: func(e string, n int) error {
			if n == 0 {
				return failure(true, time.Minute)
			}
			return nil
		}, tried: []string{one, two, one}, minTime: time.Minute, maxTime: time.Minute},
		"until expires_time": {fail: always(failure(true, 0)), edit: func(m *message.Message) { m.ExpiresTime = time.Now().Add(20 * time.Second) },
			buried: true, minTime: 5 * time.Second, maxTime: 20 * time.Second},
		"until MaxAge": {fail: always(failure(true, 0)),
			buried: true, minTime: 71 * time.Hour, maxTime: 72 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{start: time.Now(), fail: test.fail}
				buried := make(chan agent.Outcome, 1)
				a := agenttest.NewNet().Agent(t, nil, withSender(s.send), agenttest.Configure(func(cfg *agent.Config) {
					cfg.Trace = &agent.Trace{Buried: func(_ context.Context, o agent.Outcome) { buried <- o }}
				}))
				m := newMessage(t, agenttest.NewParty(t, one, two).DID)
				if test.edit != nil {
					test.edit(m)
				}
				err := a.Send(t.Context(), m, agent.AwaitDelivery())
				tries := s.all()
				var tried []string
				for _, try := range tries {
					tried = append(tried, try.endpoint)
				}
				if test.tried != nil && !slices.Equal(tried, test.tried) {
					t.Errorf("tried %q, want %q", tried, test.tried)
				}
				if d := tries[len(tries)-1].at - tries[0].at; d < test.minTime || d > test.maxTime {
					t.Errorf("the last of %d tries came after %v, want %v to %v", len(tries), d, test.minTime, test.maxTime)
				}
				if !test.buried {
					if err != nil {
						t.Errorf("Send: %v", err)
					}
					return
				}
				wantError(t, "Send", err, agent.ErrUndelivered)
				b := <-buried
				if b.MessageID != m.ID || b.Err == nil || b.To != m.To[0] {
					t.Errorf("buried %+v", b)
				}
			})
		})
	}
}

// The delay between tries doubles up to a limit.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{start: time.Now(), fail: func(_ string, n int) error {
			if n < 15 {
				return failure(true, 0)
			}
			return nil
		}}
		a := agenttest.NewNet().Agent(t, nil, withSender(s.send))
		if err := a.Send(t.Context(), newMessage(t, agenttest.NewParty(t, "test://one").DID), agent.AwaitDelivery()); err != nil {
			t.Fatal(err)
		}
		tries := s.all()
		for i := 1; i < len(tries); i++ {
			most := min(10*time.Minute, time.Second<<(i-1))
			if d := tries[i].at - tries[i-1].at; d < most/2 || d > most {
				t.Errorf("try %d came after %v, want %v to %v", i, d, most/2, most)
			}
		}
	})
}

// Messages of one thread to one party leave in order even if the first has to be retried.
// Messages to another party are not delayed.
func TestSendOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := agenttest.NewNet()
		s, other := newStranger(t, n, "mem://stranger"), newStranger(t, n, "mem://other")
		failed := false
		a := n.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) {
			mem := cfg.Senders["mem"]
			cfg.Senders["mem"] = sender(func(ctx context.Context, endpoint string, p transport.Packet) error {
				if endpoint == "mem://stranger" && !failed {
					failed = true
					return failure(true, 0)
				}
				return mem.Send(ctx, endpoint, p)
			})
		}))
		for i := range 5 {
			m := newMessage(t, s.DID)
			m.ID, m.ThreadID = fmt.Sprint("m", i), "thread"
			if err := a.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Send(t.Context(), newMessage(t, other.DID)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		other.next(t)
		for i := range 5 {
			if got := s.next(t).Message.ID; got != fmt.Sprint("m", i) {
				t.Errorf("message %d is %s", i, got)
			}
		}
	})
}

// A message to a party behind a mediator leaves in a forward to the mediator.
func TestSendThroughMediator(t *testing.T) {
	n := agenttest.NewNet()
	mediator := newStranger(t, n, "mem://mediator")
	a, p := n.Agent(t, nil), agenttest.NewParty(t, mediator.DID)
	m := newMessage(t, p.DID)
	m.ExpiresTime = time.Now().Add(time.Hour).Truncate(time.Second)
	if err := a.Send(t.Context(), m, agent.AwaitDelivery()); err != nil {
		t.Fatal(err)
	}
	forward := mediator.next(t)
	if forward.Message.Type != "https://didcomm.org/routing/2.0/forward" || forward.Metadata.Authenticated {
		t.Fatalf("the mediator got %s, authenticated %v", forward.Message.Type, forward.Metadata.Authenticated)
	}
	if !forward.Message.ExpiresTime.Equal(m.ExpiresTime) {
		t.Errorf("the forward expires at %v", forward.Message.ExpiresTime)
	}
	inner, err := forward.Message.Attachments[0].Data.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	u, err := p.Packer.Unpack(t.Context(), inner)
	if err != nil || u.Message.ID != m.ID {
		t.Errorf("the recipient got %+v, %v", u, err)
	}
	// A Request must not ask for its answer on the mediator's connection.
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := a.Request(ctx, newMessage(t, p.DID))
		done <- err
	}()
	inner, err = mediator.next(t).Message.Attachments[0].Data.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if u, err = p.Packer.Unpack(t.Context(), inner); err != nil || u.Message.ReturnRoute != "" {
		t.Errorf("return_route %q through a mediator, %v", u.Message.ReturnRoute, err)
	}
	cancel()
	wantError(t, "Request", <-done, context.Canceled)
}

type refresher struct {
	did.Resolver
	asked chan string
}

func (r refresher) Refresh(ctx context.Context, id string) (*did.Document, error) {
	r.asked <- id
	return r.Resolve(ctx, id)
}

// The DID of a party that cannot be reached is resolved again.
func TestRefresh(t *testing.T) {
	us := agenttest.NewParty(t)
	r := refresher{us.Resolver, make(chan string, 10)}
	packer, err := envelope.New(envelope.Config{Keys: us.Keys, Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	a := agenttest.NewNet().Agent(t, nil, withSender(func(context.Context, string, transport.Packet) error { return failure(false, 0) }),
		agenttest.Configure(func(cfg *agent.Config) {
			cfg.DID, cfg.Packer = us.DID, packer
		}))
	p := agenttest.NewParty(t, "test://one")
	wantError(t, "Send", a.Send(t.Context(), newMessage(t, p.DID), agent.AwaitDelivery()), agent.ErrUndelivered)
	if id := <-r.asked; id != p.DID {
		t.Errorf("refreshed %s", id)
	}
}
