package identity_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// sameKey lends out one key for each use, whatever the name.
type sameKey struct{ sign, agree *keyring.Key }

func (k sameKey) KeyAgreement(context.Context, string) (ecdh.KeyExchanger, error) {
	return k.agree, nil
}
func (k sameKey) Signer(context.Context, string) (crypto.Signer, error) { return k.sign, nil }

// crowd are n tenants of which the last one is real. The others have DIDs, key ids and
// names of keys of the usual length: what a Set keeps of a DID does not depend on whether
// it is one.
type crowd struct {
	*host
	keys envelope.Keys
	last *identity.Identity
}

func newCrowd(t testing.TB, n int) *crowd {
	t.Helper()
	h := newHost()
	h.records = store.NewRecords(store.RecordsConfig{MaxItems: 2 * n, MaxBytes: 4 << 30})
	keys := sameKey{generate(t, keyring.Ed25519), generate(t, keyring.X25519)}
	id, err := identity.Peer2(identity.Pair{
		Sign: keys.sign, Agree: keys.agree,
		SignName: "projects/wallet/keyRings/tenants/cryptoKeys/tenant-0000000-signing", AgreeName: "projects/wallet/keyRings/tenants/cryptoKeys/tenant-0000000-agreement",
	}, "https://agent.example.org/tenants/0000000/didcomm")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{h, keys, id}
	add(t, c.start(t), id)
	list, err := h.records.List(t.Context(), store.Query{Collection: "identity", N: 1})
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	r := list[0]
	for i := range n - 1 {
		other, number := r, fmt.Sprintf("%07d", i+1)
		other.Key = id.DID()[:len(id.DID())-len(number)] + number // not a DID that resolves
		other.Value = bytes.ReplaceAll(bytes.ReplaceAll(r.Value, []byte(id.DID()), []byte(other.Key)), []byte("0000000"), []byte(number))
		other.Index, other.Version = []string{keyName("a " + number), keyName("b " + number)}, 0
		if _, err := h.records.Put(t.Context(), other); err != nil {
			t.Fatal(err)
		}
	}
	h.clock.pass(time.Minute) // so that the records are old
	return c
}

// keyName is an index name of a key, as the records have it.
func keyName(key string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(key))) }

func (c *crowd) start(t testing.TB) *identity.Set {
	t.Helper()
	s, err := identity.NewSet(t.Context(), identity.SetConfig{Records: c.records, Keys: c.keys, Now: c.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crowds are the numbers of identities that are compared.
var crowds = []int{1, 1_000, 100_000}

// TestMemory: 100,000 identities take less than 100 MB.
func TestMemory(t *testing.T) {
	const n = 10_000
	c := newCrowd(t, n)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	s := c.start(t)
	each := (heap() - before) / n
	if _, err := s.KeyAgreement(t.Context(), c.last.KIDs()[1]); err != nil {
		t.Error(err)
	}
	if each > 1000 {
		t.Errorf("%d bytes for each identity", each)
	}
	t.Logf("%d bytes for each identity", each)
}

// BenchmarkSet finds keys and DIDs of ours, and of others, among many of ours.
func BenchmarkSet(b *testing.B) {
	for _, n := range crowds {
		c := newCrowd(b, n)
		s, ctx := c.start(b), b.Context()
		agreement, id := c.last.KIDs()[1], c.last.DID()
		stranger, err := identity.Peer2(software(b, keyring.Ed25519))
		if err != nil {
			b.Fatal(err)
		}
		theirs, other := stranger.KIDs()[1], stranger.DID()
		for _, bb := range []struct {
			name string
			call func() error
			want error
		}{
			{"KeyAgreement", func() error { _, err := s.KeyAgreement(ctx, agreement); return err }, nil},
			{"KeyAgreement of another", func() error { _, err := s.KeyAgreement(ctx, theirs); return err }, envelope.ErrNoKey},
			{"Own", func() error { _, err := s.Own(ctx, id); return err }, nil},
			{"Own of another", func() error { _, err := s.Own(ctx, other); return err }, envelope.ErrNoKey},
			{"DIDs", func() error { _, err := s.DIDs(ctx, envelope.MaxRelativeDIDs); return err }, nil},
			{"Resolve", func() error { _, err := s.Resolve(ctx, id); return err }, nil},
		} {
			b.Run(fmt.Sprintf("%s/%d identities", bb.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := bb.call(); !errors.Is(err, bb.want) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkUnpack opens a message for one of many identities.
func BenchmarkUnpack(b *testing.B) {
	for _, n := range crowds {
		c := newCrowd(b, n)
		s := c.start(b)
		packer, err := envelope.New(envelope.Config{
			Keys: s, Resolver: identity.Before(s, did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})),
		})
		if err != nil {
			b.Fatal(err)
		}
		m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", From: c.last.DID(), To: []string{c.last.DID()}}
		sealed, err := packer.Pack(b.Context(), m, envelope.From(c.last.DID()))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d identities", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := packer.Unpack(b.Context(), sealed[0].Data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkChange adds, retires and removes one of many identities.
func BenchmarkChange(b *testing.B) {
	for _, n := range crowds {
		c := newCrowd(b, n)
		s := c.start(b)
		if err := s.Remove(b.Context(), c.last.DID()); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d identities", n), func(b *testing.B) {
			for b.Loop() {
				err := s.Add(b.Context(), c.last, identity.Settings{})
				if err == nil {
					err = s.Retire(b.Context(), c.last.DID(), c.clock.Now().Add(time.Hour))
				}
				if err == nil {
					err = s.Remove(b.Context(), c.last.DID())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewSet reads all identities, as at a start.
func BenchmarkNewSet(b *testing.B) {
	for _, n := range crowds {
		c := newCrowd(b, n)
		b.Run(fmt.Sprintf("%d identities", n), func(b *testing.B) {
			for b.Loop() {
				c.start(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/identity")
		})
	}
}
