//go:build interop

package interop_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// forms are other types of verification methods than the table's
// JsonWebKey2020.
func (s *suite) forms(t *testing.T) {
	for _, form := range []struct{ agreement, authentication string }{
		{did.TypeX25519KeyAgreementKey2019, did.TypeEd25519VerificationKey2018},
		{did.TypeX25519KeyAgreementKey2020, did.TypeEd25519VerificationKey2020},
	} {
		made := func(t *testing.T) exchange {
			types := map[string]string{"EdDSA": form.authentication}
			x := exchange{
				layout:    s.extra("authcrypt(sign)", keyring.X25519, "EdDSA"),
				sender:    newPartyAs(t, keyring.X25519, 1, form.agreement, types),
				recipient: newPartyAs(t, keyring.X25519, 2, form.agreement, types),
			}
			x.held = x.recipient
			return x.addressed(t)
		}
		s.cell(t, "to peer: "+form.agreement, func(t *testing.T) error { return s.toPeer(t, made(t)) })
		s.cell(t, "from peer: "+form.agreement, func(t *testing.T) error { return s.fromPeer(t, made(t)) })
	}
}

// mixed is a recipient with keys of two types of which the sender can use the
// second.
func (s *suite) mixed(t *testing.T) {
	made := func(t *testing.T) exchange {
		x := newExchange(t, layoutOf("authcrypt", keyring.P256, "", ""))
		kid := x.recipient.DID() + "#first"
		x.recipient.method(t, kid, did.TypeJSONWebKey2020, newKey(t, x.recipient.ring, kid, keyring.X25519))
		x.recipient.doc.KeyAgreement = slices.Insert(x.recipient.doc.KeyAgreement, 0, did.Relationship{ID: kid})
		x.recipient.index(t)
		return x
	}
	s.cell(t, "to peer: two key types", func(t *testing.T) error { return s.toPeer(t, made(t)) })
	s.cell(t, "from peer: two key types", func(t *testing.T) error { return s.fromPeer(t, made(t)) })
}

// bareAttachment is an attachment without an id, which not every message needs.
func (s *suite) bareAttachment(t *testing.T) {
	made := func(t *testing.T) exchange {
		x := newExchange(t, s.extra("authcrypt", keyring.X25519, ""))
		x.message.Attachments[0].ID = ""
		return x
	}
	s.cell(t, "to peer: attachment without an id", func(t *testing.T) error { return s.toPeer(t, made(t)) })
	s.cell(t, "from peer: attachment without an id", func(t *testing.T) error { return s.fromPeer(t, made(t)) })
}

// rotation is from_prior: the sender was another DID before.
func (s *suite) rotation(t *testing.T) {
	for _, alg := range signatures {
		made := func(t *testing.T) (x exchange, prior *party, claims peer.FromPrior) {
			x = newExchange(t, layoutOf("authcrypt", keyring.X25519, "", ""))
			prior = newParty(t, keyring.X25519, 1)
			return x, prior, peer.FromPrior{Iss: prior.DID(), Sub: x.sender.DID(), IssuedAt: time.Now().Unix()}
		}
		s.cell(t, "to peer: from_prior/"+alg, func(t *testing.T) error {
			x, prior, claims := made(t)
			jwt, err := packer(t, prior).FromPrior(t.Context(), prior.sign[alg], claims.Sub, time.Unix(claims.IssuedAt, 0))
			if err != nil {
				return err
			}
			x.message.FromPrior = jwt
			env, err := x.pack(t)
			if err != nil {
				return err
			}
			got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.held, x.sender, prior), Envelope: env.Data})
			if err != nil {
				return err
			}
			want := x.metadata()
			want.FromPriorIssuerKID = prior.sign[alg]
			if got.FromPrior == nil || *got.FromPrior != claims {
				return fmt.Errorf("from_prior: got %+v, sent %+v", got.FromPrior, claims)
			}
			return s.checkAs(t, x, got, want)
		})
		s.cell(t, "from peer: from_prior/"+alg, func(t *testing.T) error {
			x, prior, claims := made(t)
			params := x.params(t)
			params.Known = known(t, x.sender, x.recipient, prior)
			params.Secrets = append(params.Secrets, secrets(t, prior.ring)...)
			params.FromPriorIssuerKID = prior.sign[alg]
			params.Message = with(t, params.Message, "from_prior", claims)
			packed, err := s.Pack(t.Context(), params)
			if err != nil {
				return err
			}
			got, err := packer(t, x.held, x.sender, prior).Unpack(t.Context(), packed.Envelope)
			if err != nil {
				return fmt.Errorf("our unpack: %w", err)
			}
			want := x.metadata()
			want.FromPriorIssuerKID = prior.sign[alg]
			f := got.Metadata.FromPrior
			if f == nil || (peer.FromPrior{Iss: f.Iss, Sub: f.Sub, IssuedAt: f.IssuedAt.Unix()}) != claims {
				return fmt.Errorf("from_prior: got %+v, sent %+v", f, claims)
			}
			return s.checkOurs(t, x, got, want)
		})
	}
}

// forwards are messages that go through two mediators, or that a mediator
// wrapped once more for the recipient itself.
func (s *suite) forwards(t *testing.T) {
	for _, curve := range []keyring.Curve{keyring.X25519, keyring.P256} {
		made := func(t *testing.T) (x exchange, first, second *party) {
			return newExchange(t, s.extra("authcrypt", curve, "")), newParty(t, curve, 1), newParty(t, curve, 2)
		}
		s.cell(t, "to peer: forward/"+string(curve), func(t *testing.T) error {
			x, first, second := made(t)
			env, err := x.pack(t)
			if err != nil {
				return err
			}
			// The second mediator by a key of it, as routingKeys often name it.
			wrapped, err := packer(t, x.sender, first, second).Forward(t.Context(), env,
				[]string{first.DID(), second.agree[1]})
			if err != nil {
				return err
			}
			one, err := s.Unwrap(t.Context(), peer.UnpackParams{Known: known(t, first), Envelope: wrapped.Data})
			if err != nil {
				return fmt.Errorf("first mediator: %w", err)
			}
			two, err := s.Unwrap(t.Context(), peer.UnpackParams{Known: known(t, second), Envelope: one.Envelope})
			if err != nil {
				return fmt.Errorf("second mediator: %w", err)
			}
			if one.Next != second.agree[1] || two.Next != x.recipient.DID() {
				return fmt.Errorf("next: %s, then %s", one.Next, two.Next)
			}
			got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.held, x.sender), Envelope: two.Envelope})
			if err != nil {
				return err
			}
			return s.check(t, x, got)
		})
		s.cell(t, "from peer: forward/"+string(curve), func(t *testing.T) error {
			x, first, second := made(t)
			wrapped, err := s.Pack(t.Context(), s.routed(t, x, []string{first.agree[0], second.agree[1]}, first, second))
			if err != nil {
				return err
			}
			inner, err := carried(t, first, wrapped.Envelope, second.agree[1], second.DID())
			if err != nil {
				return fmt.Errorf("first mediator: %w", err)
			}
			if inner, err = carried(t, second, inner, x.recipient.DID()); err != nil {
				return fmt.Errorf("second mediator: %w", err)
			}
			got, err := packer(t, x.held, x.sender).Unpack(t.Context(), inner)
			if err != nil {
				return fmt.Errorf("our unpack: %w", err)
			}
			return s.checkOurs(t, x, got, x.metadata())
		})
		s.cell(t, "to peer: re-wrapped/"+string(curve), func(t *testing.T) error {
			x, _, _ := made(t)
			env, err := x.pack(t)
			if err != nil {
				return err
			}
			wrapped, err := packer(t, x.sender, x.recipient).Forward(t.Context(), env, []string{x.recipient.DID()})
			if err != nil {
				return err
			}
			got, err := s.Unpack(t.Context(), peer.UnpackParams{Known: known(t, x.held, x.sender), Envelope: wrapped.Data})
			if err != nil {
				return err
			}
			// The peer counts the mediator's layer as one of the message's.
			want := x.metadata()
			want.ReWrappedInForward, want.AnonymousSender, want.EncAlgAnon = true, true, envelope.A256CBCHS512
			return s.checkAs(t, x, got, want)
		})
		s.cell(t, "from peer: re-wrapped/"+string(curve), func(t *testing.T) error {
			x, _, _ := made(t)
			wrapped, err := s.Pack(t.Context(), s.routed(t, x, x.recipient.agree))
			if err != nil {
				return err
			}
			got, err := packer(t, x.held, x.sender).Unpack(t.Context(), wrapped.Envelope)
			if err != nil {
				return fmt.Errorf("our unpack: %w", err)
			}
			want := x.metadata()
			want.ReWrappedInForward = true
			return s.checkOurs(t, x, got, want)
		})
	}
}

// forwardByDID is a mediator that the recipient's document names by its DID, not
// by a key of it.
func (s *suite) forwardByDID(t *testing.T) {
	s.cell(t, "from peer: forward by a DID", func(t *testing.T) error {
		x, mediator := newExchange(t, s.extra("authcrypt", keyring.X25519, "")), newParty(t, keyring.X25519, 1)
		wrapped, err := s.Pack(t.Context(), s.routed(t, x, []string{mediator.DID()}, mediator))
		if err != nil {
			return err
		}
		_, err = carried(t, mediator, wrapped.Envelope, x.recipient.DID())
		return err
	})
}

// forwardToEndpoint is a mediator whose DID is the uri of the recipient's
// service, so that it wraps for the mediator without a routing key.
func (s *suite) forwardToEndpoint(t *testing.T) {
	s.cell(t, "from peer: forward to a DID as endpoint", func(t *testing.T) error {
		x, mediator := newExchange(t, s.extra("authcrypt", keyring.X25519, "")), newParty(t, keyring.X25519, 1)
		params := x.params(t)
		params.Forward = true
		params.Known = known(t, x.sender)
		params.Documents = append(params.Documents,
			with(t, x.recipient.document(t), "service", s.service(x.recipient.DID(), mediator.DID(), []string{})),
			with(t, mediator.document(t), "service", s.service(mediator.DID(), agentURI, []string{})))
		wrapped, err := s.Pack(t.Context(), params)
		if err != nil {
			return err
		}
		inner, err := carried(t, mediator, wrapped.Envelope, x.recipient.DID())
		if err != nil {
			return err
		}
		got, err := packer(t, x.held, x.sender).Unpack(t.Context(), inner)
		if err != nil {
			return fmt.Errorf("our unpack: %w", err)
		}
		return s.checkOurs(t, x, got, x.metadata())
	})
}

// agentURI is where services lead; nobody goes there.
const agentURI = "https://example.org/didcomm"

// routed is how the peer packs for a recipient whose document names routing
// keys, in the shape of a service that the peer reads. It knows the mediators'
// documents.
func (s *suite) routed(t testing.TB, x exchange, routingKeys []string, mediators ...*party) peer.PackParams {
	t.Helper()
	params := x.params(t)
	params.Known = known(t, x.sender, mediators...)
	params.Documents = append(params.Documents,
		with(t, x.recipient.document(t), "service", s.service(x.recipient.DID(), agentURI, routingKeys)))
	params.Forward = true
	return params
}

// carried opens a forward as a mediator and returns what it carries to one of
// next.
func carried(t testing.TB, mediator *party, env []byte, next ...string) ([]byte, error) {
	t.Helper()
	got, err := packer(t, mediator).Unpack(t.Context(), env)
	if err != nil {
		return nil, fmt.Errorf("our unpack: %w", err)
	}
	var body struct {
		Next string `json:"next"`
	}
	if err := got.Message.DecodeBody(&body); err != nil {
		return nil, err
	}
	if got.Message.Type != "https://didcomm.org/routing/2.0/forward" || !slices.Contains(next, body.Next) || len(got.Message.Attachments) != 1 {
		return nil, fmt.Errorf("no forward to %v: %s", next, plaintext(t, got.Message))
	}
	return got.Message.Attachments[0].Data.Bytes()
}

// with is a JSON object with one member set.
func with(t testing.TB, object []byte, name string, value any) json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(object, &m); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	m[name] = data
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return data
}

// services is a recipient whose document has the service of DIDComm v2.1.
func (s *suite) services(t *testing.T) {
	s.cell(t, "from peer: recipient with a v2.1 service", func(t *testing.T) error {
		x := newExchange(t, s.extra("authcrypt", keyring.X25519, ""))
		x.recipient.doc.Service = []did.Service{did.NewDIDCommService(x.recipient.DID()+"#service", agentURI)}
		x.recipient.index(t)
		return s.fromPeer(t, x)
	})
}

// equal compares what has to be the same.
func equal(what string, got, want any) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s: got %v, want %v", what, got, want)
	}
	return nil
}

// endpointService is a document's service in the shape of DIDComm v2.1.
func endpointService(id, uri string, routingKeys []string) any {
	return []any{map[string]any{
		"id":   id + "#service",
		"type": "DIDCommMessaging",
		"serviceEndpoint": map[string]any{
			"uri":         uri,
			"accept":      []string{"didcomm/v2"},
			"routingKeys": routingKeys,
		},
	}}
}
