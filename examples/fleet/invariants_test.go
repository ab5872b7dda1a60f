package fleet_test

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/didcomm-go/didcomm/agent/store"
)

// invariants are what must hold when the faults have ended and days have passed.
var invariants = []struct {
	name  string
	check func(w *world, fail func(format string, args ...any))
}{
	{"taken is handled", takenIsHandled},
	{"asked is answered", askedIsAnswered},
	{"handled once", handledOnce},
	{"in order", inOrder},
	{"given up is told", givenUpIsTold},
	{"nobody waits", nobodyWaits},
	{"silence", silent},
	{"empty tables", emptyTables},
}

// takenIsHandled: honest agents are all reachable in the end, so nothing between them
// may be given up. A letter that is overtaken by the news that its sender has left its DID
// must be ignored (DIDComm v2.1, DID Rotation).
func takenIsHandled(w *world, fail func(string, ...any)) {
	for _, l := range w.book.all() {
		switch {
		case !l.taken || !w.isHonest(l.to):
		case l.buried != "":
			fail("%s from %s to %s was given up: %s", l.id, l.from, l.to, l.buried)
		case l.done == 0 && !l.left:
			fail("%s from %s to %s was lost, begun %d times", l.id, l.from, l.to, l.begun)
		}
	}
}

// askedIsAnswered: an answer that was given arrives.
func askedIsAnswered(w *world, fail func(string, ...any)) {
	done := make(map[string]int)
	for _, l := range w.book.all() {
		if done[l.id] = l.done; l.left {
			done[l.id]++
		}
	}
	for _, l := range w.book.all() {
		if l.taken && l.asks && l.done > 0 && done[answerTo(l.id)] == 0 {
			fail("the answer to %s from %s to %s was lost", l.id, l.from, l.to)
		}
	}
}

// handledOnce: a letter is handled twice only if its recipient was killed.
func handledOnce(w *world, fail func(string, ...any)) {
	for _, l := range w.book.all() {
		if h := w.agent(l.to); h != nil && l.done > 1+h.killed {
			fail("%s from %s to %s was handled %d times", l.id, l.from, l.to, l.done)
		}
	}
}

// inOrder: letters of one lane are begun in the order of Send where the recipient was
// not killed.
func inOrder(w *world, fail func(string, ...any)) {
	lanes := make(map[string][]letter)
	for _, l := range w.book.all() {
		if h := w.agent(l.to); l.lane != "" && l.taken && l.begun > 0 && h != nil && h.killed == 0 {
			lanes[l.lane] = append(lanes[l.lane], l)
		}
	}
	for lane, list := range lanes {
		slices.SortFunc(list, func(a, b letter) int { return cmp.Compare(a.number, b.number) })
		for i, l := range list[1:] {
			if l.turn < list[i].turn {
				fail("%s was handled before %s in lane %s", l.id, list[i].id, lane)
			}
		}
	}
}

// givenUpIsTold: what could not be delivered is buried, with a reason that its sender
// was told.
func givenUpIsTold(w *world, fail func(string, ...any)) {
	for _, h := range w.honest {
		entries, err := h.outbox.(store.OutboxAdmin).List(context.Background(), 0, math.MaxInt)
		w.must(err)
		why := make(map[string]string)
		for _, e := range entries {
			if e.State == store.Buried {
				why[e.Item.MessageID] = e.LastError
			}
		}
		for _, l := range w.book.all() {
			s := w.stranger(l.to)
			if l.from != h.name || !l.taken || s == nil {
				continue
			}
			if _, unreachable := s.manners.(ghost); unreachable && why[l.id] == "" {
				fail("%s to %s is not in the outbox with a reason", l.id, l.to)
			}
			if n := h.told(l.id); why[l.id] != "" && (l.buried == "" || n != 1) {
				fail("%s to %s was given up, which was told %d times: %s", l.id, l.to, n, why[l.id])
			}
		}
	}
}

// nobodyWaits: each Send and Request has returned.
func nobodyWaits(w *world, fail func(string, ...any)) {
	for _, h := range w.honest {
		h.mu.Lock()
		if h.waiting > 0 {
			fail("%d of %s", h.waiting, h.name)
		}
		h.mu.Unlock()
	}
}

// silent: traffic dies when nobody begins anything.
func silent(w *world, fail func(string, ...any)) {
	if w.still > 0 {
		fail("%d packets in an hour", w.still)
	}
}

// emptyTables: nothing waits or is leased. A message is set aside only if it is
// a stranger's.
func emptyTables(w *world, fail func(string, ...any)) {
	for _, h := range w.honest {
		out, err := h.outbox.(store.OutboxAdmin).List(context.Background(), 0, math.MaxInt)
		w.must(err)
		for _, e := range out {
			if e.State != store.Buried {
				fail("%s is %s in the outbox of %s, tried %d times: %s", e.Item.MessageID, e.State, h.name, e.Attempts, e.LastError)
			}
		}
		in, err := h.inbox.(store.InboxAdmin).List(context.Background(), 0, math.MaxInt)
		w.must(err)
		for _, e := range in {
			genuine := w.isHonest(w.registry.party(e.Item.Peer))
			if e.State == store.Waiting || e.State == store.Leased || e.State == store.Buried && genuine {
				fail("%s is %s in the inbox of %s, tried %d times: %s", e.Item.ID, e.State, h.name, e.Attempts, e.LastError)
			}
		}
	}
}
