//go:build interop

package interop_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/did/didweb"
)

// algorithm is what the parties of a curve sign by here. For P-256 it is one key
// that agrees and signs where the method has it so.
var algorithm = map[keyring.Curve]string{keyring.X25519: "EdDSA", keyring.P256: "ES256"}

// ownResolver resolves the DIDs that are their documents.
var ownResolver = did.Methods{"key": didkey.Resolver{}, "peer": didpeer.NewResolver()}

// methods are messages between DIDs of the same method, of which the peer is
// given the documents while we resolve them.
func (s *suite) methods(t *testing.T) {
	for _, method := range []struct {
		name string
		made func(t testing.TB, curve keyring.Curve, x *exchange)
	}{
		{"did:peer:2", func(t testing.TB, curve keyring.Curve, x *exchange) {
			x.sender, x.recipient, x.resolver = newPeerDID(t, curve), newPeerDID(t, curve), ownResolver
		}},
		{"did:key", func(t testing.TB, curve keyring.Curve, x *exchange) {
			x.sender, x.recipient, x.resolver = newKeyDID(t, curve), newKeyDID(t, curve), ownResolver
		}},
		{"did:web", func(t testing.TB, curve keyring.Curve, x *exchange) {
			web := http.NewServeMux()
			server := httptest.NewServer(web)
			t.Cleanup(server.Close)
			x.sender, x.recipient = newWebDID(t, curve, server, web), newWebDID(t, curve, server, web)
			var err error
			x.resolver, err = didweb.NewResolver(didweb.Config{Dial: new(net.Dialer).DialContext, AllowHTTPLoopback: true})
			if err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, curve := range []keyring.Curve{keyring.X25519, keyring.P256} {
			made := func(t *testing.T) exchange {
				x := exchange{layout: s.extra("authcrypt(sign)", curve, algorithm[curve])}
				method.made(t, curve, &x)
				x.held = x.recipient
				return x.addressed(t)
			}
			name := method.name + ", documents given/" + string(curve)
			s.cell(t, "to peer: "+name, func(t *testing.T) error { return s.toPeer(t, made(t)) })
			s.cell(t, "from peer: "+name, func(t *testing.T) error { return s.fromPeer(t, made(t)) })
		}
	}
}

// newPeerDID makes a party with a did:peer:2.
func newPeerDID(t testing.TB, curve keyring.Curve, endpoints ...string) *party {
	t.Helper()
	pair, err := identity.Generate(signing[algorithm[curve]])
	if err != nil {
		t.Fatal(err)
	}
	return resolved(t)(identity.Peer2(pair, endpoints...))
}

// newKeyDID makes a party with a did:key: of an Ed25519 key, and of the X25519 key
// that it maps to, or of one key for everything.
func newKeyDID(t testing.TB, curve keyring.Curve) *party {
	t.Helper()
	return resolved(t)(identity.Key(identity.Single(generate(t, signing[algorithm[curve]]))))
}

// newWebDID makes a party with a did:web that a server publishes.
func newWebDID(t testing.TB, curve keyring.Curve, server *httptest.Server, web *http.ServeMux) *party {
	t.Helper()
	id, err := didweb.New(strings.TrimPrefix(server.URL, "http://") + "/agents/" + rand.Text())
	if err != nil {
		t.Fatal(err)
	}
	path, err := didweb.PathOf(id)
	if err != nil {
		t.Fatal(err)
	}
	p := newPartyNamed(t, id, curve, 2, did.TypeJSONWebKey2020, nil)
	web.Handle(path, didweb.Handler(func(context.Context) (*did.Document, error) { return p.doc, nil }))
	return p
}

// resolved makes the party of an identity. Its document, as the peer is given it, is that
// of the identity, with the keys in a form that every peer reads.
func resolved(t testing.TB) func(*identity.Identity, error) *party {
	return func(id *identity.Identity, err error) *party {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		p := &party{doc: &did.Document{ID: id.DID()}, sign: map[string]string{}}
		if p.ring, err = id.Keyring(); err != nil {
			t.Fatal(err)
		}
		for _, kid := range id.KIDs() {
			key, err := p.ring.Key(kid)
			if err != nil {
				t.Fatal(err)
			}
			p.method(t, kid, did.TypeJSONWebKey2020, key)
		}
		for _, h := range id.Handles() {
			if h.Use == identity.ToAgree {
				p.agree = append(p.agree, h.KID)
				p.doc.KeyAgreement = append(p.doc.KeyAgreement, did.Relationship{ID: h.KID})
				continue
			}
			key, err := p.ring.Key(h.KID)
			if err != nil {
				t.Fatal(err)
			}
			p.sign[algorithmOf(t, key)] = h.KID
			p.doc.Authentication = append(p.doc.Authentication, did.Relationship{ID: h.KID})
		}
		p.index(t)
		return p
	}
}

func algorithmOf(t testing.TB, key *keyring.Key) string {
	t.Helper()
	for _, alg := range signatures {
		if signing[alg] == key.Type() {
			return alg
		}
	}
	t.Fatal(fmt.Errorf("no algorithm for %s", key.Type()))
	return ""
}
