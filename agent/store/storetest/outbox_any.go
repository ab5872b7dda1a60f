package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

// The limits of the outboxes that testAnyCalls is given.
const (
	anyPerPeer  = 2
	anyAwaiting = 3
)

// testAnyCalls: after any calls in any order,
//
//   - each leased item is the head of its lane, and within the limits,
//   - each item that may be leased can be leased,
//   - the share of each owner is that of its queued items.
func testAnyCalls(t *testing.T, o store.Outbox, seed uint64) {
	m := &outboxModel{t: t, o: o, rand: rand.New(rand.NewPCG(seed, seed)), lanes: make(map[string][]*modelItem)}
	for range 300 {
		m.step()
	}
	for i := range 2 {
		// Only queued items count: if there is room for one item, a second one does not fit.
		owner := fmt.Sprint("owner ", i)
		has := m.has(owner)
		bound := store.Share{Items: has.Items + 1, Bytes: has.Bytes + 1000}
		m.enqueue(owner, bound)
		m.enqueue(owner, bound)
	}
	for to := range 3 {
		m.wake(fmt.Sprint("did:", to))
	}
	for len(m.lanes) > 0 {
		for len(m.due()) > 0 {
			m.lease()
		}
		m.nothing()
		held := m.some(func(it *modelItem) bool { return it.lease != nil })
		check(t, "Ack "+held.id, o.Ack(t.Context(), held.lease), nil)
		m.leave(held)
	}
	nothing(t, o)
}

// outboxModel is a model of an outbox.
type outboxModel struct {
	t     *testing.T
	o     store.Outbox
	rand  *rand.Rand
	items []*modelItem            // that are there
	lanes map[string][]*modelItem // those that are not buried
	made  int
}

type modelItem struct {
	id, to, lane string
	owner        string
	bytes        int64
	lease        *store.Lease[store.Item] // nil if it has none
	awaits       bool
	later        bool // after a Nak
	buried       bool
}

func (m *outboxModel) step() {
	ctx, held := m.t.Context(), m.some(func(it *modelItem) bool { return it.lease != nil })
	any := m.some(func(*modelItem) bool { return true })
	delay := []time.Duration{0, long}[m.rand.IntN(2)]
	switch n := m.rand.IntN(20); {
	case n < 5:
		owner := []string{"", "owner 0", "owner 1"}[m.rand.IntN(3)]
		m.enqueue(owner, []store.Share{{}, {Items: 1 + m.rand.IntN(10)}, {Bytes: 1 + m.rand.Int64N(150)}}[m.rand.IntN(3)])
	case n < 11:
		if len(m.due()) > 0 {
			m.lease()
		} else {
			m.nothing()
		}
	case n == 11:
		m.wake(fmt.Sprint("did:", m.rand.IntN(3)))
	case n == 12 && any != nil:
		m.drop(any)
	case n == 13 && any != nil:
		m.retry(any)
	case held == nil:
	case n == 14:
		check(m.t, "Ack "+held.id, m.o.Ack(ctx, held.lease), nil)
		m.leave(held)
	case n == 15:
		check(m.t, "Term "+held.id, m.o.Term(ctx, held.lease, "gone"), nil)
		m.leave(held)
		held.lease, held.awaits, held.buried = nil, false, true
		m.items = append(m.items, held)
	case n == 16:
		check(m.t, "Nak "+held.id, m.o.Nak(ctx, held.lease, delay, "busy"), nil)
		held.lease, held.awaits, held.later = nil, false, delay > 0
	case n == 17:
		check(m.t, "Aside "+held.id, m.o.Aside(ctx, held.lease, delay, "refused"), nil)
		m.leave(held)
		held.lane = "only " + held.id
		m.enter(held)
		held.later = delay > 0
	default:
		m.await(held)
	}
}

// some returns an item that a condition holds for, or nil.
func (m *outboxModel) some(is func(*modelItem) bool) *modelItem {
	var all []*modelItem
	for _, it := range m.items {
		if is(it) {
			all = append(all, it)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[m.rand.IntN(len(all))]
}

// leased is the number of leased items for one To: those that await, or the others.
func (m *outboxModel) leased(to string, awaits bool) (n int) {
	for _, it := range m.items {
		if it.to == to && it.lease != nil && it.awaits == awaits {
			n++
		}
	}
	return n
}

// due are the items that may be leased now.
func (m *outboxModel) due() []string {
	var ids []string
	for _, items := range m.lanes {
		if it := items[0]; it.lease == nil && !it.later && m.leased(it.to, false) < anyPerPeer {
			ids = append(ids, it.id)
		}
	}
	return ids
}

// enter puts an item at the end of its lane.
func (m *outboxModel) enter(it *modelItem) {
	it.lease, it.awaits, it.later, it.buried = nil, false, false, false
	m.items = append(m.items, it)
	m.lanes[it.to+" "+it.lane] = append(m.lanes[it.to+" "+it.lane], it)
}

// leave takes an item out of the items, and out of its lane.
func (m *outboxModel) leave(it *modelItem) {
	other := func(o *modelItem) bool { return o == it }
	m.items = slices.DeleteFunc(m.items, other)
	if it.buried {
		return
	}
	lane := it.to + " " + it.lane
	if m.lanes[lane] = slices.DeleteFunc(m.lanes[lane], other); len(m.lanes[lane]) == 0 {
		delete(m.lanes, lane)
	}
}

// has is the share of an owner.
func (m *outboxModel) has(owner string) (s store.Share) {
	for _, it := range m.items {
		if it.owner == owner && !it.buried {
			s.Items++
			s.Bytes += it.bytes
		}
	}
	return s
}

func (m *outboxModel) enqueue(owner string, bound store.Share) {
	m.t.Helper()
	m.made++
	it := &modelItem{id: fmt.Sprint(m.made), to: fmt.Sprint("did:", m.rand.IntN(3)), lane: fmt.Sprint(m.rand.IntN(5)), owner: owner}
	full := item(it.id, it.to, it.lane)
	full.Owner, full.OwnerShare, it.bytes = owner, bound, full.Bytes()
	want, has := error(nil), m.has(owner)
	if owner != "" && (bound.Items > 0 && has.Items+1 > bound.Items || bound.Bytes > 0 && has.Bytes+it.bytes > bound.Bytes) {
		want = store.ErrFull
	} else {
		m.enter(it)
	}
	check(m.t, "Enqueue", m.o.Enqueue(m.t.Context(), full), want)
}

func (m *outboxModel) lease() {
	m.t.Helper()
	due, l := m.due(), lease(m.t, m.o, long)
	if !slices.Contains(due, l.Item.ID) {
		m.t.Fatalf("leased %s, want one of %q", l.Item.ID, slices.Sorted(slices.Values(due)))
	}
	it := m.some(func(it *modelItem) bool { return it.id == l.Item.ID })
	it.lease, it.awaits = l, false
}

// nothing checks only some of the times that no item can be leased, because each check takes
// time.
func (m *outboxModel) nothing() {
	m.t.Helper()
	if m.rand.IntN(8) == 0 {
		nothing(m.t, m.o)
	}
}

func (m *outboxModel) await(it *modelItem) {
	want := error(nil)
	if !it.awaits && m.leased(it.to, true) >= anyAwaiting {
		want = store.ErrFull
	}
	check(m.t, "Await "+it.id, m.o.Await(m.t.Context(), it.lease), want)
	it.awaits = it.awaits || want == nil
}

func (m *outboxModel) wake(to string) {
	check(m.t, "Wake", m.o.Wake(m.t.Context(), to), nil)
	for _, items := range m.lanes {
		if items[0].to == to {
			items[0].later = false
		}
	}
}

func (m *outboxModel) drop(it *modelItem) {
	if a, ok := m.o.(store.OutboxAdmin); ok {
		check(m.t, "Drop "+it.id, a.Drop(m.t.Context(), it.id), nil)
		m.leave(it)
	}
}

func (m *outboxModel) retry(it *modelItem) {
	a, ok := m.o.(store.OutboxAdmin)
	if !ok {
		return
	}
	check(m.t, "Retry "+it.id, a.Retry(m.t.Context(), it.id, time.Time{}), nil)
	if it.buried {
		m.leave(it)
		m.enter(it)
	}
	it.later = false
}
