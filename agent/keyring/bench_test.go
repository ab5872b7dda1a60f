package keyring_test

import (
	"fmt"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
)

// BenchmarkIdentities adds and deletes a key of a new DID, and looks for a DID, in a sealed
// keyring of 1, 1,000 and 100,000 DIDs: the times of each operation must be alike.
func BenchmarkIdentities(b *testing.B) {
	key, err := keyring.Generate(keyring.X25519)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{1, 1000, 100_000} {
		all := keyring.New()
		for i := range n {
			if err := all.Add(fmt.Sprintf("did:example:tenant-%06d#key-1", i), key); err != nil {
				b.Fatal(err)
			}
		}
		ring, err := keyring.Create(b.Context(), store.NewSealedKeys(), keyring.None())
		if err != nil {
			b.Fatal(err)
		}
		if err := ring.AddAll(b.Context(), all); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("add-and-delete/%d", n), func(b *testing.B) {
			for b.Loop() {
				if err := ring.Add(b.Context(), "did:example:new#key-1", key); err != nil {
					b.Fatal(err)
				}
				if err := ring.Delete(b.Context(), "did:example:new#key-1"); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("own/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := ring.Own(b.Context(), "did:example:tenant-000000"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
