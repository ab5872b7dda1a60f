package agent

import "container/list"

// recent maps keys to values, and keeps those of the keys that were used last.
type recent[V any] struct {
	max     int
	entries map[threadKey]*list.Element
	order   list.List // of *recentEntry[V], the last used last
}

type recentEntry[V any] struct {
	key   threadKey
	value V
}

func newRecent[V any](max int) recent[V] {
	return recent[V]{max: max, entries: make(map[threadKey]*list.Element)}
}

// get returns the value of a key, and counts as its use.
func (r *recent[V]) get(key threadKey) (v V, ok bool) {
	e, ok := r.entries[key]
	if !ok {
		return v, false
	}
	r.order.MoveToBack(e)
	return e.Value.(*recentEntry[V]).value, true
}

// put sets the value of a key. It forgets the key that was used least recently if
// there are too many.
func (r *recent[V]) put(key threadKey, v V) {
	if e, ok := r.entries[key]; ok {
		e.Value.(*recentEntry[V]).value = v
		r.order.MoveToBack(e)
		return
	}
	if len(r.entries) >= r.max {
		oldest := r.order.Front()
		delete(r.entries, oldest.Value.(*recentEntry[V]).key)
		r.order.Remove(oldest)
	}
	r.entries[key] = r.order.PushBack(&recentEntry[V]{key, v})
}
