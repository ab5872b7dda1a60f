package envelope

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/agent/envelope/internal/jwe"
	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// knowsByKey returns the shapes of mediators' documents for which a forward names the
// mediator and its key by the did:key of the key. The key itself is that of the document. A
// mediator of any other shape is named by its DID, as Routing 2.0 has it.
func knowsByKey() []func(*did.Document) bool {
	return []func(*did.Document) bool{
		// Credo with DIDComm v2 makes its routing DID anew for each client, and does not keep
		// it. A forward whose kid is of that DID is lost: over HTTP the mediator answers 500,
		// over WebSocket nothing. Its routing key is found by the did:key.
		isImagePair,
	}
}

// isImagePair reports whether doc is that of a did:peer:2 of one key and one endpoint: the
// X25519 key is the image of the Ed25519 key, and the endpoint is a plain string.
func isImagePair(doc *did.Document) bool {
	agreement, authentication := doc.KeyAgreementKeys(), doc.AuthenticationKeys()
	if !strings.HasPrefix(doc.ID, "did:peer:2.") || len(doc.VerificationMethod) != 2 ||
		len(agreement) != 1 || len(authentication) != 1 || len(doc.Service) != 1 || !isPlain(&doc.Service[0]) {
		return false
	}
	key, err := agreement[0].ECDH()
	if err != nil || key.Curve() != ecdh.X25519() {
		return false
	}
	public, err := authentication[0].PublicKey()
	if err != nil {
		return false
	}
	signing, ok := public.(ed25519.PublicKey)
	if !ok {
		return false
	}
	image, err := didkey.KeyAgreement(signing)
	return err == nil && image.Equal(key)
}

// isPlain reports whether s has a plain string as its serviceEndpoint, and no accept or
// routingKeys beside the string.
func isPlain(s *did.Service) bool {
	text, err := json.Marshal(s)
	if err != nil || len(s.Extra) > 0 {
		return false
	}
	var plain struct {
		Endpoint string `json:"serviceEndpoint"`
	}
	return json.Unmarshal(text, &plain) == nil && plain.Endpoint != ""
}

// hop returns the keys of a mediator to encrypt a forward for, and the name that the forward
// has for the mediator. id is a routing key: the DID of the mediator, or the DID URL of a key.
func (p *Packer) hop(ctx context.Context, id string) (t target, name string, err error) {
	targets, err := p.targets(ctx, []string{p.Long(ctx, id)}, nil, false)
	if err != nil {
		return target{}, "", err
	}
	t = targets[0]
	for _, fits := range knowsByKey() {
		if !fits(t.doc) {
			continue
		}
		key := t.keys[0].Key // the only one
		multikey, err := did.FormatMultikey(key)
		if err != nil {
			return target{}, "", fmt.Errorf("did:key of %.200s: %w", id, err)
		}
		name = "did:key:" + multikey
		t.keys = []jwe.Recipient{{KID: name + "#" + multikey, Key: key}}
		return t, name, nil
	}
	return t, t.did, nil
}
