package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/didcomm-go/didcomm/agent/store"
)

// TestKeys tests an implementation of [store.SealedKeys]. Each call of open returns an empty
// one.
func TestKeys(t *testing.T, open func(t *testing.T) store.SealedKeys) {
	t.Run("Wrapping", func(t *testing.T) {
		k := open(t)
		if w, err := k.Wrapping(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Wrapping of a new store = %x, %v", w, err)
		}
		check(t, "SetWrapping with an old one", k.SetWrapping(t.Context(), []byte("x"), []byte("y")), store.ErrExists)
		check(t, "SetWrapping", k.SetWrapping(t.Context(), nil, []byte{0, 1}), nil)
		check(t, "SetWrapping of a second", k.SetWrapping(t.Context(), nil, []byte{2}), store.ErrExists)
		check(t, "SetWrapping with the wrong one", k.SetWrapping(t.Context(), []byte{0}, []byte{2}), store.ErrExists)
		if w, err := k.Wrapping(t.Context()); err != nil || !bytes.Equal(w, []byte{0, 1}) {
			t.Errorf("Wrapping = %x, %v", w, err)
		}
		check(t, "SetWrapping", k.SetWrapping(t.Context(), []byte{0, 1}, []byte{2}), nil)
		if w, err := k.Wrapping(t.Context()); err != nil || !bytes.Equal(w, []byte{2}) {
			t.Errorf("Wrapping = %x, %v", w, err)
		}
	})
	t.Run("Keys", func(t *testing.T) {
		k := open(t)
		key := func(kid string) store.SealedKey { return store.SealedKey{KID: kid, Sealed: []byte("sealed " + kid)} }
		kids := func(want ...string) {
			t.Helper()
			all, err := k.All(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, key := range all {
				if string(key.Sealed) != "sealed "+key.KID {
					t.Errorf("%s is %q", key.KID, key.Sealed)
				}
				got = append(got, key.KID)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("keys %q, want %q", got, want)
			}
		}
		kids()
		check(t, "Put", k.Put(t.Context(), key("c"), key("a")), nil)
		check(t, "Put", k.Put(t.Context(), key("b")), nil)
		check(t, "Put of a known one", k.Put(t.Context(), key("d"), key("a")), store.ErrExists)
		check(t, "Put of one twice", k.Put(t.Context(), key("d"), key("d")), store.ErrExists)
		kids("c", "a", "b")
		check(t, "Delete", k.Delete(t.Context(), "a"), nil)
		check(t, "Delete again", k.Delete(t.Context(), "a"), store.ErrNotFound)
		kids("c", "b")
	})
}
