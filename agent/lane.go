package agent

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// lanes are the messages that wait for their handler, each in a lane of those that are
// handled one after the other.
type lanes struct {
	max int // messages of one owner whose ServePacket need not wait

	mu      sync.Mutex // guards all below
	waiting map[lane][]func(returned func())
	owners  map[lane]*owner
}

// lane names a lane: of a thread, among the messages of one session; or of an ordered
// protocol, among all of a party, with no session.
type lane struct {
	session transport.Session
	key     threadKey
}

// owner is the owner of a lane: its session, for all lanes of that, or else the lane
// itself.
type owner struct {
	slots chan struct{} // one per message in a lane whose ServePacket need not wait
	users int           // messages in a lane; guarded by lanes.mu
}

func newLanes(max int) lanes {
	return lanes{max: max, waiting: make(map[lane][]func(func())), owners: make(map[lane]*owner)}
}

// owner names the owner of a lane.
func (l lane) owner() lane {
	if l.session != nil {
		l.key = threadKey{}
	}
	return l
}

// place gives a message its place, and returns before it is handled: a place in a lane,
// or a slot to run its handler for a message of no ordered protocol that came by no
// session. handled is closed when the message was handled, or given back to the inbox.
//
// The handler never runs in the caller's goroutine. That may be one of our own
// workers, whose packet began the exchange: if the handler sends in its turn, it
// must not take one worker more each time.
func (a *Agent) place(ctx context.Context, w transport.Replier, k *pending) (handled <-chan struct{}, err error) {
	done := make(chan struct{})
	if l, ok := a.laneOf(w, k.in); ok {
		o := a.queue(l, k, func() {
			defer close(done)
			a.run(ctx, w, k)
		}, func() {
			defer close(done)
			k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled", "error", a.giveUp(ctx, k))
		})
		// Not before that, or those that wait here would lose their order.
		transport.TurnOf(ctx).End(ctx)
		select {
		case o.slots <- struct{}{}:
		case <-a.life.Done():
		}
		return done, nil
	}
	if !a.handlers.take(a.life.Done()) {
		return nil, a.giveUp(ctx, k)
	}
	a.work.Add(1) // in time, since the caller's own entry still counts
	go func() {
		defer a.leave()
		defer close(done)
		defer a.handlers.free()
		a.run(ctx, w, k)
	}()
	return done, nil
}

// queue puts a message in a lane: run handles the message in a slot, when those before
// have been handled, and giveUp is called instead if the agent has stopped by then. In
// an ordered protocol those before have been when their handlers have returned: a whole
// party would else wait for the inbox after each message. The caller takes one of the
// owner's slots.
func (a *Agent) queue(l lane, k *pending, run, giveUp func()) *owner {
	t := &a.lanes
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[l.owner()]
	if o == nil {
		o = &owner{slots: make(chan struct{}, t.max)}
		t.owners[l.owner()] = o
	}
	o.users++
	before, running := t.waiting[l]
	t.waiting[l] = append(before, func(returned func()) {
		defer returned()
		if !a.handlers.take(a.life.Done()) {
			giveUp()
			return
		}
		defer a.handlers.free()
		if l.session == nil {
			k.returned = returned
		}
		run()
	})
	if !running {
		a.work.Add(1) // in time, since the caller's own entry still counts
		go a.drain(l, o)
	}
	return o
}

// drain handles what stands in one lane until nothing does.
func (a *Agent) drain(l lane, o *owner) {
	defer a.leave()
	t := &a.lanes
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.waiting[l]) > 0 {
		next := t.waiting[l][0]
		t.waiting[l] = t.waiting[l][1:]
		t.mu.Unlock()
		returned := make(chan struct{})
		a.work.Add(1)
		go func() {
			defer a.leave()
			next(sync.OnceFunc(func() { close(returned) }))
		}()
		<-returned
		select {
		case <-o.slots:
		case <-a.life.Done():
		}
		t.mu.Lock()
		if o.users--; o.users == 0 {
			delete(t.owners, l.owner())
		}
	}
	delete(t.waiting, l)
}

// full tells whether the owner of a lane has as many messages as it may.
func (t *lanes) full(l lane) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[l.owner()]
	return o != nil && o.users >= t.max
}

// laneOf is the lane in which a message waits for its handler that came by w; there is
// none for a message of no ordered protocol that came by no session.
func (a *Agent) laneOf(w transport.Replier, in *Inbound) (l lane, ok bool) {
	if l, ok := a.orderedLane(in); ok {
		return l, true
	}
	s, ok := w.(transport.Session)
	return lane{s, in.key(in.Message.Thread())}, ok
}

// orderedLane is the lane of a message of an ordered protocol. Those who did not
// authenticate are no party: their messages do not wait for each other's.
func (a *Agent) orderedLane(in *Inbound) (l lane, ok bool) {
	o, ok := a.cfg.Handler.(Orderer)
	if !ok || !in.Authenticated() {
		return lane{}, false
	}
	name := o.Lane(in)
	return lane{key: in.key(name)}, name != ""
}
