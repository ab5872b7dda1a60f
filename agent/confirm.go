package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/transport"
)

// confirms are the messages that were written to a connection which gives no
// receipt, and wait for an ack of the recipient, for an answer on a thread that the
// message began, or for a report of a problem with the message.
type confirms struct {
	mu      sync.Mutex                    // guards all below
	waiting map[threadKey][]*confirmation // by the message
	threads map[threadKey][]*confirmation // the same by the thread
	peers   map[threadKey]*acker          // the parties that were asked for acks
}

// confirmation waits for the ack of one message.
type confirmation struct {
	key, peer, thread threadKey
	outcome           chan error // takes one: nil when acked
}

// acker is what is known of how a party acks.
type acker struct {
	acks   bool // it does
	silent int  // acks in a row that did not come although the connection lived
}

var (
	errBusyPeer = errors.New("the peer has no room for the message now")
	errSilent   = errors.New("no ack came")
)

const (
	// maxAckers bounds the parties that are known to ack or not to.
	maxAckers = 10_000
	// maxSilent is how many acks in a row a party may owe that gave some before,
	// until it is taken for one that gives none.
	maxSilent = 3
)

func newConfirms() confirms {
	return confirms{
		waiting: make(map[threadKey][]*confirmation),
		threads: make(map[threadKey][]*confirmation),
		peers:   make(map[threadKey]*acker),
	}
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
	if p := t.peers[c.peer]; p != nil && !p.acks {
		return nil
	}
	t.waiting[c.key] = append(t.waiting[c.key], c)
	t.threads[c.thread] = append(t.threads[c.thread], c)
	return c
}

func (t *confirms) remove(c *confirmation) {
	if c == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(t.waiting[c.key], c) {
		t.drop(c)
	}
}

// drop takes out one that waits. The caller holds mu.
func (t *confirms) drop(c *confirmation) {
	without := func(m map[threadKey][]*confirmation, key threadKey) {
		m[key] = slices.DeleteFunc(m[key], func(other *confirmation) bool { return other == c })
		if len(m[key]) == 0 {
			delete(m, key)
		}
	}
	without(t.waiting, c.key)
	without(t.threads, c.thread)
}

// receive takes what a message tells of those that wait: only what its sender was
// sent, and only if it is meant for us.
func (t *confirms) receive(in *Inbound) {
	if !in.Authenticated() || !in.addressed() || isBusy(in.Message) {
		return
	}
	m, peer := in.Message, keyOf(in.From, "")
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range m.Ack[:min(len(m.Ack), maxAcks)] {
		if t.settle(t.waiting[keyOf(in.From, id)], nil) || t.peers[peer] != nil {
			t.know(peer).acks, t.know(peer).silent = true, 0
		}
	}
	if m.ThreadID != "" {
		t.settle(t.waiting[keyOf(in.From, m.ThreadID)], nil)
	}
	// A report about another message of the thread says nothing of this one.
	if isProblemReport(m) && len(m.Ack) == 0 && m.ParentThreadID != "" {
		t.settle(t.waiting[keyOf(in.From, m.ParentThreadID)], nil)
	}
}

// settle ends the wait for acks. The caller holds mu.
func (t *confirms) settle(list []*confirmation, err error) (any bool) {
	for _, c := range slices.Clone(list) {
		t.drop(c)
		c.outcome <- err
		any = true
	}
	return any
}

// know is what is known of a party. What is known of all is forgotten when there
// are too many: it is learned anew. The caller holds mu.
func (t *confirms) know(peer threadKey) *acker {
	p := t.peers[peer]
	if p == nil {
		if len(t.peers) >= maxAckers {
			clear(t.peers)
		}
		p = new(acker)
		t.peers[peer] = p
	}
	return p
}

// silence counts an ack that did not come although the connection lived on. It
// reports whether the party is one that acks all the same.
func (t *confirms) silence(peer threadKey) (acks bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.know(peer)
	if p.silent++; p.silent >= maxSilent {
		p.acks = false
	}
	return p.acks
}

// isBusy tells whether a message says that its sender was too busy to take one that
// waits for its ack.
func (t *confirms) isBusy(in *Inbound) bool {
	m := in.Message
	if !in.Authenticated() || !in.addressed() || !isBusy(m) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.threads[keyOf(in.From, subject(m))]) > 0
}

// busy ends the wait of all messages of the thread that such a message is about.
func (t *confirms) busy(in *Inbound) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(t.threads[keyOf(in.From, subject(in.Message))], errBusyPeer)
}

// isBusy tells whether a message reports that its sender was too busy to take what
// the report is about.
func isBusy(m *message.Message) bool {
	return isProblemReport(m) && len(m.Ack) == 0 && message.ReadProblem(m.Body).Code == codeBusy
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
	silent := false
	select {
	case err = <-c.outcome:
	case <-s.Done():
		err = errors.New("the connection ended before an ack came")
	case <-ctx.Done():
		err = errors.New("agent stopped before an ack came")
	case <-timeout.C:
		silent, err = true, errSilent
	}
	if err != nil {
		select { // both may have happened
		case err = <-c.outcome:
		default:
			if silent && !a.confirms.silence(c.peer) {
				err = nil
			}
		}
	}
	if err != nil {
		a.putOff(ctx, l, a.backoff(l.Attempts), err)
		return
	}
	a.delivered(ctx, l, "connection")
}
