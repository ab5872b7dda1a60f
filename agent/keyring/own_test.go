package keyring_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Both forms of a did:peer:4 name the same DID of ours. Own returns the long form, which
// always resolves.
func TestOwnForms(t *testing.T) {
	ctx := t.Context()
	key := generate(t, keyring.X25519)
	long, err := didpeer.New4(&did.Document{VerificationMethod: []did.VerificationMethod{method(t, "#key-1", key)}})
	if err != nil {
		t.Fatal(err)
	}
	short, ok := didpeer.Short(long)
	if !ok {
		t.Fatal("no short form")
	}
	const other = "did:example:other"
	ring, err := keyring.Create(ctx, store.NewSealedKeys(), keyring.None())
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string, want map[string]string, list ...string) {
		t.Helper()
		for id, own := range want {
			got, err := ring.Own(ctx, id)
			if got != own || own == "" && !errors.Is(err, envelope.ErrNoKey) || own != "" && err != nil {
				t.Errorf("%s: Own(%.30s) = %.30q, %v; want %.30q", when, id, got, err, own)
			}
		}
		if got, err := ring.DIDs(ctx, 10); err != nil || !slices.Equal(got, list) {
			t.Errorf("%s: DIDs = %.30q, %v; want %.30q", when, got, err, list)
		}
	}
	add := func(kid string) {
		t.Helper()
		if err := ring.Add(ctx, kid, key); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(kid string) {
		t.Helper()
		if err := ring.Delete(ctx, kid); err != nil {
			t.Fatal(err)
		}
	}
	forged := long + "z"
	check("empty", map[string]string{short: "", long: ""})
	add(short + "#key-1")
	check("short", map[string]string{short: short, long: short, forged: "", other: ""}, short)
	add(other + "#key-1")
	add(long + "#key-1")
	check("both", map[string]string{short: long, long: long, forged: "", other: other}, long, other)
	remove(short + "#key-1")
	check("long", map[string]string{short: long, long: long}, long, other)
	add(long + "#key-2")
	remove(long + "#key-1")
	check("one of two keys", map[string]string{short: long, long: long}, long, other)
	remove(long + "#key-2")
	check("none", map[string]string{short: "", long: "", other: other}, other)
	add(short + "#key-1")
	check("again", map[string]string{short: short, long: short, other: other}, other, short)
}

func method(t *testing.T, id string, key *keyring.Key) did.VerificationMethod {
	t.Helper()
	m, err := did.NewVerificationMethod(id, "", did.TypeJSONWebKey2020, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestFindKey: of several key ids of one key, FindKey returns the one that was added first and
// is still there.
func TestFindKey(t *testing.T) {
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		t.Fatal(err)
	}
	multikey, err := did.FormatMultikey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	ring, err := keyring.Create(ctx, store.NewSealedKeys(), keyring.None())
	if err != nil {
		t.Fatal(err)
	}
	kids := []string{"did:example:c#1", "did:example:a#1", "did:example:b#1"}
	for _, kid := range kids {
		if err := ring.Add(ctx, kid, key); err != nil {
			t.Fatal(err)
		}
	}
	for _, kid := range kids {
		if got, err := ring.FindKey(ctx, multikey); err != nil || got != kid {
			t.Errorf("FindKey = %q, %v; want %q", got, err, kid)
		}
		if err := ring.Delete(ctx, kid); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ring.FindKey(ctx, multikey); !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("FindKey of a deleted key = %q, %v", got, err)
	}
}
