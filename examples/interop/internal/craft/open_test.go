package craft_test

import (
	"bytes"
	"crypto/ecdh"
	"slices"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/examples/interop/internal/craft"
)

// open opens an envelope for Bob with this package alone.
func open(w *craft.World, data []byte) (*craft.Opened, error) {
	return craft.Open(data, func(kid string) ecdh.KeyExchanger {
		for _, k := range w.Bob.Agree {
			if k.KID == kid {
				return k.Key
			}
		}
		return nil
	}, func(string) (*ecdh.PublicKey, error) { return w.Alice.Agree[0].Key.PublicKey(), nil })
}

// Open opens what Seal makes, in all content encryptions, and nothing that was changed on
// the way.
func TestOpen(t *testing.T) {
	w := craft.NewWorld("")
	message := []byte(`{"id":"1"}`)
	from := &w.Alice.Agree[0]
	for name, j := range map[string]*craft.JWE{
		"authcrypt":     {From: from},
		"A256CBC-HS512": {},
		"A256GCM":       {Enc: "A256GCM"},
		"XC20P":         {Enc: "XC20P"},
	} {
		t.Run(name, func(t *testing.T) {
			j.To = w.Bob.Agree[1:]
			data := j.Seal(message)
			got, err := open(w, data)
			if err != nil {
				t.Fatal(err)
			}
			skid, mode := "", craft.Anoncrypt
			if j.From != nil {
				skid, mode = from.KID, craft.Authcrypt
			}
			if !bytes.Equal(got.Plaintext, message) || got.KID != w.Bob.Agree[1].KID || got.SKID != skid {
				t.Errorf("got %s by %s from %s", got.Plaintext, got.KID, got.SKID)
			}
			to := craft.RecipientKey(w.Bob.Agree[1].KID, w.Bob.Agree[0].Key.PublicKey())
			wrong := *j
			wrong.To = []craft.AgreeKey{to}
			if _, err := open(w, wrong.Seal(message)); err == nil {
				t.Error("opened with a key that the envelope is not for")
			}
			if j.From != nil {
				forged := *j
				forged.From = &craft.AgreeKey{KID: from.KID, Key: w.Eve.Agree[0].Key}
				if _, err := open(w, forged.Seal(message)); err == nil {
					t.Error("opened, though it is not from its sender")
				}
			}
			for _, change := range craft.Tampers() {
				if !slices.Contains(change.On, mode) || change.Curve != "" && change.Curve != keyring.X25519 {
					continue
				}
				changed, err := change.Apply(data, w)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := open(w, changed); err == nil {
					t.Errorf("%s: opened %s", change.Name, got.Plaintext)
				}
			}
		})
	}
}
