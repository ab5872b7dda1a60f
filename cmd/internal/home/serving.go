package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/go-json-experiment/json"
)

// collection has a record of each DID that the agent was served by, under the DID.
const collection = "serving"

// maxFormer bounds the DIDs that the agent was served by before and that are kept.
const maxFormer = 1000

const (
	// seenEvery is how often an agent on a shared database says that it runs, and seenFor
	// how long it is taken to run after that.
	seenEvery = 30 * time.Second
	seenFor   = 4 * seenEvery
)

// serving is the value of a record.
type serving struct {
	DID   string    `json:"did"`
	Since time.Time `json:"since"` // when it was last begun
	// By names the home that serves by the DID, and Seen is when it was last known to do so.
	// Both are empty where the home has a database of its own.
	By   string    `json:"by,omitzero"`
	Seen time.Time `json:"seen,omitzero"`
}

// Serve takes the DID into the Set that the agent is served by from now on, as an identity
// of the agent's own keys: the did:web id or, if id is empty, the did:peer:2 of the keys and
// of endpoint, a URL. It returns the DID, and the one that the agent of this home was served
// by before if that is another. That stays in the Set, which keeps the last 1000.
func (h *Home) Serve(ctx context.Context, id, endpoint string) (now, former string, err error) {
	made, err := h.named(ctx, id, endpoint)
	if err != nil {
		return "", "", err
	}
	now = made.DID()
	err = h.DIDs.Add(ctx, made, identity.Settings{Party: agentParty})
	if errors.Is(err, identity.ErrRetired) {
		return "", "", fmt.Errorf("%s was retired; give serve another --public-url, --listen or --did", now)
	}
	if err != nil {
		return "", "", err
	}
	list, err := servings(ctx, h.Store.Records())
	if err != nil {
		return "", "", err
	}
	for _, s := range slices.Backward(list) {
		if s.By == h.name() {
			former = s.DID
			break
		}
	}
	if former == now {
		former = ""
	}
	if err := h.note(ctx, serving{DID: now, Since: time.Now()}, time.Now()); err != nil {
		return "", "", err
	}
	return now, former, h.forget(ctx, slices.DeleteFunc(list, func(s serving) bool { return s.DID == now }))
}

// named makes the identity of a DID that the agent is served by.
func (h *Home) named(ctx context.Context, id, endpoint string) (*identity.Identity, error) {
	if id == "" {
		return identity.Peer2(h.Own, endpoint)
	}
	m, err := h.DIDs.Get(ctx, id)
	switch {
	case err == nil && m.Settings.Party != agentParty:
		return nil, fmt.Errorf("--did: %s has keys of its own in this home (see didcomm did list): serve answers for it without --did", id)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	return identity.Web(id, h.Own, endpoint)
}

// KeepServing tells the other agents on a shared database that this one goes by a DID, until
// ctx ends.
func (h *Home) KeepServing(ctx context.Context, id string) {
	if h.cfg.URL == "" {
		return
	}
	tick := time.NewTicker(seenEvery)
	defer tick.Stop()
	for {
		var seen time.Time
		select {
		case <-tick.C:
			seen = time.Now()
		case <-ctx.Done():
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		err := h.note(within, serving{DID: id}, seen)
		cancel()
		if err != nil && h.cfg.Logger != nil {
			h.cfg.Logger.Warn("other agents on the database are not told that this one runs", "error", err)
		}
		if seen.IsZero() {
			return
		}
	}
}

// note puts the record of a DID that this process serves by; seen is zero if it has ended. A
// record that other processes change at the same time, which serve by the same DID, is left
// to them.
func (h *Home) note(ctx context.Context, s serving, seen time.Time) error {
	records := h.Store.Records()
	r, err := records.Get(ctx, collection, s.DID)
	var old serving
	switch {
	case errors.Is(err, store.ErrNotFound):
		r = store.Record{Collection: collection, Key: s.DID}
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(r.Value, &old); err != nil {
			return fmt.Errorf("record of %s: %w", s.DID, err)
		}
	}
	if s.By = h.name(); s.By != "" {
		s.Seen = seen
	}
	if s.Since.IsZero() {
		s.Since = old.Since
		if seen.IsZero() && old.By != s.By {
			return nil
		}
	}
	if r.Value, err = json.Marshal(s); err != nil {
		return err
	}
	if _, err = records.Put(ctx, r); errors.Is(err, store.ErrVersion) {
		return nil
	}
	return err
}

// name names the home among those that share a database.
func (h *Home) name() string {
	if h.cfg.URL == "" {
		return ""
	}
	host, _ := os.Hostname() // without it the directory has to do
	dir, err := filepath.Abs(h.cfg.Dir)
	if err != nil {
		dir = h.cfg.Dir
	}
	return host + " " + dir
}

// servings are the records of the DIDs that the agent was served by, in the order in which
// that began.
func servings(ctx context.Context, records store.Records) ([]serving, error) {
	var list []serving
	const page = 500
	for after, more := uint64(0), true; more; {
		found, err := records.List(ctx, store.Query{Collection: collection, After: after, N: page})
		if err != nil {
			return nil, fmt.Errorf("DIDs of the agent: %w", err)
		}
		more = len(found) == page
		for _, r := range found {
			after = r.Version
			var s serving
			if err := json.Unmarshal(r.Value, &s); err != nil {
				return nil, fmt.Errorf("record of %s: %w", r.Key, err)
			}
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b serving) int { return a.Since.Compare(b.Since) })
	return list, nil
}

// inUse tells which of the DIDs an agent goes by: those of the agents that are known to run,
// or else the last one.
func inUse(list []serving, now time.Time) map[string]bool {
	used := map[string]bool{}
	for _, s := range list {
		if now.Sub(s.Seen) < seenFor {
			used[s.DID] = true
		}
	}
	if len(used) == 0 && len(list) > 0 {
		used[list[len(list)-1].DID] = true
	}
	return used
}

// forget removes the oldest of the agent's former DIDs if there are more than maxFormer.
func (h *Home) forget(ctx context.Context, list []serving) error {
	used := inUse(list, time.Now())
	for _, s := range list[:max(0, len(list)-maxFormer)] {
		if used[s.DID] {
			continue
		}
		if err := h.DIDs.Remove(ctx, s.DID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := h.Store.Records().Delete(ctx, collection, s.DID, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Sender returns the DID that commands send from while none serves the home, or beside that:
// the DID that the agent was served by last, else a did:peer whose endpoint is did.QueueURI.
// The agent that serves the home next opens what is answered to it.
func (h *Home) Sender(ctx context.Context) (string, error) {
	list, err := servings(ctx, h.Store.Records())
	if err != nil {
		return "", err
	}
	used := inUse(list, time.Now())
	for _, mine := range []bool{true, false} {
		for _, s := range slices.Backward(list) {
			if mine && s.By != h.name() || !mine && !used[s.DID] {
				continue
			}
			if own, err := h.DIDs.Own(ctx, s.DID); !errors.Is(err, envelope.ErrNoKey) { // else it was retired
				return own, err
			}
		}
	}
	id, err := identity.Peer2(h.Own, did.QueueURI)
	if err != nil {
		return "", err
	}
	return id.DID(), h.DIDs.Add(ctx, id, identity.Settings{Party: agentParty})
}
