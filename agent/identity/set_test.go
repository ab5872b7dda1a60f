package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/keyringtest"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// host is an agent of many identities: one or several processes on the same records.
type host struct {
	records store.Records
	ring    *keyring.Keyring
	clock   *clock
}

func newHost() *host {
	return &host{store.NewRecords(store.RecordsConfig{}), keyring.New(), newClock()}
}

// start starts a process.
func (h *host) start(t testing.TB) *identity.Set {
	t.Helper()
	s, err := identity.NewSet(t.Context(), identity.SetConfig{Records: h.records, Keys: h.ring, Now: h.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// made makes an identity with software keys in the ring of the host.
func (h *host) made(t testing.TB, id *identity.Identity, err error) *identity.Identity {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := id.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range keys.KIDs() {
		key, err := keys.Key(kid)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.ring.Add(kid, key); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func (h *host) peer2(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.Peer2(software(t, keyring.Ed25519), "https://a.example")
	return h.made(t, id, err)
}

func (h *host) peer4(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.Peer4(software(t, keyring.Ed25519), "https://a.example")
	return h.made(t, id, err)
}

func (h *host) web(t testing.TB, domain string) *identity.Identity {
	t.Helper()
	id, err := identity.Web("did:web:"+domain, software(t, keyring.Ed25519), "https://a.example")
	return h.made(t, id, err)
}

func add(t testing.TB, s *identity.Set, ids ...*identity.Identity) {
	t.Helper()
	for _, id := range ids {
		if err := s.Add(t.Context(), id, identity.Settings{}); err != nil {
			t.Fatal(err)
		}
	}
}

// works holds that a Set has an identity, or has not.
func works(t testing.TB, s *identity.Set, id *identity.Identity, want bool) {
	t.Helper()
	ctx := t.Context()
	own, err := s.Own(ctx, id.DID())
	if want && (err != nil || own != id.DID()) || !want && !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("Own(%s) = %q, %v; want %t", id.DID(), own, err, want)
	}
	for _, h := range id.Handles() {
		var err error
		if h.Use == identity.ToSign {
			_, err = s.Signer(ctx, h.KID)
		} else {
			_, err = s.KeyAgreement(ctx, h.KID)
		}
		if want && err != nil || !want && !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("key %s: %v; want %t", h.KID, err, want)
		}
	}
	doc, err := s.Resolve(ctx, id.DID())
	if want && (err != nil || doc.ID != id.DID()) || !want && !errors.Is(err, did.ErrNotFound) {
		t.Errorf("Resolve(%s): %v; want %t", id.DID(), err, want)
	}
	if related, err := s.Related(ctx, id.DID(), id.DID()); err != nil || related != want {
		t.Errorf("Related(%s): %t, %v; want %t", id.DID(), related, err, want)
	}
	dids, err := s.DIDs(ctx, 1000)
	if err != nil || slices.Contains(dids, id.DID()) != want {
		t.Errorf("DIDs: %q, %v; want %t", dids, err, want)
	}
}

// heldBy are the keys of identities for the suite of envelope.Keys.
func heldBy(t testing.TB, ids ...*identity.Identity) []keyringtest.Held {
	t.Helper()
	var held []keyringtest.Held
	for _, id := range ids {
		for _, kid := range id.KIDs() {
			m, ok := id.Document().Method(kid)
			if !ok {
				t.Fatalf("no method %s", kid)
			}
			public, err := m.PublicKey()
			if err != nil {
				t.Fatal(err)
			}
			h := keyringtest.Held{KID: kid, Public: public}
			for _, handle := range id.Handles() {
				h.Signs = h.Signs || handle.KID == kid && handle.Use == identity.ToSign
				h.Agrees = h.Agrees || handle.KID == kid && handle.Use == identity.ToAgree
			}
			held = append(held, h)
		}
	}
	return held
}

// places are where keys are kept: the keys of one, how to make two there, and how to put
// those of an identity there before it is added.
var places = map[string]func(t *testing.T) (envelope.Keys, func(curve keyring.Curve) identity.Pair, func(*identity.Identity)){
	"software": func(t *testing.T) (envelope.Keys, func(keyring.Curve) identity.Pair, func(*identity.Identity)) {
		h := newHost()
		return h.ring, func(c keyring.Curve) identity.Pair { return software(t, c) }, func(id *identity.Identity) { h.made(t, id, nil) }
	},
	"sealed": func(t *testing.T) (envelope.Keys, func(keyring.Curve) identity.Pair, func(*identity.Identity)) {
		ring, err := keyring.Create(t.Context(), store.NewSealedKeys(), keyring.None())
		if err != nil {
			t.Fatal(err)
		}
		return ring, func(c keyring.Curve) identity.Pair { return software(t, c) }, func(id *identity.Identity) {
			keys, err := id.Keyring()
			if err == nil {
				err = ring.AddAll(t.Context(), keys)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	},
	"kms": func(t *testing.T) (envelope.Keys, func(keyring.Curve) identity.Pair, func(*identity.Identity)) {
		service := newKMS()
		return service, func(c keyring.Curve) identity.Pair {
			sign, agree := fmt.Sprint("signing ", len(service.keys)), fmt.Sprint("agreement ", len(service.keys))
			service.create(t, sign, c)
			if c == keyring.Ed25519 {
				c = keyring.X25519
			}
			service.create(t, agree, c)
			return found(t, service, sign, agree)
		}, func(*identity.Identity) {}
	},
}

// A Set is an envelope.Keys of all its identities, also after a restart.
func TestSet(t *testing.T) {
	for place, open := range places {
		t.Run(place, func(t *testing.T) {
			keys, pair, keep := open(t)
			cfg := identity.SetConfig{Records: store.NewRecords(store.RecordsConfig{}), Keys: keys, Now: newClock().Now}
			s, err := identity.NewSet(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			var ids []*identity.Identity
			for _, m := range methods {
				for _, curve := range []keyring.Curve{keyring.Ed25519, keyring.P256} {
					if m.name == "web" && curve != keyring.Ed25519 {
						continue // it is the same DID
					}
					id, err := m.make(pair(curve), "https://a.example")
					if err != nil {
						t.Fatal(err)
					}
					keep(id)
					add(t, s, id)
					ids = append(ids, id)
				}
			}
			restarted, err := identity.NewSet(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			for name, s := range map[string]*identity.Set{"as added": s, "restarted": restarted} {
				t.Run(name, func(t *testing.T) {
					keyringtest.TestKeys(t, s, heldBy(t, ids...)...)
					for _, id := range ids {
						got, err := s.Resolve(t.Context(), id.DID())
						if err != nil {
							t.Fatal(err)
						}
						a, errA := got.MarshalJSON()
						b, errB := id.Document().MarshalJSON()
						if errA != nil || errB != nil || string(a) != string(b) {
							t.Errorf("document %s, want %s", a, b)
						}
						member, err := s.Get(t.Context(), id.DID())
						if err != nil || !slices.Equal(member.Handles, id.Handles()) || member.DID != id.DID() || !member.Retired.IsZero() {
							t.Errorf("%+v, %v; want %v", member, err, id.Handles())
						}
					}
				})
			}
		})
	}
}

// DIDs of one key have a handle of it for each use.
func TestSetOneKey(t *testing.T) {
	h := newHost()
	s := h.start(t)
	var ids []*identity.Identity
	for _, curve := range []keyring.Curve{keyring.Ed25519, keyring.P256, keyring.X25519, keyring.Secp256k1} {
		key, err := identity.Key(identity.Single(generate(t, curve)))
		ids = append(ids, h.made(t, key, err))
		jwk, err := identity.JWK(identity.Single(generate(t, curve)))
		if curve == keyring.Ed25519 {
			jwk, err = identity.JWK(identity.Pair{Sign: generate(t, curve)})
		}
		ids = append(ids, h.made(t, jwk, err))
	}
	add(t, s, ids...)
	keyringtest.TestKeys(t, s, heldBy(t, ids...)...)
}

func TestSetConfig(t *testing.T) {
	h := newHost()
	for _, cfg := range []identity.SetConfig{{}, {Records: h.records}, {Keys: h.ring}} {
		if _, err := identity.NewSet(t.Context(), cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}

func TestRetire(t *testing.T) {
	h := newHost()
	s := h.start(t)
	for i, id := range []*identity.Identity{h.peer2(t), h.peer4(t), h.web(t, "example.org")} {
		stays := h.peer2(t)
		add(t, s, id, stays)
		before, err := s.Get(t.Context(), id.DID())
		if err != nil {
			t.Fatal(err)
		}
		retired, until := h.clock.Now(), h.clock.Now().Add(time.Hour)
		if err := s.Retire(t.Context(), did.Canonical(id.DID()), until); err != nil {
			t.Fatal(err)
		}
		other := h.start(t)
		if err := s.Add(t.Context(), id, identity.Settings{}); !errors.Is(err, identity.ErrRetired) {
			t.Errorf("Add of a retired one: %v", err)
		}
		h.clock.pass(time.Hour - 1)
		works(t, s, id, true)
		works(t, other, id, true)
		h.clock.pass(1)
		// Before anything is read again, and after that.
		works(t, s, id, false)
		works(t, other, id, false)
		works(t, h.start(t), id, false)
		h.clock.pass(time.Minute)
		works(t, s, id, false)
		works(t, s, stays, true)

		got, err := s.Get(t.Context(), id.DID())
		if err != nil || !got.Retired.Equal(retired) || !got.Until.Equal(until) || !got.Created.Equal(before.Created) || got.Version <= before.Version || !slices.Equal(got.Handles, before.Handles) {
			t.Errorf("%+v, %v; was %+v", got, err, before)
		}
		// Its keys stay taken: by them, others would know who it was.
		if err := s.Add(t.Context(), sameKeys(t, h, id, fmt.Sprintf("did:web:%d.example", i)), identity.Settings{}); !errors.Is(err, identity.ErrShared) {
			t.Errorf("its keys again: %v", err)
		}
		// More time.
		if err := s.Retire(t.Context(), id.DID(), h.clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		works(t, s, id, true)
		if again, err := s.Get(t.Context(), id.DID()); err != nil || !again.Retired.Equal(retired) {
			t.Errorf("%+v, %v", again, err)
		}
	}
	for name, id := range map[string]string{"unknown": "did:example:a", "nothing": "", "no DID": "#a"} {
		if err := s.Retire(t.Context(), id, h.clock.Now()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sameKeys is another identity with the keys of one.
func sameKeys(t testing.TB, h *host, id *identity.Identity, web string) *identity.Identity {
	t.Helper()
	kids := id.KIDs()
	sign, err := h.ring.Key(kids[0])
	if err != nil {
		t.Fatal(err)
	}
	agree, err := h.ring.Key(kids[1])
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.Web(web, identity.Pair{Sign: sign, Agree: agree})
	return h.made(t, other, err)
}

func TestRemove(t *testing.T) {
	h := newHost()
	s := h.start(t)
	for _, id := range []*identity.Identity{h.peer2(t), h.peer4(t), h.web(t, "example.org")} {
		stays := h.peer2(t)
		add(t, s, id, stays)
		if err := s.Remove(t.Context(), did.Canonical(id.DID())); err != nil {
			t.Fatal(err)
		}
		works(t, s, id, false)
		works(t, h.start(t), id, false)
		works(t, s, stays, true)
		if _, err := s.Get(t.Context(), id.DID()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get: %v", err)
		}
		if err := s.Remove(t.Context(), id.DID()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Remove twice: %v", err)
		}
		if err := s.Retire(t.Context(), id.DID(), h.clock.Now()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Retire: %v", err)
		}
		h.clock.pass(time.Minute)
		works(t, s, id, false)
		add(t, s, id)
		works(t, s, id, true)
		works(t, h.start(t), id, true)
		h.clock.pass(time.Minute)
		works(t, s, id, true)
		if member, err := s.Get(t.Context(), id.DID()); err != nil || !member.Created.Equal(h.clock.Now().Add(-time.Minute)) {
			t.Errorf("%+v, %v", member, err)
		}
	}
}

// Add is for each start of a program: it writes what has changed.
func TestAddAgain(t *testing.T) {
	h := newHost()
	s := h.start(t)
	pair := software(t, keyring.Ed25519)
	web := func(endpoint string) *identity.Identity {
		id, err := identity.Web("did:web:example.org", pair, endpoint)
		return h.made(t, id, err)
	}
	get := func() identity.Member {
		t.Helper()
		m, err := s.Get(t.Context(), "did:web:example.org")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	settings := identity.Settings{Party: "alice", Shares: store.Shares{
		Inbox: store.Share{Items: 10, Bytes: 1 << 40}, Outbox: store.Share{Items: 3},
	}}
	if err := s.Add(t.Context(), web("https://a.example"), settings); err != nil {
		t.Fatal(err)
	}
	first := get()
	if first.Settings != settings {
		t.Errorf("%+v", first.Settings)
	}
	for _, tt := range []struct {
		name     string
		endpoint string
		settings identity.Settings
		written  bool
	}{
		{"the same", "https://a.example", settings, false},
		{"another endpoint", "https://b.example", settings, true},
		{"the same again", "https://b.example", settings, false},
		{"no limits", "https://b.example", identity.Settings{Party: "alice"}, true},
		{"no party", "https://b.example", identity.Settings{}, true},
	} {
		h.clock.pass(time.Minute)
		before := get()
		if err := s.Add(t.Context(), web(tt.endpoint), tt.settings); err != nil {
			t.Fatal(err)
		}
		after := get()
		if written := after.Version != before.Version; written != tt.written {
			t.Errorf("%s: written %t", tt.name, written)
		}
		if !after.Created.Equal(first.Created) {
			t.Errorf("%s: created %v, was %v", tt.name, after.Created, first.Created)
		}
		if got := s.Shares("did:web:example.org"); got != tt.settings.Shares || after.Settings != tt.settings {
			t.Errorf("%s: %+v, kept %+v", tt.name, got, after.Settings)
		}
		doc, err := s.Resolve(t.Context(), "did:web:example.org")
		if err != nil || doc.DIDCommServices()[0].URI != tt.endpoint {
			t.Errorf("%s: %v, %v", tt.name, doc, err)
		}
	}
	// Other keys: the former ones are gone.
	old, pair2 := web("https://b.example"), software(t, keyring.P256)
	id, err := identity.Web("did:web:example.org", identity.Pair{Sign: pair2.Sign, Agree: pair2.Agree, SignName: "did:web:a#s", AgreeName: "did:web:a#a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"did:web:a#s": pair2.Sign, "did:web:a#a": pair2.Agree} {
		if err := h.ring.Add(name, key); err != nil {
			t.Fatal(err)
		}
	}
	add(t, s, id)
	keyringtest.TestKeys(t, s, heldBy(t, id)...)
	add(t, s, sameKeys(t, h, old, "did:web:b.example")) // nobody has its keys any more
}

func TestAddRefused(t *testing.T) {
	h := newHost()
	s := h.start(t)
	a := h.peer2(t)
	add(t, s, a)

	missing, err := identity.Peer2(software(t, keyring.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	sign, agree := generate(t, keyring.Ed25519), generate(t, keyring.X25519)
	taken := a.KIDs()
	wrong, err := identity.Peer2(identity.Pair{Sign: sign, Agree: agree, SignName: taken[0], AgreeName: taken[1]})
	if err != nil {
		t.Fatal(err)
	}
	crossed, err := identity.Peer2(identity.Pair{Sign: sign, Agree: agree, SignName: taken[1], AgreeName: taken[0]})
	if err != nil {
		t.Fatal(err)
	}
	signing, err := h.ring.Key(taken[0])
	if err != nil {
		t.Fatal(err)
	}
	x, err := signing.X25519()
	if err != nil {
		t.Fatal(err)
	}
	other, err := identity.Web("did:web:example.org", identity.Pair{Sign: sign, Agree: x})
	derived := h.made(t, other, err)
	for name, tt := range map[string]struct {
		id  *identity.Identity
		err error
	}{
		"keys that are nowhere":              {missing, identity.ErrHandle},
		"names of other keys":                {wrong, identity.ErrHandle},
		"names the wrong way":                {crossed, identity.ErrHandle},
		"keys of another":                    {sameKeys(t, h, a, "did:web:example.com"), identity.ErrShared},
		"a key that another is derived from": {derived, identity.ErrShared},
	} {
		if err := s.Add(t.Context(), tt.id, identity.Settings{}); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		works(t, s, tt.id, false)
		works(t, h.start(t), tt.id, false)
	}
	broken := errors.New("the service is away")
	away, err := identity.NewSet(t.Context(), identity.SetConfig{Records: h.records, Keys: faultyKeys{broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Add(t.Context(), a, identity.Settings{}); !errors.Is(err, broken) || errors.Is(err, identity.ErrHandle) {
		t.Errorf("a service that is away: %v", err)
	}
	if _, err := away.KeyAgreement(t.Context(), a.KIDs()[1]); !errors.Is(err, broken) {
		t.Errorf("a service that is away: %v", err)
	}
}

type faultyKeys struct{ err error }

func (f faultyKeys) KeyAgreement(context.Context, string) (ecdh.KeyExchanger, error) {
	return nil, f.err
}
func (f faultyKeys) Signer(context.Context, string) (crypto.Signer, error) { return nil, f.err }

// Of processes that add two identities with one key at the same time, not both succeed.
func TestSharedAtOnce(t *testing.T) { testSharedAtOnce(t, newHost(), 50) }

func testSharedAtOnce(t *testing.T, h *host, rounds int) {
	both := 0
	for i := range rounds {
		a := h.peer2(t)
		b := sameKeys(t, h, a, fmt.Sprintf("did:web:%d.example", i))
		first, second := h.start(t), h.start(t)
		var errA, errB error
		var g sync.WaitGroup
		g.Go(func() { errA = first.Add(t.Context(), a, identity.Settings{}) })
		g.Go(func() { errB = second.Add(t.Context(), b, identity.Settings{}) })
		g.Wait()
		if errA == nil && errB == nil {
			t.Fatal("both were added")
		}
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, identity.ErrShared) {
				t.Fatal(err)
			}
		}
		if errA != nil && errB != nil {
			both++
		}
		restarted := h.start(t)
		works(t, restarted, a, errA == nil)
		works(t, restarted, b, errB == nil)
	}
	t.Logf("in %d of %d rounds both were refused", both, rounds)
}

// Identities of one party, and no others, belong together.
func TestParty(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	first := h.peer4(t)
	moved, another := sameKeys(t, h, first, "did:web:moved.example"), sameKeys(t, h, first, "did:web:another.example")
	other, alone := h.peer2(t), h.peer2(t)
	for _, tt := range []struct {
		id    *identity.Identity
		party string
		err   error
	}{
		{first, "alice", nil},
		{moved, "", identity.ErrShared},
		{moved, "bob", identity.ErrShared},
		{moved, "alice", nil},
		{another, "bob", identity.ErrShared},
		{another, "alice", nil},
		{other, "bob", nil},
		{alone, "", nil},
		{moved, "bob", identity.ErrShared},
	} {
		if err := s.Add(ctx, tt.id, identity.Settings{Party: tt.party}); !errors.Is(err, tt.err) {
			t.Errorf("%s of %q: %v, want %v", tt.id.DID(), tt.party, err, tt.err)
		}
	}
	if err := s.Retire(ctx, first.DID(), h.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*identity.Set{"as added": s, "restarted": h.start(t)} {
		for _, tt := range []struct {
			a, b *identity.Identity
			want bool
		}{
			{first, first, true},
			{first, moved, true},
			{another, moved, true},
			{first, other, false},
			{first, alone, false},
			{alone, alone, true},
			{alone, other, false},
		} {
			for _, pair := range [][2]string{{tt.a.DID(), tt.b.DID()}, {tt.b.DID(), did.Canonical(tt.a.DID())}} {
				if got, err := s.Related(ctx, pair[0], pair[1]); err != nil || got != tt.want {
					t.Errorf("%s: %s and %s: %t, %v; want %t", name, pair[0], pair[1], got, err, tt.want)
				}
			}
		}
	}
	keyringtest.TestKeys(t, s, heldBy(t, first, moved, another, other, alone)...)
	h.clock.pass(time.Hour)
	if got, err := s.Related(ctx, first.DID(), moved.DID()); err != nil || got {
		t.Errorf("with one that has ended: %t, %v", got, err)
	}
}

// A message for one tenant in a forward for another one is opened only if both are one
// party. Otherwise anybody could find out by a forward that both are of one agent.
func TestPartyForwards(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	alice, moved, bob := h.peer2(t), h.peer2(t), h.peer2(t)
	for id, party := range map[*identity.Identity]string{alice: "alice", moved: "alice", bob: "bob"} {
		if err := s.Add(ctx, id, identity.Settings{Party: party}); err != nil {
			t.Fatal(err)
		}
	}
	resolver := identity.Before(s, did.Methods{"peer": didpeer.NewResolver()})
	packer, err := envelope.New(envelope.Config{Keys: s, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: did.Methods{"peer": didpeer.NewResolver()}})
	if err != nil {
		t.Fatal(err)
	}
	const inner = "https://didcomm.org/empty/1.0/empty"
	for _, tt := range []struct {
		hop, to *identity.Identity
		opened  bool
	}{{alice, alice, true}, {alice, moved, true}, {alice, bob, false}, {bob, moved, false}} {
		m := &message.Message{ID: "1", Type: inner, To: []string{tt.to.DID()}}
		sealed, err := theirs.Pack(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := theirs.Forward(ctx, sealed[0], []string{tt.hop.DID()})
		if err != nil {
			t.Fatal(err)
		}
		u, err := packer.Unpack(ctx, wrapped.Data)
		if err != nil {
			t.Fatal(err)
		}
		if opened := u.Message.Type == inner; opened != tt.opened || opened != u.Metadata.ReWrappedInForward {
			t.Errorf("a message for %s in a forward for %s: opened %t", tt.to.DID(), tt.hop.DID(), opened)
		}
	}
}

// A message for one tenant that names another one is opened only if both are one party.
func TestPartyOpens(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	alice, moved, bob := h.peer2(t), h.peer2(t), h.peer2(t)
	for id, party := range map[*identity.Identity]string{alice: "alice", moved: "alice", bob: "bob"} {
		if err := s.Add(ctx, id, identity.Settings{Party: party}); err != nil {
			t.Fatal(err)
		}
	}
	resolver := identity.Before(s, did.Methods{"peer": didpeer.NewResolver()})
	packer, err := envelope.New(envelope.Config{Keys: s, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		to  *identity.Identity
		err error
	}{
		{alice, nil},
		{moved, nil},
		{bob, envelope.ErrRecipientMismatch},
	} {
		// The sender takes Alice's key for that of another DID.
		key := alice.Document().KeyAgreementKeys()[0]
		doc := &did.Document{ID: tt.to.DID(), VerificationMethod: []did.VerificationMethod{*key}, KeyAgreement: []did.Relationship{{ID: key.ID}}}
		if err := doc.Index(); err != nil {
			t.Fatal(err)
		}
		theirs, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: &cached{doc: doc}})
		if err != nil {
			t.Fatal(err)
		}
		m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", To: []string{tt.to.DID()}}
		sealed, err := theirs.Pack(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := packer.Unpack(ctx, sealed[0].Data); !errors.Is(err, tt.err) {
			t.Errorf("to %s: %v, want %v", tt.to.DID(), err, tt.err)
		}
	}
}

func TestSetForms(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	id := h.peer4(t)
	add(t, s, id)
	short := did.Canonical(id.DID())
	if own, err := s.Own(ctx, short); err != nil || own != id.DID() {
		t.Errorf("Own: %s, %v", own, err)
	}
	for range 2 { // made, and kept
		if doc, err := s.Resolve(ctx, short); err != nil || doc.ID != short {
			t.Errorf("Resolve: %v, %v", doc, err)
		}
		if doc, err := s.Resolve(ctx, id.DID()); err != nil || doc.ID != id.DID() {
			t.Errorf("Resolve: %v, %v", doc, err)
		}
	}
	for _, kid := range []string{short + "#key-2", id.DID() + "#key-1", id.DID() + "?a#key-2", id.DID(), "#key-2", ""} {
		if _, err := s.KeyAgreement(ctx, kid); !errors.Is(err, envelope.ErrNoKey) {
			t.Errorf("KeyAgreement(%s): %v", kid, err)
		}
	}
	// A Packer opens all forms of the key id.
	resolver := identity.Before(s, did.Methods{"peer": didpeer.NewResolver()})
	ours, err := envelope.New(envelope.Config{Keys: s, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := envelope.New(envelope.Config{Keys: keyring.New(), Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{id.DID(), short, short + "#key-2"} {
		m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", To: []string{to}}
		sealed, err := theirs.Pack(ctx, m, envelope.To(to))
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := ours.Unpack(ctx, sealed[0].Data); err != nil || opened.OpenedWith != id.DID()+"#key-2" {
			t.Errorf("for %s: %+v, %v", to, opened, err)
		}
	}
}

func TestList(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	var ids []*identity.Identity
	for range 12 {
		id := h.peer2(t)
		add(t, s, id)
		ids = append(ids, id)
		h.clock.pass(time.Millisecond)
	}
	for _, i := range []int{2, 3, 4, 5, 11} {
		if err := s.Remove(ctx, ids[i].DID()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Retire(ctx, ids[0].DID(), h.clock.Now()); err != nil {
		t.Fatal(err)
	}
	want := []string{ids[1].DID(), ids[6].DID(), ids[7].DID(), ids[8].DID(), ids[9].DID(), ids[10].DID(), ids[0].DID()}
	for n := 1; n <= 8; n++ {
		var got []string
		for after := uint64(0); ; {
			list, err := s.List(ctx, after, n)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				got, after = append(got, m.DID), m.Version
			}
			if len(list) < n {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", n, got, want)
		}
	}
	if list, err := s.List(ctx, 0, 0); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	// In the order in which they were added, for a relative kid.
	for n := range 8 {
		got, err := s.DIDs(ctx, n)
		if err != nil || !slices.Equal(got, want[:6][:min(n, 6)]) {
			t.Errorf("DIDs(%d) = %q, %v", n, got, err)
		}
	}
}

// The order of DIDs is that in which they were added, whatever was changed since, and in
// each process.
func TestDIDs(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	var want []string
	for range 10 {
		id := h.peer2(t)
		add(t, s, id)
		want = append(want, id.DID())
		h.clock.pass(time.Millisecond)
	}
	for _, i := range []int{7, 3, 0} {
		if err := s.Retire(ctx, want[i], h.clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*identity.Set{s, h.start(t)} {
		if got, err := s.DIDs(ctx, 100); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

// What a Set says of one DID does not depend on the others that it has.
func TestNeverLinkable(t *testing.T) {
	alone, many := newHost(), newHost()
	many.clock = alone.clock
	id := alone.web(t, "example.org")
	many.made(t, id, nil)
	one, all := alone.start(t), many.start(t)
	for range 20 {
		add(t, all, many.peer2(t), many.peer4(t))
	}
	add(t, one, id)
	add(t, all, id)
	for range 20 {
		other := many.peer2(t)
		add(t, all, other)
		if err := all.Retire(t.Context(), other.DID(), many.clock.Now()); err != nil {
			t.Fatal(err)
		}
	}
	unknown, err := identity.Peer2(software(t, keyring.Ed25519))
	if err != nil {
		t.Fatal(err)
	}
	says := func(s *identity.Set) (said []string) {
		ctx := t.Context()
		say := func(v any, err error) { said = append(said, fmt.Sprint(v, " ", err)) }
		for _, who := range []*identity.Identity{id, unknown} {
			own, err := s.Own(ctx, who.DID())
			say(own, err)
			say(s.Shares(who.DID()), nil)
			related, err := s.Related(ctx, who.DID(), "did:web:nobody.example")
			say(related, err)
			doc, err := s.Resolve(ctx, who.DID())
			if err == nil {
				text, err := doc.MarshalJSON()
				say(string(text), err)
			} else {
				say(nil, err)
			}
			for _, kid := range who.KIDs() {
				for _, kid := range []string{kid, kid + "x", who.DID()} {
					signer, err := s.Signer(ctx, kid)
					if err == nil {
						say(signer.Public(), nil)
					} else {
						say(nil, err)
					}
					agree, err := s.KeyAgreement(ctx, kid)
					if err == nil {
						say(agree.PublicKey().Bytes(), nil)
					} else {
						say(nil, err)
					}
				}
			}
		}
		return said
	}
	if a, b := says(one), says(all); !slices.Equal(a, b) {
		t.Errorf("alone %q\namong others %q", a, b)
	}
	// Nor does the error of a key that another has name that one.
	theirs := many.peer2(t)
	add(t, all, theirs)
	err = all.Add(t.Context(), sameKeys(t, many, theirs, "did:web:tenant.example"), identity.Settings{})
	if !errors.Is(err, identity.ErrShared) || err.Error() != identity.ErrShared.Error()+": did:web:tenant.example" {
		t.Error(err)
	}
}

func TestSetAtOnce(t *testing.T) {
	h := newHost()
	processes := []*identity.Set{h.start(t), h.start(t)}
	stays := h.peer2(t)
	add(t, processes[0], stays)
	h.clock.pass(time.Minute)
	var g sync.WaitGroup
	for i := range 8 {
		s := processes[i%2]
		id := h.peer4(t)
		g.Go(func() {
			for range 20 {
				add(t, s, id)
				works(t, s, id, true)
				works(t, s, stays, true)
				if err := s.Retire(t.Context(), id.DID(), h.clock.Now()); err != nil {
					t.Error(err)
				}
				works(t, s, id, false)
				h.clock.pass(time.Second)
				if err := s.Remove(t.Context(), id.DID()); err != nil {
					t.Error(err)
				}
				works(t, s, id, false)
			}
		})
	}
	g.Wait()
}

func TestBefore(t *testing.T) {
	h := newHost()
	s, ctx := h.start(t), t.Context()
	id, alone := h.web(t, "example.org"), h.web(t, "example.com")
	add(t, s, id)
	theirs := &did.Document{ID: "did:web:theirs.example"}
	next := &cached{doc: theirs}
	for name, own := range map[string]did.Resolver{"set": s, "identity": id} {
		r := identity.Before(own, next)
		refresher, ok := r.(interface {
			Refresh(context.Context, string) (*did.Document, error)
		})
		if !ok {
			t.Fatal("no Refresh")
		}
		for what, resolve := range map[string]func(context.Context, string) (*did.Document, error){"resolved": r.Resolve, "refreshed": refresher.Refresh} {
			next.asked = nil
			if doc, err := resolve(ctx, id.DID()); err != nil || doc.ID != id.DID() || next.asked != nil {
				t.Errorf("%s: %v, %v, asked %q", name, doc, err, next.asked)
			}
			for _, other := range []string{theirs.ID, alone.DID()} {
				if doc, err := resolve(ctx, other); err != nil || doc != theirs {
					t.Errorf("%s, %s: %v, %v", name, other, doc, err)
				}
			}
			if want := []string{what + " " + theirs.ID, what + " " + alone.DID()}; !slices.Equal(next.asked, want) {
				t.Errorf("%s: asked %q, want %q", name, next.asked, want)
			}
		}
	}
	// A resolver without Refresh looks anew each time.
	next.asked = nil
	r, ok := identity.Before(s, did.ResolverFunc(next.Resolve)).(interface {
		Refresh(context.Context, string) (*did.Document, error)
	})
	if !ok {
		t.Fatal("no Refresh")
	}
	if doc, err := r.Refresh(ctx, theirs.ID); err != nil || doc != theirs || len(next.asked) != 1 {
		t.Errorf("%v, %v, asked %q", doc, err, next.asked)
	}
}

// cached resolves all DIDs to one document.
type cached struct {
	doc   *did.Document
	asked []string
}

func (c *cached) Resolve(_ context.Context, id string) (*did.Document, error) {
	c.asked = append(c.asked, "resolved "+id)
	return c.doc, nil
}

func (c *cached) Refresh(_ context.Context, id string) (*did.Document, error) {
	c.asked = append(c.asked, "refreshed "+id)
	return c.doc, nil
}
