package agent

import "github.com/didcomm-go/didcomm/did/lru"

// recent is a map with at most max keys. A further key takes the place of the key that
// was used least recently.
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
