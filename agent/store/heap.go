package store

import "container/heap"

// queued is an element of an indexedHeap. place points to the index of the element in the
// heap, which is -1 while the element is in no heap.
type queued[T any] interface {
	before(other T) bool
	place() *int
}

// indexedHeap is a heap with the first element, by before, in front. Since an element
// knows its index, any element can be moved or removed in O(log n).
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
