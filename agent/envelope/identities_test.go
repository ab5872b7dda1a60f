package envelope_test

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// host is an agent of many DIDs, each with one key, and messages for some of those
// that were added last.
type host struct {
	*world
	keys  *keyring.Keyring
	cases []hostCase
}

// hostCase is a message for the host. want is the error of opening it.
type hostCase struct {
	name string
	data []byte
	want error
}

// newHost makes a host of n DIDs besides those that the messages are for.
func newHost(t testing.TB, n int) *host {
	t.Helper()
	h := &host{world: newWorld(t), keys: keyring.New()}
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public().(*ecdh.PublicKey)
	hold := func(kid string) {
		if err := h.keys.Add(kid, key); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		id := fmt.Sprintf("did:example:tenant-%06d", i)
		hold(id + "#x25519")
		if i < envelope.MaxRelativeDIDs { // those whose documents are asked for
			h.docs[id] = documentOf(t, id, "#x25519", public)
		}
	}
	const last, another = "did:example:last", "did:example:another"
	for _, id := range []string{last, another} {
		h.docs[id] = documentOf(t, id, "#x25519", public)
		hold(id + "#x25519")
	}
	peer2, err := didpeer.New2([]didpeer.Key{{Purpose: didpeer.KeyAgreement, Public: public}})
	if err != nil {
		t.Fatal(err)
	}
	hold(peer2 + "#key-1")
	multibase, _, _ := strings.Cut(strings.TrimPrefix(peer2, "did:peer:2.E"), ".")
	peer4, err := didpeer.New4(documentOf(t, "", "#x25519", public))
	if err != nil {
		t.Fatal(err)
	}
	hold(peer4 + "#x25519")
	short, ok := didpeer.Short(peer4)
	if !ok {
		t.Fatal("no short form")
	}
	h.other = didpeer.NewResolver()

	strangers := make([]string, 999)
	recipients := make([]peerRecipient, envelope.DefaultMaxRecipients)
	for i := range strangers {
		strangers[i] = fmt.Sprintf("did:example:stranger-%d", i)
	}
	for i := range recipients {
		recipients[i] = peerRecipient{strangers[i] + "#x25519", public}
	}
	add := func(name string, want error, to []string, recipients ...peerRecipient) {
		h.cases = append(h.cases, hostCase{name, peerJWE{
			plaintext: text(t, h.alice, nil, map[string]any{"to": to}),
			from:      h.alice.sender("x25519"), to: recipients,
		}.seal(t), want})
	}
	add("kid", nil, []string{last}, peerRecipient{last + "#x25519", public})
	add("alias of peer 2", nil, []string{peer2}, peerRecipient{peer2 + "#" + multibase, public})
	add("alias of peer 4", nil, []string{short}, peerRecipient{short + "#x25519", public})
	add("1000 in to", nil, append(slices.Clone(strangers), last), peerRecipient{last + "#x25519", public})
	add("1000 in to and another DID of ours", nil, slices.Insert(slices.Clone(strangers), envelope.DefaultMaxRecipients-1, another),
		peerRecipient{last + "#x25519", public})
	add("1000 in to and no DID of ours", envelope.ErrRecipientMismatch, append(slices.Clone(strangers), "did:example:x"),
		peerRecipient{last + "#x25519", public})
	add("100 recipients and no DID of ours", envelope.ErrNoKey, strangers, recipients...)
	byKey := "did:key:" + multibase
	add("did:key", nil, []string{byKey}, peerRecipient{byKey, public})
	add("did:key of many, to one of them", nil, []string{last}, peerRecipient{byKey, public})
	add("did:key and 1000 in to", envelope.ErrRecipientMismatch, strangers, peerRecipient{byKey, public})
	others := make([]peerRecipient, envelope.DefaultMaxRecipients)
	for i := range others {
		id, _ := didKeyOf(t, newAgent(t, "did:example:x", "ed25519").sign["ed25519"].(ed25519.PrivateKey).Public())
		others[i] = peerRecipient{id, public}
	}
	add("100 did:keys of others", envelope.ErrNoKey, strangers, others...)
	return h
}

// documentOf lists one key for key agreement.
func documentOf(t testing.TB, id, kid string, public *ecdh.PublicKey) *did.Document {
	t.Helper()
	m, err := did.NewVerificationMethod(id+kid, id, did.TypeJSONWebKey2020, public)
	if err != nil {
		t.Fatal(err)
	}
	doc := &did.Document{ID: id, VerificationMethod: []did.VerificationMethod{m}, KeyAgreement: []did.Relationship{{ID: id + kid}}}
	if id != "" {
		if err := doc.Index(); err != nil {
			t.Fatal(err)
		}
	}
	return doc
}

// counter counts what Keys is asked.
type counter struct {
	*keyring.Keyring
	keys, owns, lists, finds int
}

func (c *counter) KeyAgreement(ctx context.Context, kid string) (ecdh.KeyExchanger, error) {
	c.keys++
	return c.Keyring.KeyAgreement(ctx, kid)
}

func (c *counter) Own(ctx context.Context, id string) (string, error) {
	c.owns++
	return c.Keyring.Own(ctx, id)
}

func (c *counter) FindKey(ctx context.Context, multikey string) (string, error) {
	c.finds++
	return c.Keyring.FindKey(ctx, multikey)
}

func (c *counter) DIDs(ctx context.Context, n int) ([]string, error) {
	c.lists += n
	return c.Keyring.DIDs(ctx, n)
}

// TestManyIdentities: what Keys and the Resolver are asked does not depend on how many
// DIDs are ours, and is bounded whatever a message names.
func TestManyIdentities(t *testing.T) {
	type cost struct{ keys, owns, lists, finds, resolved int }
	measure := func(n int) map[string]cost {
		h, costs := newHost(t, n), make(map[string]cost)
		for _, c := range h.cases {
			keys := &counter{Keyring: h.keys}
			p := h.packer(t, h.bob, func(cfg *envelope.Config) { cfg.Keys = keys })
			h.took()
			if _, err := p.Unpack(t.Context(), c.data); !errors.Is(err, c.want) {
				t.Errorf("%s of %d: %v, want %v", c.name, n, err, c.want)
			}
			costs[c.name] = cost{keys.keys, keys.owns, keys.lists, keys.finds, len(h.took())}
		}
		return costs
	}
	one, many := measure(1), measure(10_000)
	for name, want := range map[string]cost{
		"kid":                                {keys: 1, resolved: 1},
		"alias of peer 2":                    {keys: 2, owns: 1, resolved: 2},
		"alias of peer 4":                    {keys: 2, owns: 1, resolved: 2},
		"1000 in to":                         {keys: 1, resolved: 1},
		"1000 in to and another DID of ours": {keys: 1, owns: 100, resolved: 1},
		"1000 in to and no DID of ours":      {keys: 1, owns: 100, resolved: 1},
		"100 recipients and no DID of ours":  {keys: 100, owns: 100},
		"did:key":                            {keys: 2, owns: 1, finds: 1, resolved: 1},
		"did:key of many, to one of them":    {keys: 3, owns: 2, finds: 1, resolved: 2},
		"did:key and 1000 in to":             {keys: 2, owns: 101, finds: 1, resolved: 1},
		"100 did:keys of others":             {keys: 100, owns: 100, finds: 100},
	} {
		if one[name] != want || many[name] != want {
			t.Errorf("%s: with one DID %+v, with 10,000 %+v, want %+v", name, one[name], many[name], want)
		}
	}
}

// TestRelativeKIDOfMany: a relative kid is searched among the first few of our DIDs.
func TestRelativeKIDOfMany(t *testing.T) {
	h := newHost(t, 1000)
	tenant := newAgent(t, "did:example:tenant-000000", "x25519-2") // the first to be added
	h.docs[tenant.did] = tenant.doc
	if err := h.keys.Add(tenant.kid("x25519-2"), tenant.ecdh["x25519-2"]); err != nil {
		t.Fatal(err)
	}
	for kid, want := range map[string]error{"#x25519-2": nil, "#none": envelope.ErrNoKey} {
		keys := &counter{Keyring: h.keys}
		p := h.packer(t, h.bob, func(cfg *envelope.Config) { cfg.Keys = keys })
		jwe := peerJWE{plaintext: text(t, nil, nil, nil)}
		for range 100 {
			jwe.to = append(jwe.to, peerRecipient{kid, tenant.ecdh["x25519-2"].PublicKey()})
		}
		h.took()
		if _, err := p.Unpack(t.Context(), jwe.seal(t)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", kid, err, want)
		}
		resolved := len(h.took())
		if keys.lists != envelope.MaxRelativeDIDs || resolved != envelope.MaxRelativeDIDs || keys.owns != 0 || keys.keys > 2 {
			t.Errorf("%s: %d DIDs asked for, %d resolved, %d Own, %d keys", kid, keys.lists, resolved, keys.owns, keys.keys)
		}
	}
}

// TestForwardOfMany: a forward of many attachments, each for many keys, makes us look
// for no more keys than a single envelope can name.
func TestForwardOfMany(t *testing.T) {
	w := newWorld(t)
	keys := &counter{Keyring: w.bob.keys}
	bob := w.packer(t, w.bob, func(cfg *envelope.Config) { cfg.Keys = keys })
	strangers := make([]peerRecipient, envelope.DefaultMaxRecipients)
	for i := range strangers {
		strangers[i] = peerRecipient{fmt.Sprintf("did:example:stranger-%d#x25519", i), w.eve.ecdh["x25519"].PublicKey()}
	}
	for _, test := range []struct {
		name          string
		recipients, n int
		reWrapped     bool
		keys, owns    int
	}{
		{"each for 100", 100, 200, false, 101, 100},
		{"each for one", 1, 900, false, 2, 1},
		{"ours after 99", 1, 99, true, 2, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			other := peerJWE{plaintext: text(t, nil, nil, nil), to: strangers[:test.recipients]}.seal(t)
			list := slices.Repeat([][]byte{other}, test.n)
			list = append(list, peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t))
			var attachments []any
			for i, data := range list {
				attachments = append(attachments, map[string]any{"id": fmt.Sprint(i), "data": map[string]any{"json": json.RawMessage(data)}})
			}
			data := peerJWE{
				plaintext: text(t, nil, []*agent{w.bob}, map[string]any{
					"type": forwardType, "body": map[string]any{"next": "did:example:x"}, "attachments": attachments,
				}),
				to: []peerRecipient{w.bob.recipient("x25519")},
			}.seal(t)
			*keys = counter{Keyring: w.bob.keys}
			u := unpack(t, bob, data)
			if u.Metadata.ReWrappedInForward != test.reWrapped {
				t.Errorf("re-wrapped: %v", u.Metadata.ReWrappedInForward)
			}
			if keys.keys != test.keys || keys.owns != test.owns {
				t.Errorf("%d keys, %d Own, want %d, %d", keys.keys, keys.owns, test.keys, test.owns)
			}
		})
	}
}

// TestForwardForManyKeys: a forward of many envelopes that each mean all keys of a DID of ours
// makes us ask Keys for a bounded number of keys.
func TestForwardForManyKeys(t *testing.T) {
	w := newWorld(t)
	keys := &counter{Keyring: keyring.New()}
	x := w.bob.ecdh["x25519"]
	var attachments []any
	for _, id := range []string{bobDID, "did:example:bob-2", "did:example:bob-3"} {
		if err := keys.Add(id+"#x25519", x); err != nil {
			t.Fatal(err)
		}
		doc := &did.Document{ID: id}
		for i := range 250 {
			kid := fmt.Sprintf("%s#unheld-%d", id, i)
			m, err := did.NewVerificationMethod(kid, id, did.TypeJSONWebKey2020, x.PublicKey())
			if err != nil {
				t.Fatal(err)
			}
			doc.VerificationMethod = append(doc.VerificationMethod, m)
			doc.KeyAgreement = append(doc.KeyAgreement, did.Relationship{ID: kid})
		}
		if err := doc.Index(); err != nil {
			t.Fatal(err)
		}
		w.docs[id] = doc
		inner := peerJWE{plaintext: text(t, nil, nil, nil), to: []peerRecipient{{id, x.PublicKey()}}}.seal(t)
		for range 33 {
			attachments = append(attachments, map[string]any{"data": map[string]any{"json": json.RawMessage(inner)}})
		}
	}
	bob := w.packer(t, w.bob, func(cfg *envelope.Config) { cfg.Keys = keys })
	u := unpack(t, bob, peerJWE{
		plaintext: text(t, nil, []*agent{w.bob}, map[string]any{
			"type": forwardType, "body": map[string]any{"next": "did:example:x"}, "attachments": attachments,
		}),
		to: []peerRecipient{w.bob.recipient("x25519")},
	}.seal(t))
	if want := 4 * envelope.DefaultMaxRecipients; u.Metadata.ReWrappedInForward || keys.keys != want {
		t.Errorf("re-wrapped %t, %d keys asked for, want %d", u.Metadata.ReWrappedInForward, keys.keys, want)
	}
}

// BenchmarkIdentities opens messages with 1, 1,000 and 100,000 DIDs of ours: the times
// of each message must be alike.
func BenchmarkIdentities(b *testing.B) {
	counts := []int{1, 1000, 100_000}
	var hosts []*host
	var packers []*envelope.Packer
	for _, n := range counts {
		h := newHost(b, n)
		hosts = append(hosts, h)
		packers = append(packers, newPacker(b, envelope.Config{Keys: h.keys, Resolver: did.NewCache(h, did.CacheConfig{})}))
	}
	for i, c := range hosts[0].cases {
		for j, n := range counts {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(c.name, " ", "-"), n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := packers[j].Unpack(b.Context(), hosts[j].cases[i].data); !errors.Is(err, c.want) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// parties are keys of DIDs that belong to one party only if same is set.
type parties struct {
	*keyring.Keyring
	same bool
}

func (p parties) Related(_ context.Context, a, b string) (bool, error) { return a == b || p.same, nil }

// TestLayersForTwoParties: the layers of a message are not opened with keys of two parties of
// ours. Otherwise a sender could find out that one agent has the keys of both.
func TestLayersForTwoParties(t *testing.T) {
	w := newWorld(t)
	both := keyring.New()
	for _, a := range []*agent{w.bob, w.carol} {
		if err := both.Add(a.kid("x25519"), a.ecdh["x25519"]); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range [][]*agent{nil, {w.bob, w.carol}} {
		for _, within := range []*agent{w.bob, w.carol} {
			inner := peerJWE{plaintext: text(t, w.alice, to, nil), from: w.alice.sender("x25519"), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)
			data := peerJWE{plaintext: inner, to: []peerRecipient{within.recipient("x25519")}}.seal(t)
			for _, same := range []bool{false, true} {
				p := w.packer(t, w.bob, func(cfg *envelope.Config) { cfg.Keys = parties{both, same} })
				var want error
				if within != w.bob && !same {
					want = envelope.ErrNoKey
				}
				if _, err := p.Unpack(t.Context(), data); !errors.Is(err, want) {
					t.Errorf("for bob within one for %s, same party %t: %v, want %v", within.did, same, err, want)
				}
			}
		}
	}
}
