package agent

import (
	"sync"

	"github.com/didcomm-go/didcomm/agent/store"
)

// watches tell a waiting Send or Request what became of its items.
type watches struct {
	mu     sync.Mutex // guards items, and last of each watch
	byItem map[string]*watch
}

type watch struct {
	item string
	done chan error // takes one: nil when delivered

	mu   sync.Mutex
	last error
}

func newWatches() watches { return watches{byItem: make(map[string]*watch)} }

func (t *watches) add(items []store.Item) []*watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*watch, len(items))
	for i, item := range items {
		list[i] = &watch{item: item.ID, done: make(chan error, 1)}
		t.byItem[item.ID] = list[i]
	}
	return list
}

func (t *watches) remove(list []*watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range list {
		delete(t.byItem, w.item)
	}
}

func (t *watches) get(item string) *watch {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byItem[item]
}

// settle tells that an item was delivered (nil) or given up.
func (t *watches) settle(item string, err error) {
	if w := t.get(item); w != nil {
		select {
		case w.done <- err:
		default:
		}
	}
}

// note keeps the error of a try that will be followed by another.
func (t *watches) note(item string, err error) {
	if w := t.get(item); w != nil {
		w.mu.Lock()
		w.last = err
		w.mu.Unlock()
	}
}

func (w *watch) lastError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}
