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

// acks are the items that are being sent by a way which gives no receipt, or that
// somebody follows, and wait to hear from their recipient.
type acks struct {
	parties *parties

	mu       sync.Mutex         // guards all below
	messages map[key][]*waiting // by the message
	threads  map[key][]*waiting // the same by the thread
}

// waiting is one item that waits to hear from its recipient.
type waiting struct {
	message, party, thread key
	confirm                bool       // the item ends when its recipient is known to have it
	asked                  bool       // the item asks for an ack
	heard                  chan error // takes one: errBusy, or nil when the recipient has the item

	problem error // that the recipient reported with the item; guarded by acks.mu
}

var (
	errBusy    = errors.New("the peer has no room for the message now")
	errSilent  = errors.New("no ack came")
	errCut     = errors.New("the connection ended before an ack came")
	errStopped = errors.New("stopped before an ack came")
)

func newAcks(p *parties) acks {
	return acks{parties: p, messages: make(map[key][]*waiting), threads: make(map[key][]*waiting)}
}

// wait begins to listen for what the recipient of an item says of that; nil if
// nobody wants to know.
func (d *Dispatcher) wait(item *store.Item, followed bool) *waiting {
	w := &waiting{
		message: d.pair(item.From, item.To, item.MessageID), party: d.pair(item.From, item.To, ""), thread: d.pair(item.From, item.To, item.Thread),
		heard: make(chan error, 1), asked: item.AskAck,
	}
	// An item that must have a receipt goes by a way that gives none where its recipient
	// has moved: a connection that lives on is the best sign then that the item arrived.
	w.confirm = item.AskAck && d.parties.gives(w.party) || item.NeedsReceipt
	if !w.confirm && !followed {
		return nil
	}
	t := &d.acks
	t.mu.Lock()
	defer t.mu.Unlock()
	t.messages[w.message] = append(t.messages[w.message], w)
	t.threads[w.thread] = append(t.threads[w.thread], w)
	return w
}

// stop ends the wait, and returns the problem that was reported with the item.
func (t *acks) stop(w *waiting) error {
	if w == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(w)
	return w.problem
}

// acked tells whether the recipient has the item.
func (w *waiting) acked() bool {
	if w == nil {
		return false
	}
	select {
	case err := <-w.heard:
		return err == nil
	default:
		return false
	}
}

// drop takes out one that waits, if it is there. The caller holds mu.
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

// Heard is what a message of an authenticated party says of items that were sent to
// that party.
type Heard struct {
	// Own is the DID of ours that the message came to, Peer the DID of the party: only
	// items that went from Own to Peer are meant.
	Own, Peer string
	// Acks are the ids of messages that the party has, and Thread, if the message
	// has one, is the id of a message that it answers.
	Acks   []string
	Thread string
	// About, if not empty, is the id of a message, or its thread, with which the
	// party reports a problem, and Problem is that. The party has the message. A report
	// on the Thread of an item is about that, too.
	About   string
	Problem error
}

// Hear settles the items that wait for an ack, and that a message acks, answers or
// reports a problem with. It reports whether the problem is with an item that is
// being sent by Try, or followed: then the item's outcome has the problem.
func (d *Dispatcher) Hear(h Heard) (noted bool) {
	name := d.cfg.Party(h.Own) + " " + d.cfg.Party(h.Peer) // once: that may take long for a long DID
	keyOf := func(id string) key { return digest(name, id) }
	t := &d.acks
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.About != "" && h.Problem != nil {
		about, thread := keyOf(h.About), keyOf(h.Thread)
		for _, by := range []map[key][]*waiting{t.messages, t.threads} {
			for _, w := range slices.Concat(by[about], by[thread]) {
				w.problem, noted = h.Problem, true
			}
		}
	}
	for _, id := range h.Acks {
		d.parties.acked(keyOf(""), t.settle(t.messages[keyOf(id)], nil))
	}
	if h.Thread != "" {
		t.settle(t.messages[keyOf(h.Thread)], nil)
	}
	// A report that acks another message of the thread says nothing of this one.
	if h.About != "" && len(h.Acks) == 0 {
		t.settle(t.messages[keyOf(h.About)], nil)
	}
	return noted
}

// Awaits tells whether an item from a DID of ours waits for an ack of peer on a thread.
func (d *Dispatcher) Awaits(own, peer, thread string) bool {
	k := d.pair(own, peer, thread)
	d.acks.mu.Lock()
	defer d.acks.mu.Unlock()
	return slices.ContainsFunc(d.acks.threads[k], func(w *waiting) bool { return w.confirm })
}

// Busy ends the wait of all items of a thread from a DID of ours to peer, which says
// that it had no room for one of them: they are sent again.
func (d *Dispatcher) Busy(own, peer, thread string) {
	k := d.pair(own, peer, thread)
	d.acks.mu.Lock()
	defer d.acks.mu.Unlock()
	d.acks.settle(d.acks.threads[k], errBusy)
}

// settle ends the wait of those that ask for an ack. The caller holds mu.
func (t *acks) settle(list []*waiting, err error) (any bool) {
	for _, w := range slices.Clone(list) {
		if !w.confirm {
			continue
		}
		t.drop(w)
		w.heard <- err
		any = true
	}
	return any
}

// awaitAfter is how long an ack is waited for before the item no longer counts among
// those that are being sent to its recipient: most acks come sooner, and cost the
// outbox nothing.
const awaitAfter = 100 * time.Millisecond

// await waits for the ack of an item that went by s, or by a way without a connection
// if s is nil. An item that asks for no ack, since it was packed for ways that give
// receipts and its recipient has moved, has arrived if the connection outlives the wait.
// Slow is called once when that takes a while. The error is nil when the recipient has
// the item; acked is false if that is known by no ack.
func (d *Dispatcher) await(ctx context.Context, s transport.Session, w *waiting, slow func()) (acked bool, err error) {
	timeout := time.NewTimer(d.cfg.AckTimeout)
	defer timeout.Stop()
	patience := time.NewTimer(min(awaitAfter, d.cfg.AckTimeout/2))
	defer patience.Stop()
	var ended <-chan struct{}
	if s != nil {
		ended = s.Done()
	}
	start, silent := time.Now(), false
	for {
		select {
		case err = <-w.heard:
			return err == nil, err
		case <-patience.C:
			slow()
			continue
		case <-ended:
			err = errCut
		case <-ctx.Done():
			err = errStopped
		case <-timeout.C:
			silent, err = true, errSilent
		}
		break
	}
	select { // both may have happened
	case err = <-w.heard:
		return err == nil, err
	default:
	}
	if silent && (!w.asked || !d.parties.silence(w.party, start)) {
		return false, nil
	}
	return false, err
}
