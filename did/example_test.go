package did_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didjwk"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// One resolver for several DID methods, with a cache. A did:web needs a resolver of
// package didweb, which has to be configured.
func ExampleMethods() {
	resolver := did.NewCache(did.Methods{
		"jwk":  didjwk.Resolver{},
		"key":  didkey.Resolver{},
		"peer": didpeer.NewResolver(),
	}, did.CacheConfig{Lifetime: time.Minute})

	// A fixed key, so that the output is known. Use ed25519.GenerateKey instead.
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public()
	id, err := didpeer.New2(
		[]didpeer.Key{{Purpose: didpeer.Authentication, Public: key}},
		did.NewDIDCommService("", "https://agent.example.com/didcomm"),
	)
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	doc, err := resolver.Resolve(ctx, id)
	if err != nil {
		panic(err)
	}
	for _, m := range doc.AuthenticationKeys() {
		pub, err := m.PublicKey()
		fmt.Printf("%T %v\n", pub, err)
	}
	for _, e := range doc.DIDCommServices() {
		fmt.Println(e.URI, e.Accept)
	}

	_, err = resolver.Resolve(ctx, "did:web:example.com")
	fmt.Println(errors.Is(err, did.ErrMethod))
	// Output:
	// ed25519.PublicKey <nil>
	// https://agent.example.com/didcomm [didcomm/v2]
	// true
}
