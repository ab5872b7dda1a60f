package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// confirms are the messages that were written to a connection which gives no
// receipt, and wait for an ack of the recipient, or for an answer on a thread
// that the message began.
type confirms struct {
	mu      sync.Mutex // guards all below
	waiting map[threadKey]*confirmation
	peers   map[threadKey]bool // whether a party acks, of those that are known to or not to
}

// confirmation waits for the ack of one message.
type confirmation struct {
	key, peer, thread threadKey
	outcome           chan error // takes one: nil when acked
}

// errBusyPeer: the peer says that it has no room for the message.
var errBusyPeer = errors.New("the peer is busy")

// maxAckPeers bounds the parties that are known to ack or not to.
const maxAckPeers = 10_000

func newConfirms() confirms {
	return confirms{waiting: make(map[threadKey]*confirmation), peers: make(map[threadKey]bool)}
}

// add begins to wait for the ack of an item; it is nil if the item asks for none
// or the recipient is known to give none.
func (t *confirms) add(item *store.Item) *confirmation {
	if !item.Confirm {
		return nil
	}
	c := &confirmation{
		key: keyOf(item.To, item.MessageID), peer: keyOf(item.To, ""), thread: keyOf(item.To, item.Thread),
		outcome: make(chan error, 1),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if acks, known := t.peers[c.peer]; known && !acks {
		return nil
	}
	t.waiting[c.key] = c
	return c
}

func (t *confirms) remove(c *confirmation) {
	if c == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting[c.key] == c {
		delete(t.waiting, c.key)
	}
}

// mark keeps whether a party acks. What is known of others is forgotten when
// there are too many: it is learned anew.
func (t *confirms) mark(peer threadKey, acks bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.peers) >= maxAckPeers {
		clear(t.peers)
	}
	t.peers[peer] = acks
}

func (t *confirms) acks(peer threadKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[peer]
}

// receive takes what a message tells of those that wait. It reports whether the
// message is about nothing else: a report that the peer was too busy for one.
func (t *confirms) receive(in *Inbound) (consumed bool) {
	if !in.Authenticated() {
		return false
	}
	m := in.Message
	if isProblemReport(m) {
		if p, err := ParseProblemReport(m); err == nil && p.Code == codeBusy {
			return t.refuse(keyOf(in.From, subject(m)))
		}
	}
	for _, id := range m.Ack[:min(len(m.Ack), maxAcks)] {
		if t.settle(keyOf(in.From, id), nil) {
			t.mark(keyOf(in.From, ""), true)
		}
	}
	if m.ThreadID != "" {
		t.settle(keyOf(in.From, m.ThreadID), nil)
	}
	return false
}

func (t *confirms) settle(key threadKey, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.waiting[key]
	if c == nil {
		return false
	}
	delete(t.waiting, key)
	c.outcome <- err
	return true
}

// refuse ends the wait of all messages of a thread.
func (t *confirms) refuse(thread threadKey) (any bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, c := range t.waiting {
		if c.thread == thread {
			delete(t.waiting, key)
			c.outcome <- errBusyPeer
			any = true
		}
	}
	return any
}

// codeBusy is the problem of an agent that has no room for a message now.
const codeBusy = "e.p." + message.DescriptorMeRes + ".storage"

// awaitAck holds a lease until the message is acked, which went by s. If the
// connection ends first, or a peer that acks otherwise does not this time, the
// message is sent again. A peer that says nothing while the connection lives is
// taken for one that does not ack.
func (a *Agent) awaitAck(ctx context.Context, l *store.Lease[store.Item], s transport.Session, c *confirmation) {
	defer a.confirms.remove(c)
	timeout := time.NewTimer(a.cfg.AckTimeout)
	defer timeout.Stop()
	var err error
	select {
	case err = <-c.outcome:
	case <-s.Done():
		err = errors.New("the connection ended before an ack came")
	case <-ctx.Done():
		err = errors.New("agent stopped before an ack came")
	case <-timeout.C:
		if a.confirms.acks(c.peer) {
			err = errors.New("no ack came")
		} else {
			a.confirms.mark(c.peer, false)
		}
	}
	if err != nil {
		select { // both may have happened
		case err = <-c.outcome:
		default:
		}
	}
	if err != nil {
		a.putOff(ctx, l, a.backoff(l.Attempts), err)
		return
	}
	a.delivered(ctx, l, "connection")
}
