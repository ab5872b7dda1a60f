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

// collection has a record of each DID of Home.Serve, under the DID.
const collection = "serving"

// maxFormer bounds the former DIDs of Home.Serve that are kept.
const maxFormer = 1000

const (
	// seenEvery is how often an agent on a shared database notes that it runs. The agent is
	// taken to run for seenFor after that.
	seenEvery = 30 * time.Second
	seenFor   = 4 * seenEvery
)

// serving is the value of a record.
type serving struct {
	DID   string    `json:"did"`
	Since time.Time `json:"since"` // when the last agent with the DID was started
	// By names the home of that agent, and Seen is when the agent was last known to run. Both
	// are empty if the home has a database of its own.
	By   string    `json:"by,omitzero"`
	Seen time.Time `json:"seen,omitzero"`
}

// Serve gives the agent of the home its DID from now on: the did:web id or, if id is empty,
// the did:peer:2 of the agent's own keys and of endpoint, a URL. Serve returns the DID, and
// the former DID of the agent if that is another. The last 1000 former DIDs stay in the Set.
//
// It is an error if the DID was retired, or has keys of its own.
func (h *Home) Serve(ctx context.Context, id, endpoint string) (now, former string, err error) {
	return h.serve(ctx, id, h.Pair, endpoint)
}

func (h *Home) serve(ctx context.Context, id string, pair identity.Pair, endpoints ...string) (now, former string, err error) {
	made, err := h.named(ctx, id, pair, endpoints)
	if err != nil {
		return "", "", err
	}
	now = made.DID()
	err = h.Set.Add(ctx, made, identity.Settings{Party: agentParty})
	if errors.Is(err, identity.ErrRetired) {
		return "", "", fmt.Errorf("%s was retired; give serve another --public-url, --listen, --did or --via", now)
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
	if err := h.forget(ctx, slices.DeleteFunc(list, func(s serving) bool { return s.DID == now })); err != nil {
		return "", "", err
	}
	h.checkpoint(ctx)
	if h.cfg.URL != "" { // agents on other machines answer for the DID as well
		err = h.cfg.known(ctx)
	}
	return now, former, err
}

// named makes the identity of a DID for Serve.
func (h *Home) named(ctx context.Context, id string, pair identity.Pair, endpoints []string) (*identity.Identity, error) {
	if id == "" {
		return identity.Peer2(pair, endpoints...)
	}
	m, err := h.Set.Get(ctx, id)
	switch {
	case err == nil && m.Settings.Party != agentParty:
		return nil, fmt.Errorf("--did: %s has keys of its own in this home (see didcomm did list): serve answers for it without --did", id)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	}
	return identity.Web(id, pair, endpoints...)
}

// KeepServing tells the other processes on a shared database, until ctx ends, that an agent
// with a DID of Serve runs.
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

// note puts the record of the DID of this process; seen is zero if the agent has ended. If
// another process with the same DID changes the record at the same time, the record stays as
// that process has put it.
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

// servings returns the records of the DIDs of Serve, in the order of Since.
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

// inUse returns the DIDs of the agents that are known to run, or else the last DID.
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

// forget removes the oldest of the former DIDs if there are more than maxFormer.
func (h *Home) forget(ctx context.Context, list []serving) error {
	used := inUse(list, time.Now())
	for _, s := range list[:max(0, len(list)-maxFormer)] {
		if used[s.DID] {
			continue
		}
		if err := h.Set.Remove(ctx, s.DID); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := h.Store.Records().Delete(ctx, collection, s.DID, 0); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// Sender returns the DID that commands send from, whether an agent runs on the home or not:
// the last DID of Serve. In a home without one, it is a did:peer of the agent's own keys,
// whose endpoint is did.QueueURI; the next agent on the home opens the answers.
func (h *Home) Sender(ctx context.Context) (string, error) {
	if own, err := h.AgentDID(ctx); own != "" || err != nil {
		return own, err
	}
	id, err := identity.Peer2(h.Pair, did.QueueURI)
	if err != nil {
		return "", err
	}
	return id.DID(), h.Set.Add(ctx, id, identity.Settings{Party: agentParty})
}

// lastServed returns the last DID of Serve that was not retired, preferably one of this home
// if others share the database. It is empty if there is none.
func (h *Home) lastServed(ctx context.Context, list []serving, now time.Time) (string, error) {
	used := inUse(list, now)
	for _, mine := range []bool{true, false} {
		for _, s := range slices.Backward(list) {
			if mine && s.By != h.name() || !mine && !used[s.DID] {
				continue
			}
			if own, err := h.Set.Own(ctx, s.DID); !errors.Is(err, envelope.ErrNoKey) { // else it was retired
				return own, err
			}
		}
	}
	return "", nil
}
