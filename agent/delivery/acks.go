package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// acks holds the items that wait for a message of their recipient: an ack, an answer or a
// problem report.
type acks struct {
	parties *parties

	mu       sync.Mutex         // guards all below
	messages map[key][]*waiting // by the id of the message
	threads  map[key][]*waiting // the same items by thread
}

// waiting is an item in acks.
type waiting struct {
	own, peer              string
	message, party, thread key
	needsAck               bool       // whether to wait for an ack
	askAck                 bool       // whether the item asks for an ack
	answer                 chan error // gets one value: errBusy, or nil for an ack

	problem  error         // that the recipient reported about the item; guarded by acks.mu
	reported chan struct{} // gets one value when problem is set
}

var (
	errBusy      = errors.New("the peer has no room for the message now")
	errNoAck     = errors.New("no ack came")
	errConnEnded = errors.New("the connection ended before an ack came")
	errStopped   = errors.New("stopped before an ack came")
)

func newAcks(p *parties) acks {
	return acks{parties: p, messages: make(map[key][]*waiting), threads: make(map[key][]*waiting)}
}

// wait adds an item to acks. It returns nil if the item needs no ack and has no
// subscribers, so that messages of its recipient do not matter.
func (d *Dispatcher) wait(ctx context.Context, item *store.Item, subscribed bool) *waiting {
	w := &waiting{
		own: item.From, peer: item.To,
		message: d.pair(item.From, item.To, item.MessageID), party: d.pair(item.From, item.To, ""), thread: d.pair(item.From, item.To, item.Thread),
		answer: make(chan error, 1), askAck: item.AskAck, reported: make(chan struct{}, 1),
	}
	if item.AskAck && d.cfg.NeverAcks != nil && !d.parties.shown(w.party) {
		d.parties.recall(w.party, d.cfg.NeverAcks(ctx, item.From, item.To))
	}
	// An item that needs a receipt may be sent without one, if its recipient has moved to
	// another endpoint. It then counts as delivered if the connection stays open.
	w.needsAck = item.AskAck && d.parties.mayAck(w.party) || item.NeedsReceipt
	if !w.needsAck && !subscribed {
		return nil
	}
	t := &d.acks
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages[w.message] = append(t.messages[w.message], w)
	t.threads[w.thread] = append(t.threads[w.thread], w)
	return w
}

// stop removes an item from acks, and returns the problem that was reported about it.
func (t *acks) stop(w *waiting) error {
	if w == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(w)
	return w.problem
}

// report sets the problem. The caller holds acks.mu.
func (w *waiting) report(problem error) {
	w.problem = problem
	select {
	case w.reported <- struct{}{}:
	default:
	}
}

// acked reports whether the recipient has acknowledged the item.
func (w *waiting) acked() bool {
	if w == nil {
		return false
	}
	select {
	case err := <-w.answer:
		return err == nil
	default:
		return false
	}
}

// drop removes an item from the maps. The caller holds mu.
func (t *acks) drop(w *waiting) {
	without := func(m map[key][]*waiting, k key) {
		m[k] = slices.DeleteFunc(m[k], func(other *waiting) bool { return other == w })
		if len(m[k]) == 0 {
			delete(m, k)
		}
	}
	without(t.messages, w.message)
	without(t.threads, w.thread)
}

// Response is the content of a received message from an authenticated peer that concerns
// items which were sent to the peer.
type Response struct {
	// Own is our DID that received the message, and Peer is the DID of its sender. The
	// message concerns only items from Own to Peer.
	Own, Peer string
	// Acks lists the ids of messages that the message acknowledges.
	Acks []string
	// Thread is the thread of the message, or "". If it is the id of a sent message, the
	// received message is its answer.
	Thread string
	// About is the id or thread of the message that a problem report is about, or "". The
	// report is also about the items whose thread is Thread.
	About string
	// Problem is the problem of a problem report.
	Problem error
	// Session is the connection that the message arrived on. It is nil if the connection
	// does not stay open, or if the message is so old that anybody may have sent it.
	Session transport.Session
}

// Settle ends the wait of items for their ack, if the received message acknowledges them,
// answers them, or reports a problem about them. An ack of a probe proves its connection. A
// problem becomes the Err of the outcomes of these items. Settle reports whether the problem
// is about an item that waits for an ack, is being sent by Try, or has a notify function.
func (d *Dispatcher) Settle(r Response) (noted bool) {
	name := d.cfg.Party(r.Own) + " " + d.cfg.Party(r.Peer) // only once, because Party may be slow for a long DID
	keyOf := func(id string) key { return digest(name, id) }
	learned := false
	if r.Session != nil && d.routes.acked(r.Session, keyOf(""), r.Acks) {
		learned = d.parties.acked(keyOf(""), true)
		d.wake(d.life, r.Peer)
	}
	noted, changed := d.acks.settleAll(r, keyOf)
	if learned || changed {
		d.learned(r.Own, r.Peer, true)
	}
	return noted
}

// settleAll settles the items that a received message concerns. It also reports whether its
// sender was regarded as one that does not send acks, and does.
func (t *acks) settleAll(r Response, keyOf func(string) key) (noted, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.About != "" && r.Problem != nil {
		about, thread := keyOf(r.About), keyOf(r.Thread)
		for _, by := range []map[key][]*waiting{t.messages, t.threads} {
			for _, w := range slices.Concat(by[about], by[thread]) {
				noted = true
				w.report(r.Problem)
			}
		}
	}
	for _, id := range r.Acks {
		changed = t.parties.acked(keyOf(""), t.settle(t.messages[keyOf(id)], nil)) || changed
	}
	if r.Thread != "" {
		t.settle(t.messages[keyOf(r.Thread)], nil)
	}
	// A report that acknowledges other messages does not acknowledge this one.
	if r.About != "" && len(r.Acks) == 0 {
		t.settle(t.messages[keyOf(r.About)], nil)
	}
	return noted, changed
}

// learned tells that a party is regarded as one that sends acks, or does not, from now on.
func (d *Dispatcher) learned(own, peer string, acks bool) {
	if d.cfg.LearnedAcks != nil {
		d.cfg.LearnedAcks(d.life, own, peer, acks)
	}
}

// Refused sets the Err of the outcomes of an item from our DID own to peer, with the id of its
// message: a mediator has reported a problem about the forward of the item. Refused does not
// end a wait for an ack. It reports whether the item is being sent, as Settle does.
func (d *Dispatcher) Refused(own, peer, id string, problem error) (noted bool) {
	d.acks.mu.Lock()
	defer d.acks.mu.Unlock()
	for _, w := range d.acks.messages[d.pair(own, peer, id)] {
		noted = true
		w.report(problem)
	}
	return noted
}

// Awaits reports whether an item of a thread, from our DID own to peer, waits for an ack.
func (d *Dispatcher) Awaits(own, peer, thread string) bool {
	k := d.pair(own, peer, thread)
	d.acks.mu.Lock()
	defer d.acks.mu.Unlock()
	return slices.ContainsFunc(d.acks.threads[k], func(w *waiting) bool { return w.needsAck })
}

// Busy ends the wait of all items of a thread, from our DID own to peer, because the peer
// has reported that it could not accept one of them now. The items are sent again later.
func (d *Dispatcher) Busy(own, peer, thread string) {
	k := d.pair(own, peer, thread)
	d.acks.mu.Lock()
	defer d.acks.mu.Unlock()
	d.acks.settle(d.acks.threads[k], errBusy)
}

// settle ends the wait of the items that need an ack. The caller holds mu.
func (t *acks) settle(list []*waiting, err error) (any bool) {
	for _, w := range slices.Clone(list) {
		if !w.needsAck {
			continue
		}
		t.drop(w)
		w.answer <- err
		any = true
	}
	return any
}

// reportTime is how long Try waits for a problem report of a recipient that sends no acks, or of
// a mediator. A mediator that forwards an item sends nothing.
const reportTime = time.Second

// awaitReport waits for a problem report about an item that was sent on s, which may be nil.
func (d *Dispatcher) awaitReport(ctx context.Context, s transport.Session, w *waiting) {
	timeout := time.NewTimer(min(reportTime, d.cfg.AckTimeout))
	defer timeout.Stop()
	var ended <-chan struct{}
	if s != nil {
		ended = s.Done()
	}
	select {
	case <-w.reported:
	case <-timeout.C:
	case <-ended:
	case <-ctx.Done():
	}
}

// awaitAfter is the time after which an item that waits for its ack no longer counts as
// being sent. Most acks come sooner, so that the outbox need not be updated.
const awaitAfter = 100 * time.Millisecond

// await waits for the ack of an item that was sent on s. If s is nil, the transport has
// no connection. After awaitAfter, it calls onSlow once. If must is true, only an ack counts.
//
// The error is nil if the item counts as delivered; acked is false if there was no ack.
// This is so for a party that does not send acks, and for an item that does not ask for
// an ack (its recipient has moved to a transport without receipts), if the connection
// stays open.
func (d *Dispatcher) await(ctx context.Context, s transport.Session, w *waiting, must bool, onSlow func()) (acked bool, err error) {
	timeout := time.NewTimer(d.cfg.AckTimeout)
	defer timeout.Stop()
	slow := time.NewTimer(min(awaitAfter, d.cfg.AckTimeout/2))
	defer slow.Stop()
	var ended <-chan struct{}
	if s != nil {
		ended = s.Done()
	}
	start, noAck := time.Now(), false
	for {
		select {
		case err = <-w.answer:
			return err == nil, err
		case <-slow.C:
			onSlow()
			continue
		case <-ended:
			err = errConnEnded
		case <-ctx.Done():
			err = errStopped
		case <-timeout.C:
			noAck, err = true, errNoAck
		}
		break
	}
	select { // the answer may have come at the same time
	case err = <-w.answer:
		return err == nil, err
	default:
	}
	if !noAck || must {
		return false, err
	}
	if !w.askAck {
		return false, nil
	}
	acks, changed := d.parties.missedAck(w.party, start)
	if changed {
		d.learned(w.own, w.peer, false)
	}
	if acks {
		return false, err
	}
	return false, nil
}
