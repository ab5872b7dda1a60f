package identity_test

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
)

// A routing DID has the shape for which Credo wraps once: the X25519 key comes first and is
// the image of the Ed25519 key.
func TestImage(t *testing.T) {
	_, standard, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ring := keyring.New()
	if err := ring.Add("did:example:kept#1", generate(t, keyring.Ed25519)); err != nil {
		t.Fatal(err)
	}
	kept, err := ring.Key("did:example:kept#1")
	if err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]identity.Pair{
		"software":           software(t, keyring.Ed25519),
		"one key":            identity.Single(generate(t, keyring.Ed25519)),
		"standard library":   {Sign: standard},
		"keyring":            identity.Single(kept),
		"with another image": {Sign: generate(t, keyring.Ed25519), Agree: generate(t, keyring.X25519), AgreeName: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := from.Image()
			if err != nil {
				t.Fatal(err)
			}
			if pair.AgreeName != "" || pair.SignName != from.SignName {
				t.Errorf("names %q, %q", pair.SignName, pair.AgreeName)
			}
			id, err := identity.Peer2(pair, "https://a.example", "wss://a.example")
			if err != nil {
				t.Fatal(err)
			}
			check(t, id, "https://a.example", "wss://a.example")
			elements := checkImage(t, id)
			if len(elements) != 5 || elements[3][0] != 'S' || elements[4][0] != 'S' {
				t.Errorf("elements %q", elements)
			}

			// The same keys with an endpoint that is a plain string, as Credo writes it.
			plain := did.Service{Type: []string{did.TypeDIDCommMessaging}, Endpoints: []did.Endpoint{{URI: "ws://127.0.0.1:19302", Accept: []string{}}}}
			routing, err := didpeer.New2([]didpeer.Key{
				{Purpose: didpeer.KeyAgreement, Public: pair.Agree.PublicKey()},
				{Purpose: didpeer.Authentication, Public: pair.Sign.Public()},
			}, plain)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := resolver().Resolve(t.Context(), routing)
			if err != nil {
				t.Fatal(err)
			}
			if id, err = identity.FromDocument(doc, pair); err != nil {
				t.Fatal(err)
			}
			check(t, id, "ws://127.0.0.1:19302")
			// The service of a routing DID that Credo has made.
			if elements := checkImage(t, id); len(elements) != 4 || elements[3] != "SeyJ0IjoiZG0iLCJzIjoid3M6Ly8xMjcuMC4wLjE6MTkzMDIifQ" {
				t.Errorf("elements %q", elements)
			}
		})
	}

	service := newKMS()
	service.create(t, "ed", keyring.Ed25519)
	service.create(t, "x", keyring.X25519)
	for name, from := range map[string]identity.Pair{
		"token":   found(t, service, "ed", "x"),
		"handle":  found(t, ring, "did:example:kept#1", ""),
		"P-256":   software(t, keyring.P256),
		"X25519":  {Agree: generate(t, keyring.X25519)},
		"nothing": {},
	} {
		if pair, err := from.Image(); !errors.Is(err, identity.ErrHandle) || pair.Sign != nil || pair.Agree != nil {
			t.Errorf("%s: %v, want ErrHandle", name, err)
		}
	}
	// Two keys that have nothing to do with each other keep their order.
	two, err := identity.Peer2(software(t, keyring.Ed25519))
	if err != nil || !strings.HasPrefix(two.DID(), "did:peer:2.Vz6Mk") {
		t.Errorf("%v, %v", two, err)
	}
}

// checkImage checks the keys of a did:peer:2, and returns its elements.
func checkImage(t *testing.T, id *identity.Identity) []string {
	t.Helper()
	doc := id.Document()
	agreement, authentication := doc.KeyAgreementKeys(), doc.AuthenticationKeys()
	if len(agreement) != 1 || len(authentication) != 1 || agreement[0].ID != id.DID()+"#key-1" || authentication[0].ID != id.DID()+"#key-2" {
		t.Fatalf("keys %v, %v", agreement, authentication)
	}
	agree, err := agreement[0].ECDH()
	if err != nil {
		t.Fatal(err)
	}
	sign, err := authentication[0].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	image, err := didkey.KeyAgreement(sign.(ed25519.PublicKey))
	if err != nil || agree.Curve() != ecdh.X25519() || !image.Equal(agree) {
		t.Errorf("%v is not the image of %v: %v", agree, sign, err)
	}
	elements := strings.Split(id.DID(), ".")
	if !strings.HasPrefix(elements[1], "Ez6LS") || !strings.HasPrefix(elements[2], "Vz6Mk") {
		t.Errorf("elements %q", elements)
	}
	return elements
}
