// Package lru implements a map that keeps its entries in the order of their last use
// (least recently used, LRU). The caches of this module use it, for example did.Cache.
//
// The zero [Map] is ready to use. It has no limit of its own: the caller checks its
// own limit, such as a number of entries or bytes, and calls [Map.RemoveOldest].
//
// The package is exported only because packages did and agent cannot share an
// internal package.
package lru

import "container/list"

// Map maps keys to values. The zero value is empty and ready to use. A Map must not
// be copied after the first Put, and is not safe for concurrent use.
type Map[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of *entry[K, V], the most recently used last
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int { return len(m.entries) }

// Get returns the value of a key, and whether the map has the key. It makes the key
// the most recently used one.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	e, ok := m.entries[key]
	if !ok {
		return v, false
	}
	m.order.MoveToBack(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the value of a key. It makes the key the most recently used one.
func (m *Map[K, V]) Put(key K, v V) {
	if e, ok := m.entries[key]; ok {
		e.Value.(*entry[K, V]).value = v
		m.order.MoveToBack(e)
		return
	}
	if m.entries == nil {
		m.entries = make(map[K]*list.Element)
	}
	m.entries[key] = m.order.PushBack(&entry[K, V]{key, v})
}

// Remove removes a key. It returns the removed value, and whether the map had the
// key.
func (m *Map[K, V]) Remove(key K) (v V, ok bool) {
	e, ok := m.entries[key]
	if !ok {
		return v, false
	}
	return m.remove(e), true
}

// RemoveOldest removes the least recently used key. It returns the removed value, and
// false if the map is empty.
func (m *Map[K, V]) RemoveOldest() (v V, ok bool) {
	e := m.order.Front()
	if e == nil {
		return v, false
	}
	return m.remove(e), true
}

func (m *Map[K, V]) remove(e *list.Element) V {
	old := m.order.Remove(e).(*entry[K, V])
	delete(m.entries, old.key)
	return old.value
}
