package agent

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/transport"
)

// lanes are the received messages that wait for their Handler. The messages in a lane are
// handled one at a time.
type lanes struct {
	max int // messages of one owner for which ServePacket does not wait

	mu      sync.Mutex // guards all below
	waiting map[lane][]func(returned func())
	owners  map[lane]*owner
}

// lane is the name of a lane. There are two kinds:
//   - the messages of one thread on one session;
//   - the messages of one party in an ordered protocol, with a nil session.
type lane struct {
	session transport.Session
	key     threadKey
}

// owner counts messages in lanes: in all lanes of a session together, or in one lane
// without a session.
type owner struct {
	slots chan struct{} // one for each message in a lane for which ServePacket does not wait
	users int           // messages in the lanes; guarded by lanes.mu
}

func newLanes(max int) lanes {
	return lanes{max: max, waiting: make(map[lane][]func(func())), owners: make(map[lane]*owner)}
}

// owner returns the key of the owner of a lane.
func (l lane) owner() lane {
	if l.session != nil {
		l.key = threadKey{}
	}
	return l
}

// schedule puts a message in its lane, or starts its Handler in a free slot if the message
// has no lane. It returns before the message is handled. The channel handled is closed
// when the message is handled, or is given back to the inbox.
//
// The Handler never runs in the goroutine of the caller. The caller may be a worker of
// our own delivery, when the message arrives in the response to a packet of the worker.
// If the Handler waits for a message that it sends, it must not occupy that worker.
func (a *Agent) schedule(ctx context.Context, w transport.Replier, k *pending) (handled <-chan struct{}, err error) {
	done := make(chan struct{})
	if l, ok := a.laneOf(w, k.in); ok {
		o := a.queue(l, k, func() {
			defer close(done)
			a.run(ctx, w, k)
		}, func() {
			defer close(done)
			k.in.log(a.cfg.Logger).WarnContext(ctx, "message not handled", "error", a.release(ctx, k))
		})
		// Only now, or the messages that wait here would lose their order.
		transport.TurnOf(ctx).End(ctx)
		select {
		case o.slots <- struct{}{}:
		case <-a.life.Done():
		}
		return done, nil
	}
	class := k.in.class
	if !a.handlers.take(class, a.life.Done()) {
		return nil, a.release(ctx, k)
	}
	a.work.Add(1) // before Run can return, since the work of the caller is not done
	go func() {
		defer a.leave()
		defer close(done)
		defer a.handlers.free(class)
		a.run(ctx, w, k)
	}()
	return done, nil
}

// queue puts a message in a lane. When the messages ahead are handled, it calls run in a
// slot for Handlers, or release if the Agent has stopped. The caller must then take one
// of the owner's slots.
//
// In an ordered protocol, a message counts as handled when its Handler has returned. The
// next message does not wait until the inbox knows.
func (a *Agent) queue(l lane, k *pending, run, release func()) *owner {
	t := &a.lanes
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[l.owner()]
	if o == nil {
		o = &owner{slots: make(chan struct{}, t.max)}
		t.owners[l.owner()] = o
	}
	o.users++
	class := k.in.class
	before, running := t.waiting[l]
	t.waiting[l] = append(before, func(returned func()) {
		defer returned()
		if !a.handlers.take(class, a.life.Done()) {
			release()
			return
		}
		defer a.handlers.free(class)
		if l.session == nil {
			k.returned = returned
		}
		run()
	})
	if !running {
		a.work.Add(1) // before Run can return, since the work of the caller is not done
		go a.drain(l, o)
	}
	return o
}

// drain handles the messages in a lane until the lane is empty.
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

// full reports whether the owner of a lane has the largest number of messages.
func (t *lanes) full(l lane) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[l.owner()]
	return o != nil && o.users >= t.max
}

// laneOf returns the lane of a message that has arrived by w. A message has no lane if its
// protocol is not ordered and w is not a session.
func (a *Agent) laneOf(w transport.Replier, in *Inbound) (l lane, ok bool) {
	if l, ok := a.orderedLane(in); ok {
		return l, true
	}
	s, ok := w.(transport.Session)
	return lane{s, in.key(in.Message.Thread())}, ok
}

// orderedLane returns the lane of a message in an ordered protocol. A message that nobody
// is proven to have sent to us has no such lane, since its order means nothing.
func (a *Agent) orderedLane(in *Inbound) (l lane, ok bool) {
	o, ok := a.cfg.Handler.(Orderer)
	if !ok || !in.fromPeer() {
		return lane{}, false
	}
	name := o.Lane(in)
	return lane{key: in.key(name)}, name != ""
}
