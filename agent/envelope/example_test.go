package envelope_test

import (
	"context"
	"fmt"
	"log"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// party is one side of the example: a DID and a Packer with its keys.
type party struct {
	did    string
	packer *envelope.Packer
}

// newParty makes a did:peer:2 with a key for encryption and a key for signatures. Package
// agent/identity makes identities of other DID methods.
func newParty(services ...did.Service) party {
	encryption, err := keyring.Generate(keyring.X25519)
	if err != nil {
		log.Fatal(err)
	}
	signatures, err := keyring.Generate(keyring.Ed25519)
	if err != nil {
		log.Fatal(err)
	}
	id, err := didpeer.New2([]didpeer.Key{
		{Purpose: didpeer.KeyAgreement, Public: encryption.Public()},
		{Purpose: didpeer.Authentication, Public: signatures.Public()},
	}, services...)
	if err != nil {
		log.Fatal(err)
	}
	ring := keyring.New()
	if err := ring.Add(id+"#key-1", encryption); err != nil {
		log.Fatal(err)
	}
	if err := ring.Add(id+"#key-2", signatures); err != nil {
		log.Fatal(err)
	}
	packer, err := envelope.New(envelope.Config{Keys: ring, Resolver: didpeer.NewResolver()})
	if err != nil {
		log.Fatal(err)
	}
	return party{id, packer}
}

// Alice sends Bob a message that only Bob can open. Bob learns that it is from Alice.
func Example() {
	ctx := context.Background()
	alice, bob := newParty(), newParty()

	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": "hello"})
	if err != nil {
		log.Fatal(err)
	}
	m.From, m.To = alice.did, []string{bob.did}
	packed, err := alice.packer.Pack(ctx, m, envelope.From(alice.did))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent:", len(packed), packed[0].MediaType)

	opened, err := bob.packer.Unpack(ctx, packed[0].Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("received:", string(opened.Message.Body))
	fmt.Println("from Alice:", opened.Message.From == alice.did && opened.Metadata.Authenticated)
	// Output:
	// sent: 1 application/didcomm-encrypted+json
	// received: {"content":"hello"}
	// from Alice: true
}
