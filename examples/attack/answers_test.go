//go:build attack && linux

package attack_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/transport"
)

// slowest sends three messages of the owner, one after the other, and returns the longest time
// until a message arrived, or 0 if one did not arrive within a minute.
func slowest(t *testing.T, a *target, live *agenttest.Party, arrived *site) time.Duration {
	t.Helper()
	var most time.Duration
	for i := range 3 {
		before := arrived.requests.Load()
		a.must("send", live.DID, fmt.Sprint("hello ", i))
		start := time.Now() // the outbox has the message
		if !until(time.Minute, func() bool { return arrived.requests.Load() > before }) {
			return 0
		}
		most = max(most, time.Since(start), 1)
	}
	return most
}

// TestDeadEndpoints makes the agent answer many DIDs whose endpoints never answer.
func TestDeadEndpoints(t *testing.T) {
	for _, hosts := range []int{1, 100} {
		t.Run(strconv.Itoa(hosts), func(t *testing.T) {
			a := serve(t, "--log-level", "error")
			n := count(300, 300)
			dead := make([]*silent, hosts)
			for i := range dead {
				dead[i] = newSilent(t, fmt.Sprintf("127.2.0.%d", i+1))
			}
			together(n, 20, func(i int) {
				who := agenttest.NewParty(t, "http://"+dead[i%hosts].addr+"/")
				if status := statusOf(t, a, addressOf(i), pack(t, who, a.did, pingMessage())); status != http.StatusAccepted {
					t.Errorf("ping: status %d", status)
				}
			})
			arrived := newSite(t, "127.0.0.1", accept)
			most := slowest(t, a, agenttest.NewParty(t, arrived.url), arrived)
			figures(t, most > 0 && most < 2*time.Second, "300 DIDs: no own message in 372 s",
				fmt.Sprintf("%d DIDs at %d hosts: an own message leaves in %s", n, hosts, most.Round(time.Millisecond)), "2 s")
		})
	}
}

// TestFullOutbox fills the outbox with answers to free DIDs.
func TestFullOutbox(t *testing.T) {
	const room = 4000
	a := serve(t, "--log-level", "error", "--max-queue", strconv.Itoa(room))
	dead := newSilent(t, "127.2.0.1")
	who := make([]*agenttest.Party, 6)
	for i := range who {
		who[i] = agenttest.NewParty(t, "http://"+dead.addr+"/")
	}
	together(room+room/4, 20, func(i int) {
		statusOf(t, a, addressOf(i), pack(t, who[i%len(who)], a.did, pingMessage()))
	})
	arrived := newSite(t, "127.0.0.1", accept)
	most := slowest(t, a, agenttest.NewParty(t, arrived.url), arrived)
	queued := strings.Count(a.must("outbox", "list"), "\n")
	figures(t, most > 0 && most < 2*time.Second && queued < room/2, "104 MB from six DIDs: store: full for 72 h",
		fmt.Sprintf("%d pings of six DIDs, room for %d: %d answers kept, an own message leaves in %s", room+room/4, room, queued, most.Round(time.Millisecond)),
		"half of the room, 2 s")
}

// TestAmplification sends one ping whose sender has eight endpoints. The answers of each
// endpoint break off, or ask for another time or another media type.
func TestAmplification(t *testing.T) {
	a := serve(t, "--log-level", "error")
	const part = 1 << 20
	var fetched atomic.Int64
	breaks := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", transport.MediaTypeEncrypted)
		w.Header().Set("Content-Length", strconv.Itoa(2*part))
		for range part >> 10 {
			n, err := w.Write(make([]byte, 1<<10))
			fetched.Add(int64(n))
			if err != nil {
				break
			}
		}
		panic(http.ErrAbortHandler)
	}
	fails := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	alternates := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == transport.MediaTypeEncrypted {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for name, h := range map[string]http.HandlerFunc{"answers that break off": breaks, "busy": fails, "busy, another media type": alternates} {
		most := int64(9)
		if name == "busy, another media type" {
			most += 2
		}
		t.Run(name, func(t *testing.T) {
			fetched.Store(0)
			var urls []string
			var sites []*site
			for i := range 8 {
				s := newSite(t, fmt.Sprintf("127.3.0.%d", i+1), h)
				sites, urls = append(sites, s), append(urls, s.url)
			}
			who := agenttest.NewParty(t, urls...)
			p := pack(t, who, a.did, pingMessage())
			if status := statusOf(t, a, "127.0.0.2", p); status != http.StatusAccepted {
				t.Fatal(status)
			}
			var requests, sent int64
			tooMany := func() bool {
				requests, sent = 0, 0
				for _, s := range sites {
					requests, sent = requests+s.requests.Load(), sent+s.bytes.Load()
				}
				return requests > most
			}
			until(time.Duration(count(60, 15))*time.Second, tooMany) // nothing tells that no further request comes
			figures(t, requests > 0 && requests <= most && fetched.Load() <= 5<<20 && sent <= 64<<10, "2,300 POSTs in 72 h, or 117 MB fetched in 60 s",
				fmt.Sprintf("a ping of %d bytes: %d POSTs with %d bytes, %d KiB fetched", len(p.Data), requests, sent, fetched.Load()>>10),
				fmt.Sprintf("%d POSTs, 64 KiB sent, one message fetched", most))
		})
	}
}

// TestResolution sends garbage that names keys of did:web DIDs.
func TestResolution(t *testing.T) {
	a := serve(t, "--log-level", "error")
	n := count(3000, 1000)
	web := newSite(t, "127.0.0.1", http.NotFound)
	host := strings.ReplaceAll(strings.TrimPrefix(web.url, "http://"), ":", "%3A")
	who := agenttest.NewParty(t)
	start := time.Now()
	together(n, 40, func(i int) {
		statusOf(t, a, addressOf(i), forged(t, who, a.did, fmt.Sprintf("did:web:%s:%d#key-2", host, i)))
	})
	took := time.Since(start)
	fetches := web.requests.Load()
	// At a server that never answers.
	dead := newSilent(t, "127.0.0.1")
	slow := strings.ReplaceAll(dead.addr, ":", "%3A")
	done := make(chan struct{})
	go func() {
		defer close(done)
		together(n, 200, func(i int) {
			c := clientAt(addressOf(i))
			c.Timeout = 2 * time.Second
			postBy(t, c, a.url, forged(t, who, a.did, fmt.Sprintf("did:web:%s:%d#key-2", slow, i)))
		})
	}()
	held := 0
	for end := false; !end; {
		select {
		case <-done:
			end = true
		case <-time.After(50 * time.Millisecond):
			dead.mu.Lock()
			held = max(held, len(dead.conns))
			dead.mu.Unlock()
		}
	}
	ping := a.ping()
	figures(t, fetches > 0 && fetches <= 200 && held <= 200 && ping > 0, "3,000 fetches in 1.4 s; 3,016 descriptors at a slow server",
		fmt.Sprintf("%d messages in %s: %d fetches; %d connections to a slow server", n, took.Round(100*time.Millisecond), fetches, held), "200")
}
