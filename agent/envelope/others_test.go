package envelope_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
)

// TestOthers: the error for an envelope that is for others as a whole has their key ids. The error
// for an envelope of others inside of one for us has none.
func TestOthers(t *testing.T) {
	w := newWorld(t)
	bob := w.packer(t, w.bob)
	recipients := []peerRecipient{w.carol.recipient("x25519"), w.eve.recipient("x25519")}
	outer := peerJWE{plaintext: text(t, nil, nil, nil), to: recipients}.seal(t)
	inner := peerJWE{plaintext: pack1(t, w.packer(t, w.alice), newMessage(t, w.alice, w.carol), envelope.From(aliceDID)).Data, to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t)

	var others *envelope.OthersError
	_, err := bob.Unpack(t.Context(), outer)
	if !errors.As(err, &others) || !errors.Is(err, envelope.ErrNoKey) || !errors.Is(err, envelope.ErrNotForUs) {
		t.Fatal(err)
	}
	if want := []string{w.carol.kid("x25519"), w.eve.kid("x25519")}; !slices.Equal(others.KIDs, want) {
		t.Errorf("for %q, want %q", others.KIDs, want)
	}
	if _, err := bob.Unpack(t.Context(), inner); errors.As(err, &others) || !errors.Is(err, envelope.ErrNoKey) {
		t.Errorf("inside: %v", err)
	}
	for name, data := range map[string][]byte{
		"for us":   peerJWE{plaintext: []byte("{"), to: []peerRecipient{w.bob.recipient("x25519")}}.seal(t),
		"not JSON": []byte("x"),
	} {
		if _, err := bob.Unpack(t.Context(), data); err == nil || errors.As(err, &others) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
