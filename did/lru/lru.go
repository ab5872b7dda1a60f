// Package lru has the Map that the caches of this module are made of: did.Cache,
// did/didpeer, and those of package agent, which may share no internal package
// with did. A Map knows in which order its entries were used. Its owner removes
// the oldest at bounds of its own, such as a number of entries or of bytes.
package lru

import "container/list"

// Map maps keys to values. The zero value is empty and ready to use; it must not
// be copied after the first Put. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	entries map[K]*list.Element
	order   list.List // of *entry[K, V], the last used last
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() int { return len(m.entries) }

// Get returns the value of a key, if there is one, and counts as its use.
func (m *Map[K, V]) Get(key K) (v V, ok bool) {
	e, ok := m.entries[key]
	if !ok {
		return v, false
	}
	m.order.MoveToBack(e)
	return e.Value.(*entry[K, V]).value, true
}

// Put sets the value of a key, and counts as its use.
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

// Remove removes a key, and returns the value that it had, if any.
func (m *Map[K, V]) Remove(key K) (v V, ok bool) {
	e, ok := m.entries[key]
	if !ok {
		return v, false
	}
	return m.remove(e), true
}

// RemoveOldest removes the key that was used least recently, and returns its
// value, if there is one.
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
