package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent"
	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
	"github.com/didcomm-go/didcomm/transport/netguard"
	"github.com/didcomm-go/didcomm/transport/wstransport"
)

// outage is a Resolver that fails for some DIDs until the test sets another error.
type outage struct {
	did.Resolver

	mu    sync.Mutex // guards all below
	docs  map[string]*did.Document
	away  map[string]error // the error by DID; errSilent makes Resolve wait for the end of ctx
	asked map[string]int   // calls by DID
}

// errSilent stands for a host that accepts a request and never answers.
var errSilent = errors.New("silent")

func (o *outage) Resolve(ctx context.Context, id string) (*did.Document, error) {
	o.mu.Lock()
	o.asked[id]++
	err, doc := o.away[id], o.docs[id]
	o.mu.Unlock()
	switch {
	case err == errSilent:
		<-ctx.Done()
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case doc != nil:
		return doc, nil
	}
	return o.Resolver.Resolve(ctx, id)
}

// set makes DIDs fail with err, or resolve if err is nil.
func (o *outage) set(err error, ids ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range ids {
		o.away[id] = err
	}
}

// calls returns how often a DID was resolved.
func (o *outage) calls(id string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[id]
}

// lines counts the lines of a log that contain a text.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

var errDown = errors.New("connection refused")

// parkTest has an agent that cannot reach some DIDs.
type parkTest struct {
	*outage
	net   *agenttest.Net
	party *agenttest.Party
	store store.Store
	log   lines
	got   inbox
	agent *agent.Agent
}

// newParkTest returns a parkTest with an agent whose Handler is w.got.
func newParkTest(t *testing.T, configure ...func(*agent.Config)) *parkTest {
	t.Helper()
	p := agenttest.NewParty(t)
	w := &parkTest{
		outage: &outage{Resolver: p.Resolver, docs: make(map[string]*did.Document), away: make(map[string]error), asked: make(map[string]int)},
		net:    agenttest.NewNet(), party: p, store: store.New(store.Config{}), got: make(inbox, 1000),
	}
	w.agent = w.run(t, configure...)
	return w
}

// config returns the Config of an agent of the test.
func (w *parkTest) config(t *testing.T, cfg *agent.Config, configure ...func(*agent.Config)) {
	t.Helper()
	packer, err := envelope.New(envelope.Config{Keys: w.party.Keys, Resolver: w.outage})
	if err != nil {
		t.Fatal(err)
	}
	cfg.DID, cfg.Packer, cfg.Store, cfg.Handler, cfg.Logger = w.party.DID, packer, w.store, w.got, slog.New(slog.NewTextHandler(&w.log, nil))
	for _, f := range configure {
		f(cfg)
	}
}

// run runs an agent until the test ends.
func (w *parkTest) run(t *testing.T, configure ...func(*agent.Config)) *agent.Agent {
	t.Helper()
	return w.net.Agent(t, nil, agenttest.Configure(func(cfg *agent.Config) { w.config(t, cfg, configure...) }))
}

// live runs an agent until stop is called. stop returns when the agent has ended.
func (w *parkTest) live(t *testing.T, configure ...func(*agent.Config)) (a *agent.Agent, stop func()) {
	t.Helper()
	var cfg agent.Config
	w.config(t, &cfg, configure...)
	ctx, cancel := context.WithCancel(t.Context())
	a, err := agent.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a, func() {
		t.Helper()
		cancel()
		<-a.Done()
	}
}

// web returns a stranger with a did:web.
func (w *parkTest) web(t *testing.T, id string, endpoints ...string) *stranger {
	t.Helper()
	s := newStranger(t, w.net, endpoints...)
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	own, err := identity.Web(id, pair, endpoints...)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.docs[id] = own.Document()
	w.mu.Unlock()
	s.DID, s.Resolver = id, did.ResolverFunc(func(ctx context.Context, other string) (*did.Document, error) {
		if other == id {
			return own.Document(), nil
		}
		return w.outage.Resolver.Resolve(ctx, other)
	})
	if s.Keys, err = own.Keyring(); err != nil {
		t.Fatal(err)
	}
	if s.Packer, err = envelope.New(envelope.Config{Keys: s.Keys, Resolver: s.Resolver}); err != nil {
		t.Fatal(err)
	}
	return s
}

// park gives the agent a message of a stranger whose DID cannot be reached, on a session
// of its own.
func (w *parkTest) park(t *testing.T, s *stranger, edit func(*message.Message)) {
	t.Helper()
	w.set(errDown, s.DID)
	s.give(t, w.agent, newSession(), s.message(t, w.agent, chatType, edit))
}

// entries returns the parked entries of the inbox, and the others.
func (w *parkTest) entries(t *testing.T) (parked, opened []store.Entry[store.Received]) {
	t.Helper()
	list, err := w.store.Inbox().(store.InboxAdmin).List(t.Context(), 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if agent.IsParked(e.Item) {
			parked = append(parked, e)
		} else {
			opened = append(opened, e)
		}
	}
	return parked, opened
}

// has checks the states of the parked messages, and how many messages were handled so far.
func (w *parkTest) has(t *testing.T, what string, handled int, want ...store.State) {
	t.Helper()
	synctest.Wait()
	var states []store.State
	parked, _ := w.entries(t)
	for _, e := range parked {
		states = append(states, e.State)
	}
	if !slices.Equal(states, want) || len(w.got) != handled {
		t.Fatalf("%s: parked %v, want %v; %d handled, want %d", what, states, want, len(w.got), handled)
	}
}

// A message that cannot be opened yet delays other messages on its connection for one
// turn at most, and is opened when its DID can be reached.
func TestParked(t *testing.T) {
	for name, down := range map[string]error{"down": errDown, "silent": errSilent} {
		for who, write := range map[string]func(t *testing.T, s, prior *stranger, m *message.Message) (lost string, p transport.Packet){
			"sender": func(t *testing.T, s, _ *stranger, m *message.Message) (string, transport.Packet) {
				return s.DID, s.pack(t, m)
			},
			"signer": func(t *testing.T, s, _ *stranger, m *message.Message) (string, transport.Packet) {
				return s.DID, s.pack(t, m, envelope.SignBy(s.DID))
			},
			"issuer of from_prior": func(t *testing.T, s, prior *stranger, m *message.Message) (string, transport.Packet) {
				var err error
				if m.FromPrior, err = prior.Packer.FromPrior(t.Context(), prior.DID, s.DID, time.Now()); err != nil {
					t.Fatal(err)
				}
				return prior.DID, s.pack(t, m)
			},
		} {
			t.Run(who+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newParkTest(t, func(cfg *agent.Config) { cfg.HandlerTimeout = 10 * time.Second })
					s, prior, other := newStranger(t, w.net, "mem://stranger"), newStranger(t, w.net), newStranger(t, w.net)
					m := s.message(t, w.agent, chatType, func(m *message.Message) { m.PleaseAck = []string{""} })
					lost, p := write(t, s, prior, m)
					w.set(down, lost)
					begin, session := time.Now(), newSession()
					turn := (*transport.Turn)(nil).Next()
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // as on a WebSocket
					defer cancel()
					go func() {
						defer turn.End(ctx)
						if err := serve(transport.WithTurn(ctx, turn), w.agent, session, p); err != nil {
							t.Errorf("ServePacket: %v", err)
						}
					}()
					behind := turn.Next()
					if err := serve(transport.WithTurn(t.Context(), behind), w.agent, session, other.pack(t, other.message(t, w.agent, chatType, nil))); err != nil {
						t.Fatal(err)
					}
					if in := w.got.next(t); in.From != other.DID {
						t.Errorf("handled a message of %s", in.From)
					}
					if held := time.Since(begin); held > transport.TurnTimeout {
						t.Errorf("the message behind was held up for %v", held)
					}
					time.Sleep(time.Minute)
					w.has(t, "later", 0, store.Waiting)
					s.none(t)
					w.set(nil, lost)
					time.Sleep(2 * time.Minute)
					w.has(t, "at last", 1, store.Done)
					if in := w.got.next(t); in.From != s.DID || in.Message.ID != m.ID || !bytes.Equal(in.Packet.Data, p.Data) {
						t.Errorf("handled %+v", in)
					}
					if ack := s.next(t).Message; ack.Type != emptyType || !slices.Equal(ack.Ack, []string{m.ID}) {
						t.Errorf("came to the endpoint: %+v", ack)
					}
					if _, opened := w.entries(t); len(opened) != 2 || opened[1].Item.ID != m.ID || opened[1].State != store.Done {
						t.Errorf("the inbox has %+v", opened)
					}
					s.none(t)
				})
			})
		}
	}
}

// A WebSocket that several senders share stays open if one of them cannot be reached.
func TestParkedOnWebSocket(t *testing.T) {
	w := newParkTest(t, func(cfg *agent.Config) { cfg.MinBackoff = time.Millisecond })
	server := wstransport.NewServer(w.agent, wstransport.ServerConfig{})
	srv := httptest.NewServer(server)
	defer srv.Close()
	defer server.Close(t.Context())
	peer, err := wstransport.NewClient(wstransport.ClientConfig{Dial: (&netguard.Guard{AllowLoopback: true}).DialContext})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	s, other := newStranger(t, w.net), newStranger(t, w.net)
	w.set(errDown, s.DID)
	var first transport.Session
	for _, who := range []*stranger{s, other, s, other} {
		session, err := peer.SendOn(t.Context(), "ws"+srv.URL[len("http"):], who.pack(t, who.message(t, w.agent, chatType, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = session
		}
		if session != first || transport.Ended(first) {
			t.Error("the connection ended")
		}
		if who == other && w.got.next(t).From != other.DID {
			t.Error("handled a message that cannot be opened")
		}
	}
	w.set(nil, s.DID)
	for range 2 {
		if in := w.got.next(t); in.From != s.DID {
			t.Errorf("handled a message of %s", in.From)
		}
	}
}

// A message is parked once and handled once, even if it arrives several times and by
// several ways.
func TestParkedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) {
			cfg.Trace = &agent.Trace{Parked: func(_ context.Context, e agent.Event) {
				if e.From != "" || e.Err == nil {
					t.Errorf("parked: %+v", e)
				}
			}}
		})
		s := newStranger(t, w.net, "mem://stranger")
		p := s.pack(t, s.message(t, w.agent, chatType, func(m *message.Message) { m.PleaseAck = []string{""} }))
		w.set(errDown, s.DID)
		for range 3 {
			if err := serve(t.Context(), w.agent, newSession(), p); err != nil {
				t.Fatal(err)
			}
		}
		var busy *transport.BusyError
		if err := serve(t.Context(), w.agent, new(call), p); !errors.As(err, &busy) || busy.RetryAfter <= 0 {
			t.Errorf("by POST: %v", err)
		}
		time.Sleep(time.Hour)
		w.has(t, "at first", 0, store.Waiting)
		w.set(nil, s.DID)
		if err := serve(t.Context(), w.agent, new(call), p); err != nil {
			t.Fatal(err)
		}
		w.has(t, "by POST", 1, store.Waiting)
		time.Sleep(time.Hour)
		w.has(t, "opened", 1, store.Done)
		// It was handled, and arrives again when its DID cannot be reached.
		w.set(errDown, s.DID)
		if err := serve(t.Context(), w.agent, newSession(), p); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.has(t, "at last", 1, store.Done)
		for range 2 { // by the POST, and by the parked message
			if ack := s.next(t).Message; ack.Type != emptyType {
				t.Errorf("came to the endpoint: %+v", ack)
			}
		}
		s.none(t)
	})
}

// A message in a POST that cannot be opened yet is not kept. Its sender is asked to try
// again later.
func TestNotParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t)
		s := newStranger(t, w.net)
		p := s.pack(t, s.message(t, w.agent, chatType, nil))
		w.set(errDown, s.DID)
		for name, r := range map[string]transport.Replier{"POST": new(call), "in a response": transport.NoReply{}} {
			var busy *transport.BusyError
			if err := serve(t.Context(), w.agent, r, p); !errors.As(err, &busy) {
				t.Errorf("%s: %v", name, err)
			}
		}
		w.has(t, "after", 0)
	})
}

// Parked messages have a small share of the inbox for each host, and in all. Further
// messages are dropped, and the connection stays open.
func TestParkedShares(t *testing.T) {
	const other = "did:web:other.example"
	hosts := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprintf("did:web:host-%d.example", i))
		}
		return ids
	}
	for name, tt := range map[string]struct {
		items, perHost int
		bytes          int64
		size           int // of a message
		ids            []string
		want           int  // of those, how many are parked
		full           bool // whether there is no room for other hosts
	}{
		"one host":            {perHost: 3, ids: []string{"did:web:a.example", "did:web:a.example:u", "did:web:A.example%3A8443:u", "did:web:a.example%3a444", "did:web:a.example:v"}, want: 3},
		"one DID":             {perHost: 2, ids: []string{"did:web:a.example", "did:web:a.example", "did:web:a.example"}, want: 2},
		"another method":      {perHost: 2, ids: []string{"", "", ""}, want: 2},
		"all":                 {items: 4, ids: hosts(6), want: 4, full: true},
		"the bytes of a host": {bytes: 80_000, size: 4_000, ids: []string{"did:web:a.example", "did:web:a.example:u"}, want: 1},
		"the bytes of all":    {bytes: 80_000, size: 6_000, ids: hosts(16), want: 8, full: true},
		"by default":          {ids: slices.Repeat([]string{"did:web:a.example"}, 20), want: 16},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newParkTest(t, func(cfg *agent.Config) {
					cfg.MaxParked, cfg.MaxParkedPerHost, cfg.MaxParkedBytes = tt.items, tt.perHost, tt.bytes
				})
				say := func(s *stranger) {
					w.park(t, s, func(m *message.Message) { m.Body = fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", tt.size)) })
				}
				known := make(map[string]*stranger)
				for _, id := range tt.ids {
					s := known[id]
					if s == nil && id != "" {
						s = w.web(t, id)
						known[id] = s
					} else if s == nil {
						s = newStranger(t, w.net)
					}
					say(s)
				}
				parked, _ := w.entries(t)
				if dropped := w.log.count("dropped a message"); len(parked) != tt.want || dropped != len(tt.ids)-tt.want {
					t.Errorf("%d parked, %d dropped, want %d of %d", len(parked), dropped, tt.want, len(tt.ids))
				}
				say(w.web(t, other))
				if more, _ := w.entries(t); (len(more) == len(parked)) != tt.full {
					t.Errorf("another host: %d parked after %d", len(more), len(parked))
				}
				// Senders that can be reached are not affected.
				s := newStranger(t, w.net)
				s.give(t, w.agent, newSession(), s.message(t, w.agent, chatType, nil))
				w.got.next(t)
				// There is room again when the host can be reached.
				for id := range known {
					w.set(nil, id)
				}
				time.Sleep(time.Hour)
				if len(known) > 0 && len(w.got) != tt.want {
					t.Errorf("%d handled", len(w.got))
				}
			})
		})
	}
}

// busyInbox counts the calls of an inbox.
type busyInbox struct {
	store.Inbox
	mu    sync.Mutex
	calls int
}

func (b *busyInbox) Nak(ctx context.Context, l *store.Lease[store.Received], delay time.Duration, reason string) error {
	b.mu.Lock()
	b.calls++
	b.mu.Unlock()
	return b.Inbox.Nak(ctx, l, delay, reason)
}

// Parked messages cost few requests and few calls of the store, however the hosts behave.
// They do not delay other messages, and end after Config.MaxAge.
func TestParkedFlood(t *testing.T) {
	for name, down := range map[string]error{"down": errDown, "silent": errSilent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n, days = 100, 4
				box := &busyInbox{Inbox: store.NewInbox(store.InboxConfig{MaxItems: 8 * n, MaxPeerItems: n})}
				w := newParkTest(t, func(cfg *agent.Config) {
					cfg.Store, cfg.MaxParked, cfg.HandlerTimeout = storeOf(nil, box), n+1, 10*time.Second
				})
				w.store = storeOf(nil, box.Inbox)
				var ids []string
				for i := range n {
					s := w.web(t, fmt.Sprintf("did:web:host-%d.example", i))
					ids = append(ids, s.DID)
					w.park(t, s, nil)
				}
				w.set(down, ids...)
				honest := newStranger(t, w.net)
				for hour := range 24 * days {
					s := honest
					if hour%24 == 3 { // one more message is parked
						s = newStranger(t, w.net)
						w.park(t, s, nil)
						w.set(nil, s.DID)
						time.Sleep(5 * time.Minute)
					} else {
						s.give(t, w.agent, newSession(), s.message(t, w.agent, chatType, nil))
						synctest.Wait()
					}
					if len(w.got) != 1 || (<-w.got).From != s.DID {
						t.Fatalf("hour %d: a message waits", hour)
					}
					time.Sleep(time.Hour)
				}
				most := 0
				for _, id := range ids {
					most = max(most, w.calls(id))
				}
				if most > 40 || most < 20 {
					t.Errorf("a host was asked %d times", most)
				}
				if box.calls > 300*n {
					t.Errorf("%d calls of the inbox for %d messages", box.calls, n)
				}
				parked, _ := w.entries(t)
				aside := 0
				for _, e := range parked {
					if e.State == store.Buried && strings.Contains(e.LastError, "not opened") {
						aside++
					}
				}
				if aside != n {
					t.Errorf("%d of %d set aside", aside, n)
				}
				t.Logf("at most %d requests to a host, %d calls of the inbox for %d messages", most, box.calls, n)
			})
		})
	}
}

// A parked message is set aside after Config.MaxAge. A person can retry it.
func TestParkedTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t)
		s := newStranger(t, w.net)
		w.park(t, s, nil)
		time.Sleep(71 * time.Hour)
		w.has(t, "before its time", 0, store.Waiting)
		time.Sleep(2 * time.Hour)
		w.has(t, "after its time", 0, store.Buried)
		parked, _ := w.entries(t)
		if e := parked[0]; !strings.Contains(e.LastError, errDown.Error()) || len(e.Item.Packet.Data) == 0 {
			t.Errorf("shown as %+v", e)
		}
		admin := w.store.Inbox().(store.InboxAdmin)
		retry := func() {
			if err := admin.Retry(t.Context(), parked[0].Seq); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		retry()
		w.has(t, "too early", 0, store.Buried)
		w.set(nil, s.DID)
		retry()
		w.has(t, "opened", 1, store.Done)
		if in := w.got.next(t); in.From != s.DID {
			t.Errorf("from %s", in.From)
		}
	})
}

// A parked message that can be opened may still be dropped or refused.
func TestParkedInVain(t *testing.T) {
	for name, tt := range map[string]struct {
		trace  *agent.Trace
		edit   func(*message.Message)
		after  func(w *parkTest, s *stranger)
		want   store.State
		reason string
	}{
		"a DID that does not exist": {after: func(w *parkTest, s *stranger) { w.set(did.ErrNotFound, s.DID) }, want: store.Buried, reason: "not opened: message cannot be opened"},
		"other keys": {
			after: func(w *parkTest, s *stranger) {
				w.set(nil, s.DID)
				w.mu.Lock()
				defer w.mu.Unlock()
				w.docs[s.DID] = &did.Document{ID: s.DID}
			},
			want: store.Buried, reason: "not opened",
		},
		"expired": {
			edit:  func(m *message.Message) { m.ExpiresTime = time.Now().Add(time.Minute) },
			after: func(w *parkTest, s *stranger) { w.set(nil, s.DID) },
			want:  store.Done,
		},
		"a panic": {
			trace: &agent.Trace{Opened: func(context.Context, agent.Event) { panic("x") }},
			after: func(w *parkTest, s *stranger) { w.set(nil, s.DID) },
			want:  store.Buried, reason: "panic",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newParkTest(t, func(cfg *agent.Config) { cfg.Trace = tt.trace })
				s := w.web(t, "did:web:host.example")
				w.park(t, s, tt.edit)
				time.Sleep(10 * time.Minute)
				tt.after(w, s)
				time.Sleep(20 * time.Minute)
				w.has(t, "at last", 0, tt.want)
				if parked, _ := w.entries(t); !strings.Contains(parked[0].LastError, tt.reason) {
					t.Errorf("reason %q", parked[0].LastError)
				}
			})
		})
	}
}

// A parked message that can be opened stays parked while there is no room for it in the
// inbox.
func TestParkedUntilRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newParkTest(t, func(cfg *agent.Config) {
			got := cfg.Handler
			cfg.Shares = func(string) store.Shares { return store.Shares{Inbox: store.Share{Items: 1}} }
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
				<-release
				return got.HandleMessage(ctx, r, in)
			})
		})
		s, other := newStranger(t, w.net), newStranger(t, w.net)
		other.give(t, w.agent, newSession(), other.message(t, w.agent, chatType, nil))
		w.park(t, s, nil)
		w.set(nil, s.DID)
		time.Sleep(30 * time.Second)
		w.has(t, "without room", 0, store.Waiting)
		close(release)
		time.Sleep(time.Minute)
		w.has(t, "with room", 2, store.Done)
	})
}

// A Handler in custody gets a parked message as any other message.
func TestParkedCustody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		w := newParkTest(t, func(cfg *agent.Config) {
			got := cfg.Handler
			cfg.Handler = agent.NewMux(agent.Handle(agent.Protocol{PIURI: "https://example.org/chat/1.0", Custody: map[string]agent.Handler{
				chatType: agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
					if calls++; calls == 1 {
						return agent.Retry(0, errDown)
					}
					return got.HandleMessage(ctx, r, in)
				}),
			}}))
		})
		s := newStranger(t, w.net)
		w.park(t, s, nil)
		w.set(nil, s.DID)
		time.Sleep(time.Minute)
		w.has(t, "at last", 1, store.Done)
		if _, opened := w.entries(t); calls != 2 || len(opened) > 0 {
			t.Errorf("%d calls, %d in the inbox", calls, len(opened))
		}
	})
}

// Another agent with the same store opens a message that was parked before it started,
// even if the first agent has crashed while it opened the message.
func TestParkedRestart(t *testing.T) {
	for name, tt := range map[string]struct {
		opening, killed bool
		within          time.Duration
	}{
		"stopped":              {within: 5 * time.Second},
		"stopped, opening":     {opening: true, within: 5 * time.Second},
		"killed, just parked":  {killed: true, within: 5 * time.Minute},
		"killed while opening": {opening: true, killed: true, within: 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dead := make(chan struct{})
				w := newParkTest(t, func(cfg *agent.Config) { cfg.Guest = true }) // a guest opens no parked messages
				first := w.store.Inbox()
				if tt.killed {
					first = mortal{first, dead}
				}
				a, stop := w.live(t, func(cfg *agent.Config) { cfg.Store = store.Join(w.store.Outbox(), first, w.store.Records()) })
				s := newStranger(t, w.net)
				w.set(errDown, s.DID)
				if tt.killed && !tt.opening {
					close(dead)
				}
				s.give(t, a, newSession(), s.message(t, a, chatType, nil))
				if tt.opening {
					time.Sleep(time.Hour) // from now on the message is seldom tried
					w.set(errSilent, s.DID)
					for parked, _ := w.entries(t); parked[0].State != store.Leased; parked, _ = w.entries(t) {
						time.Sleep(30 * time.Second)
					}
					if tt.killed {
						close(dead)
					}
				}
				begin := time.Now()
				stop()
				if took := time.Since(begin); took > 3*time.Second {
					t.Errorf("the stop took %v", took)
				}
				w.set(nil, s.DID)
				_, stop = w.live(t)
				defer stop()
				time.Sleep(tt.within)
				w.has(t, "the next", 1, store.Done)
				parked, _ := w.entries(t)
				if parked[0].Attempts > 2 {
					t.Errorf("%d attempts", parked[0].Attempts)
				}
			})
		})
	}
}

// A parked message that is opened, and waits for a slot when the agent stops, is handled
// once by the next agent.
func TestParkedStopBeforeSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) { cfg.Guest = true })
		a, stop := w.live(t, func(cfg *agent.Config) {
			cfg.MaxHandlers, cfg.HandlerTimeout = 1, time.Hour
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, _ agent.Responder, _ *agent.Inbound) error {
				<-ctx.Done()
				return ctx.Err()
			})
		})
		s, other := newStranger(t, w.net), newStranger(t, w.net)
		other.give(t, a, newSession(), other.message(t, a, chatType, nil))
		w.agent = a
		w.park(t, s, nil)
		w.set(nil, s.DID)
		time.Sleep(time.Minute)
		w.has(t, "before the stop", 0, store.Leased)
		stop()
		_, stop = w.live(t)
		defer stop()
		time.Sleep(time.Minute)
		w.has(t, "the next", 2, store.Done)
	})
}

// A parked message that crashes the process each time is set aside.
func TestParkedPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) { cfg.Guest = true })
		s := newStranger(t, w.net)
		w.park(t, s, nil)
		for range 5 { // processes that crash
			if _, err := w.store.Inbox().Lease(t.Context(), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		w.set(nil, s.DID)
		w.run(t)
		time.Sleep(time.Hour)
		w.has(t, "at last", 0, store.Buried)
	})
}

// A guest parks a message for its host, which opens it.
func TestParkedByGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) { cfg.Guest = true })
		s := newStranger(t, w.net)
		w.park(t, s, nil)
		w.set(nil, s.DID)
		time.Sleep(time.Hour)
		w.has(t, "without a host", 0, store.Waiting)
		w.run(t)
		time.Sleep(time.Minute)
		w.has(t, "with a host", 1, store.Done)
	})
}

// A handler that has the only slot gets the answer that it waits for, even if the answer
// was parked.
func TestParkedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := make(chan *agent.Inbound, 1)
		w := newParkTest(t, func(cfg *agent.Config) {
			got := cfg.Handler
			cfg.MaxHandlers = 1
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
				if in.Message.ThreadID != "" {
					return got.HandleMessage(ctx, r, in)
				}
				in, err := r.Agent().Request(ctx, newMessage(t, in.From))
				answered <- in
				return err
			})
		})
		s, other := newStranger(t, w.net, "mem://stranger"), newStranger(t, w.net)
		s.give(t, w.agent, newSession(), s.message(t, w.agent, chatType, nil))
		asked := s.next(t).Message
		// A second parked message answers no Request, and needs the slot.
		w.park(t, other, func(m *message.Message) { m.ThreadID = "another" })
		w.park(t, s, func(m *message.Message) { m.ThreadID = asked.ID })
		w.set(nil, s.DID, other.DID)
		time.Sleep(10 * time.Second)
		if in := <-answered; in == nil || in.Message.ThreadID != asked.ID {
			t.Errorf("answered by %+v", in)
		}
		w.has(t, "at last", 1, store.Done, store.Done)
	})
}

// A message was answered by its connection, and the answer was lost. When the message comes
// again and is parked, the answer leaves by the endpoint of its sender.
func TestParkedDuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newParkTest(t, func(cfg *agent.Config) {
			cfg.Handler = agent.HandlerFunc(func(ctx context.Context, r agent.Responder, in *agent.Inbound) error {
				m, err := message.New(chatType, nil)
				if err != nil {
					return err
				}
				m.ID = "answer"
				return r.Reply(ctx, m)
			})
		})
		s, lost := newStranger(t, w.net, "mem://stranger"), new(call)
		m := s.message(t, w.agent, chatType, func(m *message.Message) { m.ID, m.ReturnRoute = "question", "all" })
		s.give(t, w.agent, lost, m)
		synctest.Wait()
		s.none(t)
		w.set(errDown, s.DID)
		s.give(t, w.agent, newSession(), m)
		w.has(t, "down", 0, store.Waiting)
		w.set(nil, s.DID)
		if got := s.next(t).Message; got.ID != "answer" || got.ThreadID != "question" {
			t.Errorf("came to the endpoint: %v", got)
		}
		w.has(t, "opened", 0, store.Done)
	})
}
