package delivery_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
)

// All items arrive in the order of their lanes, while connections come and go, lose
// packets, and are bound concurrently.
func TestChurn(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex // guards rnd
			rnd := rand.New(rand.NewPCG(seed, 0))
			chance := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return rnd.IntN(n)
			}
			p, got := run(t, delivery.Config{Workers: 8}), newRecord()
			newLine := func(peer string) *session {
				s := newSession()
				s.take = func(_ context.Context, id string) error {
					switch chance(4) {
					case 0: // lost with the connection
						time.AfterFunc(time.Duration(chance(1000))*time.Millisecond, s.end)
						return nil
					case 1:
						return errDown
					}
					got.add("%s", id)
					time.AfterFunc(time.Duration(chance(500))*time.Millisecond, func() {
						p.Settle(delivery.Response{Own: alice, Peer: peer, Acks: []string{id}})
					})
					return nil
				}
				return s
			}
			const peers, lanes, items = 3, 4, 15
			var work sync.WaitGroup
			for i := range peers {
				peer := fmt.Sprint("did:example:", i)
				for range 2 {
					work.Go(func() { // the connections of a peer
						for range 200 {
							s := newLine(peer)
							b := delivery.Binding{Own: alice, Peer: peer, Session: s, Rank: chance(2)}
							if err := p.Bind(t.Context(), b); err != nil {
								t.Error(err)
							}
							time.Sleep(time.Duration(chance(5000)) * time.Millisecond)
							if chance(2) == 0 {
								p.Unbind(alice, peer, s)
							}
							s.end()
						}
					})
				}
				for l := range lanes {
					work.Go(func() {
						for k := range items {
							it := ackWanted(fmt.Sprintf("%d %d %d", i, l, k))
							it.To, it.Lane = peer, fmt.Sprint(l)
							p.deliver(it)
							time.Sleep(time.Duration(chance(500)) * time.Millisecond)
						}
					})
				}
			}
			work.Wait()
			if left := p.queued(); len(left) != 0 {
				t.Fatalf("seed %d: left %q", seed, left)
			}
			next := make(map[string]int) // by peer and lane
			for _, id := range got.list() {
				at := strings.LastIndex(id, " ")
				var n int
				fmt.Sscan(id[at+1:], &n)
				if n > next[id[:at]] {
					t.Fatalf("seed %d: %s before %d", seed, id, next[id[:at]])
				}
				if n == next[id[:at]] {
					next[id[:at]]++
				}
			}
			for lane, n := range next {
				if n != items {
					t.Errorf("seed %d: %d of lane %s", seed, n, lane)
				}
			}
			if len(next) != peers*lanes {
				t.Errorf("seed %d: %d lanes", seed, len(next))
			}
		})
	}
}
