package keyring_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/didcomm-go/didcomm/agent/keyring"
	"github.com/didcomm-go/didcomm/agent/store"
	"github.com/didcomm-go/didcomm/agent/store/storetest"
)

// TestSealedFaults uses keyrings whose stores fail by a seed, before or after a
// write took effect, and reads what is stored after each failure: the keyring opens
// by the old or the new passphrase, and has each key whose Add succeeded, none whose
// Delete did, and no other key under any id.
func TestSealedFaults(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { testSealedFaults(t, seed) })
	}
}

func testSealedFaults(t *testing.T, seed uint64) {
	ctx, random := t.Context(), rand.New(rand.NewPCG(seed, 1))
	stored := store.NewSealedKeys()
	f := storetest.NewFaults(storetest.FaultConfig{Seed: seed, Before: 0.1, After: 0.2, Crash: 0.05})
	keys := make(map[string]*keyring.Key) // all keys that were ever added
	has := make(map[string]bool)
	secret := "0"
	create(t, stored, cheap(secret))

	// look reads what is stored: by one of the secrets, with every key of has; that
	// of unsure may be there or not.
	look := func(unsure string, secrets ...string) {
		t.Helper()
		var s *keyring.Sealed
		for _, secret = range secrets {
			var err error
			if s, err = keyring.Open(ctx, stored, cheap(secret)); err == nil {
				break
			} else if !errors.Is(err, keyring.ErrPassphrase) {
				t.Fatal(err)
			}
		}
		if s == nil {
			t.Fatalf("opened by none of %q", secrets)
		}
		found := make(map[string]bool)
		for _, kid := range s.KIDs() {
			found[kid] = true
			key, err := s.Key(kid)
			if err != nil || !key.Public().(ed25519.PublicKey).Equal(keys[kid].Public()) {
				t.Fatalf("%s is another key, %v", kid, err)
			}
			if !has[kid] && kid != unsure {
				t.Fatalf("%s is there", kid)
			}
		}
		for kid := range has {
			if !found[kid] && kid != unsure {
				t.Fatalf("%s is lost", kid)
			}
		}
		has = found
	}

	var s *keyring.Sealed
	for step := range 60 {
		if s == nil { // as after a crash
			f.Restart()
			var err error
			if s, err = keyring.Open(ctx, f.Keys(stored), cheap(secret)); err != nil {
				if !errors.Is(err, storetest.ErrFault) {
					t.Fatal(err)
				}
				continue
			}
		}
		kid := fmt.Sprint("did:example:a#", random.IntN(8))
		next, again := secret, true
		var err error
		switch random.IntN(4) {
		case 0:
			next, again = fmt.Sprint(step+1), false
			err = s.Rewrap(ctx, cheap(next))
		case 1:
			if !has[kid] {
				continue
			}
			if err = s.Delete(ctx, kid); err == nil {
				delete(has, kid)
			}
		default:
			if keys[kid] == nil {
				keys[kid] = generate(t, keyring.Ed25519)
			}
			if err = s.Add(ctx, kid, keys[kid]); err == nil {
				has[kid] = true
			}
		}
		if err == nil {
			look("", next)
			continue
		}
		if !errors.Is(err, storetest.ErrFault) {
			t.Fatal(err)
		}
		look(kid, secret, next)
		select {
		case <-f.Crashed():
			s = nil
		default:
			// An Add or a Delete is done again on the same keyring. After a Rewrap that
			// failed, the keyring does not know its wrapping.
			if !again {
				s = nil
			}
		}
	}
	if f.Count() == 0 || len(keys) == 0 {
		t.Errorf("%d faults, %d keys", f.Count(), len(keys))
	}
}
