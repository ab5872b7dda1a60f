package store

import "container/heap"

// queued is what stands in an indexedHeap: place is where it keeps its index there,
// -1 while it is in none.
type queued[T any] interface {
	before(other T) bool
	place() *int
}

// indexedHeap has the first of its elements in front. An element knows its index, so
// that it can be fixed and removed wherever it stands.
type indexedHeap[T queued[T]] []T

func (h *indexedHeap[T]) add(e T)    { heap.Push(h, e) }
func (h *indexedHeap[T]) fix(e T)    { heap.Fix(h, *e.place()) }
func (h *indexedHeap[T]) remove(e T) { heap.Remove(h, *e.place()) }

// Len, Less, Swap, Push and Pop are for package heap.

func (h indexedHeap[T]) Len() int           { return len(h) }
func (h indexedHeap[T]) Less(i, j int) bool { return h[i].before(h[j]) }

func (h indexedHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].place(), *h[j].place() = i, j
}

func (h *indexedHeap[T]) Push(x any) {
	e := x.(T)
	*e.place() = len(*h)
	*h = append(*h, e)
}

func (h *indexedHeap[T]) Pop() any {
	var none T
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = none
	*h = (*h)[:last]
	*e.place() = -1
	return e
}
