// Seal packs messages and opens them again, with private keys that never leave a
// key management service (KMS): signed, encrypted, and signed then encrypted.
// It needs no agent and no network, only packages agent/envelope and agent/identity.
//
//	go run ./examples/seal
//
// File keys.go is what you would write for your own KMS or HSM: it implements
// envelope.Keys with handles that can sign and agree on keys, and nothing else.
// File kms.go stands in for the vendor's service.
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

// party is somebody with a DID and a Packer that works with the keys of it.
type party struct {
	DID    string
	packer *envelope.Packer
}

// newParty makes two keys in the KMS and a did:peer:2 of their public halves.
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
	// A Cache, because a Packer resolves the DIDs of each message.
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
		// Anyone can read it, and can prove to others that Alice wrote it.
		{"signed", []envelope.PackOption{envelope.SignBy(alice.DID), envelope.Signed()}},
		// Bob alone can read it, and knows that it is from Alice (authcrypt).
		{"encrypted", []envelope.PackOption{envelope.From(alice.DID)}},
		// The same, and nobody on the way sees which key of whom sent it.
		{"encrypted, sender protected", []envelope.PackOption{envelope.From(alice.DID), envelope.ProtectSender()}},
		// Bob alone can read it, and can prove to others that Alice wrote it.
		{"signed, then encrypted", []envelope.PackOption{envelope.SignBy(alice.DID)}},
	} {
		m, err := basicmessage.New("hello, Bob", "en")
		if err != nil {
			return err
		}
		m.From, m.To = alice.DID, []string{bob.DID}

		// One envelope for each recipient; here there is one.
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

		// Carol has the bytes too. Without a key for them she learns nothing.
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

// show prints what a recipient should look at: not only what a message says, but
// how it was protected, before it is believed.
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
