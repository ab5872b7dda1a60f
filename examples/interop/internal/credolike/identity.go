package credolike

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mr-tron/base58"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
	"github.com/didcomm-go/didcomm/did/didpeer"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// identity is a DID with its private keys: an Ed25519 key, and an X25519 key apart from it.
type identity struct {
	did   string
	sign  ed25519.PrivateKey // #key-1
	agree craft.AgreeKey     // #key-2
}

// newIdentity makes a did:peer:2 or did:peer:4 with those endpoints.
func newIdentity(numalgo int, endpoints []string) (*identity, error) {
	public, sign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	agree, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	id := &identity{sign: sign}
	if numalgo == 2 {
		id.did, err = peer2(public, agree.PublicKey(), endpoints)
	} else {
		id.did, err = peer4(public, agree.PublicKey(), endpoints)
	}
	id.agree = craft.AgreeKey{KID: id.did + "#key-2", Key: agree}
	return id, err
}

// service is a service in a DID document, in Credo's order of members.
type service struct {
	ID       string   `json:"id,omitempty"`
	Endpoint endpoint `json:"serviceEndpoint"`
	Type     string   `json:"type"`
}

type endpoint struct {
	URI    string   `json:"uri"`
	Accept []string `json:"accept"`
}

// method is a key in a DID document.
type method struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Base58 string `json:"publicKeyBase58"`
}

func peer4(sign ed25519.PublicKey, agree *ecdh.PublicKey, endpoints []string) (string, error) {
	doc := struct {
		Context        []string  `json:"@context"`
		Service        []service `json:"service"`
		Authentication []method  `json:"authentication"`
		KeyAgreement   []method  `json:"keyAgreement"`
	}{
		Context:        []string{"https://www.w3.org/ns/did/v1"},
		Authentication: []method{{"#key-1", "Ed25519VerificationKey2018", base58.Encode(sign)}},
		KeyAgreement:   []method{{"#key-2", "X25519KeyAgreementKey2019", base58.Encode(agree.Bytes())}},
	}
	for i, uri := range endpoints {
		doc.Service = append(doc.Service, service{
			fmt.Sprintf("#didcommmessaging-%d", i), endpoint{uri, []string{"didcomm/v2"}}, "DIDCommMessaging",
		})
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return "", err
	}
	return didpeer.Encode4(text)
}

func peer2(sign ed25519.PublicKey, agree *ecdh.PublicKey, endpoints []string) (string, error) {
	v, e, err := multikeys(sign, agree)
	id := "did:peer:2.V" + v + ".E" + e
	for _, uri := range endpoints {
		id += ".S" + encoded(struct {
			Endpoint endpoint `json:"s"`
			Type     string   `json:"t"`
		}{endpoint{uri, []string{"didcomm/v2"}}, "dm"})
	}
	return id, err
}

// routingDID is the DID of a mediator: its X25519 key is the image of its Ed25519 key, and
// the endpoint is a string.
func routingDID(sign ed25519.PublicKey, uri string) (string, error) {
	image, err := didkey.KeyAgreement(sign)
	if err != nil {
		return "", err
	}
	v, e, err := multikeys(sign, image)
	return "did:peer:2.E" + e + ".V" + v + ".S" + encoded(struct {
		Type     string `json:"t"`
		Endpoint string `json:"s"`
	}{"dm", uri}), err
}

func multikeys(sign ed25519.PublicKey, agree *ecdh.PublicKey) (v, e string, err error) {
	v, err1 := did.FormatMultikey(sign)
	e, err2 := did.FormatMultikey(agree)
	return v, e, errors.Join(err1, err2)
}

func encoded(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // of a table of this package
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// fromPrior is the JWT that links a DID to the next, or to none if sub is "".
func (id *identity) fromPrior(sub string, issued int64) string {
	claims, err := json.Marshal(struct {
		Iss string `json:"iss"`
		Sub string `json:"sub,omitempty"`
		Iat int64  `json:"iat"`
	}{id.did, sub, issued})
	if err != nil {
		panic(err) // strings and a number
	}
	jwt := craft.JWS{Form: "compact", Signers: []craft.Signer{{
		SignKey:   craft.SignKey{KID: "#key-1", Alg: "EdDSA", Key: id.sign},
		Protected: func(h craft.Object) { h["typ"], h["crv"] = "JWT", "Ed25519" },
	}}}
	return string(jwt.Sign(claims))
}

// prior is what a from_prior says.
type prior struct {
	Iss string `json:"iss"`
	Sub string `json:"sub"`
}

// verifyPrior verifies a from_prior of another agent.
func (a *Agent) verifyPrior(ctx context.Context, jwt string) (p prior, err error) {
	head, rest, _ := strings.Cut(jwt, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	var h struct {
		KID string `json:"kid"`
	}
	decode := func(text string) []byte {
		b, decodeErr := base64.RawURLEncoding.DecodeString(text)
		err = errors.Join(err, decodeErr)
		return b
	}
	headText, claimsText, sig := decode(head), decode(claims), decode(signature)
	if err := errors.Join(err, json.Unmarshal(headText, &h), json.Unmarshal(claimsText, &p)); err != nil {
		return prior{}, fmt.Errorf("from_prior: %w", err)
	}
	doc, err := a.resolve(ctx, p.Iss)
	if err != nil {
		return prior{}, fmt.Errorf("from_prior: %w", err)
	}
	for _, m := range doc.AuthenticationKeys() {
		key, err := m.PublicKey()
		if public, ok := key.(ed25519.PublicKey); err == nil && ok && (h.KID == m.ID || p.Iss+h.KID == m.ID) &&
			ed25519.Verify(public, []byte(head+"."+claims), sig) {
			return p, nil
		}
	}
	return prior{}, errors.New("from_prior: not signed by a key of iss")
}

// resolve resolves a DID of another agent. Credo keeps no long forms for the short ones.
func (a *Agent) resolve(ctx context.Context, id string) (*did.Document, error) {
	if strings.HasPrefix(id, "did:peer:4") && strings.Count(id, ":") == 2 {
		return nil, fmt.Errorf("%s: %w: the short form does not resolve", id, did.ErrNotFound)
	}
	if strings.HasPrefix(id, "did:key:") {
		return didkey.Resolver{}.Resolve(ctx, id)
	}
	return a.resolver.Resolve(ctx, id)
}

// senderKey is the public key of a skid. A DID alone stands for its first key.
func (a *Agent) senderKey(ctx context.Context, skid string) (*ecdh.PublicKey, error) {
	doc, err := a.resolve(ctx, did.Base(skid))
	if err != nil {
		return nil, err
	}
	for _, m := range doc.KeyAgreementKeys() {
		if m.ID == skid || skid == doc.ID {
			return m.ECDH()
		}
	}
	return nil, fmt.Errorf("%w: no key agreement key %s", did.ErrNotFound, skid)
}

// shortened is the form of a DID in which a mediator keeps and looks for it.
func shortened(id string) string {
	if short, ok := didpeer.Short(id); ok {
		return short
	}
	return id
}

// hop is a key of a mediator to wrap for: a did:key and the key that it stands for on
// X25519.
type hop struct {
	didKey string
	key    *ecdh.PublicKey
}

func newHop(public crypto.PublicKey) (hop, error) {
	text, err := did.FormatMultikey(public)
	if err != nil {
		return hop{}, err
	}
	h := hop{didKey: "did:key:" + text}
	switch k := public.(type) {
	case *ecdh.PublicKey:
		h.key = k
	case ed25519.PublicKey:
		h.key, err = didkey.KeyAgreement(k)
	default:
		err = fmt.Errorf("%T is no routing key", public)
	}
	return h, err
}

// hopsOf are the keys of a mediator, first those for key agreement, without one whose
// X25519 form is there already.
func hopsOf(doc *did.Document) []hop {
	var hops []hop
	for _, m := range slices.Concat(doc.KeyAgreementKeys(), doc.AuthenticationKeys()) {
		public, err := m.PublicKey()
		if err != nil {
			continue
		}
		h, err := newHop(public)
		if err != nil {
			continue
		}
		if !slices.ContainsFunc(hops, func(o hop) bool { return o.key.Equal(h.key) }) {
			hops = append(hops, h)
		}
	}
	return hops
}
