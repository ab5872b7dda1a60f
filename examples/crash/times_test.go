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

// span is a time in which a process, or the database server, was told to be away.
type span struct{ begin, end time.Time }

// without is how long it is from begin to end, without the spans.
func without(begin, end time.Time, spans []span) time.Duration {
	d := end.Sub(begin)
	for _, s := range spans {
		from, to := s.begin, s.end
		if from.Before(begin) {
			from = begin
		}
		if to.After(end) {
			to = end
		}
		d -= max(to.Sub(from), 0)
	}
	return d
}

// figuresOf compares what was accepted with what came to its end. A wait counts
// from the moment since at the earliest, and so does the gap. Neither counts the
// spans, which do not overlap.
func figuresOf(sent int, accepted, ended *times, since time.Time, away ...span) figures {
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
		if wait := without(begin, end, away); wait > f.wait {
			f.wait, f.late = wait, id
		}
	}
	moments := slices.SortedFunc(maps.Values(begins), time.Time.Compare)
	last := since
	for _, at := range moments {
		if at.Before(since) {
			continue
		}
		if gap := without(last, at, away); !last.IsZero() && gap > f.gap {
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

// TestWithout: what is away counts for as much of it as lies within.
func TestWithout(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	spans := []span{{at(0), at(2)}, {at(3), at(4)}, {at(8), at(20)}}
	for _, c := range []struct{ begin, end, want int }{
		{1, 10, 5}, {0, 2, 0}, {4, 8, 4}, {5, 6, 1}, {9, 19, 0},
	} {
		if got := without(at(c.begin), at(c.end), spans); got != time.Duration(c.want)*time.Second {
			t.Errorf("from %d to %d: %s, want %d s", c.begin, c.end, got, c.want)
		}
	}
}
