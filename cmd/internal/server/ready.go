package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
)

const (
	checkTime = 2 * time.Second // for all checks
	checkKeep = time.Second     // for which a result is used again
	// minFree is how much space the disk of the home needs, in bytes.
	minFree = 64 << 20
	// maxOverdue is how long a message of our own may wait that is due, while no other
	// message to its recipient is under way.
	maxOverdue = 5 * time.Minute
	// maxExamined is how many messages of the outbox are examined, the oldest first.
	maxExamined = 1000
)

// probes are the paths for the watch of the agent.
var probes = []string{LivePath, HealthPath, ReadyPath}

// readiness checks whether the agent of a home can work.
type readiness struct {
	home   *home.Home
	dir    string
	failed func(check string, err error) // called when a check begins to fail
	life   context.Context               // of the checks
	end    context.CancelFunc

	mu     sync.Mutex // guards all below, and one run of the checks at a time
	at     time.Time  // of the last run
	ready  bool
	text   string // a line for each check
	checks []*check

	// owned by the check of the store
	key     string // of a record
	version uint64 // of that record
}

// check is a check that may hang, as a database may. Then it goes on, and counts as failed.
type check struct {
	name    string
	run     func(context.Context) error
	failing bool
	result  chan error // nil if the check does not run
}

func newReadiness(h *home.Home, dir string, failed func(check string, err error)) *readiness {
	r := &readiness{home: h, dir: dir, failed: failed, key: rand.Text()}
	r.life, r.end = context.WithCancel(context.Background())
	r.checks = []*check{
		{name: "store", run: r.store},
		{name: "disk", run: r.disk},
		{name: "outbox", run: r.outbox},
	}
	return r
}

// close ends the checks, and waits for them. Later checks fail.
func (r *readiness) close() {
	r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checks {
		if c.result != nil {
			<-c.result
			c.result = nil
		}
	}
}

// ServeHTTP answers 200 if all checks pass, and otherwise 503. The body has a line for each
// check. It does not say why a check fails, because anybody can read it: the log does.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) > checkKeep {
		r.run()
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if !r.ready {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write([]byte(r.text))
}

// run runs the checks. A client that goes away does not end them. The caller holds mu.
func (r *readiness) run() {
	limit, cancel := context.WithTimeout(r.life, checkTime)
	defer cancel()
	for _, c := range r.checks {
		c.start(r.life)
	}
	r.ready = true
	var text strings.Builder
	for _, c := range r.checks {
		err, state := c.wait(limit), "ok"
		if err != nil {
			r.ready, state = false, "failed"
			if !c.failing {
				r.failed(c.name, err)
			}
		}
		c.failing = err != nil
		fmt.Fprintf(&text, "%s: %s\n", c.name, state)
	}
	r.text, r.at = text.String(), time.Now()
}

// start starts the check, unless it still runs or ctx has ended.
func (c *check) start(ctx context.Context) {
	if c.result != nil || ctx.Err() != nil {
		return
	}
	result := make(chan error, 1)
	c.result = result
	go func() { result <- c.run(ctx) }()
}

// wait returns the result of the check, or an error if there is none when ctx ends.
func (c *check) wait(ctx context.Context) error {
	select {
	case err := <-c.result:
		c.result = nil
		return err
	case <-ctx.Done():
		return errors.New("no answer")
	}
}

// store writes a record, since a store that can be read may be full.
func (r *readiness) store(ctx context.Context) error {
	if err := r.home.Check(ctx); err != nil {
		return err
	}
	put := func() (err error) {
		record := store.Record{Collection: "ready", Key: r.key, Version: r.version, Expires: time.Now().Add(time.Hour)}
		r.version, err = r.home.Store.Records().Put(ctx, record)
		return err
	}
	err := put()
	if errors.Is(err, store.ErrVersion) { // expired, or stored by a Put that seemed to fail
		r.key, r.version = rand.Text(), 0
		err = put()
	}
	return err
}

func (r *readiness) disk(context.Context) error {
	free, err := freeSpace(r.dir)
	if err == nil && free < minFree {
		err = fmt.Errorf("%d MiB left on the disk of %s", free>>20, r.dir)
	}
	return err
}

// outbox checks that messages of our own leave. A message that is due waits nevertheless for
// the earlier ones of its lane, and for those that are under way to the same recipient.
func (r *readiness) outbox(ctx context.Context) error {
	admin, ok := r.home.Store.Outbox().(store.OutboxAdmin)
	if !ok {
		return nil
	}
	list, err := admin.List(ctx, 0, maxExamined)
	if err != nil {
		return err
	}
	busy := make(map[string]bool) // recipients
	for _, e := range list {
		if e.State == store.Leased {
			busy[e.Item.To] = true
		}
	}
	lanes := make(map[[2]string]bool) // of earlier messages
	for _, e := range list {
		lane := [2]string{e.Item.To, e.Item.Lane}
		if e.Item.Lane == "" {
			lane[1] = e.Item.Thread
		}
		if e.State == store.Buried || lanes[lane] {
			continue
		}
		lanes[lane] = true
		if late := time.Since(e.Due); e.State == store.Waiting && e.Item.Class == store.ClassOwn && !busy[e.Item.To] && late > maxOverdue {
			return fmt.Errorf("message %s waits since %s for nothing", e.Item.ID, late.Truncate(time.Second))
		}
	}
	return nil
}
