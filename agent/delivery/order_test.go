package delivery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
)

// inLane is an item in a lane that has a name.
func inLane(lane, id string, endpoints ...string) store.Item {
	return with(item(id, endpoints...), func(it *store.Item) { it.Lane = lane })
}

// An item that its recipient does not accept leaves its lane after some tries, so that
// the others are sent. The number of tries depends on the reason.
func TestAside(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		others bool // whether the recipient accepts items of other lanes
		leaves int  // after that many tries, 0 for never
	}{
		"refused":                  {err: refused, leaves: 5},
		"refused, others pass":     {err: refused, others: true, leaves: 5},
		"busy":                     {err: busy, leaves: 12},
		"busy, others pass":        {err: busy, others: true, leaves: 5},
		"unreached":                {err: unreached},
		"unreached, others pass":   {err: unreached, others: true},
		"unclear":                  {err: errDown},
		"refused, but ask it late": {err: later(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				way, tries, got := newFault(c.err), newRecord(), newRecord()
				p := run(t, delivery.Config{
					RefusedTries: 1000,
					Backoff:      delivery.Backoff{Min: time.Second, Max: time.Minute},
					Senders: senders(web(func(_ context.Context, _, id string) error {
						if err := way.get(); err != nil && id == "1" {
							tries.add("try")
							return err
						}
						got.add("%s", id)
						return nil
					}), "http"),
				})
				p.deliver(inLane("x", "1", "http://b"), inLane("x", "2", "http://b"), inLane("x", "3", "http://b"))
				for i := range 600 {
					if c.others {
						p.deliver(item(fmt.Sprint("other", i), "http://b"))
					}
					time.Sleep(2 * time.Second)
					passed := slices.Contains(got.list(), "3")
					if n := len(tries.list()); passed != (c.leaves > 0 && n >= c.leaves) {
						t.Fatalf("after %d tries the next has passed: %t", n, passed)
					}
				}
				if len(tries.list()) < 15 {
					t.Fatalf("tried %d times", len(tries.list()))
				}
				way.set(nil)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				lane := slices.DeleteFunc(got.list(), func(id string) bool { return strings.HasPrefix(id, "other") })
				want := []string{"1", "2", "3"}
				if c.leaves > 0 {
					want = []string{"2", "3", "1"}
				}
				if !slices.Equal(lane, want) || len(p.queued()) != 0 {
					t.Errorf("arrived: %q, left: %q", lane, p.queued())
				}
			})
		})
	}
}

// A party that acknowledges all items except one refuses this one.
func TestAsideSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *post
		got := newRecord()
		s := newSession()
		s.take = func(_ context.Context, id string) error {
			got.add("%s", id)
			if id != "1" {
				p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{id}})
			}
			return nil
		}
		p = newPost(t, delivery.Config{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p.bind(s)
		go p.Run(ctx)
		lane := func(id string) store.Item {
			return with(ackWanted(id), func(it *store.Item) { it.Lane = "x" })
		}
		p.deliver(ackWanted("0"))
		synctest.Wait()
		p.deliver(lane("1"), lane("2"))
		for i := range 60 {
			time.Sleep(5 * time.Second)
			p.deliver(ackWanted(fmt.Sprint("other", i))) // so that the party counts as one that sends acks
		}
		synctest.Wait()
		list := got.list()
		before := list[:slices.Index(list, "2")]
		if n := len(slices.DeleteFunc(slices.Clone(before), func(id string) bool { return id != "1" })); n != 5 {
			t.Errorf("the next followed after %d tries: %q", n, list)
		}
		if !slices.Equal(p.queued(), []string{"1"}) {
			t.Errorf("left: %q", p.queued())
		}
		p.Settle(delivery.Response{Own: alice, Peer: bob, Acks: []string{"1"}})
	})
}
