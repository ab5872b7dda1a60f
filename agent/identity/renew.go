package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	// overlap is how long a record may be put, and have its version, before List shows it:
	// databases show what a transaction did when that ends.
	overlap = 10 * time.Second
	// skew is by how much the clocks of processes may differ.
	skew = 10 * time.Second
	// patience bounds how long a message waits for changes to be read.
	patience = 5 * time.Second
	// maxIdle is for how long a Set may be left alone, and then read only what has
	// changed: records of identities that were removed are gone after removedKept.
	maxIdle = removedKept / 2
)

// mark says which version was the highest at a time.
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

// glance reads what other processes have changed if that was not done for a while and
// nobody else is at it. What the index has is good enough if it fails.
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

// renew reads what other processes have changed, unless that was done or tried within a
// time.
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

// recent tells whether records were read within a time, or why that failed then.
func (s *Set) recent(within time.Duration) (bool, error) {
	now := s.cfg.Now()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return now.Sub(s.read) < within, s.failed
}

// refresh reads what has changed. The caller has the turn.
func (s *Set) refresh(ctx context.Context) error {
	began := s.cfg.Now()
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := s.readChanges(within, began)
	if err != nil && ctx.Err() != nil {
		return err // the caller left: that says nothing of the records
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read, s.failed = began, err
	s.index.sweep(began.UnixNano())
	return err
}

func (s *Set) readChanges(ctx context.Context, began time.Time) error {
	if began.Sub(s.marks[len(s.marks)-1].at) > maxIdle {
		return s.load(ctx)
	}
	// The newest mark that is old enough: what had a lower version is shown by now.
	for len(s.marks) > 1 && began.Sub(s.marks[1].at) >= overlap {
		s.marks = s.marks[1:]
	}
	highest, err := s.each(ctx, s.marks[0].version, s.apply)
	if err != nil {
		return err
	}
	s.marks = append(s.marks, mark{began, max(highest, s.marks[len(s.marks)-1].version)})
	return nil
}

// each reads the records after a version, and returns the highest version of them.
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

// apply brings records into the index that are newer than what it has.
func (s *Set) apply(list []store.Record) {
	type change struct {
		key   string
		entry *entry // nil for one that is gone
	}
	var changes []change
	now := s.cfg.Now().UnixNano()
	for _, r := range list {
		if e := s.look(r.Key); e != nil && e.version >= r.Version {
			continue
		}
		kept, err := parseStored(r)
		if err != nil {
			s.cfg.Logger.Error("identities: a record is damaged, and left alone", "error", err)
			continue
		}
		e := kept.entry(r.Version)
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

// load reads all records. The caller has the turn, or the Set alone.
func (s *Set) load(ctx context.Context) error {
	began := s.cfg.Now()
	entries := make(map[string]*entry)
	var old uint64
	highest, err := s.each(ctx, 0, func(list []store.Record) {
		for _, r := range list {
			kept, err := parseStored(r)
			if err != nil {
				s.cfg.Logger.Error("identities: a record is damaged, and left alone", "error", err)
				continue
			}
			// Versions are given in the order of time: no record is shown from now on whose
			// version is lower than that of one which was put long ago.
			if began.Sub(kept.Changed) > overlap+skew {
				old = r.Version
			}
			if e := kept.entry(r.Version); kept.Removed || e.ended(began.UnixNano()) {
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
