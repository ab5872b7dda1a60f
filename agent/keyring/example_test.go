package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
)

// A keyring hands out handles of its keys, by key id.
func Example() {
	key, err := keyring.Generate(keyring.P256)
	if err != nil {
		log.Fatal(err)
	}
	ring := keyring.New()
	if err := ring.Add("did:example:alice#key-1", key); err != nil {
		log.Fatal(err)
	}

	handle, err := ring.KeyAgreement(context.Background(), "did:example:alice#key-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(handle.Curve())
	fmt.Println(ring, key)
	// Output:
	// P-256
	// Keyring(1 keys REDACTED) P-256 private key REDACTED
}

// The secrets file of Appendix A of DIDComm Messaging v2.1 is an array of private JWKs.
func ExampleParseSecrets() {
	ring, err := keyring.ParseSecrets([]byte(`[{
		"kid": "did:example:alice#key-x25519-1",
		"kty": "OKP",
		"crv": "X25519",
		"x": "avH0O2Y4tqLAq8y9zpianr8ajii5m4F_mICrzNlatXs",
		"d": "r-jK2cO3taR8LQnJB1_ikLBTAnOtShJOsHXRUWT-aZA"
	}]`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ring.KIDs())
	// Output: [did:example:alice#key-x25519-1]
}

// The keys of a sealed keyring are there again after a restart. This example keeps them in
// memory; package agent/store/sqlstore keeps them in a database.
func ExampleOpen() {
	ctx := context.Background()
	keys := store.NewSealedKeys()
	start := func(secret string) (*keyring.Sealed, error) {
		passphrase := keyring.Passphrase([]byte(secret), keyring.Argon2id{})
		ring, err := keyring.Open(ctx, keys, passphrase)
		if errors.Is(err, store.ErrNotFound) {
			return keyring.Create(ctx, keys, passphrase)
		}
		return ring, err
	}

	ring, err := start("correct horse")
	if err != nil {
		log.Fatal(err)
	}
	key, err := keyring.Generate(keyring.Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	if err := ring.Add(ctx, "did:example:alice#key-1", key); err != nil {
		log.Fatal(err)
	}

	ring, err = start("correct horse")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ring.KIDs())
	_, err = start("wrong horse")
	fmt.Println(errors.Is(err, keyring.ErrPassphrase))
	// Output:
	// [did:example:alice#key-1]
	// true
}
