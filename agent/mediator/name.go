package mediator

import (
	"context"
	"crypto/ed25519"
	"strings"

	"github.com/didcomm-go/didcomm/did"
	"github.com/didcomm-go/didcomm/did/didkey"
)

// Name returns the one name of a recipient for all forms of its DID:
//   - The long form of a did:peer:4 has the name of the short form.
//   - A DID URL has the name of its DID. So the key id did:key:X#X has the name of did:key:X.
//   - The did:key of an Ed25519 key has the name of the did:key of its X25519 image, the
//     key that senders encrypt to (RFC 7748, section 4.1).
//
// Name does not check the syntax of a DID. Other text is its own name.
func Name(id string) string {
	name := did.Canonical(id)
	const ed25519Key, length = "did:key:z6Mk", len("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK")
	multikey, ok := strings.CutPrefix(name, "did:key:")
	if !ok || len(name) > length || !strings.HasPrefix(name, ed25519Key) {
		return name
	}
	key, err := did.ParseMultikey(multikey)
	if err != nil {
		return name
	}
	pub, ok := key.(ed25519.PublicKey)
	if !ok {
		return name
	}
	image, err := didkey.KeyAgreement(pub)
	if err != nil {
		return name
	}
	if name, err := didkey.New(image); err == nil {
		return name
	}
	return name
}

func names(ids []string) []string {
	var list []string
	for _, id := range ids {
		list = append(list, Name(id))
	}
	return list
}

// valid reports whether the text is a DID or DID URL that can be registered.
func (m *Mediator) valid(id string) bool {
	if len(id) > m.cfg.Limits.MaxDID {
		return false
	}
	u, err := did.ParseURL(id)
	if err != nil {
		return false
	}
	// The hash of a long form must match.
	return u.DID.Method != "peer" || u.DID.ID[0] != '4' || !strings.Contains(Name(id)[len("did:peer:"):], ":")
}

// ours reports whether the DID is one of ours: a DID that Config.Ours knows, the routing DID,
// or the did:key of a key of the routing DID.
func (m *Mediator) ours(ctx context.Context, id string) bool {
	name := Name(id)
	if name == Name(m.cfg.DID) || m.cfg.Ours != nil && m.cfg.Ours(ctx, did.Base(id)) {
		return true
	}
	if m.cfg.Documents == nil || !strings.HasPrefix(name, "did:key:") {
		return false
	}
	doc, err := m.cfg.Documents.Resolve(ctx, m.cfg.DID)
	if err != nil {
		return false
	}
	for i := range doc.VerificationMethod {
		key, err := doc.VerificationMethod[i].PublicKey()
		if err != nil {
			continue
		}
		if own, err := didkey.New(key); err == nil && Name(own) == name {
			return true
		}
	}
	return false
}
