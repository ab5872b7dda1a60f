// Seal shows how to use private keys that never leave a key management service (KMS) or
// hardware security module (HSM). It packs and unpacks messages that are signed,
// encrypted, or both. It does not run an agent or use a network.
//
//	go run ./examples/seal
//
// The file keys.go contains the code that you would write for your own KMS or HSM. It
// implements envelope.Keys with handles that can only sign and agree on keys. The file
// kms.go replaces the KMS of a vendor.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/protocols/basicmessage"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "seal:", err)
		os.Exit(1)
	}
}

// party is a party with a DID, and a Packer for the keys of this DID.
type party struct {
	DID    string
	packer *envelope.Packer
}

// newParty makes two keys in the KMS, and a did:peer:2 from their public keys.
func newParty(ctx context.Context, service *kms, resolver did.Resolver) (*party, error) {
	signing, err := service.createKey(ctx)
	if err != nil {
		return nil, err
	}
	agreement, err := service.createKey(ctx)
	if err != nil {
		return nil, err
	}
	pair, err := identity.Find(ctx, &kmsKeys{service}, signing, agreement)
	if err != nil {
		return nil, err
	}
	id, err := identity.Peer2(pair)
	if err != nil {
		return nil, err
	}
	packer, err := envelope.New(envelope.Config{Keys: id, Resolver: resolver})
	if err != nil {
		return nil, err
	}
	return &party{DID: id.DID(), packer: packer}, nil
}

func run(ctx context.Context, out io.Writer) error {
	// The Packers share a Cache, because they resolve DIDs for each message.
	resolver := did.NewCache(did.Methods{"peer": didpeer.NewResolver()}, did.CacheConfig{})
	service := newKMS()
	alice, err := newParty(ctx, service, resolver)
	if err != nil {
		return err
	}
	bob, err := newParty(ctx, service, resolver)
	if err != nil {
		return err
	}
	carol, err := newParty(ctx, service, resolver)
	if err != nil {
		return err
	}

	for _, way := range []struct {
		name string
		opts []envelope.PackOption
	}{
		// Anyone can read the message, and can prove to others that Alice wrote it.
		{"signed", []envelope.PackOption{envelope.SignBy(alice.DID), envelope.Signed()}},
		// Only Bob can read the message, and he knows that it is from Alice (authcrypt).
		{"encrypted", []envelope.PackOption{envelope.From(alice.DID)}},
		// The same, and others cannot see that the message is from Alice.
		{"encrypted, sender protected", []envelope.PackOption{envelope.From(alice.DID), envelope.ProtectSender()}},
		// Only Bob can read the message, and he can prove to others that Alice wrote it.
		{"signed, then encrypted", []envelope.PackOption{envelope.SignBy(alice.DID)}},
	} {
		m, err := basicmessage.New("hello, Bob", "en")
		if err != nil {
			return err
		}
		m.From, m.To = alice.DID, []string{bob.DID}

		// Pack returns an envelope for each recipient. Here there is only one.
		envelopes, err := alice.packer.Pack(ctx, m, way.opts...)
		if err != nil {
			return fmt.Errorf("pack %s: %w", way.name, err)
		}
		sealed := envelopes[0]
		opened, err := bob.packer.Unpack(ctx, sealed.Data)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", way.name, err)
		}
		if err := show(out, way.name, sealed, opened); err != nil {
			return err
		}

		// Carol has none of the keys, so she can only read the message if it is merely
		// signed.
		switch _, err := carol.packer.Unpack(ctx, sealed.Data); {
		case errors.Is(err, envelope.ErrNoKey):
			fmt.Fprintln(out, "  carol cannot open it")
		case err != nil:
			return fmt.Errorf("unpack %s as carol: %w", way.name, err)
		default:
			fmt.Fprintln(out, "  carol can read it")
		}
	}
	return nil
}

// show prints the text of a message, and how the message was protected. A recipient should
// check the protection before trusting the text.
func show(out io.Writer, name string, sealed envelope.Envelope, opened *envelope.Unpacked) error {
	var body basicmessage.Body
	if err := opened.Message.DecodeBody(&body); err != nil {
		return err
	}
	meta := opened.Metadata
	fmt.Fprintf(out, "%s (%s)\n", name, sealed.MediaType)
	fmt.Fprintf(out, "  bob reads %q; encrypted: %t, sender proven: %t, provable to others: %t\n",
		body.Content, meta.Encrypted, meta.Authenticated, meta.NonRepudiation)
	return nil
}
