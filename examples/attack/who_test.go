//go:build attack && linux

package attack_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/transport"
)

// TestReplayAfterFlood floods the memory of the inbox, and then replays the message of a known
// party.
func TestReplayAfterFlood(t *testing.T) {
	const room = 2000
	a := serve(t, "--log-level", "error", "--max-queue", fmt.Sprint(room), "--max-remembered", fmt.Sprint(room))
	arrived := newSite(t, "127.0.0.1", accept)
	friend := agenttest.NewParty(t, arrived.url)
	a.must("send", friend.DID, "we are known to each other")
	known := pack(t, friend, a.did, text("only once"))
	if status := statusOf(t, a, "127.0.0.2", known); status != http.StatusAccepted {
		t.Fatal(status)
	}
	shown := func() int { return strings.Count(a.printed(), "only once") }
	if !until(20*time.Second, func() bool { return shown() == 1 }) {
		t.Fatal("not shown")
	}
	together(2*room, 20, func(i int) {
		who := agenttest.NewParty(t)
		statusOf(t, a, addressOf(i), pack(t, who, a.did, text("flood")))
	})
	until(20*time.Second, func() bool { return strings.Count(a.printed(), "flood") > room })
	statusOf(t, a, "127.0.0.2", known)
	last := pack(t, friend, a.did, text("the last"))
	statusOf(t, a, "127.0.0.2", last)
	until(20*time.Second, func() bool { return strings.Contains(a.printed(), "the last") })
	figures(t, shown() == 1, "a flood evicts others, whose replays are handled again",
		fmt.Sprintf("%d strangers, room for %d: the replay of a known party is handled %d times", 2*room, room, shown()-1), "0 times")
}

// TestUnreadTerminal sends messages that nobody reads on standard output.
func TestUnreadTerminal(t *testing.T) {
	a := serveUnread(t, "--log-level", "error")
	n := 200
	together(n, 10, func(i int) {
		who := agenttest.NewParty(t)
		statusOf(t, a, addressOf(i), pack(t, who, a.did, text(strings.Repeat("x", 20<<10))))
	})
	done := 0
	until(20*time.Second, func() bool {
		done = strings.Count(a.must("inbox"), " done, ")
		return done == n
	})
	figures(t, done == n, "all handlers stop", fmt.Sprintf("%d of %d messages handled", done, n), "all")
}

// TestDatabaseDeleted deletes, or truncates, the database of a running agent.
func TestDatabaseDeleted(t *testing.T) {
	for name, attack := range map[string]func(path string) error{
		"deleted":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t)
			who := agenttest.NewParty(t)
			say := func() int { return statusOf(t, a, "127.0.0.2", pack(t, who, a.did, text("kept"))) }
			for range 20 {
				if status := say(); status != http.StatusAccepted {
					t.Fatal(status)
				}
			}
			if err := attack(filepath.Join(a.home, "agent.db")); err != nil {
				t.Fatal(err)
			}
			struck, accepted := time.Now(), 0
			for time.Since(struck) < 5*time.Second {
				if say() == http.StatusAccepted && time.Since(struck) > 2*time.Second {
					accepted++
				}
			}
			ready := 0
			if resp, err := http.Get("http://" + a.host + "/readyz"); err == nil {
				resp.Body.Close()
				ready = resp.StatusCode
			}
			rescued, err := filepath.Glob(filepath.Join(a.home, "*rescued*"))
			if err != nil {
				t.Fatal(err)
			}
			figures(t, accepted == 0 && ready == http.StatusServiceUnavailable && (name != "deleted" || len(rescued) > 0),
				"1,482 more 2xx, all lost at exit",
				fmt.Sprintf("%d 2xx later than 2 s, /readyz %d, %d files written back", accepted, ready, len(rescued)), "0, 503, 1 if deleted")
		})
	}
}

// TestCopiedDatabase serves a copy of the database file of a running agent.
func TestCopiedDatabase(t *testing.T) {
	a := serve(t, "--log-level", "error")
	data, err := os.ReadFile(filepath.Join(a.home, "agent.db"))
	if err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(t.TempDir(), "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "agent.db"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	b := serveHome(t, home, []string{program}, "--log-level", "error")
	keys := func(did string) string {
		before, _, _ := strings.Cut(did, ".S") // the service has the port
		return before
	}
	figures(t, keys(a.did) == keys(b.did), "an empty database, another identity",
		fmt.Sprintf("the same keys: %t", keys(a.did) == keys(b.did)), "the same keys")
}

// TestStolenRoute carries a message of a peer to the agent on a WebSocket of the thief.
func TestStolenRoute(t *testing.T) {
	a := serve(t, "--log-level", "error")
	arrived := newSite(t, "127.0.0.1", accept)
	peer := agenttest.NewParty(t, arrived.url)
	m := text("hello")
	m.ReturnRoute = "all"
	c, _, err := websocket.DefaultDialer.Dial("ws://"+a.host+"/didcomm", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, pack(t, peer, a.did, m).Data); err != nil {
		t.Fatal(err)
	}
	if !until(20*time.Second, func() bool { return strings.Contains(a.printed(), "hello") }) {
		t.Fatal("not received")
	}
	var stolen, probes atomic.Int64
	go func() {
		for {
			_, data, err := c.ReadMessage()
			if err != nil {
				return
			}
			u, err := peer.Packer.Unpack(t.Context(), data)
			if err == nil && strings.HasSuffix(u.Message.Type, "/ping-response") {
				stolen.Add(1)
			} else {
				probes.Add(1)
			}
		}
	}()
	const messages = 20
	for range messages {
		if status := statusOf(t, a, "127.0.0.3", pack(t, peer, a.did, pingMessage())); status != http.StatusAccepted {
			t.Fatal(status)
		}
	}
	until(20*time.Second, func() bool { return arrived.requests.Load()+stolen.Load() >= messages })
	got := arrived.requests.Load()
	figures(t, stolen.Load() == 0 && got == messages && probes.Load() <= 3, "the thief gets 20, the endpoint none",
		fmt.Sprintf("the thief gets %d and %d probes, the endpoint %d", stolen.Load(), probes.Load(), got), "0, 3 probes, 20")
}

// TestRevokedKey changes the keys of a did:web that the agent has resolved. While the agent
// cannot fetch the document again, its answer is 503, and the sender tries again.
func TestRevokedKey(t *testing.T) {
	a := serve(t, "--log-level", "error")
	web := newWebParty(t)
	last := func(p transport.Packet) (status int) {
		until(30*time.Second, func() bool {
			status = statusOf(t, a, "127.0.0.2", p)
			return status != http.StatusServiceUnavailable
		})
		return status
	}
	old := web.change(t)
	before := last(pack(t, old, a.did, text("old key")))
	now := web.change(t)
	start := time.Now()
	fresh := last(pack(t, now, a.did, text("new key")))
	took := time.Since(start)
	revoked := last(pack(t, old, a.did, text("revoked key")))
	figures(t, before == http.StatusAccepted && fresh == http.StatusAccepted && revoked == http.StatusBadRequest,
		"the new key gets 400 and the revoked key 202 for 5 minutes",
		fmt.Sprintf("old key %d, then new key %d after %s, revoked key %d", before, fresh, took.Round(time.Second), revoked), "202, 202, 400")
}

// TestLateReplay replays a message when the agent has forgotten it.
func TestLateReplay(t *testing.T) {
	a := serve(t, "--log-level", "error", "--keep-received", "1s")
	who := agenttest.NewParty(t)
	m := text("once")
	m.CreatedTime = time.Now().Add(-time.Hour)
	late := pack(t, who, a.did, m)
	status := statusOf(t, a, "127.0.0.2", late)
	m = text("fresh")
	m.CreatedTime = time.Now()
	p := pack(t, who, a.did, m)
	first := statusOf(t, a, "127.0.0.2", p)
	again := 0
	until(10*time.Second, func() bool { // the window is 1 second
		again = statusOf(t, a, "127.0.0.2", p)
		return again == http.StatusBadRequest
	})
	until(5*time.Second, func() bool { return strings.Contains(a.printed(), "fresh") })
	handled := strings.Count(a.printed(), "fresh")
	figures(t, status == http.StatusBadRequest && first == http.StatusAccepted && again == http.StatusBadRequest && handled == 1, "handled again after the window",
		fmt.Sprintf("an old message: %d; a replay after the window: %d, handled %d times in all", status, again, handled), "400; handled once")
}

// TestPassedOn posts a signed message to the agent that was sent to somebody else.
func TestPassedOn(t *testing.T) {
	a := serve(t, "--log-level", "error")
	signer, third := agenttest.NewParty(t), agenttest.NewParty(t)
	m := text("for somebody else")
	m.ID, m.From, m.To = message.NewID(), signer.DID, []string{third.DID}
	e, err := signer.Packer.Pack(t.Context(), m, envelope.SignBy(signer.DID), envelope.Signed())
	if err != nil {
		t.Fatal(err)
	}
	statusOf(t, a, "127.0.0.2", transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data})
	last := pack(t, third, a.did, text("the last"))
	statusOf(t, a, "127.0.0.2", last)
	until(20*time.Second, func() bool { return strings.Contains(a.printed(), "the last") })
	shown := strings.Contains(a.printed(), "for somebody else")
	figures(t, !shown, "shown as a message from the signer", fmt.Sprintf("shown: %t", shown), "not shown")
}

// TestAnonymousIDs sends two anonymous messages with one id.
func TestAnonymousIDs(t *testing.T) {
	a := serve(t, "--log-level", "error")
	who := agenttest.NewParty(t)
	for _, content := range []string{"the first", "the second"} {
		m := text(content)
		m.ID, m.To = "the-same-id", []string{a.did}
		e, err := who.Packer.Pack(t.Context(), m, envelope.To(a.did))
		if err != nil {
			t.Fatal(err)
		}
		if status := statusOf(t, a, "127.0.0.2", transport.Packet{MediaType: e[0].MediaType, Data: e[0].Data}); status != http.StatusAccepted {
			t.Fatal(status)
		}
	}
	both := until(20*time.Second, func() bool {
		return strings.Contains(a.printed(), "the first") && strings.Contains(a.printed(), "the second")
	})
	figures(t, both, "the second is dropped with 2xx", fmt.Sprintf("both shown: %t", both), "both shown")
}

// TestReachable compares the answers for a did:web at a refused address, and at one where nobody
// listens.
func TestReachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	// The agent is public, so that it refuses loopback addresses.
	a := serve(t, "--log-level", "error", "--listen", l.Addr().String(), "--public-url", "https://agent.example.org/didcomm")
	a.url = "http://" + l.Addr().String() + "/didcomm"
	who := agenttest.NewParty(t)
	type answer struct {
		status int
		body   []byte
	}
	ask := func(host string) answer {
		status, body := postBy(t, clientAt("127.0.0.2"), a.url, forged(t, who, a.did, "did:web:"+host+"#key-2"))
		return answer{status, body}
	}
	refused, absent := ask("localhost%3A9"), ask("nowhere.invalid")
	figures(t, refused.status != 0 && refused.status == absent.status && bytes.Equal(refused.body, absent.body),
		"400 or 500 tells whether the host is reachable", fmt.Sprintf("%d, %d", refused.status, absent.status), "the same answer")
}
