package envelope_test

import (
	"context"
	"errors"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/did"
)

// TestResolveError: the error of a message that waits for a DID of its peer names that
// DID.
func TestResolveError(t *testing.T) {
	away := errors.New("connection refused")
	w := newWorld(t)
	prior := newAgent(t, "did:example:prior", "ed25519")
	w.add(prior)
	token, err := w.packer(t, prior).FromPrior(t.Context(), prior.did, aliceDID, now)
	if err != nil {
		t.Fatal(err)
	}
	m := newMessage(t, w.alice, w.bob)
	m.FromPrior = token
	alice := w.packer(t, w.alice)
	toBob := newMessage(t, w.alice, w.bob)
	relative := peerJWE{
		plaintext: text(t, w.alice, []*agent{w.bob}, nil), from: w.alice.sender("x25519"),
		to: []peerRecipient{{"#x25519", w.bob.ecdh["x25519"].PublicKey()}},
	}
	for name, test := range map[string]struct {
		data    []byte
		away    string // the DID that does not resolve
		err     error
		class   error
		without bool // a ResolveError
	}{
		"sender":             {pack1(t, alice, toBob, envelope.From(aliceDID)).Data, aliceDID, away, envelope.ErrTryLater, false},
		"signer":             {pack1(t, alice, toBob, envelope.SignBy(aliceDID)).Data, aliceDID, away, envelope.ErrTryLater, false},
		"signer, not sealed": {pack1(t, alice, toBob, envelope.SignBy(aliceDID), envelope.Signed()).Data, aliceDID, away, envelope.ErrTryLater, false},
		"issuer":             {pack1(t, alice, m, envelope.From(aliceDID)).Data, prior.did, away, envelope.ErrTryLater, false},
		"sender, too slow":   {pack1(t, alice, toBob, envelope.From(aliceDID)).Data, aliceDID, context.DeadlineExceeded, envelope.ErrTryLater, false},
		"sender, gone":       {pack1(t, alice, toBob, envelope.From(aliceDID)).Data, aliceDID, did.ErrNotFound, envelope.ErrRefused, false},
		"issuer, gone":       {pack1(t, alice, m, envelope.From(aliceDID)).Data, prior.did, did.ErrNotFound, envelope.ErrRefused, false},
		"our own":            {relative.seal(t), bobDID, away, envelope.ErrTryLater, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.packer(t, w.bob, func(cfg *envelope.Config) {
				cfg.Keys = owner{w.bob.keys, []string{bobDID}}
				cfg.Resolver = did.ResolverFunc(func(ctx context.Context, id string) (*did.Document, error) {
					if id == test.away {
						return nil, test.err
					}
					return w.Resolve(ctx, id)
				})
			})
			_, err := p.Unpack(t.Context(), test.data)
			checkClass(t, name, err, test.class, test.err)
			var e *envelope.ResolveError
			if found := errors.As(err, &e); found == test.without || found && (e.DID != test.away || !errors.Is(e.Err, test.err)) {
				t.Errorf("%v: ResolveError %+v", err, e)
			}
		})
	}
}
