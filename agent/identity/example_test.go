package identity_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// Two parties with new keys, of whom one encrypts a message for the other.
func ExamplePeer2() {
	ctx := context.Background()
	resolver := did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})

	party := func(endpoint string) (*identity.Identity, *envelope.Packer) {
		pair, err := identity.Generate(keyring.Ed25519)
		if err != nil {
			log.Fatal(err)
		}
		id, err := identity.Peer2(pair, endpoint)
		if err != nil {
			log.Fatal(err)
		}
		packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
		if err != nil {
			log.Fatal(err)
		}
		return id, packer
	}
	alice, alicePacker := party("https://alice.example/didcomm")
	bob, bobPacker := party("https://bob.example/didcomm")

	m := &message.Message{ID: "1", Type: "https://didcomm.org/empty/1.0/empty", From: alice.DID(), To: []string{bob.DID()}}
	sealed, err := alicePacker.Pack(ctx, m, envelope.From(alice.DID()))
	if err != nil {
		log.Fatal(err)
	}
	opened, err := bobPacker.Unpack(ctx, sealed[0].Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(opened.Message.From == alice.DID(), opened.Metadata.Authenticated)
	fmt.Println(bob.Document().DIDCommServices()[0].URI)
	// Output:
	// true true
	// https://bob.example/didcomm
}

// The private keys of a did:web are sealed in a store, and found there by their key ids
// after a restart.
func ExampleFind() {
	ctx := context.Background()
	const id = "did:web:example.org"
	stored := store.NewSealedKeys() // of sqlstore, to outlive the process
	wrapper := keyring.None()       // or keyring.Passphrase, or a key of a KMS

	first := func() error {
		pair, err := identity.Generate(keyring.P256)
		if err != nil {
			return err
		}
		made, err := identity.Web(id, pair, "https://example.org/didcomm")
		if err != nil {
			return err
		}
		keys, err := made.Keyring()
		if err != nil {
			return err
		}
		ring, err := keyring.Create(ctx, stored, wrapper)
		if err != nil {
			return err
		}
		return ring.AddAll(ctx, keys)
	}
	if err := first(); err != nil {
		log.Fatal(err)
	}

	ring, err := keyring.Open(ctx, stored, wrapper)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := identity.Find(ctx, ring, id+"#key-1", id+"#key-2")
	if err != nil {
		log.Fatal(err)
	}
	again, err := identity.Web(id, pair, "https://example.org/didcomm")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(again.KIDs())
	// Output: [did:web:example.org#key-1 did:web:example.org#key-2]
}

// Two tenants of one agent, of whom one leaves.
func ExampleSet() {
	ctx := context.Background()
	st := store.New(store.Config{}) // of sqlstore, to outlive the process
	ring, err := keyring.Create(ctx, store.NewSealedKeys(), keyring.None())
	if err != nil {
		log.Fatal(err)
	}
	set, err := identity.NewSet(ctx, identity.SetConfig{Records: st.Records(), Keys: ring})
	if err != nil {
		log.Fatal(err)
	}

	tenant := func(name string) *identity.Identity {
		pair, err := identity.Generate(keyring.Ed25519)
		if err != nil {
			log.Fatal(err)
		}
		id, err := identity.Web("did:web:example.org:"+name, pair, "https://example.org/didcomm")
		if err != nil {
			log.Fatal(err)
		}
		// The keys are in the keyring before the identity is in the Set.
		keys, err := id.Keyring()
		if err != nil {
			log.Fatal(err)
		}
		if err := ring.AddAll(ctx, keys); err != nil {
			log.Fatal(err)
		}
		shares := store.Shares{Inbox: store.Share{Items: 1000}}
		if err := set.Add(ctx, id, identity.Settings{Party: name, Shares: shares}); err != nil {
			log.Fatal(err)
		}
		return id
	}
	tenant("alice")
	bob := tenant("bob")

	// Documents of ours are resolved without network.
	resolver := identity.Before(set, did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{}))
	packer, err := envelope.New(envelope.Config{Keys: set, Resolver: resolver})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("bob:", packer.Holds(ctx, bob.DID()))

	// What was sent to Bob before he left is opened for an hour.
	if err := set.Retire(ctx, bob.DID(), time.Now().Add(time.Hour)); err != nil {
		log.Fatal(err)
	}
	members, err := set.List(ctx, 0, 100)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range members {
		fmt.Println(m.DID, "retired:", !m.Retired.IsZero())
	}
	// Output:
	// bob: <nil>
	// did:web:example.org:alice retired: false
	// did:web:example.org:bob retired: true
}
