//go:build crash

package crash_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// patience is how long nothing may move before what is late counts as lost: longer
// than the leases of a node.
const patience = 6 * time.Minute

// limit is how long a message that was accepted may wait, and how long nothing may
// be accepted, whatever was struck.
const limit = 10 * time.Second

// times are moments of messages by their ids: the first of each, and how many
// there were.
type times struct {
	mu    sync.Mutex // guards all below
	first map[string]time.Time
	count map[string]int
}

func newTimes() *times {
	return &times{first: map[string]time.Time{}, count: map[string]int{}}
}

// add notes a moment of a message.
func (s *times) add(id string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first, ok := s.first[id]; !ok || at.Before(first) {
		s.first[id] = at
	}
	s.count[id]++
}

// copy is a copy of s.
func (s *times) copy() *times {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &times{first: maps.Clone(s.first), count: maps.Clone(s.count)}
}

// all is a copy of the first moments.
func (s *times) all() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.first)
}

// len is of how many messages there are moments.
func (s *times) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.first)
}

// twice are the messages that have more than one moment.
func (s *times) twice() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, n := range s.count {
		if n > 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

// figures are what came of messages.
type figures struct {
	sent, accepted int
	lost           []string
	twice          []string
	wait           time.Duration // the longest from acceptance to the end
	late           string        // the message that waited so
	gap            time.Duration // the longest without an acceptance
	since          time.Time     // its begin
	last           time.Time     // acceptance
}

// figuresOf compares what was accepted with what came to its end. A wait counts
// from the moment since at the earliest, and so does the gap.
func figuresOf(sent int, accepted, ended *times, since time.Time) figures {
	f := figures{sent: sent, twice: ended.twice()}
	begins, ends := accepted.all(), ended.all()
	f.accepted = len(begins)
	for id, begin := range begins {
		end, ok := ends[id]
		if !ok {
			f.lost = append(f.lost, id)
			continue
		}
		if begin.Before(since) {
			begin = since
		}
		if wait := end.Sub(begin); wait > f.wait {
			f.wait, f.late = wait, id
		}
	}
	moments := slices.SortedFunc(maps.Values(begins), time.Time.Compare)
	last := since
	for _, at := range moments {
		if at.Before(since) {
			continue
		}
		if gap := at.Sub(last); !last.IsZero() && gap > f.gap {
			f.gap, f.since = gap, last
		}
		last = at
	}
	f.last = last
	return f
}

func (f figures) String() string {
	return fmt.Sprintf("sent %d, accepted %d, lost %d, handled twice %d, longest wait %s, longest gap %s",
		f.sent, f.accepted, len(f.lost), len(f.twice), f.wait.Round(time.Millisecond), f.gap.Round(time.Millisecond))
}

// check fails the test for what was lost, or took longer than limit.
func (f figures) check(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	for i, id := range f.lost {
		if i == 10 {
			break
		}
		t.Errorf("%s: %s was accepted and never came to its end", what, id)
	}
	if len(f.lost) > 0 {
		t.Errorf("%s: %d of %d messages lost", what, len(f.lost), f.accepted)
	}
	if f.wait > limit {
		t.Errorf("%s: %s waited for %s, more than %s", what, f.late, f.wait.Round(time.Millisecond), limit)
	}
	if f.gap > limit {
		t.Errorf("%s: nothing was accepted for %s, more than %s, from %s on", what, f.gap.Round(time.Millisecond), limit, f.since.Format(time.StampMilli))
	}
}
