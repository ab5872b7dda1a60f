package fleet_test

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
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
	{"empty boxes", emptyBoxes},
}

// takenIsHandled: honest agents are all reachable in the end, so nothing between them
// may be given up. A letter that is overtaken by the news that its sender has left its DID
// must be ignored (DIDComm v2.1, DID Rotation).
func takenIsHandled(w *world, fail func(string, ...any)) {
	for _, l := range w.book.all() {
		if !l.taken || !w.isHonest(l.to) {
			continue
		}
		if l.buried != "" {
			fail("%s from %s to %s was given up: %s", l.id, l.from, l.to, l.buried)
			continue
		}
		readers := w.readers(l.to)
		if l.direct && slices.ContainsFunc(readers, func(h *honest) bool { return l.reads[h.id].done > 0 }) {
			continue // by the connection of one device, which others know nothing of
		}
		for _, h := range readers {
			if r := l.reads[h.id]; r.done == 0 && !l.left {
				fail("%s from %s was lost for %s, begun %d times", l.id, l.from, h.id, r.begun)
			}
		}
	}
}

// askedIsAnswered: an answer that was given arrives.
func askedIsAnswered(w *world, fail func(string, ...any)) {
	done := make(map[string]bool)
	for _, l := range w.book.all() {
		done[l.id] = l.left
		for _, r := range l.reads {
			done[l.id] = done[l.id] || r.done > 0
		}
	}
	for _, l := range w.book.all() {
		if l.taken && l.asks && l.reads[l.to].done > 0 && !done[answerTo(l.id)] {
			fail("the answer to %s from %s to %s was lost", l.id, l.from, l.to)
		}
	}
}

// handledOnce: a letter is handled twice only if its recipient was killed.
func handledOnce(w *world, fail func(string, ...any)) {
	for _, l := range w.book.all() {
		for _, h := range w.readers(l.to) {
			if n := l.reads[h.id].done; n > 1+h.killed {
				fail("%s from %s was handled %d times by %s", l.id, l.from, n, h.id)
			}
		}
	}
}

// inOrder: letters of one lane are begun in the order of Send where the recipient was
// not killed. A phone may get several letters at once, and handles them in order in an
// ordered protocol alone. Letters that go different ways to it overtake each other.
func inOrder(w *world, fail func(string, ...any)) {
	for _, h := range w.agents() {
		lanes := make(map[string][]letter)
		for _, l := range w.book.all() {
			if h.phone != nil && !w.keepsOrder(h.phone, l) {
				continue
			}
			if l.lane != "" && l.to == h.name && l.taken && l.reads[h.id].begun > 0 && h.killed == 0 {
				lanes[l.lane] = append(lanes[l.lane], l)
			}
		}
		for lane, list := range lanes {
			slices.SortFunc(list, func(a, b letter) int { return cmp.Compare(a.number, b.number) })
			for i, l := range list[1:] {
				if l.reads[h.id].turn < list[i].reads[h.id].turn {
					fail("%s was handled before %s in lane %s by %s", l.id, list[i].id, lane, h.id)
				}
			}
		}
	}
}

// keepsOrder reports whether a letter to a phone is handled before later ones of its lane.
func (w *world) keepsOrder(p *phone, l letter) bool {
	ordered := strings.HasSuffix(l.lane, basicmessage.PIURI)
	return ordered && !l.direct && len(p.offices) == 1 && (w.faults.resolve == 0 || *leftMail)
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
	for _, h := range w.agents() {
		h.mu.Lock()
		if h.waiting > 0 {
			fail("%d of %s", h.waiting, h.id)
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
	for _, h := range w.agents() {
		out, err := h.outbox.(store.OutboxAdmin).List(context.Background(), 0, math.MaxInt)
		w.must(err)
		for _, e := range out {
			if e.State != store.Buried {
				fail("%s is %s in the outbox of %s, tried %d times: %s", e.Item.MessageID, e.State, h.id, e.Attempts, e.LastError)
			}
		}
		in, err := h.inbox.(store.InboxAdmin).List(context.Background(), 0, math.MaxInt)
		w.must(err)
		for _, e := range in {
			// A request to a mediator is repeated, and may end with the time for strangers.
			genuine := w.isHonest(w.registry.party(e.Item.Peer)) && (h.office == nil || w.book.sender(e.Item.ID) != "")
			if e.State == store.Waiting || e.State == store.Leased || e.State == store.Buried && genuine {
				fail("%s is %s in the inbox of %s, tried %d times: %s", e.Item.ID, e.State, h.id, e.Attempts, e.LastError)
			}
		}
	}
}

// emptyBoxes: mediators hold no mail of phones.
func emptyBoxes(w *world, fail func(string, ...any)) {
	for _, h := range w.offices() {
		boxes, err := h.office.mailbox.Boxes(context.Background(), "", 1000)
		w.must(err)
		for _, b := range boxes {
			device, _, _ := strings.Cut(b.Box, "#")
			if w.isHonest(w.registry.party(device)) && b.Count > 0 {
				fail("%s holds %d for %s", h.name, b.Count, device)
			}
		}
	}
}
