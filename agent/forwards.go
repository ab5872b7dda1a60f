package agent

import (
	"sync"

	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did/lru"
)

// maxForwards is how many of the last forwards are remembered.
const maxForwards = 1024

// forwards remembers which item a forward of ours had, so that the report of a mediator about
// the forward becomes the problem of the item. The zero value is empty.
type forwards struct {
	mu   sync.Mutex
	sent lru.Map[string, forwarded] // by the folded id of the forward; guarded by mu
}

// forwarded is an item that was wrapped in a forward.
type forwarded struct {
	mediator      string // its party
	own, peer, id string // of the item
}

func (f *forwards) add(id, mediator string, item *store.Item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent.Put(foldID(id), forwarded{party(mediator), item.From, item.To, item.MessageID})
	if f.sent.Len() > maxForwards {
		f.sent.RemoveOldest()
	}
}

// about returns the item of the forward that a problem report of a mediator is about. The id of
// a forward is known to the mediator alone, which has to have signed the report. The mediator
// cannot encrypt the report for us, since a forward does not name its sender.
func (f *forwards) about(in *Inbound) (item forwarded, ok bool) {
	if !isProblemReport(in.Message) || !in.Authenticated() {
		return forwarded{}, false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	item, ok = f.sent.Get(foldID(subject(in.Message)))
	return item, ok && item.mediator == party(in.From)
}

// settleForwarded gives a problem that a mediator reports about a forward to the item in the
// forward. It reports whether that item is being sent.
func (a *Agent) settleForwarded(in *Inbound) (problem bool) {
	item, ok := a.forwards.about(in)
	return ok && a.delivery.Refused(item.own, item.peer, item.id, message.ReadProblem(in.Message.Body))
}
