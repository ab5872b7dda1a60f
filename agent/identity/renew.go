package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	// overlap is the longest time between the moment at which a record gets its version and
	// the moment at which List shows the record. In PostgreSQL the second moment is the end
	// of the transaction.
	overlap = 10 * time.Second
	// skew is the largest difference between the clocks of two processes.
	skew = 10 * time.Second
	// patience bounds the time for which a message waits until changes are read.
	patience = 5 * time.Second
	// maxIdle is the time after which a Set reads all records anew instead of only those
	// that have changed. It is shorter than removedKept, so that no removal is missed.
	maxIdle = removedKept / 2
)

// mark is the highest version at a time.
type mark struct {
	at      time.Time
	version uint64
}

func (s *Set) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Set) give() { <-s.turn }

// glance reads the changes of other processes, unless that was done within SetConfig.Fresh or
// another goroutine does it. If reading fails, the Set goes on with the index as it is.
func (s *Set) glance(ctx context.Context) {
	if recent, _ := s.recent(s.cfg.Fresh); recent {
		return
	}
	select {
	case s.turn <- struct{}{}:
	default:
		return
	}
	defer s.give()
	if err := s.refresh(ctx); err != nil {
		s.cfg.Logger.WarnContext(ctx, "identities: changes of other processes are not seen", "error", err)
	}
}

// renew reads the changes of other processes, unless that was done within a time. If reading
// failed within that time, it returns the error.
func (s *Set) renew(ctx context.Context, within time.Duration) error {
	if recent, err := s.recent(within); recent {
		return err
	}
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if recent, err := s.recent(within); recent { // while this waited
		return err
	}
	return s.refresh(ctx)
}

// recent reports whether records were read within a time, and the error if reading failed.
func (s *Set) recent(within time.Duration) (bool, error) {
	now := s.cfg.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return now.Sub(s.read) < within, s.failed
}

// refresh reads changes. The caller has the turn.
func (s *Set) refresh(ctx context.Context) error {
	began := s.cfg.Now()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.readChanges(within, began)
	if err != nil && ctx.Err() != nil {
		return err // the caller gave up; the records may be all right
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.failed = began, err
	s.index.sweep(began.UnixNano())
	return err
}

func (s *Set) readChanges(ctx context.Context, began time.Time) error {
	last := s.marks[len(s.marks)-1].at
	if began.Sub(last) > maxIdle {
		return s.load(ctx)
	}
	// Keep the newest mark that was old enough at the last reading. By then List showed all
	// lower versions, so that reading had them.
	for len(s.marks) > 1 && last.Sub(s.marks[1].at) >= overlap+skew {
		s.marks = s.marks[1:]
	}
	highest, err := s.each(ctx, s.marks[0].version, s.apply)
	if err != nil {
		return err
	}
	s.marks = append(s.marks, mark{began, max(highest, s.marks[len(s.marks)-1].version)})
	return nil
}

// each reads the records after a version in pages. It returns the highest version.
func (s *Set) each(ctx context.Context, after uint64, f func([]store.Record)) (uint64, error) {
	for {
		list, err := s.cfg.Records.List(ctx, store.Query{Collection: collection, After: after, N: page})
		if err != nil {
			return 0, fmt.Errorf("list identities: %w", err)
		}
		f(list)
		if len(list) < page {
			if len(list) > 0 {
				after = list[len(list)-1].Version
			}
			return after, nil
		}
		after = list[len(list)-1].Version
	}
}

// apply updates the index by those records that are newer.
func (s *Set) apply(list []store.Record) {
	type change struct {
		key   string
		entry *entry // nil for an identity that was removed or has ended
	}
	var changes []change
	now := s.cfg.Now().UnixNano()
	for _, r := range list {
		if e := s.look(r.Key); e != nil && e.version >= r.Version {
			continue
		}
		kept, err := parseStored(r)
		if err != nil {
			s.damaged(err)
			continue
		}
		e := kept.entry(r.Version, r.Index)
		if kept.Removed || e.ended(now) {
			e = nil
		}
		changes = append(changes, change{r.Key, e})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range changes {
		if c.entry != nil {
			s.index.put(c.entry)
		} else if old := s.index.byDID[c.key]; old != nil {
			s.index.drop(old)
		}
	}
}

// damaged logs a record that cannot be read. It must not stop the other identities.
func (s *Set) damaged(err error) {
	s.cfg.Logger.Error("identities: a record is damaged, and left as it is", "error", err)
}

// load reads all records. The caller has the turn, or is NewSet.
func (s *Set) load(ctx context.Context) error {
	began := s.cfg.Now()
	entries := make(map[string]*entry)
	var old uint64
	highest, err := s.each(ctx, 0, func(list []store.Record) {
		for _, r := range list {
			kept, err := parseStored(r)
			if err != nil {
				s.damaged(err)
				continue
			}
			// Versions grow with time. A record that List shows only later has a higher version
			// than a record that was put long ago.
			if began.Sub(kept.Changed) > overlap+skew {
				old = r.Version
			}
			if e := kept.entry(r.Version, r.Index); kept.Removed || e.ended(began.UnixNano()) {
				delete(entries, r.Key)
			} else {
				entries[r.Key] = e
			}
		}
	})
	if err != nil {
		return err
	}
	s.marks = []mark{{version: old}, {began, highest}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.read, s.failed = newIndex(entries), began, nil
	return nil
}
