package fleet_test

import (
	"maps"
	"sync"
)

// letter is a message of an honest agent, and what became of it.
type letter struct {
	id, from, to string // from and to are parties
	lane         string // "" if it may overtake others
	asks         bool   // it wants an answer
	number       int    // in the order of Send

	taken  bool   // Send has returned nil
	buried string // why it was given up, as its sender was told
	left   bool   // it came from a DID that its sender had left, as its recipient knew by then
	direct bool   // it left by a connection of its recipient
	reads  map[string]reading
}

// reading is what became of a letter at one agent of its recipient.
type reading struct {
	begun int // how often its handler was called
	turn  int // when that was first, counted over all letters
	done  int // how often its handler came to an end
}

// book is what is known of all letters.
type book struct {
	mu      sync.Mutex // guards all below
	letters map[string]*letter
	list    []*letter
	turns   int
}

func newBook() *book { return &book{letters: make(map[string]*letter)} }

// write adds a letter, unless it is there.
func (b *book) write(l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.letters[l.id] != nil {
		return
	}
	l.number, l.reads = len(b.list), make(map[string]reading)
	b.letters[l.id] = &l
	b.list = append(b.list, &l)
}

// begin notes that the handler of an agent of the recipient was called. It returns how
// often it was before.
func (b *book) begin(id string, h *honest) (before int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letters[id]
	if l == nil || l.to != h.name {
		return 0
	}
	r := l.reads[h.id]
	if r.begun++; r.begun == 1 {
		b.turns++
		r.turn = b.turns
	}
	l.reads[h.id] = r
	return r.begun - 1
}

// note changes a letter that is in the book.
func (b *book) note(id string, change func(*letter)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.letters[id]; l != nil {
		change(l)
	}
}

// finish notes that the handler of an agent of the recipient came to an end.
func (b *book) finish(id string, h *honest) {
	b.note(id, func(l *letter) {
		if l.to == h.name {
			r := l.reads[h.id]
			r.done++
			l.reads[h.id] = r
		}
	})
}

// sender is the party that a letter is from, "" if it is none.
func (b *book) sender(id string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.letters[id]; l != nil {
		return l.from
	}
	return ""
}

// answerTo is the id of the answer to a letter.
func answerTo(id string) string { return "answer to " + id }

// all is a copy of the book.
func (b *book) all() []letter {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]letter, len(b.list))
	for i, l := range b.list {
		list[i] = *l
		list[i].reads = maps.Clone(l.reads)
	}
	return list
}
