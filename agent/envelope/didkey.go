package envelope

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

const (
	didKeyPrefix = "did:key:"
	// ed25519Prefix begins the multikey of each Ed25519 key.
	ed25519Prefix = "z6Mk"
	// maxMultikey is more than the length of the longest multikey that we look for, which is
	// that of a P-521 key.
	maxMultikey = 128
)

// splitDIDKey returns the multikey and the fragment of a did:key. It returns an empty multikey
// for a did:key with a path or a query, for one that is too long and for any other DID URL.
func splitDIDKey(id string) (multikey, fragment string) {
	rest, ok := strings.CutPrefix(id, didKeyPrefix)
	if !ok || len(rest) > 2*maxMultikey {
		return "", ""
	}
	multikey, fragment, _ = strings.Cut(rest, "#")
	if len(multikey) > maxMultikey || strings.ContainsAny(multikey, "/?") {
		return "", ""
	}
	return multikey, fragment
}

// agreementKey returns the multikey of the key for key agreement that a kid means if the kid is
// a did:key. Otherwise agreementKey returns "".
func agreementKey(kid string) string {
	multikey, fragment := splitDIDKey(kid)
	if strings.HasPrefix(multikey, ed25519Prefix) {
		multikey = imageOf(multikey)
	}
	if fragment != "" && fragment != multikey {
		return ""
	}
	return multikey
}

// imageOf returns the X25519 key that is derived from an Ed25519 key, both as multikeys, or "".
func imageOf(multikey string) string {
	key, err := did.ParseMultikey(multikey)
	if err != nil {
		return ""
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return ""
	}
	image, err := didkey.KeyAgreement(public)
	if err != nil {
		return ""
	}
	text, err := did.FormatMultikey(image)
	if err != nil {
		return ""
	}
	return text
}

// findKey is KeyFinder.FindKey. It returns "" if the key is not ours.
func (p *Packer) findKey(ctx context.Context, multikey string) (string, error) {
	if p.finder == nil || multikey == "" {
		return "", nil
	}
	kid, err := p.finder.FindKey(ctx, multikey)
	switch {
	case errors.Is(err, ErrNoKey):
		return "", nil
	case err != nil:
		return "", outside{fmt.Errorf("own keys: %w", err)}
	}
	return kid, nil
}

// ownByKey returns the DID of ours that has the key of which id is a did:key.
func (p *Packer) ownByKey(ctx context.Context, id string) (string, error) {
	multikey, fragment := splitDIDKey(id)
	image := ""
	if strings.HasPrefix(multikey, ed25519Prefix) {
		image = imageOf(multikey)
	}
	if fragment != "" && fragment != multikey && fragment != image {
		return "", ErrNoKey
	}
	for _, key := range []string{multikey, image} {
		kid, err := p.findKey(ctx, key)
		if err != nil {
			return "", err
		}
		if kid != "" {
			return p.own(ctx, kid)
		}
	}
	return "", ErrNoKey
}

// byKey returns the id of our key of which kid is a did:key, or "". If several DIDs of ours
// have the key, a key of opened comes before the others.
func (s *search) byKey(ctx context.Context, kid string, opened []string) (string, error) {
	own, err := s.p.findKey(ctx, agreementKey(kid))
	if err != nil || own == "" {
		return "", err
	}
	key, err := s.keyAgreement(ctx, own)
	switch {
	case errors.Is(err, ErrNoKey):
		return "", nil
	case err != nil:
		return "", outside{fmt.Errorf("key %.200s: %w", own, err)}
	}
	for _, o := range opened {
		if e := s.asked[o]; e.key != nil && e.key.PublicKey().Equal(key.PublicKey()) {
			return o, nil
		}
	}
	return own, nil
}

// sameKey returns the id of the key of own, a DID of ours, that is the same key as public, or
// "". Its document must list the key, and we must hold the key under that id.
func (s *search) sameKey(ctx context.Context, own string, public *ecdh.PublicKey) (string, error) {
	doc, err := s.document(ctx, own)
	if err != nil {
		return "", err
	}
	for _, m := range doc.KeyAgreementKeys() {
		if listed, err := m.ECDH(); err != nil || !listed.Equal(public) {
			continue
		}
		key, err := s.keyAgreement(ctx, m.ID)
		switch {
		case errors.Is(err, ErrNoKey):
			continue
		case err != nil:
			return "", outside{fmt.Errorf("key %.200s: %w", m.ID, err)}
		}
		if key.PublicKey().Equal(public) {
			return m.ID, nil
		}
	}
	return "", nil
}

// checkToOfKey reports whether the to header names the did:key under which layer was opened, or
// a DID of ours that has the key. The DID in the to header replaces the one that byKey chose.
func (o *opening) checkToOfKey(ctx context.Context, layer int) (bool, error) {
	kid := o.ours[layer]
	if namesParty(o.msg.To, kid) {
		return true, nil
	}
	public := o.search.asked[kid].key.PublicKey()
	others := append([]string{}, o.around...)
	for i, other := range o.ours {
		if i != layer {
			others = append(others, other)
		}
	}
	for _, id := range o.search.distinct(o.msg.To) {
		own, err := o.search.find(ctx, id)
		if err != nil {
			return false, err
		}
		if own == "" {
			continue
		}
		same, err := o.search.sameKey(ctx, own, public)
		if err != nil {
			return false, err
		}
		if same == "" {
			continue
		}
		related, err := o.search.related(ctx, others, same)
		if err != nil {
			return false, err
		}
		if related {
			o.ours[layer] = same
			return true, nil
		}
	}
	return namesParty(o.msg.To, o.byKey[layer]), nil
}
