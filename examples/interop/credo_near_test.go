package interop_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/identity"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/credolike"
)

// nearParty is a party with a did:peer:4.
type nearParty struct {
	*identity.Identity
	agree craft.AgreeKey
	sign  craft.SignKey
}

func newNearParty(t *testing.T, curve keyring.Curve, image bool) *nearParty {
	t.Helper()
	pair, err := identity.Generate(curve)
	if err == nil && image {
		pair, err = pair.Image()
	}
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.Peer4(pair, "https://agent.example")
	if err != nil {
		t.Fatal(err)
	}
	alg := map[keyring.Curve]string{keyring.Ed25519: "EdDSA", keyring.P256: "ES256", keyring.P384: "ES384"}[curve]
	return &nearParty{id,
		craft.AgreeKey{KID: id.Document().KeyAgreementKeys()[0].ID, Key: pair.Agree},
		craft.SignKey{KID: id.Document().AuthenticationKeys()[0].ID, Alg: alg, Key: pair.Sign},
	}
}

// didKey returns a did:key, and its multikey.
func didKey(t *testing.T, public crypto.PublicKey) (id, multikey string) {
	t.Helper()
	multikey, err := did.FormatMultikey(public)
	if err != nil {
		t.Fatal(err)
	}
	return "did:key:" + multikey, multikey
}

// to returns the party's key under a name.
func (p *nearParty) to(kid string) []craft.AgreeKey {
	return []craft.AgreeKey{craft.RecipientKey(kid, p.agree.Key.PublicKey())}
}

// prior returns a from_prior that the party signs, with a relative kid.
func (p *nearParty) prior(t *testing.T, claims craft.Object) string {
	t.Helper()
	signer := p.sign
	signer.KID = signer.KID[strings.IndexByte(signer.KID, '#'):]
	claims["iat"] = credoTime.Add(-time.Hour).Unix()
	return string((&craft.JWS{Form: "compact", Signers: []craft.Signer{{
		SignKey: signer, Protected: func(h craft.Object) { h["typ"] = "JWT" },
	}}}).Sign(nearJSON(t, claims)))
}

func nearJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// near is an envelope like a recorded one, with what has to come of it.
type near struct {
	name        string
	data        []byte
	err         error // nil if the envelope opens
	sender, typ string
	deviations  []message.DeviationCode
}

// nearEnvelopes returns envelopes for us, made by them with keys of a curve. The attacker has
// keys of its own.
func nearEnvelopes(t *testing.T, us, them, next, attacker *nearParty) []near {
	t.Helper()
	type object = craft.Object
	id, multikey := didKey(t, us.agree.Key.PublicKey())
	fragment := id + "#" + multikey
	said := func(from *nearParty, to string, change object) []byte {
		m := object{"id": message.NewID(), "type": credolike.TypeBasicMessage, "created_time": 1700000000, "body": object{"content": "hello"}}
		if from != nil {
			m["from"] = from.DID()
		}
		if to != "" {
			m["to"] = []string{to}
		}
		for name, v := range change {
			m[name] = v
		}
		return nearJSON(t, m)
	}
	auth := func(by *nearParty, kid string, plaintext []byte) []byte {
		return (&craft.JWE{From: &by.agree, To: us.to(kid)}).Seal(plaintext)
	}
	anon := func(kid string, plaintext []byte) []byte { return (&craft.JWE{To: us.to(kid)}).Seal(plaintext) }
	ours := us.agree.KID
	rotation := them.prior(t, object{"iss": them.DID(), "sub": next.DID()})
	linked := said(next, us.DID(), object{"from_prior": rotation})
	ended := func(signer *nearParty, iss string) object {
		return object{"type": credolike.TypeEmpty, "body": object{}, "from_prior": signer.prior(t, object{"iss": iss})}
	}
	inner := auth(them, ours, said(them, us.DID(), nil))
	forward := func(kid, to, next string, attachments ...object) []byte {
		var list []object
		for _, data := range attachments {
			list = append(list, object{"id": message.NewID(), "media_type": "application/didcomm-encrypted+json", "data": data})
		}
		return anon(kid, said(nil, to, object{"type": credolike.TypeForward, "body": object{"next": next}, "attachments": list}))
	}
	asJSON := object{"json": json.RawMessage(inner)}
	encoded := object{"base64": base64.StdEncoding.EncodeToString(inner)}
	others := object{"json": json.RawMessage((&craft.JWE{To: []craft.AgreeKey{attacker.agree}}).Seal(said(nil, attacker.DID(), nil)))}
	kidOnly := []message.DeviationCode{envelope.DeviationKID}
	priorOnly := []message.DeviationCode{envelope.DeviationFromPriorKID}
	both := []message.DeviationCode{envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender}
	basic := credolike.TypeBasicMessage
	return []near{
		{"kid is a did:key", auth(them, id, said(them, us.DID(), nil)), nil, them.DID(), basic, kidOnly},
		{"kid is a did:key with fragment", auth(them, fragment, said(them, us.DID(), nil)), nil, them.DID(), basic, kidOnly},
		{"anonymous, kid is a did:key", anon(id, said(nil, us.DID(), nil)), nil, "", basic, kidOnly},
		{"kid and to are a did:key", auth(them, fragment, said(them, id, nil)), nil, them.DID(), basic, kidOnly},
		{"kid is a did:key, to names another", auth(them, id, said(them, attacker.DID(), nil)), envelope.ErrRecipientMismatch, "", "", nil},
		{"kid is a did:key, no to", auth(them, id, said(them, "", nil)), envelope.ErrRecipientMismatch, "", "", nil},
		{"kid is the did:key of another", auth(them, "did:key:"+multikeyOf(t, attacker), said(them, us.DID(), nil)), envelope.ErrNoKey, "", "", nil},
		{"did:key with the fragment of another", auth(them, id+"#"+multikeyOf(t, attacker), said(them, us.DID(), nil)), envelope.ErrNoKey, "", "", nil},

		{"hangup with a relative kid", anon(ours, said(nil, us.DID(), ended(them, them.DID()))), nil, "", credolike.TypeEmpty, priorOnly},
		{"hangup for a did:key", anon(id, said(nil, us.DID(), ended(them, them.DID()))), nil, "", credolike.TypeEmpty,
			[]message.DeviationCode{envelope.DeviationFromPriorKID, envelope.DeviationKID}},
		{"hangup in the name of another", anon(ours, said(nil, us.DID(), ended(attacker, them.DID()))), envelope.ErrFromPrior, "", "", nil},
		{"hangup with a from", anon(ours, said(them, us.DID(), ended(them, them.DID()))), envelope.ErrFromPrior, "", "", nil},
		{"rotation", auth(next, ours, said(next, us.DID(), object{"type": credolike.TypeEmpty, "body": object{}, "from_prior": rotation})), nil, next.DID(), credolike.TypeEmpty, priorOnly},

		{"linked sender", auth(them, ours, linked), nil, them.DID(), basic, both},
		{"linked sender inside anoncrypt", anon(ours, auth(them, ours, linked)), nil, them.DID(), basic, both},
		{"linked sender inside anoncrypt for a did:key", anon(id, auth(them, fragment, linked)), nil, them.DID(), basic,
			[]message.DeviationCode{envelope.DeviationFromPriorKID, envelope.DeviationFromPriorSender, envelope.DeviationKID}},
		{"linked by another", auth(attacker, ours, linked), envelope.ErrSenderMismatch, "", "", nil},
		{"attacker linked to a victim", auth(attacker, ours, said(next, us.DID(), object{
			"from_prior": attacker.prior(t, object{"iss": attacker.DID(), "sub": next.DID()}),
		})), nil, attacker.DID(), basic, both},
		{"attacker with iss of a victim", auth(attacker, ours, said(next, us.DID(), object{
			"from_prior": attacker.prior(t, object{"iss": them.DID(), "sub": next.DID()}),
		})), envelope.ErrSenderMismatch, "", "", nil},
		{"signed by the new DID inside", auth(them, ours, (&craft.JWS{Signers: []craft.Signer{{SignKey: next.sign}}}).Sign(linked)), envelope.ErrSenderMismatch, "", "", nil},

		{"forward, base64", forward(id, id, us.DID(), encoded), nil, them.DID(), basic, kidOnly},
		{"forward, several attachments", forward(id, id, us.DID(), others, encoded, asJSON), nil, them.DID(), basic, kidOnly},
		{"forward to a did:key with fragment", forward(fragment, fragment, us.DID(), asJSON), nil, them.DID(), basic,
			[]message.DeviationCode{envelope.DeviationKID, envelope.DeviationTo}},
		{"forward, next is a did:key", forward(id, id, fragment, asJSON), nil, them.DID(), basic, kidOnly},
		{"forward without to", forward(id, "", us.DID(), asJSON), nil, them.DID(), basic, kidOnly},
		{"forward for another", forward(id, id, attacker.DID(), others), nil, "", credolike.TypeForward, kidOnly},
		{"forward of a forgery", forward(id, id, us.DID(), object{"json": json.RawMessage(
			(&craft.JWE{From: &craft.AgreeKey{KID: them.agree.KID, Key: attacker.agree.Key}, To: us.to(ours)}).Seal(said(them, us.DID(), nil)),
		)}), envelope.ErrDecrypt, "", "", nil},
		{"forward of a hangup", forward(id, id, id, object{"json": json.RawMessage(anon(ours, said(nil, us.DID(), ended(them, them.DID()))))}), nil, "", credolike.TypeEmpty,
			[]message.DeviationCode{envelope.DeviationFromPriorKID, envelope.DeviationKID}},
	}
}

func multikeyOf(t *testing.T, p *nearParty) string {
	t.Helper()
	_, multikey := didKey(t, p.agree.Key.PublicKey())
	return multikey
}

// TestCredoNear opens envelopes that differ from the recorded ones in one point.
func TestCredoNear(t *testing.T) {
	for _, kind := range []struct {
		name  string
		curve keyring.Curve
		image bool
	}{{"X25519", keyring.Ed25519, false}, {"image", keyring.Ed25519, true}, {"P-256", keyring.P256, false}, {"P-384", keyring.P384, false}} {
		t.Run(kind.name, func(t *testing.T) {
			us, them := newNearParty(t, kind.curve, kind.image), newNearParty(t, kind.curve, false)
			next, attacker := newNearParty(t, kind.curve, false), newNearParty(t, kind.curve, false)
			open := func(strict bool, data []byte) (*envelope.Unpacked, error) {
				p, err := envelope.New(envelope.Config{Keys: us.Identity, Resolver: byMethod, Strict: strict, Now: func() time.Time { return credoTime }})
				if err != nil {
					t.Fatal(err)
				}
				return p.Unpack(t.Context(), data)
			}
			all := nearEnvelopes(t, us, them, next, attacker)
			if kind.image { // the did:key of the Ed25519 key stands for the X25519 key
				public, err := us.Document().AuthenticationKeys()[0].PublicKey()
				if err != nil {
					t.Fatal(err)
				}
				id, _ := didKey(t, public)
				for name, kid := range map[string]string{"": id, " with fragment": id + "#" + multikeyOf(t, us)} {
					all = append(all, near{
						"did:key of Ed25519" + name, (&craft.JWE{To: us.to(kid)}).Seal(nearJSON(t, craft.Object{
							"id": message.NewID(), "type": credolike.TypeForward, "to": []string{id}, "body": craft.Object{"next": id},
							"attachments": []craft.Object{{"id": "1", "data": craft.Object{"json": json.RawMessage(all[0].data)}}},
						})), nil, them.DID(), credolike.TypeBasicMessage, []message.DeviationCode{envelope.DeviationKID},
					})
				}
			}
			for _, e := range all {
				t.Run(e.name, func(t *testing.T) {
					u, err := open(false, e.data)
					if e.err != nil {
						if !errors.Is(err, e.err) || u != nil {
							t.Errorf("%v, want %v", err, e.err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if u.Sender() != e.sender || u.Message.Type != e.typ || !u.SentTo(us.DID()) {
						t.Errorf("sender %s, type %s", u.Sender(), u.Message.Type)
					}
					if found := codes(u.Metadata.Deviations); !slices.Equal(found, e.deviations) {
						t.Errorf("deviations %q, want %q", found, e.deviations)
					}
					var deviates *envelope.DeviationError
					if u, err := open(true, e.data); !errors.As(err, &deviates) || u != nil {
						t.Errorf("strict: %v", err)
					}
				})
			}
			for name, want := range map[string]string{
				us.DID(): us.DID(), us.agree.KID: us.DID(), "did:key:" + multikeyOf(t, us): us.DID(),
				"did:key:" + multikeyOf(t, us) + "#" + multikeyOf(t, us): us.DID(), attacker.DID(): "", "did:key:" + multikeyOf(t, attacker): "",
			} {
				p, err := envelope.New(envelope.Config{Keys: us.Identity, Resolver: byMethod})
				if err != nil {
					t.Fatal(err)
				}
				if own, err := p.Own(context.Background(), name); own != want || (want == "") != errors.Is(err, envelope.ErrNoKey) {
					t.Errorf("next %.60s: %.60s, %v", name, own, err)
				}
			}
		})
	}
}
