package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/didcomm-go/didcomm/agent/delivery"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// An idle Dispatcher leaves the items in the outbox to another one.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := delivery.Config{
			Outbox: store.NewOutbox(store.OutboxConfig{}), Senders: senders(newFault(nil).web(), "http"), Idle: true,
		}
		idle := run(t, cfg)
		idle.deliver(item("m", "http://b"))
		if o := idle.Try(t.Context(), nil, item("n", "http://b")); !o.Arrived() {
			t.Errorf("tried: %v", o)
		}
		time.Sleep(time.Hour)
		if e := idle.entry("m"); e.State != store.Waiting || e.Attempts != 0 {
			t.Errorf("entry %+v", e)
		}
		cfg.Idle = false
		run(t, cfg)
		synctest.Wait()
		if len(idle.queued()) != 0 {
			t.Error("left")
		}
		idle.told.want(t, "n 1: sent by http://b")
	})
}

// When Run ends, items that are being sent or wait for an ack are given back at once, and
// this does not count as a try.
func TestStop(t *testing.T) {
	for name, c := range map[string]struct {
		endpoint string
		told     []string
	}{
		"hanging":            {"hang://b", nil},
		"waiting for an ack": {"ws://b", []string{"m 1: sent by ws://b, not acknowledged yet"}},
		"backing off":        {"down://b", []string{"m 1: queued: send to down://b: down"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSession()
				cfg := delivery.Config{
					Outbox:  store.NewOutbox(store.OutboxConfig{}),
					Backoff: delivery.Backoff{Min: time.Hour, Max: time.Hour},
					Senders: map[string]transport.Sender{
						"hang": web(func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() }),
						"ws":   wire{s},
						"down": newFault(errDown).web(),
					},
				}
				p := run(t, cfg)
				p.deliver(ackWanted("m", c.endpoint))
				time.Sleep(time.Second)
				start := time.Now()
				p.stop()
				if d := time.Since(start); d != 0 {
					t.Errorf("stopped after %v", d)
				}
				attempts := 0
				if name == "backing off" {
					attempts = 1
				}
				if e := p.entry("m"); e.State != store.Waiting || e.Attempts != attempts {
					t.Errorf("entry %+v", e)
				}
				p.told.want(t, c.told...)
				// The next Dispatcher sends the item.
				cfg.Senders = senders(newFault(nil).web(), "hang", "ws", "down")
				next := run(t, cfg)
				time.Sleep(time.Hour)
				synctest.Wait()
				next.told.want(t, fmt.Sprintf("m %d: sent by %s", attempts+1, c.endpoint))
			})
		})
	}
}

// failing is an outbox that fails for a while.
type failing struct {
	outbox
	*fault
}

func (f failing) Lease(ctx context.Context, d time.Duration, classes ...store.Class) (*store.Lease[store.Item], error) {
	if err := f.get(); err != nil {
		return nil, err
	}
	return f.outbox.Lease(ctx, d, classes...)
}

func (f failing) Ack(ctx context.Context, l *store.Lease[store.Item]) error {
	if err := f.get(); err != nil {
		return err
	}
	return f.outbox.Ack(ctx, l)
}

// While the outbox fails, its update is retried until it succeeds, the lease ends, or
// StopTimeout is over.
func TestOutboxFails(t *testing.T) {
	for name, c := range map[string]struct {
		down time.Duration // from when the item is sent
		stop time.Duration // after that, if not 0
		took time.Duration // for Run to end then
		sent int
	}{
		"for a while":   {down: 10 * time.Second, sent: 1},
		"for long":      {down: time.Hour, sent: 2},
		"in a stop":     {down: 2 * time.Second, stop: time.Second, took: 2 * time.Second, sent: 1},
		"after a stop":  {down: time.Hour, stop: time.Second, took: 3 * time.Second, sent: 1},
		"not when idle": {sent: 1, stop: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, sent := newFault(nil), newRecord()
				p := run(t, delivery.Config{
					Workers: 1, // other workers would be waiting in Lease when it fails
					Outbox:  failing{store.NewOutbox(store.OutboxConfig{}).(outbox), f},
					Senders: senders(web(func(context.Context, string, string) error {
						sent.add("sent")
						if len(sent.list()) == 1 && c.down > 0 {
							f.set(errors.New("disk full"))
							time.AfterFunc(c.down, func() { f.set(nil) })
						}
						return nil
					}), "http"),
				})
				p.deliver(item("m", "http://b"))
				if c.stop > 0 {
					time.Sleep(c.stop)
					start := time.Now()
					p.stop()
					// The update is retried after 1, 2 and 4 seconds, and then every 5.
					if d := time.Since(start); d > c.took+time.Second || d < c.took-time.Second {
						t.Errorf("stopped after %v", d)
					}
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				if n := len(sent.list()); n != c.sent {
					t.Errorf("sent %d times", n)
				}
				if left := len(p.queued()); (left == 0) != (name != "after a stop") {
					t.Errorf("%d left", left)
				}
				list := p.told.list()
				if len(list) == 0 || list[0] != "m 1: sent by http://b" {
					t.Errorf("told of %q", list)
				}
			})
		})
	}
}
