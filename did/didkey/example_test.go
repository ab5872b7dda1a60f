package didkey_test

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

func Example() {
	// A fixed key, so that the output is known. Use ed25519.GenerateKey instead.
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	id, err := didkey.New(key.Public())
	if err != nil {
		panic(err)
	}
	resolver := did.NewCache(did.Methods{"key": didkey.Resolver{}}, did.CacheConfig{})
	doc, err := resolver.Resolve(context.Background(), id)
	if err != nil {
		panic(err)
	}
	fmt.Println(doc.ID)
	fmt.Println(doc.KeyAgreementKeys()[0].ID)
	// Output:
	// did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp
	// did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp#z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW
}
