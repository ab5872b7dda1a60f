//go:build interop

package interop_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/envelope"
	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/message"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
	"github.com/didcomm-go/didcomm/examples/interop/internal/peer"
)

// tampered is what was done with one change to a finished envelope.
type tampered struct {
	name string
	mode craft.Mode
	to   verdict // by the peer, of ours
	from verdict // by us, of the peer's
}

// tampers changes what we packed and hands it to the peer, and what the peer
// packed and hands it to us. We must refuse.
func (s *suite) tampers(t *testing.T) {
	t.Run("tampers", func(t *testing.T) {
		for _, c := range craft.Tampers() {
			for _, m := range c.On {
				s.row.tampered = append(s.row.tampered, s.tamper(t, c, m))
			}
		}
	})
}

func (s *suite) tamper(t *testing.T, c craft.Tamper, m craft.Mode) tampered {
	got := tampered{c.Name, m, unasked, unasked}
	curves := []keyring.Curve{c.Curve}
	if c.Curve == "" {
		curves = []keyring.Curve{keyring.X25519, keyring.P256}
	}
	for _, curve := range curves {
		w := craft.NewWorld(curve)
		if got.to == unasked {
			got.to = s.tamperOurs(t, c, m, w)
		}
		if got.from == unasked {
			got.from = s.tamperTheirs(t, c, m, w)
		}
	}
	return got
}

// tamperOurs hands the peer what we packed, changed.
func (s *suite) tamperOurs(t *testing.T, c craft.Tamper, m craft.Mode, w *craft.World) verdict {
	t.Helper()
	data, message := s.packedForPeer(t, w, m)
	if sound, _ := s.opens(t, w, m, data, message); sound != opens {
		return unasked
	}
	got, said := s.opens(t, w, m, tamper(t, c, w, data), message)
	t.Logf("%s (%s), to the peer: %s %s", c.Name, m, got, said)
	return got
}

// tamperTheirs hands us what the peer packed, changed.
func (s *suite) tamperTheirs(t *testing.T, c craft.Tamper, m craft.Mode, w *craft.World) verdict {
	t.Helper()
	bob := newPacker(t, w.Bob.Keys, w)
	params := packParams(t, w, m, inJSON(t, newMessageOf(w, m)))
	pack := func() (peer.PackResult, error) {
		packed, err := s.Pack(t.Context(), params)
		if err == nil {
			_, err = bob.Unpack(t.Context(), packed.Envelope)
		}
		return packed, err
	}
	packed, err := pack()
	if err != nil && m == craft.Anoncrypt { // some have no default
		params.Enc = envelope.A256CBCHS512
		packed, err = pack()
	}
	if err != nil && params.To != "" { // some are right for one key alone
		params.To = w.Bob.Agree[0].KID
		packed, err = pack()
	}
	if err != nil {
		t.Logf("%s (%s), from the peer: not asked: %v", c.Name, m, err)
		return unasked
	}
	if _, err := bob.Unpack(t.Context(), tamper(t, c, w, packed.Envelope)); !errors.Is(err, c.Refused) {
		t.Errorf("%s (%s), from the peer: our unpack: got %v, want %v", c.Name, m, err, c.Refused)
		return opens
	}
	return refuses
}

func tamper(t *testing.T, c craft.Tamper, w *craft.World, data []byte) []byte {
	t.Helper()
	out, err := c.Apply(data, w)
	if err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
	return out
}

// newMessageOf is a message as fits a mode.
func newMessageOf(w *craft.World, m craft.Mode) craft.Object {
	message := w.Message()
	if m == craft.Anoncrypt {
		delete(message, "from")
	}
	return message
}

// packParams is how the peer packs as Alice.
func packParams(t *testing.T, w *craft.World, m craft.Mode, message []byte) peer.PackParams {
	t.Helper()
	p := peer.PackParams{Known: knownWorld(t, w.Alice, w), Message: message}
	switch m {
	case craft.Signed:
		p.SignBy = w.Alice.Sign["EdDSA"].KID
	case craft.Authcrypt:
		p.From = w.Alice.DID
		fallthrough
	default:
		p.To = w.Bob.DID
	}
	return p
}

// packedForPeer is an envelope that we pack.
func (s *suite) packedForPeer(t *testing.T, w *craft.World, m craft.Mode) (data, text []byte) {
	t.Helper()
	text = inJSON(t, newMessageOf(w, m))
	options := map[craft.Mode][]envelope.PackOption{
		craft.Signed:    {envelope.Signed(), envelope.SignBy(w.Alice.Sign["EdDSA"].KID)},
		craft.Authcrypt: {envelope.From(w.Alice.DID)},
	}[m]
	if m == craft.Signed && s.readsProtectedKID() {
		options = append(options, envelope.ProtectedKID())
	}
	msg := new(message.Message)
	if err := json.Unmarshal(text, msg); err != nil {
		t.Fatal(err)
	}
	envs, err := newPacker(t, w.Alice.Keys, w).Pack(t.Context(), msg, options...)
	if err != nil {
		t.Fatal(err)
	}
	return envs[0].Data, text
}

// readsProtectedKID tells whether the peer wants kid in the protected header of
// a signature, as its faults have shown.
func (s *suite) readsProtectedKID() bool {
	return slices.ContainsFunc(s.row.faults, func(f fault) bool { return f.Rule == "kid-unprotected" && f.verdict == refuses })
}
