package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
)

// testAnyShares: after any calls in any order, the share of each party is that of its
// pending messages.
func testAnyShares(t *testing.T, b store.Inbox, seed uint64) {
	m := &inboxModel{t: t, b: b, rand: rand.New(rand.NewPCG(seed, seed))}
	for range 200 {
		m.step()
	}
	for i := range 3 {
		// Only pending messages count: if there is room for one message, a second one does
		// not fit.
		peer, owner := fmt.Sprint("did:", i), fmt.Sprint("owner ", i)
		ofPeer := m.has(func(it *modelMessage) bool { return it.peer == peer })
		ofOwner := m.has(func(it *modelMessage) bool { return it.owner == owner })
		for k := range 2 {
			id := fmt.Sprint(" last ", k)
			m.add(&modelMessage{id: peer + id, peer: peer, ofPeer: store.Share{Items: ofPeer.Items + 1, Bytes: ofPeer.Bytes + 1}}, 1)
			m.add(&modelMessage{id: owner + id, owner: owner, ofOwner: store.Share{Items: ofOwner.Items + 1, Bytes: ofOwner.Bytes + 1}}, 1)
		}
	}
}

// inboxModel is a model of an inbox.
type inboxModel struct {
	t        *testing.T
	b        store.Inbox
	rand     *rand.Rand
	messages []*modelMessage
}

type modelMessage struct {
	id, peer, owner string
	ofPeer, ofOwner store.Share
	bytes           int64
	state           store.State
	lease           *store.Lease[store.Received] // of a leased one
	bare            bool                         // its packet is gone
}

// has is the share of the pending messages that a condition holds for.
func (m *inboxModel) has(is func(*modelMessage) bool) (s store.Share) {
	for _, it := range m.messages {
		if is(it) && (it.state == store.Waiting || it.state == store.Leased) {
			s.Items++
			s.Bytes += it.bytes
		}
	}
	return s
}

// some returns a message in one of the states, or nil.
func (m *inboxModel) some(states ...store.State) *modelMessage {
	var all []*modelMessage
	for _, it := range m.messages {
		for _, s := range states {
			if it.state == s && !it.bare {
				all = append(all, it)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[m.rand.IntN(len(all))]
}

func (m *inboxModel) step() {
	ctx, held := m.t.Context(), m.some(store.Leased)
	switch n := m.rand.IntN(14); {
	case n < 6:
		m.addAny()
	case n == 6 && m.some(store.Waiting) != nil:
		m.lease()
	case n == 7:
		m.retry(m.some(store.Buried, store.Waiting))
	case n == 8:
		m.drop(m.some(store.Buried, store.Waiting, store.Leased, store.Done))
	case held == nil:
	case n == 9:
		check(m.t, "Nak "+held.id, m.b.Nak(ctx, held.lease, 0, "busy"), nil)
		held.state = store.Waiting
	case n == 10:
		runOut(m.t, m.b, held.lease)
		held.state = store.Waiting
	case n == 11:
		check(m.t, "Term "+held.id, m.b.Term(ctx, held.lease, "poison"), nil)
		held.state = store.Buried
	default:
		check(m.t, "Ack "+held.id, m.b.Ack(ctx, held.lease, store.Packet{Data: make([]byte, 5)}), nil)
		held.state = store.Done
	}
}

func (m *inboxModel) addAny() {
	it := &modelMessage{id: fmt.Sprint(len(m.messages)), peer: fmt.Sprint("did:", m.rand.IntN(3))}
	if n := m.rand.IntN(4); n < 3 {
		it.owner = fmt.Sprint("owner ", n)
	}
	bound := func() store.Share {
		return []store.Share{{}, {Items: 1 + m.rand.IntN(8)}, {Bytes: 1 + m.rand.Int64N(50)}}[m.rand.IntN(3)]
	}
	it.ofPeer, it.ofOwner = bound(), bound()
	m.add(it, 1+m.rand.IntN(10))
}

// add adds a message of n bytes, and adds it again if there was room.
func (m *inboxModel) add(it *modelMessage, n int) {
	m.t.Helper()
	msg := received("did:sender", it.id)
	msg.Peer, msg.Owner, msg.PeerShare, msg.OwnerShare, msg.Packet.Data = it.peer, it.owner, it.ofPeer, it.ofOwner, make([]byte, n)
	it.bytes = int64(n)
	peer := m.has(func(o *modelMessage) bool { return o.peer == it.peer })
	owner := m.has(func(o *modelMessage) bool { return o.owner == it.owner })
	over := func(s, bound store.Share) bool {
		return bound.Items > 0 && s.Items+1 > bound.Items || bound.Bytes > 0 && s.Bytes+it.bytes > bound.Bytes
	}
	if over(peer, it.ofPeer) || it.owner != "" && over(owner, it.ofOwner) {
		tryAdd(m.t, m.b, msg, store.ErrFull)
		return
	}
	it.lease, it.state = tryAdd(m.t, m.b, msg, nil), store.Leased
	m.messages = append(m.messages, it)
	known(m.t, m.b, msg, store.Leased)
}

func (m *inboxModel) lease() {
	l := leaseReceived(m.t, m.b, long)
	for _, it := range m.messages {
		if it.id == l.Item.ID && it.state == store.Waiting {
			it.state, it.lease = store.Leased, l
			return
		}
	}
	m.t.Fatalf("leased %s, which does not wait", l.Item.ID)
}

func (m *inboxModel) retry(it *modelMessage) {
	if a, ok := m.b.(store.InboxAdmin); ok && it != nil {
		check(m.t, "Retry "+it.id, a.Retry(m.t.Context(), seqOf(m.t, m.b, it.id)), nil)
		it.state = store.Waiting
	}
}

func (m *inboxModel) drop(it *modelMessage) {
	if a, ok := m.b.(store.InboxAdmin); ok && it != nil {
		check(m.t, "Drop "+it.id, a.Drop(m.t.Context(), seqOf(m.t, m.b, it.id)), nil)
		if it.bare = true; it.state != store.Done {
			it.state = store.Buried
		}
	}
}
