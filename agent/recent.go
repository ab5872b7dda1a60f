package agent

import "github.com/didcomm-go/didcomm/did/lru"

// recent maps keys to values, and keeps at most max of the keys, those that were
// used last.
type recent[V any] struct {
	max  int
	kept lru.Map[threadKey, V]
}

func (r *recent[V]) get(key threadKey) (V, bool) { return r.kept.Get(key) }

func (r *recent[V]) put(key threadKey, v V) {
	r.kept.Put(key, v)
	if r.kept.Len() > r.max {
		r.kept.RemoveOldest()
	}
}
