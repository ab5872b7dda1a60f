package envelope_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
)

// hello is a message from one party to another.
func hello(from, to party) *message.Message {
	m, err := message.New("https://didcomm.org/basicmessage/2.0/message", map[string]string{"content": "hello"})
	if err != nil {
		log.Fatal(err)
	}
	m.From, m.To = from.did, []string{to.did}
	return m
}

// A signature inside the encryption is a proof that the recipient can show to others.
// Anoncrypt around it hides the sender on the way.
func ExamplePacker_Pack_signed() {
	ctx := context.Background()
	alice, bob := newParty(), newParty()
	packed, err := alice.packer.Pack(ctx, hello(alice, bob), envelope.SignBy(alice.did))
	if err != nil {
		log.Fatal(err)
	}
	opened, err := bob.packer.Unpack(ctx, packed[0].Data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed:", opened.Metadata.NonRepudiation, opened.Metadata.SignAlg)
	fmt.Println("sender hidden on the way:", opened.Metadata.AnonymousSender)
	// Output:
	// signed: true EdDSA
	// sender hidden on the way: true
}

// The class of an error says what to do with the message.
func ExamplePacker_Unpack_errors() {
	alice, bob, eve := newParty(), newParty(), newParty()
	packed, err := alice.packer.Pack(context.Background(), hello(alice, bob), envelope.From(alice.did))
	if err != nil {
		log.Fatal(err)
	}
	for _, data := range [][]byte{packed[0].Data, []byte("no message")} {
		_, err := eve.packer.Unpack(context.Background(), data)
		switch {
		case errors.Is(err, envelope.ErrTryLater):
			fmt.Println("keep the message and try again")
		case errors.Is(err, envelope.ErrNotForUs):
			fmt.Println("drop the message: it is for somebody else")
		case errors.Is(err, envelope.ErrMalformed):
			fmt.Println("drop the bytes: they are no message")
		case err != nil:
			fmt.Println("drop the message:", err)
		}
	}
	// Output:
	// drop the message: it is for somebody else
	// drop the bytes: they are no message
}

// Bob is behind a mediator: his DID document names the mediator's DID as the endpoint.
func ExamplePacker_Forward() {
	ctx := context.Background()
	mediator := newParty(did.NewDIDCommService("#didcomm", "https://mediator.example/"))
	bob := newParty(did.NewDIDCommService("#didcomm", mediator.did))
	alice := newParty()

	packed, err := alice.packer.Pack(ctx, hello(alice, bob), envelope.From(alice.did))
	if err != nil {
		log.Fatal(err)
	}
	routes, err := alice.packer.Routes(ctx, bob.did)
	if err != nil {
		log.Fatal(err)
	}
	forward, err := alice.packer.Forward(ctx, packed[0], routes[0].RoutingKeys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("send to", routes[0].URI)
	fmt.Println("for the mediator:", forward.To == mediator.did)

	// The mediator passes the attachment on to Bob.
	opened, err := mediator.packer.Unpack(ctx, forward.Data)
	if err != nil {
		log.Fatal(err)
	}
	inner, err := opened.Message.Attachments[0].Data.Bytes()
	if err != nil {
		log.Fatal(err)
	}
	received, err := bob.packer.Unpack(ctx, inner)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Bob reads", string(received.Message.Body))
	// Output:
	// send to https://mediator.example/
	// for the mediator: true
	// Bob reads {"content":"hello"}
}

// Alice moves to a new DID and proves to Bob that the new DID replaces the old one.
func ExamplePacker_FromPrior() {
	ctx := context.Background()
	before, after, bob := newParty(), newParty(), newParty()
	proof, err := before.packer.FromPrior(ctx, before.did, after.did, time.Now())
	if err != nil {
		log.Fatal(err)
	}
	m := hello(after, bob)
	m.FromPrior = proof
	packed, err := after.packer.Pack(ctx, m, envelope.From(after.did))
	if err != nil {
		log.Fatal(err)
	}
	opened, err := bob.packer.Unpack(ctx, packed[0].Data)
	if err != nil {
		log.Fatal(err)
	}
	rotation := opened.Metadata.FromPrior
	fmt.Println("old DID replaced by the new one:", rotation.Iss == before.did && rotation.Sub == after.did)
	// Output:
	// old DID replaced by the new one: true
}
