package keyring_test

import (
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/keyring/keyringtest"
	"github.com/didcomm-go/didcomm/agent/store"
)

func TestKeys(t *testing.T) {
	ring := keyring.New()
	var held []keyringtest.Held
	for _, curve := range curves {
		key, err := keyring.Generate(curve)
		if err != nil {
			t.Fatal(err)
		}
		agrees, signs := powers(curve)
		h := keyringtest.Held{KID: "did:example:" + string(curve) + "#key-1", Public: key.Public(), Agrees: agrees, Signs: signs}
		if err := ring.Add(h.KID, key); err != nil {
			t.Fatal(err)
		}
		held = append(held, h)
	}
	t.Run("Memory", func(t *testing.T) { keyringtest.TestKeys(t, ring, held...) })

	keys := store.NewSealedKeys()
	made, err := keyring.Create(t.Context(), keys, cheap("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := made.AddAll(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	t.Run("Sealed", func(t *testing.T) { keyringtest.TestKeys(t, made, held...) })
	opened, err := keyring.Open(t.Context(), keys, cheap("secret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Opened", func(t *testing.T) { keyringtest.TestKeys(t, opened, held...) })
}
