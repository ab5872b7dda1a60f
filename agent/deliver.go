package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/transport"
)

// deliverAll is one worker: it takes items from the outbox until ctx ends.
func (a *Agent) deliverAll(ctx context.Context) {
	for {
		l, err := a.cfg.Outbox.Lease(ctx, (maxRoutes+1)*a.cfg.SendTimeout)
		if ctx.Err() != nil {
			if err == nil {
				a.giveBack(ctx, l, 0, "agent stopped")
			}
			return
		}
		if err != nil {
			a.cfg.Logger.ErrorContext(ctx, "outbox failed", "error", err)
			select { // a store that fails would keep the worker spinning
			case <-time.After(a.cfg.MinBackoff):
			case <-ctx.Done():
			}
			continue
		}
		a.deliver(ctx, l)
	}
}

// deliver tries the routes of one item, in order, until one has taken it.
func (a *Agent) deliver(ctx context.Context, l *store.Lease) {
	item := &l.Item
	log := a.cfg.Logger.With("id", item.MessageID, "to", item.To)
	if !a.cfg.Now().Before(item.Deadline) {
		a.bury(ctx, l, expired(item, nil))
		return
	}
	var errs []error
	var retry bool
	var after time.Duration
	for _, route := range item.Routes {
		err := a.try(ctx, route)
		if err == nil {
			log.DebugContext(ctx, "delivered", "endpoint", route.Endpoint, "attempts", item.Attempts+1)
			if err := a.cfg.Outbox.Ack(context.WithoutCancel(ctx), l); err != nil {
				log.ErrorContext(ctx, "delivered, but not marked so", "error", err)
			}
			a.watches.settle(item.ID, nil)
			return
		}
		var failed *transport.SendError
		if !errors.As(err, &failed) {
			failed = &transport.SendError{Endpoint: route.Endpoint, Retryable: true, Err: err}
		}
		errs = append(errs, failed)
		retry = retry || failed.Retryable
		if failed.RetryAfter > 0 && (after == 0 || failed.RetryAfter < after) {
			after = failed.RetryAfter
		}
	}
	err := errors.Join(errs...)
	if ctx.Err() != nil {
		a.giveBack(ctx, l, 0, "agent stopped")
		return
	}
	a.refresh(ctx, item.To)
	if !retry {
		a.bury(ctx, l, err)
		return
	}
	delay := max(a.backoff(item.Attempts), after)
	if !a.cfg.Now().Add(delay).Before(item.Deadline) {
		a.bury(ctx, l, expired(item, err))
		return
	}
	log.InfoContext(ctx, "not delivered, will try again", "attempts", item.Attempts+1, "delay", delay, "error", err)
	a.watches.note(item.ID, err)
	a.giveBack(ctx, l, delay, err.Error())
}

func expired(item *store.Item, err error) error {
	why := errors.New("no further try before its deadline")
	if err == nil && item.LastError != "" {
		err = errors.New(item.LastError)
	}
	if err == nil {
		return why
	}
	return fmt.Errorf("%w: %w", why, err)
}

func (a *Agent) try(ctx context.Context, route store.Route) error {
	s := a.sender(route.Endpoint)
	if s == nil {
		return &transport.SendError{Endpoint: route.Endpoint, Err: errors.New("no sender for this scheme")}
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	return s.Send(ctx, route.Endpoint, transport.Packet{MediaType: route.MediaType, Data: route.Data})
}

// backoff is the delay after a failed attempt, attempts having failed before:
// doubling, and with up to half of it taken off at random, so that messages that
// failed together do not return together.
func (a *Agent) backoff(attempts int) time.Duration {
	d := a.cfg.MaxBackoff
	if attempts < 32 {
		d = min(d, a.cfg.MinBackoff<<attempts)
	}
	if d <= 0 { // the shift ran over
		d = a.cfg.MaxBackoff
	}
	return d - rand.N(d/2+1)
}

// refresh has the DID of a party looked up anew for the next message: its
// endpoints may have moved.
func (a *Agent) refresh(ctx context.Context, id string) {
	r, ok := a.cfg.Resolver.(interface {
		Refresh(ctx context.Context, id string) (*did.Document, error)
	})
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.cfg.SendTimeout)
	defer cancel()
	if _, err := r.Refresh(ctx, id); err != nil {
		a.cfg.Logger.InfoContext(ctx, "party not resolved anew", "did", id, "error", err)
	}
}

// giveBack naks an item; in a stop, too.
func (a *Agent) giveBack(ctx context.Context, l *store.Lease, delay time.Duration, reason string) {
	if err := a.cfg.Outbox.Nak(context.WithoutCancel(ctx), l, delay, reason); err != nil {
		a.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", l.Item.MessageID, "error", err)
	}
}

// bury gives an item up.
func (a *Agent) bury(ctx context.Context, l *store.Lease, reason error) {
	item := l.Item
	a.cfg.Logger.WarnContext(ctx, "message given up", "id", item.MessageID, "to", item.To, "attempts", item.Attempts+1, "error", reason)
	if err := a.cfg.Outbox.Term(context.WithoutCancel(ctx), l, reason.Error()); err != nil {
		a.cfg.Logger.ErrorContext(ctx, "outbox failed", "id", item.MessageID, "error", err)
		return
	}
	a.watches.settle(item.ID, fmt.Errorf("%w: %w", ErrUndelivered, reason))
	if a.cfg.OnBuried != nil {
		a.cfg.OnBuried(Buried{Item: item, Err: reason})
	}
}

// watches tell a waiting Send or Request what became of its items.
type watches struct {
	mu     sync.Mutex // guards items, and last of each watch
	byItem map[string]*watch
}

type watch struct {
	item string
	done chan error // takes one: nil when delivered

	mu   sync.Mutex
	last error
}

func newWatches() watches { return watches{byItem: make(map[string]*watch)} }

func (t *watches) add(items []store.Item) []*watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*watch, len(items))
	for i, item := range items {
		list[i] = &watch{item: item.ID, done: make(chan error, 1)}
		t.byItem[item.ID] = list[i]
	}
	return list
}

func (t *watches) remove(list []*watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range list {
		delete(t.byItem, w.item)
	}
}

func (t *watches) get(item string) *watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byItem[item]
}

// settle tells that an item was delivered (nil) or given up.
func (t *watches) settle(item string, err error) {
	if w := t.get(item); w != nil {
		select {
		case w.done <- err:
		default:
		}
	}
}

// note keeps the error of a try that will be followed by another.
func (t *watches) note(item string, err error) {
	if w := t.get(item); w != nil {
		w.mu.Lock()
		w.last = err
		w.mu.Unlock()
	}
}

func (w *watch) lastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}
