package mediator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
)

const (
	watchEvery = 100 * time.Millisecond // how soon changes by another process are noticed
	// watchAgain is for how long a change is looked for: where several processes write, an older
	// version may appear after a newer one.
	watchAgain   = 3 * time.Second
	settleEvery  = 10 * time.Second
	unusedEvery  = 10 * time.Minute
	figuresEvery = time.Minute
)

// Run looks after the mediator until ctx ends: it notices what other processes have changed,
// moves mail that could not move before, ends accounts that are not used, and reports figures.
// It returns nil. While the store fails, Run tries again.
func (m *Mediator) Run(ctx context.Context) error {
	seen, err := m.newSeen(ctx)
	for ; err != nil; seen, err = m.newSeen(ctx) {
		if ctx.Err() == nil {
			m.cfg.Logger.WarnContext(ctx, "changes of accounts are not seen", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchEvery):
		}
	}
	m.watches.each(func(*watch) bool { return true }) // of what has changed before
	watch, settle, unused := time.NewTicker(watchEvery), time.NewTicker(settleEvery), time.NewTicker(unusedEvery)
	defer watch.Stop()
	defer settle.Stop()
	defer unused.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.runFigures(ctx)
	}()
	defer func() { <-done }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watch.C:
			if err := m.look(ctx, seen); err != nil && ctx.Err() == nil {
				m.cfg.Logger.WarnContext(ctx, "changes of accounts are not seen", "error", err)
			}
		case <-settle.C:
			m.settleAll(ctx)
		case <-unused.C:
			if err := m.endUnused(ctx); err != nil && ctx.Err() == nil {
				m.cfg.Logger.WarnContext(ctx, "unused accounts are still there", "error", err)
			}
		}
	}
}

// seen is what look has seen of the collection of accounts.
type seen struct {
	versions map[uint64]time.Time // when each version was seen first, for watchAgain
	after    uint64               // what is not newer is not looked for any more
}

// newSeen returns a seen that knows the newest version of the store: the store has no call for it, so
// newSeen puts a record.
func (m *Mediator) newSeen(ctx context.Context) (*seen, error) {
	mark := store.Record{Collection: marks, Key: random(9), Expires: time.Now().Add(time.Minute)}
	version, err := m.records().Put(ctx, mark)
	if err != nil {
		return nil, fmt.Errorf("mediator: %w", err)
	}
	return &seen{versions: make(map[uint64]time.Time), after: version}, nil
}

// look forgets the accounts that have changed, and calls those who watch them.
func (m *Mediator) look(ctx context.Context, s *seen) error {
	now := time.Now()
	var changed []string
	for after, page := s.after, 500; ; {
		list, err := m.records().List(ctx, store.Query{Collection: accounts, After: after, N: page})
		if err != nil {
			return err
		}
		for _, r := range list {
			after = r.Version
			if _, ok := s.versions[r.Version]; !ok {
				s.versions[r.Version] = now
				changed = append(changed, r.Key)
			}
		}
		if len(list) < page {
			break
		}
	}
	if len(changed) > 0 {
		m.cache.forget(changed...)
	}
	m.cache.seen(now)
	for version, at := range s.versions {
		if now.Sub(at) > watchAgain {
			delete(s.versions, version)
			s.after = max(s.after, version)
		}
	}
	if len(changed) > 0 {
		m.watches.changed(changed...)
	}
	return nil
}

// settleAll moves mail that could not move when an account lost a name.
func (m *Mediator) settleAll(ctx context.Context) {
	losers := make(map[string]bool)
	err := m.each(ctx, moves, "", func(r store.Record) error {
		var mv move
		if read(r, &mv) == nil {
			losers[mv.Loser] = true
		}
		return nil
	})
	for loser := range losers {
		m.moveMail(ctx, loser)
	}
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.WarnContext(ctx, "mail of displaced registrations is not looked for", "error", err)
	}
}

// runFigures reports figures. Counting takes at most a twentieth of the time.
func (m *Mediator) runFigures(ctx context.Context) {
	if m.cfg.Trace.Figures == nil {
		return
	}
	for {
		start := time.Now()
		switch s, err := m.Stats(ctx); {
		case err == nil:
			m.cfg.Trace.Figures(ctx, s)
		case ctx.Err() == nil && !errors.Is(err, context.Canceled):
			m.cfg.Logger.WarnContext(ctx, "no figures of the mediator", "error", err)
		}
		wait := time.NewTimer(max(figuresEvery, 20*time.Since(start)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}
