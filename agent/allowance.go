package agent

import (
	"context"
	"sync"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	// strangerHops is how many routing keys an endpoint of a stranger may have.
	strangerHops = 3
	// maxAllowances is how many messages of strangers have an allowance. The allowance that
	// was least recently used is forgotten first.
	maxAllowances = 10_000
)

// classOf returns the class of messages from our DID own to a party: ClassKnown if the
// party is a contact of own, and else ClassStranger.
func (a *Agent) classOf(ctx context.Context, own, peer string) (store.Class, error) {
	known, err := a.cfg.Contacts.IsContact(ctx, own, peer)
	if known || err != nil {
		return store.ClassKnown, err
	}
	return store.ClassStranger, nil
}

// allowances are the allowances of the messages of strangers that were answered last. An
// allowance is kept beyond the call of a Handler, so that a Handler which is called again
// does not get another one.
type allowances struct {
	least int64 // bytes of answers to a short message

	mu   sync.Mutex // guards kept
	kept recent[*allowance]
}

func newAllowances(least int64) allowances {
	return allowances{least: least, kept: recent[*allowance]{max: maxAllowances}}
}

// of returns the allowance of a message.
func (l *allowances) of(in *Inbound) *allowance {
	key := in.key(in.Message.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.kept.get(key)
	if !ok {
		b = &allowance{left: max(l.least, 2*int64(len(in.Packet.Data)))}
		l.kept.put(key, b)
	}
	return b
}

// allowance is how many bytes may be spent on answers to one message. A nil allowance has
// no bound.
type allowance struct {
	mu   sync.Mutex // guards left
	left int64
}

// take reports whether n bytes are left, and takes them.
func (b *allowance) take(n int64) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > b.left {
		return false
	}
	b.left -= n
	return true
}

// giveBack gives back bytes that were not spent.
func (b *allowance) giveBack(n int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left += n
}

// sizeOf returns how many bytes strangers make us keep for the items.
func sizeOf(items []store.Item) (n int64) {
	for i := range items {
		if items[i].Class != store.ClassStranger {
			continue
		}
		n += items[i].Bytes()
		for _, e := range items[i].Endpoints {
			n += int64(len(e.URI))
			for _, key := range e.RoutingKeys {
				n += int64(len(key))
			}
		}
	}
	return n
}
