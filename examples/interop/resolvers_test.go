//go:build interop

package interop_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// resolvers are messages between DIDs that each side resolves by itself: those
// that are their documents, as nobody here asks a network.
func (s *suite) resolvers(t *testing.T) {
	for _, method := range []struct {
		name string
		made func(testing.TB) (named, error)
	}{
		{"did:peer:2", s.ownPeerDID},
		{"did:key", s.ownKeyDID},
	} {
		for _, l := range resolvedLayouts() {
			cell := method.name + ", own resolvers/" + l.name
			s.cell(t, "to peer: "+cell, func(t *testing.T) error { return s.resolvedToPeer(t, l, method.made) })
			s.cell(t, "from peer: "+cell, func(t *testing.T) error {
				return s.resolvedFromPeer(t, l, method.made, method.made)
			})
		}
	}
	for _, l := range resolvedLayouts() {
		s.cell(t, "from peer: did:peer:2, its DID/"+l.name, func(t *testing.T) error {
			return s.resolvedFromPeer(t, l, s.theirPeerDID, s.ownPeerDID)
		})
	}
	s.cell(t, "from peer: did:peer:2, own resolvers/recipient with a v2.1 service", func(t *testing.T) error {
		return s.resolvedFromPeer(t, layoutOf("authcrypt", keyring.X25519, "", ""), s.ownPeerDID,
			func(t testing.TB) (named, error) { return s.name(t, newPeerDID(t, keyring.X25519, agentURI)) })
	})
}

func resolvedLayouts() []layout {
	return []layout{
		layoutOf("anoncrypt", keyring.X25519, envelope.XC20P, ""),
		layoutOf("authcrypt", keyring.X25519, "", ""),
		layoutOf("signed", "", "", "EdDSA"),
		layoutOf("authcrypt(sign)", keyring.X25519, "", "EdDSA"),
	}
}

// named is a party with its keys under the names that the peer's
// resolver has for them.
type named struct {
	*party
	secrets []json.RawMessage
	agree   []string
	sign    string
}

// name asks the peer for the key ids of a DID that we made.
func (s *suite) name(t testing.TB, p *party) (named, error) {
	t.Helper()
	r, err := s.Resolve(t.Context(), peer.ResolveParams{DID: p.DID()})
	if err != nil {
		return named{}, err
	}
	return renamed(t, p, r.Document)
}

// renamed pairs the keys of our document with those of the peer's, by their
// place.
func renamed(t testing.TB, p *party, document []byte) (named, error) {
	t.Helper()
	doc, err := did.ParseDocument(document)
	if err != nil {
		return named{}, fmt.Errorf("the peer's document: %w", err)
	}
	if err := equal("id", doc.ID, p.DID()); err != nil {
		return named{}, err
	}
	n := named{party: p}
	ring := keyring.New()
	for _, rel := range []struct {
		ours   []string
		theirs []*did.VerificationMethod
		kids   *[]string
	}{
		{p.agree, doc.KeyAgreementKeys(), &n.agree},
		{[]string{p.sign["EdDSA"]}, doc.AuthenticationKeys(), nil},
	} {
		if len(rel.ours) != len(rel.theirs) {
			return named{}, fmt.Errorf("the peer finds %d keys of %d", len(rel.theirs), len(rel.ours))
		}
		for i, m := range rel.theirs {
			key, err := p.ring.Key(rel.ours[i])
			if err != nil {
				return named{}, err
			}
			public, err := m.PublicKey()
			if err != nil {
				return named{}, err
			}
			if err := equal("public key", public, key.Public()); err != nil {
				return named{}, err
			}
			hold(t, ring, m.ID, key)
			if rel.kids != nil {
				*rel.kids = append(*rel.kids, m.ID)
			} else {
				n.sign = m.ID
			}
		}
	}
	n.secrets = secrets(t, ring)
	return n, nil
}

// ownPeerDID is a party whose did:peer:2 we made.
func (s *suite) ownPeerDID(t testing.TB) (named, error) {
	t.Helper()
	return s.name(t, newPeerDID(t, keyring.X25519))
}

// ownKeyDID is a party whose did:key we made.
func (s *suite) ownKeyDID(t testing.TB) (named, error) {
	t.Helper()
	return s.name(t, newKeyDID(t, keyring.X25519))
}

// theirPeerDID is a party whose DID the peer made, of keys that it was given.
func (s *suite) theirPeerDID(t testing.TB) (named, error) {
	t.Helper()
	agree, sign := generate(t, keyring.X25519), generate(t, keyring.Ed25519)
	var jwks []json.RawMessage
	for _, key := range []*keyring.Key{agree, sign} {
		jwk, err := did.FormatJWK(key.Public())
		if err != nil {
			return named{}, err
		}
		jwks = append(jwks, jwk)
	}
	r, err := s.CreatePeerDID(t.Context(), peer.CreateParams{KeyAgreement: jwks[:1], Authentication: jwks[1:]})
	if err != nil {
		return named{}, err
	}
	doc, err := ownResolver.Resolve(t.Context(), r.DID)
	if err != nil {
		return named{}, fmt.Errorf("our resolver: %w", err)
	}
	p := &party{doc: doc, ring: keyring.New(), sign: map[string]string{}}
	for _, m := range doc.KeyAgreementKeys() {
		p.agree = append(p.agree, m.ID)
		hold(t, p.ring, m.ID, agree)
	}
	for _, m := range doc.AuthenticationKeys() {
		p.sign["EdDSA"] = m.ID
		hold(t, p.ring, m.ID, sign)
	}
	return renamed(t, p, r.Document)
}

// resolvedToPeer sends between DIDs that we made and the peer resolves.
func (s *suite) resolvedToPeer(t testing.TB, l layout, made func(testing.TB) (named, error)) error {
	t.Helper()
	sender, err := made(t)
	if err != nil {
		return err
	}
	recipient, err := made(t)
	if err != nil {
		return err
	}
	x := exchange{layout: l, sender: sender.party, recipient: recipient.party, held: recipient.party}.addressed(t)
	envs, err := newPacker(t, sender.ring, ownResolver).Pack(t.Context(), x.message, x.options()...)
	if err != nil {
		return fmt.Errorf("our pack: %w", err)
	}
	got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: peer.Known{Secrets: recipient.secrets}, Envelope: envs[0].Data})
	if err != nil {
		return err
	}
	return s.check(t, x, got)
}

// resolvedFromPeer sends between such DIDs. Both sides resolve.
func (s *suite) resolvedFromPeer(t testing.TB, l layout, from, to func(testing.TB) (named, error)) error {
	t.Helper()
	sender, err := from(t)
	if err != nil {
		return err
	}
	recipient, err := to(t)
	if err != nil {
		return err
	}
	x := exchange{layout: l, sender: sender.party, recipient: recipient.party, held: recipient.party}.addressed(t)
	params := x.params(t)
	params.Known = peer.Known{Secrets: sender.secrets}
	if params.SignBy != "" {
		params.SignBy = sender.sign
	}
	packed, err := s.Pack(t.Context(), params)
	if err != nil {
		return err
	}
	got, err := newPacker(t, recipient.ring, ownResolver).Unpack(t.Context(), packed.Envelope)
	if err != nil {
		return fmt.Errorf("our unpack: %w", err)
	}
	want := x.metadata()
	if want.Encrypted {
		// As the envelope names them; our own keys keep our names.
		want.EncryptedToKIDs = recipient.agree
	}
	return s.checkOurs(t, x, got, want, envelope.DeviationKID)
}
