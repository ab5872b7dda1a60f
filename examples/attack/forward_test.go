//go:build attack && linux

package attack_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/agenttest"
	"github.com/didcomm-go/didcomm/agent/mediator"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestQueueFlood fills the queue of a phone: by one DID, by many, and anonymously.
func TestQueueFlood(t *testing.T) {
	const pair, box, rate = 60, 1000, 2400
	for name, test := range map[string]struct {
		dids      int
		anonymous bool
		most      int
	}{
		"one DID":               {1, false, pair},
		"many DIDs":             {20, false, 9 * pair}, // 8 of an address count for themselves
		"anonymous":             {1, true, pair},
		"anonymous, many names": {20, true, pair},
	} {
		t.Run(name, func(t *testing.T) {
			a := serve(t, "--mediator", "--log-level", "error",
				"--pair-messages", fmt.Sprint(pair), "--mailbox-messages", fmt.Sprint(box), "--forwards-per-address", fmt.Sprint(rate))
			p, friend := enrolled(t, a, "127.9.0.1"), newPhone(t, a, "127.9.0.2")
			who := make([]*phone, test.dids)
			for i := range who {
				who[i] = newPhone(t, a, "127.0.0.2")
				who[i].at = who[0].at
			}
			n := count(5000, 1200)
			start := time.Now()
			answers := make([]answer, n)
			together(n, 20, func(i int) { answers[i] = who[i%len(who)].send(test.anonymous, p.DID, fmt.Sprint("flood ", i)) })
			took := time.Since(start)
			kept, full, tooFast, other := 0, 0, 0, 0
			for _, got := range answers {
				switch {
				case got.status == http.StatusAccepted:
					kept++
				case got.over(http.StatusServiceUnavailable, store.LimitPair):
					full++
				case got.over(http.StatusTooManyRequests, mediator.LimitAddressRate):
					tooFast++
				default:
					if other++; other == 1 {
						t.Log(got)
					}
				}
			}
			honest := friend.send(true, p.DID, "hello")
			waits := p.waiting()
			mostRate := rate/3 + int((took+time.Second)*rate/time.Minute)
			figures(t, kept <= test.most && waits == kept+1 && full > 0 && other == 0 && kept+full <= mostRate && honest.status == http.StatusAccepted && a.peak() < 300<<20, "-",
				fmt.Sprintf("%d forwards in %s: %d kept, %d times 503, %d times 429, each with the limit and Retry-After; another's mail gets %d; %d MB",
					n, took.Round(100*time.Millisecond), kept, full, tooFast, honest.status, a.peak()>>20),
				fmt.Sprintf("%d kept, 202, 300 MiB", test.most))
		})
	}
}

// TestOpenRelay tries to make the mediator send something elsewhere, or to itself.
func TestOpenRelay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	victim := newSite(t, "127.0.0.1", accept)
	// The operator lists hops that lead back: under other addresses and names of the mediator.
	flags := []string{"--mediator", "--log-level", "error", "--listen", at.String()}
	var circles []*agenttest.Party
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost", "127.0.0.2", "a.localhost"} {
		hop := agenttest.NewParty(t, fmt.Sprintf("http://%s:%d/didcomm", host, at.Port))
		circles, flags = append(circles, hop), append(flags, "--next-hop", hop.DID)
	}
	a := serve(t, flags...)
	sender, member := newPhone(t, a, "127.0.0.2"), enrolled(t, a, "127.0.0.3", victim.url)
	stranger := agenttest.NewParty(t, victim.url)
	far := agenttest.NewParty(t, fmt.Sprintf("http://[::1]:%d/didcomm", at.Port))
	inner := pack(t, sender.Party, stranger.DID, text("leave"))
	nested := func(next string, depth int) transport.Packet {
		p := inner
		for range depth {
			p = sender.forward(true, a.did, next, p)
			next = a.did
		}
		return p
	}
	tries := map[string]transport.Packet{
		"a stranger":              nested(stranger.DID, 1),
		"a key of a stranger":     nested(stranger.DID+"#key-1", 1),
		"a stranger, in two":      nested(stranger.DID, 2),
		"a stranger, in three":    nested(stranger.DID, 3),
		"a stranger, in ten":      nested(stranger.DID, 10),
		"the mediator":            sender.forward(true, a.did, a.did, inner),
		"an address":              sender.forward(true, a.did, victim.url, inner),
		"a did:web":               sender.forward(true, a.did, "did:web:"+strings.ReplaceAll(strings.TrimPrefix(victim.url, "http://"), ":", "%3A"), inner),
		"a DID with our address":  sender.forward(true, a.did, far.DID, inner),
		"authenticated, in three": sender.forward(false, a.did, a.did, nested(stranger.DID, 2)),
	}
	for i, hop := range circles {
		tries[fmt.Sprint("circle ", i)] = sender.forward(true, a.did, hop.DID, inner)
	}
	accepted := 0
	for name, p := range tries {
		if got := postAs(t, sender.at, a.url, p); got.status == http.StatusAccepted || got.status == 0 || got.status >= 500 {
			t.Errorf("%s: %s", name, got)
			accepted++
		}
	}
	// Mail of a member with an endpoint waits for the member.
	if got := sender.send(true, member.DID, "stay"); got.status != http.StatusAccepted {
		t.Error(got)
	}
	until(2*time.Second, func() bool { return victim.requests.Load() > 0 }) // nothing tells that nothing comes
	queued := strings.Count(a.must("outbox", "list"), "\n")
	figures(t, accepted == 0 && victim.requests.Load() == 0 && queued == 0 && member.waiting() == 1, "-",
		fmt.Sprintf("%d forwards elsewhere: %d accepted, %d requests to others, %d messages in the outbox", len(tries), accepted, victim.requests.Load(), queued), "0, 0, 0")
}
