package home_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/cmd/internal/home"
	"github.com/didcomm-go/didcomm/did"
)

// opens opens a home until the end of the test.
func opens(t *testing.T, cfg home.Config) *home.Home {
	t.Helper()
	h, err := home.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// serve makes a DID that of the agent of a home.
func serve(t *testing.T, h *home.Home, id, endpoint string) (now, former string) {
	t.Helper()
	now, former, err := h.Serve(t.Context(), id, endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return now, former
}

// kept makes a did:peer of new keys in a home.
func kept(t *testing.T, h *home.Home) *identity.Identity {
	t.Helper()
	pair, err := identity.Generate(keyring.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer2(pair, "https://agent.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Keep(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return id
}

// states are the states of the DIDs of a home.
func states(t *testing.T, cfg home.Config) map[string]home.State {
	t.Helper()
	d, err := home.OpenDIDs(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	list, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]home.State{}
	for _, entry := range list {
		m[entry.ID] = entry.State
	}
	if len(m) != len(list) {
		t.Errorf("DIDs are listed twice: %v", list)
	}
	return m
}

// opensFor tells whether the agent of a home opens what is encrypted for a DID.
func opensFor(t *testing.T, h *home.Home, keys envelope.Keys, id string) bool {
	t.Helper()
	m, err := h.Set.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, handle := range m.Handles {
		if handle.Use == identity.ToAgree {
			_, err := keys.KeyAgreement(t.Context(), handle.KID)
			if err != nil && !errors.Is(err, envelope.ErrNoKey) {
				t.Error(err)
			}
			return err == nil
		}
	}
	t.Fatalf("%s has no key for key agreement", id)
	return false
}

// The agent of a home keeps its former DIDs. They have nothing to do with the DIDs of did
// create.
func TestServe(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	h := opens(t, cfg)
	queue, err := h.Sender(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := states(t, cfg); len(got) != 1 || got[queue] != home.InUse {
		t.Errorf("before the first serve: %v", got)
	}
	one, former := serve(t, h, "", "https://one.example")
	if former != "" {
		t.Errorf("the first DID is in place of %s", former)
	}
	if again, former := serve(t, h, "", "https://one.example"); again != one || former != "" {
		t.Errorf("the same settings: %s in place of %s", again, former)
	}
	other := kept(t, h).DID()
	const web = "did:web:agent.example"
	if now, former := serve(t, h, web, "https://two.example"); now != web || former != one {
		t.Errorf("serve by %s in place of %s", now, former)
	}
	want := map[string]home.State{queue: home.Former, one: home.Former, web: home.InUse, other: home.Own}
	if got := states(t, cfg); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("states %v, want %v", got, want)
	}
	for id := range want {
		if !opensFor(t, h, h.Set, id) {
			t.Errorf("%s is not answered for", id)
		}
		if same, err := h.Set.Related(ctx, one, id); err != nil || same == (id == other) {
			t.Errorf("%s may be known to be of the agent: %v, %v", id, same, err)
		}
	}
	owner := h.AgentKeys(web).(envelope.Owner)
	for n, want := range []int{0, 1, 2, 3, 4, 4} {
		dids, err := owner.DIDs(ctx, n)
		if err != nil || len(dids) != want || want > 0 && dids[0] != web || want > 1 && slices.Contains(dids[1:], web) {
			t.Errorf("%d DIDs, the agent's first: %q, %v", n, dids, err)
		}
	}
	multikey, others := multikeyOf(t, h, one), multikeyOf(t, h, other)
	for name, want := range map[string]struct {
		keys envelope.Keys
		did  string
	}{
		"the agent's":  {h.AgentKeys(web), web},
		"a former one": {h.AgentKeys(one), one},
		"another one":  {h.AgentKeys(other), queue},
		"all":          {h.Keys(), queue},
	} {
		kid, err := want.keys.(envelope.KeyFinder).FindKey(ctx, multikey)
		if err != nil || did.Base(kid) != want.did {
			t.Errorf("%s: the key is found as %q, %v; want one of %s", name, kid, err, want.did)
		}
		if _, err := want.keys.KeyAgreement(ctx, kid); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if from, err := h.Sender(ctx); from != web || err != nil {
		t.Errorf("commands send from %s, %v", from, err)
	}
	if now, former := serve(t, h, "", "https://one.example"); now != one || former != web {
		t.Errorf("back to the first one: %s in place of %s", now, former)
	}
	if got := states(t, cfg); got[one] != home.InUse || got[web] != home.Former {
		t.Errorf("back to the first one: %v", got)
	}
	if err := h.Set.Retire(ctx, other, time.Now()); err != nil {
		t.Fatal(err)
	}
	if kid, err := h.AgentKeys(web).(envelope.KeyFinder).FindKey(ctx, others); !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("the agent finds the key of a DID that has ended: %q, %v", kid, err)
	}
	if kid, err := h.Keys().(envelope.KeyFinder).FindKey(ctx, others); err != nil || did.Base(kid) != other {
		t.Errorf("the key of a DID that has ended is found as %q, %v", kid, err)
	}
}

// multikeyOf returns the key for encryption of a DID of the home.
func multikeyOf(t *testing.T, h *home.Home, id string) string {
	t.Helper()
	doc, err := h.Set.Resolve(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	public, err := doc.KeyAgreementKeys()[0].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := did.FormatMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The last 1000 former DIDs are kept.
func TestServeForgets(t *testing.T) {
	const most = 1000
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	h := opens(t, cfg)
	one, _ := serve(t, h, "", "https://one.example")
	begun := time.Now()
	for i := range most - 1 {
		id := fmt.Sprintf("did:example:%d", i)
		value := fmt.Sprintf(`{"did":%q,"since":%q}`, id, begun.Add(time.Duration(i)).Format(time.RFC3339Nano))
		if _, err := h.Store.Records().Put(ctx, store.Record{Collection: "serving", Key: id, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	two, former := serve(t, h, "", "https://two.example")
	if want := fmt.Sprintf("did:example:%d", most-2); former != want {
		t.Errorf("in place of %s, want %s", former, want)
	}
	if got := states(t, cfg); got[one] != home.Former || got[two] != home.InUse {
		t.Errorf("as many as are kept: %v", got)
	}
	three, _ := serve(t, h, "", "https://three.example")
	if got := states(t, cfg); len(got) != 2 || got[two] != home.Former || got[three] != home.InUse {
		t.Errorf("one more than are kept: %v", got)
	}
	if now, former := serve(t, h, "", "https://one.example"); now != one || former != three {
		t.Errorf("a forgotten one anew: %s in place of %s", now, former)
	}
}

// A process that serves a home answers for a DID that another process has just made, and no
// longer for a DID that another process has retired.
func TestKeepBeside(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	server, err := home.OpenToServe(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	first, _ := serve(t, server, "", "https://one.example")
	for range 3 { // each of them within the time that the last reading holds
		id := kept(t, opens(t, cfg)).DID()
		if !opensFor(t, server, server.Set, id) {
			t.Errorf("%s is not answered for", id)
		}
		d, err := home.OpenDIDs(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Retire(ctx, id, time.Now()); err != nil {
			t.Error(err)
		}
		if opensFor(t, server, server.Set, id) {
			t.Errorf("%s is answered for after its end", id)
		}
		if !opensFor(t, server, server.Keys(), id) {
			t.Errorf("what has come to %s cannot be shown", id)
		}
		if _, err := d.Retire(ctx, first, time.Now()); err == nil || !strings.Contains(err.Error(), first+" is the DID of the agent") {
			t.Errorf("the agent's own was retired: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if got := states(t, cfg); len(got) != 4 || got[first] != home.InUse {
		t.Errorf("states %v", got)
	}
}

// A key that is missing in the store is envelope.ErrNoKey, and is found when it is there.
func TestMissingKey(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	h, other := opens(t, cfg), opens(t, cfg)
	id := kept(t, other)
	for _, kid := range id.KIDs() {
		if err := other.Ring.Delete(ctx, kid); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if opensFor(t, h, h.Set, id.DID()) {
			t.Error("a key that nobody has")
		}
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Ring.AddAll(ctx, keys); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !opensFor(t, h, h.Set, id.DID()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the key is not found")
		}
	}
}

// A DID is not made twice in a home, and a DID with keys of its own cannot be that of the
// agent.
func TestKeepTwice(t *testing.T) {
	ctx, cfg := t.Context(), home.Config{Dir: t.TempDir()}
	h := opens(t, cfg)
	web := func(id string) *identity.Identity {
		pair, err := identity.Generate(keyring.P256)
		if err != nil {
			t.Fatal(err)
		}
		made, err := identity.Web(id, pair)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	serve(t, h, "did:web:agent.example", "https://agent.example")
	if err := h.Keep(ctx, web("did:web:bob.example")); err != nil {
		t.Fatal(err)
	}
	before := h.Ring.KIDs()
	for _, id := range []string{"did:web:agent.example", "did:web:bob.example"} {
		if err := h.Keep(ctx, web(id)); err == nil || !strings.Contains(err.Error(), "is in this home already") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if !slices.Equal(h.Ring.KIDs(), before) {
		t.Errorf("keys of DIDs that were refused: %q", h.Ring.KIDs())
	}
	if _, _, err := h.Serve(ctx, "did:web:bob.example", "https://agent.example"); err == nil || !strings.Contains(err.Error(), "keys of its own") {
		t.Errorf("serve by another's keys: %v", err)
	}
	if doc, err := h.Set.Resolve(ctx, "did:web:bob.example"); err != nil || len(doc.DIDCommServices()) != 0 {
		t.Errorf("the document was replaced: %v", err)
	}
	if _, err := h.Set.Resolve(ctx, "did:web:carol.example"); !errors.Is(err, did.ErrNotFound) {
		t.Error(err)
	}
}
