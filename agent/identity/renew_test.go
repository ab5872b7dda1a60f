package identity_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
)

// watched are records that count how often they are listed, and that can fail, and hide
// what was put.
type watched struct {
	store.Records
	mu     sync.Mutex // guards all below
	lists  int
	listed int // records
	failed error
	hidden []uint64
}

func (w *watched) List(ctx context.Context, q store.Query) ([]store.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lists++
	if w.failed != nil {
		return nil, w.failed
	}
	list, err := w.Records.List(ctx, q)
	list = slices.DeleteFunc(list, func(r store.Record) bool { return slices.Contains(w.hidden, r.Version) })
	w.listed += len(list)
	return list, err
}

// count is how often they were listed since it was asked last.
func (w *watched) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.lists
	w.lists = 0
	return n
}

func (w *watched) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = err
}

func (w *watched) hide(versions ...uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hidden = versions
}

// newWatched is a host with such records.
func newWatched() (*host, *watched) {
	h := newHost()
	w := &watched{Records: h.records}
	h.records = w
	return h, w
}

// What one process adds, changes, retires and removes, the other sees.
func TestTwoProcesses(t *testing.T) { testTwoProcesses(t, newHost()) }

func testTwoProcesses(t *testing.T, h *host) {
	ours, theirs := h.start(t), h.start(t)
	for _, id := range []*identity.Identity{h.peer2(t), h.peer4(t), h.web(t, "example.org")} {
		add(t, theirs, id)
		h.clock.pass(time.Second)
		works(t, ours, id, true)

		shares := store.Shares{Inbox: store.Share{Items: 7}}
		if err := theirs.Add(t.Context(), id, identity.Settings{Shares: shares}); err != nil {
			t.Fatal(err)
		}
		h.clock.pass(2 * time.Second)
		works(t, ours, id, true)
		if got := ours.Shares(id.DID()); got != shares {
			t.Errorf("%+v", got)
		}

		if err := theirs.Retire(t.Context(), id.DID(), h.clock.Now()); err != nil {
			t.Fatal(err)
		}
		works(t, theirs, id, false)
		h.clock.pass(2 * time.Second)
		works(t, ours, id, false)
		if err := theirs.Retire(t.Context(), id.DID(), h.clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.clock.pass(2 * time.Second)
		works(t, ours, id, true)

		if err := theirs.Remove(t.Context(), id.DID()); err != nil {
			t.Fatal(err)
		}
		works(t, theirs, id, false)
		h.clock.pass(2 * time.Second)
		works(t, ours, id, false)
		add(t, theirs, id)
		h.clock.pass(time.Second)
		works(t, ours, id, true)
	}
	// A document that has changed.
	pair := software(t, keyring.Ed25519)
	for _, endpoint := range []string{"https://a.example", "https://b.example"} {
		web, err := identity.Web("did:web:example.com", pair, endpoint)
		add(t, theirs, h.made(t, web, err))
		h.clock.pass(2 * time.Second)
		if doc, err := ours.Resolve(t.Context(), web.DID()); err != nil || doc.DIDCommServices()[0].URI != endpoint {
			t.Errorf("%v, %v", doc, err)
		}
	}
}

// However many messages there are, for DIDs of ours and of others, records are listed once
// in a while.
func TestRenewSeldom(t *testing.T) {
	h, w := newWatched()
	s, ctx := h.start(t), t.Context()
	ours := h.peer2(t)
	add(t, s, ours)
	strangers, err := identity.Peer4(software(t, keyring.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	w.count()
	for range 1000 {
		works(t, s, ours, true)
		works(t, s, strangers, false)
	}
	if n := w.count(); n != 0 {
		t.Errorf("listed %d times in no time", n)
	}
	for second := range 10 {
		h.clock.pass(time.Second)
		for range 100 {
			works(t, s, strangers, false)
			works(t, s, ours, true)
		}
		if n := w.count(); n != 1 {
			t.Errorf("second %d: listed %d times", second, n)
		}
	}
	for range 10 {
		h.clock.pass(time.Second)
		works(t, s, ours, true)
	}
	if n := w.count(); n != 5 {
		t.Errorf("listed %d times in 10 s for DIDs of ours alone", n)
	}
	// The documents of others that follow from their DIDs are not looked for.
	h.clock.pass(time.Minute)
	if _, err := s.Resolve(ctx, strangers.DID()); err == nil || w.count() != 0 {
		t.Errorf("resolved a stranger: %v", err)
	}
	if _, err := s.Resolve(ctx, "did:web:stranger.example"); err == nil || w.count() != 1 {
		t.Errorf("resolved a stranger: %v", err)
	}
}

// A version that is lower than others may be shown after them. It is found even if nothing
// was looked for in the meantime.
func TestShownLate(t *testing.T) {
	for name, tt := range map[string]struct{ wait, idle time.Duration }{
		"at once":            {time.Second, time.Second},
		"after 8 s":          {8 * time.Second, time.Second},
		"after a quiet time": {time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			h, w := newWatched()
			ours, theirs := h.start(t), h.start(t)
			h.clock.pass(time.Minute)
			works(t, ours, h.peer2(t), false)
			late, early := h.peer2(t), h.peer2(t)
			add(t, theirs, late)
			member, err := theirs.Get(t.Context(), late.DID())
			if err != nil {
				t.Fatal(err)
			}
			w.hide(member.Version)
			add(t, theirs, early)
			started := h.start(t) // in between
			for _, s := range []*identity.Set{ours, started} {
				for range tt.wait / time.Second {
					h.clock.pass(time.Second)
					works(t, s, early, true)
					works(t, s, late, false)
				}
				w.hide()
				h.clock.pass(tt.idle)
				works(t, s, late, true)
				w.hide(member.Version)
				h.clock.pass(-tt.wait - tt.idle)
			}
		})
	}
}

// Records that changed long ago are not listed again and again.
func TestReadOnce(t *testing.T) {
	h, w := newWatched()
	s := h.start(t)
	for range 30 {
		add(t, s, h.peer2(t))
	}
	h.clock.pass(time.Minute)
	s = h.start(t)
	stranger := h.peer2(t)
	w.mu.Lock()
	w.listed = 0
	w.mu.Unlock()
	for range 30 {
		h.clock.pass(time.Second)
		works(t, s, stranger, false)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listed > 0 {
		t.Errorf("%d records were listed again", w.listed)
	}
}

// While records fail, what is known goes on, and what is not known is not refused for good.
func TestRecordsFail(t *testing.T) {
	h, w := newWatched()
	s := h.start(t)
	known, added := h.peer2(t), h.peer2(t)
	add(t, s, known)
	add(t, h.start(t), added)
	away := errors.New("the database is away")
	w.fail(away)
	h.clock.pass(time.Minute)
	works(t, s, known, true)
	w.count()
	for range 10 {
		if _, err := s.Own(t.Context(), added.DID()); !errors.Is(err, away) || errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("Own: %v", err)
		}
		if _, err := s.KeyAgreement(t.Context(), added.KIDs()[1]); !errors.Is(err, away) {
			t.Errorf("KeyAgreement: %v", err)
		}
	}
	if n := w.count(); n != 0 {
		t.Errorf("asked %d times in no time", n)
	}
	if _, err := identity.NewSet(t.Context(), identity.SetConfig{Records: w, Keys: h.ring}); !errors.Is(err, away) {
		t.Errorf("NewSet: %v", err)
	}
	w.fail(nil)
	h.clock.pass(time.Second)
	works(t, s, added, true)

	// Who left does not make the next one wait.
	ctx, leave := context.WithCancel(t.Context())
	leave()
	h.clock.pass(time.Minute)
	w.fail(context.Canceled)
	if _, err := s.Own(ctx, "did:web:nobody.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("Own after leaving: %v", err)
	}
	w.fail(nil)
	if _, err := s.Own(t.Context(), "did:web:nobody.example"); !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("Own: %v", err)
	}
}

// A process that was idle for long reads all anew: the record of what was removed is gone.
func TestIdle(t *testing.T) {
	h := newHost()
	ours, theirs := h.start(t), h.start(t)
	stays, removed := h.peer2(t), h.peer2(t)
	add(t, theirs, stays, removed)
	h.clock.pass(time.Second)
	works(t, ours, removed, true)
	if err := theirs.Remove(t.Context(), removed.DID()); err != nil {
		t.Fatal(err)
	}
	list, err := h.records.List(t.Context(), store.Query{Collection: "identity", N: math.MaxInt})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.Expires.IsZero() {
			continue
		}
		if err := h.records.Delete(t.Context(), r.Collection, r.Key, 0); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.pass(13 * time.Hour)
	works(t, ours, removed, false)
	works(t, ours, stays, true)
}

// A record that cannot be read costs nobody else.
func TestDamaged(t *testing.T) {
	h := newHost()
	s := h.start(t)
	id := h.peer2(t)
	add(t, s, id)
	for key, value := range map[string]string{"did:example:a": "{", "did:example:b": `{"did":"did:example:c"}`, "": "null"} {
		if _, err := h.records.Put(t.Context(), store.Record{Collection: "identity", Key: key, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.pass(time.Minute)
	other := h.peer2(t)
	works(t, s, other, false)
	add(t, s, other)
	for _, s := range []*identity.Set{s, h.start(t)} {
		works(t, s, id, true)
		works(t, s, other, true)
		if list, err := s.List(t.Context(), 0, 10); err != nil || len(list) != 2 {
			t.Errorf("%v, %v", list, err)
		}
	}
}
